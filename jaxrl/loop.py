"""The host loop of a run: dispatch, report, evaluate, save, stop. Side effects of training are here."""

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl import checkpoint, decode, hosts, keeping, logger, records
from jaxrl.programs import Compiled, Programs, evaluation_keys, hparams, placement, shapes, zeros
from jaxrl.reporters import Reporter, rate, size
from jaxrl.types import whole

SECONDS_PER_DISPATCH = 0.25  # maximum delay of Ctrl-C and of the progress bar


class Position(NamedTuple):
    """The progress of a run: everything that a checkpoint holds."""

    state: Any
    totals: Any  # of the metrics since the last row
    num_updates: int
    elapsed: float = 0.0  # seconds of training, summed over the original and all resumed processes


class Interval(NamedTuple):
    """The data of a row: metrics of the updates `since .. done`, and the time."""

    since: int
    done: int
    totals: Any
    evaluation: Any
    trained: float  # seconds of training in this process


def start(programs: Programs, compiled: Compiled) -> Position:
    """The initial position of a run."""
    state = compiled.init(hosts.place(programs.keys, programs.sharding), *programs.data)
    return Position(state, zeros(programs, shapes(programs)[1]), 0)


def restore(
    programs: Programs,
    path: Path,
    step: int | None = None,
    identity: dict[str, Any] | None = None,
    to_train: bool = True,
) -> Position:
    """The position in a checkpoint of a run. What the checkpoint does not hold is as after `init`.

    Args:
      step: of the checkpoint; None: the latest.
      identity: that the checkpoint must have; None: that of the programs.
      to_train: False: to act only. If that needs nothing else than what the checkpoint holds, `init` is not
        computed, and the state is that part of it.

    Raises:
      ValueError: there is no checkpoint, it is damaged, or it belongs to another config.
    """
    state, totals = shapes(programs)
    part = jax.eval_shape(programs.keep, state)
    target = {"state": part, "totals": totals}
    expected = {"spec": programs.identity if identity is None else identity} | _data_of(programs)
    of_state, of_totals = placement(programs, state, totals)
    where = {"state": keeping.select(of_state, part), "totals": of_totals}
    held, metadata = checkpoint.restore(path / "checkpoints", target, step, expected, sharding=where)
    saved = decode.decode(metadata, records.Saved, path / "checkpoints")
    done, elapsed = saved.num_updates, saved.elapsed_seconds
    if elapsed is None:  # saved by an earlier version
        times = (row.get("elapsed_seconds") for row in records.rows(path) if row["num_updates"] <= done)
        elapsed = max((seconds for seconds in times if seconds is not None), default=0.0)
    missing, state = keeping.left_out(state, part), held["state"]
    if missing and (to_train or not _can_act(programs, state, missing)):
        fresh = programs.init(hosts.place(programs.keys, programs.sharding), *programs.data)
        state = keeping.complete(state, fresh)
    return Position(state, held["totals"], done, elapsed)


def _can_act(programs: Programs, part: Any, missing: dict[str, int]) -> bool:
    """Whether agents can act by the part of their state that a checkpoint holds.

    Args:
      missing: the rest, as returned by `keeping.left_out`.
    """
    if {"params", "obs_stats", "stream"} & {word for name in missing for word in name.split(".")}:
        return False  # which describe the policy and its environment, even where `act` does not read them
    try:
        jax.eval_shape(programs.evaluate, part, programs.keys)
    except Exception:  # whatever `act` raises for an empty tuple in the place of arrays
        return False
    return True


def refilled(programs: Programs) -> str:
    """What checkpoints of a run do not hold, as text: `replay (1.5 MB)`; "" if they hold the whole state."""
    if programs.keep is whole:
        return ""
    state = jax.eval_shape(programs.init, programs.keys, *programs.data)
    missing = keeping.left_out(state, jax.eval_shape(programs.keep, state))
    return ", ".join(f"{name} ({size(num_bytes)})" for name, num_bytes in missing.items())


def report_refill(programs: Programs, reporter: Reporter) -> None:
    """Reports at the start of a run what its checkpoints will not hold, if anything."""
    if missing := refilled(programs):
        reporter.status(f"checkpoints do not hold {missing}: a resumed run fills it as at the start")


def warn_of_refill(programs: Programs) -> None:
    """Logs a warning about a resumed run if its checkpoint does not hold the whole state."""
    if missing := refilled(programs):
        text = f"not in the checkpoint, and therefore filled as at the start of a run: {missing}"
        logging.getLogger("jaxrl").warning(text)


def _data_of(programs: Programs) -> dict[str, Any]:
    return {"data": programs.fingerprint} if programs.fingerprint else {}


def save(
    programs: Programs,
    path: Path,
    at: Position,
    score: float | None = None,
    last: dict[str, Any] | None = None,
) -> None:
    """Writes a position as a checkpoint of the run, with the part of the last row that `records` keeps."""
    metadata = {"spec": programs.identity, "num_updates": at.num_updates}
    metadata |= {"elapsed_seconds": round(at.elapsed, 3)} | ({"last": last} if last else {})
    metadata |= _data_of(programs)
    held = {"state": programs.keep(at.state), "totals": at.totals}
    with interruptible() as interrupted:  # a signal must not interrupt the write
        checkpoint.save(path / "checkpoints", at.num_updates, held, metadata, score=score)
    for number in interrupted():
        signal.raise_signal(number)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], tuple[int, ...]]]:
    """Treats the first Ctrl-C (or SIGTERM) as a request to stop; a second one has its usual effect.

    Yields a function that returns the signals received so far.
    """
    received = []

    def handler(number, frame):
        received.append(number)
        signal.signal(number, previous[number])

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # raised outside the main thread
            previous[number] = signal.signal(number, handler)
    try:
        yield lambda: tuple(received)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def run(
    programs: Programs,
    path: Path | None,
    compiled: Compiled,
    at: Position,
    reporter: Reporter,
    sinks: Sequence[logger.Sink],
    save_every_seconds: float = 10.0,
    *,
    callbacks: Sequence[Callable] = (),
    saved: Callable | None = None,
) -> tuple[Position, bool]:
    """Trains until the run is complete, or until Ctrl-C or a callback stops it.

    The host reads the metrics of one interval while the device computes the next. With callbacks, which may
    stop the run after any interval, it reads them first.

    Args:
      path: the folder of the run; None: nothing is saved.
      at: the position to start from. Its state is donated.
      callbacks: `(row) -> whether to stop`, called in every process; only True stops.
      saved: `(position, last row or None)`, called after each checkpoint.

    Returns:
      The last position, which is saved, and whether the run is complete.
    """
    hp, nothing = hparams(programs), zeros(programs, at.totals)
    saved_at = time.perf_counter()
    begun = saved_at - at.elapsed
    trained, first, length = 0.0, at.num_updates, 1
    write, last_row, refused = _row_writer(programs, path, at, begun, reporter, sinks, callbacks)
    done = [end for end in programs.ends if end <= at.num_updates]
    # The last row, not the last of `ends`: before a run was extended, its intervals were different.
    before = row["num_updates"] if (row := last_row()[0]) else max(done, default=0)

    def keep(score=None):
        if path:
            now = at._replace(elapsed=time.perf_counter() - begun)
            row, lost = last_row()
            save(programs, path, now, score, records.to_keep(row, lost) if row else None)
            if saved:
                saved(now, row)

    with interruptible() as interrupted:

        def stop():
            return any(hosts.everyone(bool(interrupted() or refused())))

        waiting = None
        for end in [end for end in programs.ends if end > at.num_updates]:
            while at.num_updates < end and not stop():
                length = min(length, end - at.num_updates)
                dispatched = time.perf_counter()
                state, totals = compiled.advance(at.state, at.totals, hp, np.int32(length), *programs.data)
                at = at._replace(state=state, totals=totals, num_updates=at.num_updates + length)
                if waiting:  # write the previous interval while the device computes this one
                    write(waiting)
                    waiting = None
                jax.block_until_ready(totals)
                spent = max(hosts.everyone(time.perf_counter() - dispatched))
                trained += spent
                reporter.progress(at.num_updates, trained, first)
                length = max(1, int(length * min(SECONDS_PER_DISPATCH / spent, 8.0)))
            if at.num_updates < end:
                break
            reporter.look(at)
            waiting = Interval(before, end, at.totals, _evaluated(programs, compiled, at), trained)
            at, before = at._replace(totals=nothing), end
            now, ended = time.perf_counter(), is_complete(programs, at)
            due = ended or now - saved_at >= save_every_seconds
            if hosts.everyone(due)[0]:  # the clock of process 0 decides
                keep(records.score_of(write(waiting)))  # the row first: a checkpoint implies its rows
                waiting, saved_at = None, time.perf_counter()
            elif callbacks:
                write(waiting)
                waiting = None
            if ended:
                break
        if waiting:
            write(waiting)
        complete = is_complete(programs, at)
        # There may already be a checkpoint of this update, with a score.
        if path and not complete:
            latest = hosts.by_leader(lambda: checkpoint.latest(path / "checkpoints"))
            if latest != at.num_updates:
                keep()
    return at._replace(elapsed=time.perf_counter() - begun), complete


def _evaluated(programs: Programs, compiled: Compiled, at: Position):
    """The Evaluation of all agents, or None."""
    if compiled.evaluate is None:
        return None
    keys = hosts.place(evaluation_keys(programs.seeds, at.num_updates), programs.sharding)
    return jax.block_until_ready(compiled.evaluate.result()(at.state, keys))


def _row_writer(programs: Programs, path, at: Position, begun: float, reporter, sinks, callbacks):
    """Functions: write the row of an Interval; the last row and the diverged agents; whether to stop."""
    algo, agents = programs.algo, programs.reported
    known = [row for row in records.rows(path) if row["num_updates"] <= at.num_updates] if path else []
    lost = records.first_diverged(known)
    last = known[-1] if known else None
    first, previous, refused = at.num_updates, (at.num_updates, 0.0), False

    def write(interval):
        nonlocal last, previous, refused
        since, done, totals, evaluation, trained = interval
        totals, evaluation = hosts.fetch((totals, evaluation))
        row = records.make_row(algo, done, since, totals, evaluation, agents)
        records.keep_first(lost, row)
        row["elapsed_seconds"] = round(time.perf_counter() - begun, 3)
        speed = rate(done, first, trained, algo.steps_per_update, agents)
        row["steps_per_second"] = round(speed, 1)
        since, earlier = previous  # of this process, which may have started within the interval
        current = rate(done, since, trained - earlier, algo.steps_per_update, agents)
        row["current_steps_per_second"] = round(current, 1)
        previous = done, trained
        for sink in sinks:
            sink.write(row)
        reporter.row(row)
        last = row
        for callback in callbacks:
            answer = callback(logger.plain(row))
            refused = refused or (isinstance(answer, bool | np.bool_) and bool(answer))
        return row

    return write, lambda: (last, lost), lambda: refused


def is_complete(programs: Programs, at: Position) -> bool:
    """Whether nothing is left to train: all updates are done, or a search has finished."""
    if at.num_updates >= programs.num_updates:
        return True
    return programs.finished is not None and bool(programs.finished(at.state))
