"""A whole training run as one call, for any `Algorithm`, in a script or a notebook."""

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrl import checkpoint, files, fit_record, formats, hosts, logger, loop, records, reporters, train
from jaxrl.artifact import from_state, policy
from jaxrl.compile_cache import enable_compile_cache
from jaxrl.fit_programs import make_programs
from jaxrl.fit_record import MARK
from jaxrl.programs import Programs, compile_programs
from jaxrl.types import Algorithm, Env, PyTree
from jaxrl.version import __version__

# Files that identify folders of runs by other functions.
OTHERS = ("run.json", "sweep.json", "comparison.json", "talk.json", "meta.json")
OTHERS += ("metrics.jsonl", "checkpoints")
REMEDY = "give another folder as `out`"


class Fitted(NamedTuple):
    """What `fit` returns."""

    state: PyTree  # of all seeds; leaves `[seeds, ...]`
    rows: list[dict[str, Any]]  # as in metrics.jsonl, including those of earlier calls; see `jaxrl.records`
    complete: bool  # False: it was stopped, by Ctrl-C or a callback
    num_updates: int  # updates done
    hparams: PyTree  # of the run, including `total_updates`
    out: Path | None  # the folder of the run

    def agent(self, index: int = 0) -> PyTree:
        """The state of one agent, as `algo.act` and `algo.update` take it."""
        return jax.tree.map(lambda leaf: leaf[index], self.state)


def fit(
    algo: Algorithm,
    *,
    steps: int,
    seeds: int = 1,
    seed: int = 0,
    hparams: PyTree | None = None,
    env: Env | None = None,
    eval_episodes: int = 16,
    intervals: int = 20,
    out: str | os.PathLike | None = None,
    callbacks: Sequence[Callable] = (),
    save_every_seconds: float = 10.0,
    progress: bool = True,
) -> Fitted:
    """Trains agents in parallel, with progress, evaluation, rows of metrics, checkpoints and exact resume.

        >>> import jaxrl
        >>> from jaxrl import envs
        >>> from jaxrl.algos import a2c
        >>> from jaxrl.policies import NetworkConfig
        >>> config = a2c.Config(num_envs=4, num_steps=8, network=NetworkConfig(hidden_sizes=(8,)))
        >>> algo = a2c.make(envs.make("CartPole-v1"), config)
        >>> fitted = jaxrl.fit(algo, steps=256, seeds=2, intervals=2, progress=False)
        >>> [row["timesteps"] for row in fitted.rows], len(fitted.rows[-1]["episode/return"])
        ([128, 256], 2)

    The agents are those of `train.run` with the keys `jax.random.key(seed)`, `jax.random.key(seed + 1)`, ...
    They use all devices; on a CPU, call `train.use_cores()` before anything else for one device per core.
    Compiled programs are cached in the user's cache folder for later processes (JAXRL_CACHE: another folder,
    or off).

    With `out`, the run is saved there, and calling `fit` again with the same arguments continues it from the
    last checkpoint, or returns it if it is complete: the result of a run that was stopped or killed is
    bitwise the same, if the algorithm keeps its whole state (`Algorithm.keep`). Shapes, numbers and data are
    compared with those of the folder; the code of the algorithm and of `env` is not. If the algorithm has a
    `description` of its policy, the folder also contains `policy.npz`, for `jaxrl.load` and `jaxrl export`.

    Ctrl-C (or SIGTERM) ends the run after the update in progress: its state at that time is saved and
    returned. A second one raises KeyboardInterrupt immediately.

    Args:
      algo: of one agent, as returned by `ppo.make(env)`, or your own. Its metrics are scalars; `loss/...`
        and `grad/...` that are not finite, or such leaves in `state.params`, mark an agent as diverged.
        Returns are computed from `episode/return_sum` and `episode/count`.
      steps: environment steps of each agent, including those of `init`; rounded up to whole updates. For an
        algorithm that learns from data alone (`steps_per_update` 0), the number of updates. Sets
        `hparams.total_updates`, the length of schedules, if the algorithm has it.
      seeds: number of agents, with the seeds `seed .. seed + seeds - 1`.
      hparams: of all agents; `algo.hparams` if None.
      env: one environment, for evaluation; None: no evaluation.
      eval_episodes: episodes per agent in each evaluation; 0: no evaluation.
      intervals: number of rows and evaluations over the run; checkpoints are written at most as often.
      out: folder for `metrics.jsonl` and checkpoints; None: nothing is written.
      callbacks: `(row) -> anything`, called with each row, with None for values that are not finite. The run
        stops, is saved and returned after the row for which a callback returns True. An exception in a
        callback ends the run and is raised again; a run with `out` then continues from its last checkpoint.
      save_every_seconds: minimum time between checkpoints; 0: one per interval.
      progress: a panel on a terminal, lines elsewhere; False: prints nothing.

    Raises:
      ValueError: an invalid argument, or a folder with another run; with the remedy.
    """
    train.use_cores(quiet=True)
    enable_compile_cache()
    programs = make_programs(algo, steps, seeds, seed, hparams, env, eval_episodes, intervals)
    if not save_every_seconds >= 0:
        raise ValueError(f"save_every_seconds = {save_every_seconds} must be 0 or more")
    path = None if out is None else Path(out)
    hosts.require_same("the run", [str(path), programs.identity, programs.fingerprint])
    with contextlib.ExitStack() as held:
        if path:
            hosts.by_leader(lambda: _enter(path, programs, _about(algo, env), held))

        def saved(at, row):
            if path:
                _write_policy(path, algo, env, programs, at, row)

        at, rows, complete = _train(programs, path, callbacks, save_every_seconds, progress, saved)
    state = at.state
    if len(programs.seeds) > programs.reported:
        state = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf[: programs.reported], tree))(state)
    return Fitted(state, rows, complete, at.num_updates, programs.hp, path)


def _train(programs: Programs, path, callbacks, save_every_seconds, progress: bool, saved: Callable):
    """The last position, all rows, and whether the run is complete."""
    reporter = _reporter(programs, progress, reporters.SAVES if path else "Ctrl-C stops after this update")
    sinks = []
    try:
        at, rows = None, []
        if path and hosts.by_leader(lambda: checkpoint.latest(path / "checkpoints")) is not None:
            at = loop.restore(programs, path)
            rows = [logger.plain(row) for row in records.rows(path) if row["num_updates"] <= at.num_updates]
            if loop.is_complete(programs, at):
                reporter.status(f"{path} is complete: nothing is left to train")
                if hosts.by_leader(lambda: not (path / policy.FILE).exists()):
                    saved(at, rows[-1] if rows else None)
                return at, rows, True
            loop.warn_of_refill(programs)
            reporter.status(f"continuing after {at.num_updates} of {programs.num_updates} updates")
        elif path:
            loop.report_refill(programs, reporter)
        reporter.status("compiling ...")
        begun = time.perf_counter()
        compiled = compile_programs(programs, state_exists=at is not None)
        reporter.status(reporters.compiled(time.perf_counter() - begun, compiled.memory))
        at = at or loop.start(programs, compiled)
        sinks.append(logger.Sink(lambda row: rows.append(logger.plain(row)), lambda: None))
        if path and hosts.leads():
            sinks.append(logger.jsonl(path / "metrics.jsonl", keep_updates=at.num_updates))
        at, complete = loop.run(
            programs,
            path,
            compiled,
            at,
            reporter,
            sinks,
            save_every_seconds,
            callbacks=callbacks,
            saved=saved,
        )
        if not complete:
            how = "stopped and saved" if path else "stopped"
            reporter.status(f"{how} after {at.num_updates} of {programs.num_updates} updates")
        return at, rows, complete
    finally:
        reporter.close()
        for sink in sinks:
            sink.close()


def _reporter(programs: Programs, progress: bool, interrupt: str) -> reporters.Reporter:
    if not progress:
        return reporters.Reporter(*[lambda *_: None] * 4)
    algo, agents = programs.algo, programs.reported
    title = f"{agents} agent{'s' * (agents > 1)}"
    sizes = (programs.num_updates, algo.steps_per_update, agents)
    return reporters.choose(title, *sizes, warmup_steps=algo.warmup_steps, interrupt=interrupt)


# --- the folder of a run -------------------------------------------------------------------------


def _name_of(algo: Algorithm) -> str:
    """The name of an algorithm in reports: the module in which its hyperparameters are defined."""
    name = type(algo.hparams).__module__.rpartition(".")[2]
    return "unnamed algorithm" if name in ("__main__", "builtins") else name


def _about(algo: Algorithm, env: Env | None) -> dict[str, Any]:
    """The names of an algorithm and of its environment, and the parameters of the latter as plain JSON.

    The environment has a name if `envs.make` has returned it: the one of the evaluation, or of the policy.
    """
    made_for = algo.description.env if env is None and algo.description else env
    name, params = getattr(getattr(made_for, "step", None), "made_as", ("", {}))
    plain = {
        key: value for key, value in params.items() if isinstance(value, bool | int | float | str | None)
    }
    return {"algorithm": _name_of(algo)} | ({"environment": name, "env": plain} if name else {})


def _write_policy(path: Path, algo: Algorithm, env, programs: Programs, at: loop.Position, row) -> None:
    """Writes `policy.npz`, if the algorithm describes its policy."""
    about = _about(algo, env)
    about = {name: about.get(name, f"unnamed {name}") for name in ("algorithm", "environment")}
    about |= {"num_updates": at.num_updates}
    from_state.write(path, algo, at.state, programs.seeds[: programs.reported], row, about)


def _enter(path: Path, programs: Programs, names: dict[str, Any], held: contextlib.ExitStack) -> None:
    """Creates the folder of a run, or checks that it belongs to the run, and locks it.

    Raises:
      ValueError: it cannot be written, contains another run, or is locked by another process.
    """
    checkpoint.require_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held.enter_context(files.lock(path, f"another process trains in {path}: wait for it, or {REMEDY}"))
        known = (path / MARK).exists()
        if known and (checkpoint.latest(path / "checkpoints") is not None or records.rows(path)):
            _require_same(path, programs.identity)
            return
        for name in OTHERS:
            if not known and (path / name).exists():
                raise ValueError(f"{path} holds {name} of a run that is not by jaxrl.fit: {REMEDY}")
        device = jax.devices()[0]
        about = {
            "format": formats.FORMAT,
            "run": programs.identity,
            **names,
            "num_updates": programs.num_updates,
            "versions": {"jaxrl": __version__, "jax": jax.__version__},
            "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        files.replace(path / MARK, json.dumps(about, indent=1) + "\n")
    except OSError as error:
        raise ValueError(f"cannot write to {path} ({error.strerror or error}): {REMEDY}") from None


def _require_same(path: Path, identity: dict[str, Any]) -> None:
    try:
        saved = fit_record.identity(path)
    except ValueError as error:
        raise ValueError(f"{error}: it was edited; {REMEDY}") from None
    if difference := checkpoint.difference(saved, identity):
        raise ValueError(
            f"the run in {path} was made {difference}: call fit with the same arguments, or {REMEDY}"
        )
