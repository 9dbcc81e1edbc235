"""A run as data: what it is (`Spec`), its folder, and the programs that carry it out."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrl
from jaxrl import envs, logger, objectives, train
from jaxrl.algos import ALGORITHMS
from jaxrl.evaluate import evaluate
from jaxrl.experiments.reporters import count, size, spread
from jaxrl.names import lookup
from jaxrl.types import Algorithm

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "gymnax", "brax", "orbax-checkpoint")


@dataclasses.dataclass(frozen=True)
class Spec:
    """All that decides what a run computes. JSON keeps it; the same Spec gives the same bits.

    Attributes:
      steps: environment steps per seed; rounded up to whole updates.
      seed, seeds: agents with seeds `seed .. seed + seeds - 1` train side by side.
      intervals: rows of metrics, evaluations and checkpoints over the run.
      eval_episodes: episodes of each evaluation, per seed; 0: none.
    """

    algorithm: str
    environment: str
    env: dict[str, Any]
    objective: str
    config: Any
    hparams: Any
    steps: int
    seed: int
    seeds: int
    intervals: int
    eval_episodes: int

    @property
    def keys(self) -> jax.Array:
        """The keys of the agents `[P]`: that of a seed is the same in every population."""
        return _keys(self._seeds)

    @property
    def _seeds(self) -> np.ndarray:
        return np.arange(self.seed, self.seed + self.seeds, dtype=np.int32)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_json(data: dict[str, Any]) -> Spec:
    """The Spec that `to_json` wrote.

    Raises:
      ValueError: names that this version does not know.
    """
    module = algorithm(data["algorithm"])
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in data["config"].items()}
    hparams = dict(data["hparams"])
    hparams["objective"] = type(objective(data["objective"]).params)(**hparams["objective"])
    try:
        return Spec(**{**data, "config": module.Config(**config), "hparams": module.Hparams(**hparams)})
    except TypeError as error:
        raise ValueError(f"the run was made by another version of jaxrl: {error}") from None


def algorithm(name: str):
    """The module of an algorithm. Raises ValueError with the nearest names."""
    return lookup("algorithm", ALGORITHMS, name)


def objective(name: str):
    """An objective with its published parameters. Raises ValueError with the nearest names."""
    return lookup("objective", objectives.OBJECTIVES, name)()


@dataclasses.dataclass(frozen=True)
class Programs:
    """A Spec made ready: an algorithm over all its seeds, hyperparameters and compiled evaluation."""

    algo: Algorithm
    hp: Any
    num_updates: int
    init: Any  # (keys) -> state
    evaluate: Any  # (state, keys) -> Evaluation [P, E]


def build(spec: Spec) -> Programs:
    """Makes environment, algorithm and programs of a Spec; compiles nothing yet.

    Raises:
      ValueError: whatever does not fit, in one sentence.
    """
    for name in ("steps", "seeds", "intervals"):
        if getattr(spec, name) < 1:
            raise ValueError(f"{name} = {getattr(spec, name)} must be at least 1")
    for name in ("eval_episodes", "seed"):
        if getattr(spec, name) < 0:
            raise ValueError(f"{name} = {getattr(spec, name)} must not be negative")
    if spec.seed + spec.seeds > 2**31:
        raise ValueError(f"seed = {spec.seed} is too large: seeds end at 2147483647")
    env = envs.make(spec.environment, **spec.env)
    single = algorithm(spec.algorithm).make(env, spec.config, objective(spec.objective))
    algo = train.population(single)
    algo = algo._replace(update=jax.jit(algo.update))  # its shapes and its program share one trace
    num_updates = -(-spec.steps // single.steps_per_update)
    hp = spec.hparams.replace(total_updates=float(num_updates))
    # Plain arrays: a Python number would be a weak type, and its restored twin another program.
    hp = jax.tree.map(lambda x: np.asarray(x, np.float32), hp)
    return Programs(
        algo=algo,
        hp=hp,
        num_updates=num_updates,
        init=jax.jit(lambda keys: algo.init(keys, hp)),
        evaluate=jax.jit(jax.vmap(partial(_evaluate, env, single.act, max(spec.eval_episodes, 1)))),
    )


def _evaluate(env, act, num_episodes, state, key):
    return evaluate(env, partial(act, state), state.memory, key, num_episodes)


def evaluation_keys(spec: Spec, num_updates: int, domain: int = 0) -> jax.Array:
    """Keys `[P]` for evaluating after so many updates, apart from all that training uses.

    Args:
      domain: one per purpose; 0 is the evaluation during training.
    """
    return _evaluation_keys(np.int32(domain), spec._seeds, np.int32(num_updates))


# One program each: operation by operation, a start would compile a dozen small ones.
@jax.jit
def _keys(seeds):
    return jax.vmap(jax.random.key)(seeds)


@jax.jit
def _evaluation_keys(domain, seeds, num_updates):
    root = jax.random.fold_in(jax.random.key(0x5EED), domain)
    return jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(root, s), num_updates))(seeds)


def default_folder(spec: Spec) -> Path:
    """`runs/ppo-CartPole-v1-20260131-101500`, with a number behind it if that is taken."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{spec.algorithm}-{spec.environment.replace('/', '-')}-{now}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def create_folder(path: Path, spec: Spec, options: dict[str, Any]) -> None:
    """Makes the folder of a new run with its `run.json`; `options` change nothing that is computed.

    Raises:
      ValueError: the folder holds a run already, or cannot be written.
    """
    if (path / "run.json").exists():
        raise ValueError(
            f"{path} holds a run already: resume it with `jaxrl resume {path}` or choose another --out"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        info = {"spec": spec.to_json(), "options": options, "command": sys.argv}
        write_info(path, {**info, **provenance(), "sessions": []})
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror or error}; choose another --out") from None


def provenance() -> dict[str, Any]:
    """Versions, device and commit: what else a result depends on."""
    device = jax.devices()[0]
    return {
        "versions": {"jaxrl": jaxrl.__version__, "python": sys.version.split()[0]}
        | {name: version(name) for name in PACKAGES},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "git_commit": git_commit(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def git_commit() -> str | None:
    """The commit of the working directory's repository, if there is one."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def write_info(path: Path, info: dict[str, Any]) -> None:
    """Replaces `run.json` at once: a kill leaves the old one or the new one."""
    temporary = path / "run.json.tmp"
    temporary.write_text(json.dumps(info, indent=2) + "\n")
    os.replace(temporary, path / "run.json")


def read_info(path: Path) -> dict[str, Any]:
    """What stands in `run.json`. Raises ValueError where that is no run."""
    try:
        info = json.loads((path / "run.json").read_text())
        info["spec"]["algorithm"]
    except FileNotFoundError:
        raise ValueError(f"{path} is no run: it has no run.json") from None
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path / 'run.json'} cannot be read ({error}): is {path} a run?") from None
    return info


def record_session(path: Path, num_updates: int, compile_seconds: float, wall_seconds: float) -> None:
    """Adds what this process did to `run.json`."""
    info = read_info(path)
    info["sessions"].append(
        {
            "num_updates": num_updates,
            "compile_seconds": round(compile_seconds, 3),
            "wall_seconds": round(wall_seconds, 3),
        }
    )
    write_info(path, info)


def open_sinks(path: Path, spec: Spec, num_updates: int, options: dict[str, Any]) -> list[logger.Sink]:
    """Where the rows of a run go, from `num_updates` on."""
    sinks = [logger.jsonl(path / "metrics.jsonl", keep_updates=num_updates)]
    if options["tensorboard"]:
        sinks.append(logger.tensorboard(path / "tensorboard"))
    if options["wandb"]:
        sinks.append(logger.wandb(path, project="jaxrl", name=path.name, id=path.name, config=spec.to_json()))
    return sinks


def cache_folder() -> Path:
    """Where compiled programs are kept: JAXRL_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxrl"
    return Path(os.environ.get("JAXRL_CACHE") or default)


def enable_compile_cache() -> None:
    """Keeps every compiled program on disk for the next start; JAXRL_CACHE=off turns it off.

    A JAX_COMPILATION_CACHE_DIR of the user's stands.
    """
    if os.environ.get("JAXRL_CACHE") == "off" or jax.config.jax_compilation_cache_dir:
        return
    folder = cache_folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written costs a compile, not the run
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def announcement(spec: Spec, programs: Programs, path: Path) -> str:
    """What is about to be done: device, agents, steps, memory, folder."""
    device = jax.devices()[0]
    state = jax.eval_shape(programs.init, spec.keys)
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if x.dtype.itemsize)
    agents = f"{spec.seeds} agents (seeds {spec.seed} to {spec.seed + spec.seeds - 1})"
    if spec.seeds == 1:
        agents = f"1 agent (seed {spec.seed})"
    steps = programs.num_updates * programs.algo.steps_per_update
    return (
        f"{spec.algorithm} on {spec.environment}: {agents}, {count(steps)} steps each in "
        f"{programs.num_updates} updates, on {device.device_kind} ({device.platform}), "
        f"{size(held)} of state; into {path}"
    )


def closing(path: Path, spec: Spec, wall_seconds: float, compile_seconds: float) -> str:
    """How a run ended, and what to do with it."""
    rows = logger.read_jsonl(path / "metrics.jsonl")
    last = rows[-1]
    name = "evaluation/return" if "evaluation/return" in last else "episode/return"
    return (
        f"done in {wall_seconds:.1f} s ({compile_seconds:.1f} s of it compiling): "
        f"return {spread(last[name])}\n"
        f"jaxrl evaluate {path} | jaxrl render {path} | jaxrl plot {path}"
    )


def plot_curves(paths: list[Path], out: Path) -> str:
    """Draws the curves of runs. Raises ValueError for what is no run or has no rows yet."""
    from jaxrl.experiments import plot

    found = []
    for path in paths:
        read_info(path)
        rows = logger.read_jsonl(path / "metrics.jsonl")
        if not rows:
            raise ValueError(f"{path} has no rows of metrics yet: let it train for an interval first")
        found.append((path.name, rows))
    plot.curves(found, out)
    return str(out)
