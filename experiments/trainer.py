"""The loop around a run: dispatch, log, evaluate, save, stop. All that talks to the world is here."""

import contextlib
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl import checkpoint, hosts, logger, train
from jaxrl.experiments import diverged, records, runs
from jaxrl.experiments.reporters import Reporter, diverged_lanes, rate
from jaxrl.statistics import iqm

SECONDS_PER_DISPATCH = 0.25  # how long Ctrl-C and the progress bar wait at most


class Position(NamedTuple):
    """Where a run stands: all that a checkpoint holds, and its number of updates."""

    state: Any
    totals: Any  # of the metrics since the last row
    num_updates: int


class Compiled(NamedTuple):
    """The programs of a run, ready; `evaluate` is a Future, `memory` in bytes while training."""

    init: Any
    advance: Any
    evaluate: Future | None
    memory: int | None


def boundaries(num_updates: int, intervals: int) -> list[int]:
    """After which updates a row is written: `intervals` of them, as even as whole updates allow."""
    count = min(intervals, num_updates)
    return [num_updates * i // count for i in range(1, count + 1)]


def ends_of(programs: runs.Programs, spec: runs.Spec) -> list[int]:
    """After which updates of a run a row is written; a search has `intervals` for each life in a lane."""
    lives = -(-programs.num_updates // programs.agent_updates)
    return boundaries(programs.num_updates, spec.intervals * lives)


def shapes(programs: runs.Programs, spec: runs.Spec):
    """The state and the totals of a run as shapes, spread over its devices: what a restore is measured by."""
    state = jax.eval_shape(programs.init, spec.keys)
    totals = jax.eval_shape(lambda s: train.no_totals(programs.algo.update, s, programs.hp), state)
    where = placement(programs, state, totals)
    return jax.tree.map(lambda x, sharding: x.update(sharding=sharding), (state, totals), where)


def placement(programs: runs.Programs, state, totals):
    """Where each leaf of the state and of the totals goes."""
    of_state = programs.split(state) if programs.split else programs.state_sharding
    return jax.tree.broadcast((of_state, programs.sharding), (state, totals))


def hparams(programs: runs.Programs):
    """The hyperparameters as the programs take them: with the agents, or everywhere the same."""
    return hosts.place(programs.hp, programs.hp_sharding)


def compile_programs(programs: runs.Programs, spec: runs.Spec) -> Compiled:
    """Compiles the start and the update of a run side by side: the compiler leaves a core idle.

    Evaluation is compiled while training has begun; who needs it waits for its `result()`.
    """
    state, totals = shapes(programs, spec)
    pool = ThreadPoolExecutor(1)
    keys, hp = hosts.place(spec.keys, programs.sharding), hparams(programs)
    init = pool.submit(lambda: programs.init.lower(keys).compile())
    places = None if programs.split else (programs.state_sharding, programs.sharding)
    advance = train.program(programs.algo.update, out_shardings=places)
    advance = advance.lower(state, totals, hp, np.int32(1)).compile()
    evaluate = None
    if spec.eval_episodes:  # not sooner: training waits for the two others
        evaluate = pool.submit(lambda: programs.evaluate.lower(state, keys).compile())
    pool.shutdown(wait=False)
    return Compiled(init.result(), advance, evaluate, memory_of(advance))


def memory_of(program) -> int | None:
    """Bytes that a compiled program takes while it runs, its arguments included, if it can tell."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    total = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return total + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def start(programs: runs.Programs, spec: runs.Spec, compiled: Compiled) -> Position:
    """The first position of a run."""
    state = compiled.init(hosts.place(spec.keys, programs.sharding))
    return Position(state, zeros(programs, shapes(programs, spec)[1]), 0)


def zeros(programs: runs.Programs, totals):
    """Totals of nothing, in the shapes of `totals`."""
    return hosts.place(jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), totals), programs.sharding)


def restore(programs: runs.Programs, spec: runs.Spec, path: Path, step: int | None = None) -> Position:
    """The position in a checkpoint of a run.

    Raises:
      ValueError: there is none, it is broken, or it belongs to another config.
    """
    state, totals = shapes(programs, spec)
    target = {"state": state, "totals": totals}
    expected = {"spec": spec.to_json()}
    where = dict(zip(target, placement(programs, state, totals)))
    held, metadata = checkpoint.restore(path / "checkpoints", target, step, expected, sharding=where)
    return Position(held["state"], held["totals"], metadata["num_updates"])


def save(
    spec: runs.Spec, path: Path, at: Position, score: float | None = None, last: dict[str, Any] | None = None
) -> None:
    """Writes a position as a checkpoint of the run, with what `records` keeps of the last row before it."""
    metadata = {"spec": spec.to_json(), "num_updates": at.num_updates} | ({"last": last} if last else {})
    held = {"state": at.state, "totals": at.totals}
    with interruptible() as interrupted:  # not in the middle
        checkpoint.save(path / "checkpoints", at.num_updates, held, metadata, score=score)
    for number in interrupted():
        signal.raise_signal(number)


@contextlib.contextmanager
def interruptible():
    """Makes the first Ctrl-C (or SIGTERM) a wish. Yields a function that tells what has been wished."""
    wish = []

    def handler(number, frame):
        wish.append(number)
        signal.signal(number, previous[number])  # the second one is not a wish

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread
            previous[number] = signal.signal(number, handler)
    try:
        yield lambda: tuple(wish)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def fit(
    programs: runs.Programs,
    spec: runs.Spec,
    path: Path,
    compiled: Compiled,
    at: Position,
    reporter: Reporter,
    sinks: list[logger.Sink],
    save_every_seconds: float = 10.0,
) -> tuple[Position, bool]:
    """Trains to the end of the run, or to a Ctrl-C.

    The host reads the metrics of one interval while the device is busy with the next.

    Returns:
      The last position, which is saved, and whether the run is complete.
    """
    algo, hp = programs.algo, hparams(programs)
    nothing = zeros(programs, at.totals)
    ends = ends_of(programs, spec)
    before = max([end for end in ends if end <= at.num_updates], default=0)
    clock = saved_at = time.perf_counter()
    trained, first, length = 0.0, at.num_updates, 1

    known = [row for row in records.rows(path) if row["num_updates"] <= at.num_updates]
    lost = records.first_diverged(known)
    last = known[-1] if known else None

    def write(done, since, totals, evaluation):
        nonlocal last
        totals, evaluation = hosts.fetch((totals, evaluation))
        row = make_row(algo, done, since, totals, evaluation, spec.agents)
        records.keep_first(lost, row)
        row["elapsed_seconds"] = round(time.perf_counter() - clock, 3)
        speed = rate(done, first, trained, algo.steps_per_update, spec.agents)
        row["steps_per_second"] = round(speed, 1)
        for sink in sinks:
            sink.write(row)
        reporter.row(row)
        last = row
        return row

    def keep(score=None):
        save(spec, path, at, score, records.to_keep(last, lost) if last else None)

    with interruptible() as interrupted:

        def stop():
            return any(hosts.everyone(bool(interrupted())))

        waiting = None
        for end in [end for end in ends if end > at.num_updates]:
            while at.num_updates < end and not stop():
                length = min(length, end - at.num_updates)
                dispatched = time.perf_counter()
                state, totals = compiled.advance(at.state, at.totals, hp, np.int32(length))
                at = Position(state, totals, at.num_updates + length)
                if waiting:  # the last interval's numbers, while the device is busy with this one
                    write(*waiting)
                    waiting = None
                jax.block_until_ready(totals)
                spent = max(hosts.everyone(time.perf_counter() - dispatched))
                trained += spent
                reporter.progress(at.num_updates, trained, first)
                length = max(1, int(length * min(SECONDS_PER_DISPATCH / spent, 8.0)))
            if at.num_updates < end:
                break
            evaluation = None
            if spec.eval_episodes:
                keys = hosts.place(runs.evaluation_keys(spec, end), programs.sharding)
                evaluation = jax.block_until_ready(compiled.evaluate.result()(at.state, keys))
            waiting = (end, before, at.totals, evaluation)
            at, before = at._replace(totals=nothing), end
            now, ended = time.perf_counter(), is_complete(programs, at)
            due = ended or now - saved_at >= save_every_seconds
            if hosts.everyone(due)[0]:  # process 0 has the clock
                keep(score_of(write(*waiting)))  # the row first: a checkpoint stands for its rows
                waiting, saved_at = None, time.perf_counter()
            if ended:
                break
        if waiting:
            write(*waiting)
        complete = is_complete(programs, at)
        # A checkpoint of this very update may be there already, and it has a score.
        if (
            not complete
            and hosts.by_leader(lambda: checkpoint.latest(path / "checkpoints")) != at.num_updates
        ):
            keep()
    return at, complete


def is_complete(programs: runs.Programs, at: Position) -> bool:
    """Whether nothing is left to train: the updates are done, or a search has come to its end."""
    if at.num_updates >= programs.num_updates:
        return True
    return programs.finished is not None and bool(programs.finished(at.state))


def make_row(algo, done, since, totals, evaluation, seeds: int) -> dict[str, Any]:
    """One interval as a row: totals of the updates `since .. done`, with a value for every seed.

    `agent/died_at` is there if an agent has diverged: after how many steps its parameters, losses or
    gradients stopped being finite numbers.
    """
    # Divided on the host: a device's last bit depends on how many agents it has.
    totals = jax.tree.map(lambda x: np.asarray(x, np.float64)[:seeds], totals)
    metrics = train.summarize(totals, done - since)
    counts = metrics.pop("episode/count", None)
    dead = metrics.pop("agent/dead/count", np.zeros(seeds)).astype(int)
    row: dict[str, Any] = {"num_updates": done, "timesteps": train.steps_after(algo, done)}
    for name, values in metrics.items():
        if name.startswith("episode/") and name.endswith("_sum"):
            with np.errstate(invalid="ignore", divide="ignore"):
                row[name.removesuffix("_sum")] = (values / counts).tolist()
        else:
            row[name] = values.tolist()
    if counts is not None:
        row["episode/count"] = counts.tolist()
    if dead.any():
        died = [train.steps_after(algo, done - count + 1) if count else None for count in dead.tolist()]
        row["agent/died_at"] = died
    if evaluation is not None:
        row["evaluation/return"] = np.asarray(evaluation.returns, np.float64)[:seeds].mean(-1).tolist()
        row["evaluation/length"] = np.asarray(evaluation.lengths, np.float64)[:seeds].mean(-1).tolist()
    return row


def score_of(row) -> float:
    """What the best checkpoint is best in: the IQM of the returns of agents, of evaluation if there was one.

    Agents that diverged count as the worst of them; nan where at least half did.
    """
    values = row.get("evaluation/return", row.get("episode/return", []))
    agents = {"per_seed": values, "died": diverged_lanes(row)}
    if not values or diverged.unknown([agents]):
        return float("nan")
    return float(iqm(diverged.counted(agents, diverged.worst([agents]))))
