"""Runs as data: the specification (`Spec`), the folder, and the programs of a run."""

import dataclasses
import datetime
import difflib
import importlib.util
import json
import math
import os
import subprocess
import sys
import types
import typing
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec

import jaxrl
from jaxrl import (
    envs,
    fields,
    files,
    keeping,
    logger,
    objective_file,
    objectives,
    records,
    reporters,
    sources,
    train,
)
from jaxrl.algos import ALGORITHMS
from jaxrl.compile_cache import cache_folder, enable_compile_cache  # noqa: F401 (for the commands)
from jaxrl.evaluate import evaluate
from jaxrl.experiments import diverged, folders, search, tracking, user_files
from jaxrl.names import lookup
from jaxrl.programs import Programs, agent_keys, boundaries, fingerprint, share
from jaxrl.programs import evaluation_keys as keys_for_evaluation
from jaxrl.reporters import count, size, spread
from jaxrl.statistics import bootstrap_interval, iqm
from jaxrl.types import Algorithm, Env, Objective

# Options that do not affect what a run computes, with their defaults; lists as in JSON.
OPTIONS = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in vars(tracking.Options()).items()
}

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "gymnax", "brax", "orbax-checkpoint")


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that determines what a run computes. It is stored as JSON; equal Specs give equal bits.

    Attributes:
      steps: environment steps per seed, including those of `init`; rounded up to whole updates.
      seed, seeds: agents with seeds `seed .. seed + seeds - 1` are trained in parallel, in `lanes`.
      shard: what is distributed over several devices: agents, or the environments of one agent.
      trials: for a sweep, the values of each trial that replace those in `hparams` (`{"gamma": 0.9}`; in the
        objective, `objective.clip_eps`) and in `env` (`env.length`); every trial has all the seeds. Empty:
        one trial.
      search: for a search on the device, its kind and its initial values (see `search.record`); its slots
        replace trials, and `steps` are those of an agent that is trained to the end.
      chunk: agents that a device updates at a time; 0: the default of `train.over_agents`.
      intervals: rows of metrics and evaluations over `steps`; checkpoints are made at most as often.
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
    trials: tuple[dict[str, float], ...] = ()
    search: dict[str, Any] | None = None
    chunk: int = 0
    shard: Literal["agents", "envs"] = "agents"

    @property
    def agents(self) -> int:
        """Number of reported agents, ordered by trial and then by seed."""
        return self.seeds * self.slots

    @property
    def slots(self) -> int:
        """Number of trials trained at a time."""
        return self.search["slots"] if self.search else max(1, len(self.trials))

    @property
    def keys(self) -> jax.Array:
        """The keys of the lanes `[P]`; the key of a seed is the same in every population."""
        return agent_keys(self.lane_seeds)

    @property
    def lanes(self) -> int:
        """Number of trained agents; those beyond `agents` are not reported."""
        return train.lanes_for(self.agents)

    @property
    def lane_seeds(self) -> np.ndarray:
        """The seed of every lane `[P]`."""
        lane = np.arange(self.lanes)
        offset = lane % self.seeds if self.trials or self.search else lane
        return ((self.seed + offset) % 2**31).astype(np.int32)

    def lane_hparams(self) -> Any:
        """The hyperparameters, float32; with trials, those of each lane `[P]`."""
        # Arrays: a Python number would have a weak type, so that the restored value needed another program.
        if not self.trials:
            return jax.tree.map(lambda x: np.asarray(x, np.float32), self.hparams)
        trials = [with_values(self.hparams, parts(trial)[0]) for trial in self.trials]
        return jax.tree.map(lambda *x: np.asarray(x, np.float32)[self._trial_of_lane], *trials)

    def lane_env(self) -> dict[str, np.ndarray]:
        """The parameters of the environment that the trials vary, float32, of each lane `[P]`."""
        trials = [parts(trial)[1] for trial in self.trials]
        return {
            name: np.array([trial[name] for trial in trials], np.float32)[self._trial_of_lane]
            for name in (trials[0] if trials else ())
        }

    def env_of(self, lane: int) -> dict[str, Any]:
        """The parameters of the environment of one lane."""
        return self.env | {name: float(values[lane]) for name, values in self.lane_env().items()}

    @property
    def _trial_of_lane(self) -> np.ndarray:
        return np.minimum(np.arange(self.lanes) // self.seeds, len(self.trials) - 1)

    def to_json(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        if data["hparams"].get("total_updates") == math.inf:
            del data["hparams"]["total_updates"]  # the run sets it; JSON has no infinity
        was = {"trials": (), "search": None, "chunk": 0, "shard": "agents"}
        for name, value in was.items():  # left out, as in older versions, whose checkpoints remain valid
            if getattr(self, name) == value:
                del data[name]
        network, usual = data["config"].get("network"), getattr(type(self.config)(), "network", None)
        if isinstance(network, dict) and network.get("core") == getattr(usual, "core", None) == "gru":
            del network["core"]
        if self.objective:
            objective = data["hparams"]["objective"]
            data["hparams"]["objective"] = jax.tree.map(lambda x: x.tolist() if np.ndim(x) else x, objective)
        return data


def parts(trial: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The hyperparameters of a trial, and its parameters of the environment without the prefix `env.`."""
    env = {name.removeprefix("env."): value for name, value in trial.items() if name.startswith("env.")}
    return {name: value for name, value in trial.items() if not name.startswith("env.")}, env


def with_values(hparams: Any, values: dict[str, float]) -> Any:
    """Hyperparameters with some replaced; `objective.clip_eps` is a parameter of the objective.

    Raises:
      ValueError: an unknown name.
    """
    for name in values:
        lookup("hyperparameter", fields.numbers(hparams), name)
    return fields.replace(hparams, values)


def from_json(data: dict[str, Any]) -> Spec:
    """The Spec that `to_json` wrote.

    Raises:
      ValueError: names or values that are unknown to this version.
    """
    if "worlds" in data:
        raise ValueError("that is the folder of a discovery: it holds objectives, not policies to show")
    for name in ("algorithm", "environment", "objective"):  # they may be names of files, which are read
        if not isinstance(data.get(name, ""), str):
            raise ValueError(f"{name} = {data[name]!r} in the run.json must be str")
    try:
        module = algorithm(data["algorithm"])
        user_files.environment(data["environment"])
        config = fields.configured(module.Config(), dotted(data["config"]))
        hparams = dict(data["hparams"])
        if data["objective"]:
            hparams["objective"] = objective_from_json(data["objective"], hparams["objective"])
        parts = {"config": config, "hparams": module.Hparams(**hparams)}
        spec = Spec(**{**data, **parts, "trials": tuple(data.get("trials", ()))})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the run.json was edited, or written by another version of jaxrl: {_reason(error)}"
        ) from None
    inner = _parts_of(spec.hparams.objective) if spec.objective else []
    require_types(spec, *_parts_of(spec.config), spec.hparams, *inner)
    return spec


def dotted(config: dict[str, Any]) -> dict[str, Any]:
    """The values of nested dicts by dotted names, lists as tuples; older runs have no nested values."""
    named = {}
    for name, value in config.items():
        if isinstance(value, dict):
            named |= {f"{name}.{inner}": x for inner, x in dotted(value).items()}
        else:
            named[name] = tuple(value) if isinstance(value, list) else value
    return named


def require_types(*parts: Any, where: Any = "the run.json") -> None:
    """Raises ValueError if a field of a dataclass from JSON does not have its annotated type."""
    for part in parts:
        for name, kind in typing.get_type_hints(type(part)).items():
            if not fits(getattr(part, name), kind):
                raise ValueError(f"{name} = {getattr(part, name)!r} in {where} must be {kind_name(kind)}")


def objective_from_json(name: str, data: dict[str, Any]) -> Any:
    """The parameters of an objective from JSON; weights can have any size, and are checked as in a file."""
    if name in objectives.LEARNED:
        return objective_file.from_json(name, data)
    params = objective(name).params
    if not is_mixture(name):
        return _restored(params, data)
    pairs = zip(name.split("+"), data["parts"], strict=True)
    parts = tuple(objective_from_json(part, values) for part, values in pairs)
    return type(params)(weights=_restored(params.weights, data["weights"]), parts=parts)


def _restored(template: Any, data: Any) -> Any:
    """The parameters of an objective from JSON, with the types of `template`."""
    if dataclasses.is_dataclass(template):
        return type(template)(**{n: _restored(getattr(template, n, None), x) for n, x in data.items()})
    if isinstance(template, tuple):
        return tuple(_restored(*both) for both in zip(template, data, strict=True))
    if not np.ndim(template):
        return data
    array = np.asarray(data, np.float32)
    if array.shape != template.shape:
        raise TypeError(f"numbers of the objective have the shape {array.shape}, not {template.shape}")
    return array


def _parts_of(params: Any) -> list[Any]:
    """The parameters of an objective; for a mixture also those of its parts."""
    inner = vars(params).values() if dataclasses.is_dataclass(params) else params
    deeper = [x for x in inner if isinstance(x, tuple) or dataclasses.is_dataclass(x)]
    below = [part for x in deeper for part in _parts_of(x)]
    return [params, *below] if dataclasses.is_dataclass(params) else below


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from a file has a field's annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in arguments
    if origin is types.UnionType:
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, arguments[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    if kind is jax.Array:
        return isinstance(value, jax.Array | np.ndarray)
    return kind is Any or type(value) is (origin or kind)


def kind_name(kind: Any) -> str:
    """A field's annotated type as text."""
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)


def algorithm(name: str):
    """The module of an algorithm, given by name or file. Raises ValueError with the nearest names."""
    if user_files.is_source(name):
        return user_files.algorithm(name)
    return lookup("algorithm", ALGORITHMS, name)


def objective(name: str):
    """An objective with its published parameters; `ppo+dpo` is the mixture of both, with equal weights.

    A name may also be a file. Raises ValueError with the nearest names.
    """
    if is_mixture(name):
        return objectives.mixture(*map(objective, name.split("+")))
    if user_files.is_source(name):
        return user_files.objective(name)[1]
    if is_file(name):
        return user_files.load_objective(Path(name))[1]
    return objective_file.named(name)


def is_mixture(name: str) -> bool:
    """Whether it names several objectives: a + can also be part of a file's path."""
    path = Path(name.rpartition(":")[0]) if sources.is_file(name) and ":" in name else Path(name)
    return "+" in name and not ((is_file(name) or sources.is_file(name)) and path.is_file())


def is_file(name: str) -> bool:
    """Whether an objective is given as a file of weights, not by its name or as a Python file."""
    return not sources.is_file(name) and (name.endswith(".json") or os.sep in name)


def with_objective(text: str, hparams: Any) -> tuple[str, Any]:
    """The name of the objective in `--objective`, and hyperparameters with its weights, if any."""
    if not text:  # the algorithm has a fixed objective
        return text, hparams
    name, given = objective_given(text)
    return name, hparams if is_typed(given.params) else hparams.replace(objective=given.params)


def typed_params(text: str) -> Any:
    """The parameters of an objective that a command line can contain: `with_objective` restores weights."""
    if any(name in objectives.LEARNED for name in text.split("+")):
        return objectives.Nothing()  # with weights from a run, or to be refused by `with_objective`
    params = objective_given(text)[1].params
    return params if is_typed(params) else objectives.Nothing()


def is_typed(params: Any) -> bool:
    """Whether the parameters of an objective are numbers that a command line can contain, not weights."""
    return all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(params))


def objective_given(text: str) -> tuple[str, Objective]:
    """The objective in `--objective`: a name, or a file with a learned one.

    Raises:
      ValueError: there is no such objective or file, or it is the name of a learned one without weights.
    """
    return together(text.split("+") if is_mixture(text) else [text])


def together(names: list[str]) -> tuple[str, Objective]:
    """The name of an objective and the objective; for several, their mixture. Each is a name or a file.

    A run stores the name and the parameters and then needs no file, so its folder can be moved.
    """
    given = [_one_given(name) for name in names]
    if len(given) == 1:
        return given[0]
    return "+".join(name for name, _ in given), objectives.mixture(*(one for _, one in given))


def _one_given(text: str) -> tuple[str, Objective]:
    if user_files.is_source(text):
        return user_files.objective(text)
    if is_file(text):
        return user_files.load_objective(Path(text))
    if text in objectives.LEARNED:
        raise ValueError(f"{text} is nothing without its weights: give the file that holds them")
    return text, objective(text)


def objective_name(module, name: str = "") -> str:
    """The name of an algorithm's objective, "ppo" if none is chosen; "" if there is no choice.

    Raises:
      ValueError: one is chosen for an algorithm that has no objective, or a fixed one.
    """
    if "objective" in module.Hparams.__dataclass_fields__:
        return name or "ppo"
    if name:
        short = sources.shown(module.__name__.rpartition(".")[2])
        raise ValueError(f"{short} has no objective to choose: leave --objective {name} out, or take ppo")
    return ""


def make(spec: Spec, env: Env) -> Algorithm:
    """The algorithm of a Spec, for one agent in `env`."""
    chosen = (objective(spec.objective),) if spec.objective else ()
    algo = algorithm(spec.algorithm).make(env, spec.config, *chosen)
    if not isinstance(algo, Algorithm):
        name, kind = sources.shown(spec.algorithm), type(algo).__name__
        raise ValueError(f"make of {name} must return a jaxrl.types.Algorithm, not a {kind}")
    return algo


def build(spec: Spec) -> Programs:
    """Creates environment, algorithm and programs of a Spec; does not compile.

    Raises:
      ValueError: an invalid or inconsistent value, in one sentence.
    """
    check_numbers(spec)
    split = spec.shard == "envs"
    mesh = train.mesh_of_environments(spec.config.num_envs) if split else train.mesh(spec.lanes)
    of_agents = None if split else mesh
    lane_env = spec.lane_env()
    env = envs.make(spec.environment, **spec.env_of(0))
    single = make(spec, env)
    traced = in_own_env(spec, single) if lane_env else single
    algo = train.population(traced, bool(spec.trials or spec.search), of_agents, spec.chunk)
    algo = train.watched(train.over_environments(algo, mesh) if split else algo)
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_agent = everywhere if split else NamedSharding(mesh, PartitionSpec("agents"))
    num_updates = agent_updates = train.updates_for(single, spec.steps)
    for name, number in (("steps per update", single.steps_per_update), ("updates", num_updates)):
        if number >= 2**31:
            raise ValueError(f"{number} {name} are too many: at most 2147483647 can be counted")
    evaluate_agents = train.over_agents(
        partial(_evaluate, spec, env, single.act, max(spec.eval_episodes, 1)), (0, 0, 0), of_agents
    )
    state_sharding, finished, agents = by_agent, None, lambda state: state
    if spec.search:
        strategy, space = search.make(spec.search, agent_updates)
        state_sharding = search.SearchState(
            everywhere, *[by_agent] * 6, strategy=everywhere, num_updates=everywhere
        )
        algo = search.over(algo, strategy, space, spec.seeds)
        num_updates, agent_updates = strategy.num_updates, strategy.agent_updates
        agents = attrgetter("agents")
        if strategy.finished:
            finished = jax.jit(lambda state: strategy.finished(state.strategy))
    algo = algo._replace(update=jax.jit(algo.update))  # its shapes and its program need only one trace
    spec = dataclasses.replace(spec, hparams=spec.hparams.replace(total_updates=float(agent_updates)))
    hp = spec.lane_hparams()
    if lane_env:
        hp = InEnv(hp, lane_env)
    lives = -(-num_updates // agent_updates)  # number of agents that a lane trains in succession
    return Programs(
        algo=algo,
        hp=hp,
        seeds=spec.lane_seeds,
        num_updates=num_updates,
        agent_updates=agent_updates,
        ends=boundaries(num_updates, spec.intervals * lives),
        reported=spec.agents,
        eval_episodes=spec.eval_episodes,
        identity=spec.to_json(),
        init=jax.jit(
            lambda keys, *data: algo.init(keys, hp, *data), out_shardings=None if split else state_sharding
        ),
        evaluate=jax.jit(lambda state, keys: evaluate_agents(agents(state), keys, lane_env)),
        sharding=by_agent,
        hp_sharding=by_agent if spec.trials else everywhere,
        state_sharding=state_sharding,
        agents=agents,
        finished=finished,
        split=partial(train.split_environments, mesh) if split else None,
        env=env,
        data=share(algo, everywhere),
        fingerprint=fingerprint(algo),
        keep=algo.keep,
    )


def check_numbers(spec: Spec) -> None:
    """Raises ValueError for a number that is invalid in every environment, with the remedy."""

    def require(holds, name, value, remedy):
        if not holds:
            raise ValueError(f"{name} = {value} must {remedy}")

    for name in ("steps", "seeds", "intervals"):
        require(getattr(spec, name) >= 1, name, getattr(spec, name), "be at least 1")
    for name in ("eval_episodes", "seed", "chunk"):
        require(getattr(spec, name) >= 0, name, getattr(spec, name), "not be negative")
    if spec.shard == "envs" and spec.agents > 1:
        raise ValueError(f"--shard envs divides one agent, not {spec.agents}: leave it out")
    if spec.seed + spec.seeds > 2**31:
        raise ValueError(f"seed = {spec.seed} is too large: seeds end at 2147483647")
    hparams, config = fields.numbers(spec.hparams), fields.flatten(spec.config)
    hparams.pop("total_updates", None)  # the run sets it
    for name, value in {**spec.env, **config, **hparams}.items():
        require(not isinstance(value, float) or math.isfinite(value), name, value, "be finite")
    for name, value in config.items():
        if isinstance(value, tuple):
            require(all(size >= 1 for size in value), name, value, "hold sizes of at least 1")
        elif isinstance(value, int):
            require(value >= 0, name, value, "not be negative")
    # Values from the command line are checked here, not in `make`, where they may be traced.
    bounds = fields.bounds(spec.hparams)
    tried = [pair for trial in spec.trials for pair in trial.items()]
    for name, value in [*hparams.items(), *tried]:
        kind = bounds.get(name)
        require(math.isfinite(value), name, value, "be finite")
        require(kind != "positive" or value > 0, name, value, "be positive")
        require(kind != "not_negative" or value >= 0, name, value, "not be negative")
        require(kind != "share" or 0 <= value <= 1, name, value, "lie between 0 and 1")


@struct.dataclass
class InEnv:
    """Hyperparameters of an algorithm, and parameters of its environment."""

    agent: Any
    env: dict[str, Any]


def in_own_env(spec: Spec, algo: Algorithm) -> Algorithm:
    """The algorithm in environments whose parameters are traced: `init` and `update` take an InEnv."""

    def made(hp):
        return make(spec, envs.make(spec.environment, **{**spec.env, **hp.env}))

    return algo._replace(
        init=lambda key, hp, *data: made(hp).init(key, hp.agent, *data),
        update=lambda state, hp, *data: made(hp).update(state, hp.agent, *data),
    )


def can_trace(spec: Spec, name: str, value: float) -> bool:
    """Whether a parameter of the environment can differ between the lanes of one program."""
    try:
        env = envs.make(spec.environment, **{**spec.env, name: value})
        algo = in_own_env(spec, make(spec, env))

        def two_updates(key, value):
            hp = InEnv(spec.hparams, {name: value})
            return algo.update(algo.init(key, hp, *algo.data_args), hp, *algo.data_args)

        jax.eval_shape(two_updates, jax.random.key(0), np.float32(value))
    except (jax.errors.JAXTypeError, TypeError, ValueError):
        return False
    return True


def _evaluate(spec, env, act, num_episodes, state, key, params):
    if params:  # traced, for this lane
        env = envs.make(spec.environment, **{**spec.env, **params})
    memory = getattr(getattr(state, "stream", None), "memory", ())
    return evaluate(env, partial(act, state), memory, key, num_episodes)


def evaluation_keys(spec: Spec, num_updates: int, domain: int = 0) -> jax.Array:
    """Keys `[P]`, one per lane, for an evaluation after `num_updates`, independent of the training keys.

    Args:
      domain: a different one for each purpose; 0 is the evaluation during training.
    """
    return keys_for_evaluation(spec.lane_seeds, num_updates, domain)


def default_name(spec: Spec, prefix: str = "") -> str:
    """The name of a run's folder, without the time: `ppo-CartPole-v1`."""
    return sources.shown(f"{prefix}{spec.algorithm}-{spec.environment}").replace(":", "-")


def create_folder(path: Path, spec: Spec, options: dict[str, Any], command: list[str]) -> None:
    """Creates the folder of a new run with its `run.json`; `options` do not affect what is computed.

    Raises:
      ValueError: the folder already contains a run or a configuration, or cannot be written.
    """
    from jaxrl.experiments import config_file

    info = {"spec": spec.to_json(), "options": options, "command": command, **provenance(), "sessions": []}
    with folders.new(path, "run.json"):
        if (path / config_file.NAME).exists():
            raise ValueError(f"{path / config_file.NAME} exists and would be replaced: choose another --out")
        info |= {"sources": kept} if (kept := sources.keep(path, info["spec"])) else {}
        files.create(path / "run.json", _info_text(info))
        config_file.write(path, spec, kept)


def require_seen(path: Path) -> None:
    """Raises ValueError if this process cannot access the folder of the run."""
    if not (path / "run.json").exists():
        raise ValueError(f"{path} is not seen by all processes: give an --out in a folder that they share")


def provenance() -> dict[str, Any]:
    """Versions, device and commit, on which a result also depends."""
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
    """Replaces `run.json` atomically."""
    files.replace(path / "run.json", _info_text(info))


def _info_text(info: dict[str, Any]) -> str:
    return json.dumps(info, indent=2, allow_nan=False) + "\n"


def read_info(path: Path) -> dict[str, Any]:
    """The content of `run.json`. Raises ValueError if it is not that of a run."""
    try:
        info = json.loads((path / "run.json").read_text())
        info["options"] = {**OPTIONS, **info["options"]}
        kinds = [(info["spec"], dict), (info["sessions"], list), (info.get("sources", {}), dict)]
        kinds += [(info["options"][name], type(value)) for name, value in OPTIONS.items()]
        if not all(fits(value, kind) for value, kind in kinds):
            raise TypeError("a value is of the wrong type")
        sources.remember(path, info.get("sources", {}))
    except (FileNotFoundError, NotADirectoryError):
        if (path / "sweep.json").exists():
            part = files.run_of_sweep(path)
            raise ValueError(f"{path} is a sweep: give one of its runs, for example {part}") from None
        if (path / "fit.json").exists():
            raise ValueError(
                f"{path} holds a run by jaxrl.fit: to continue it, call fit again with the same arguments"
            ) from None
        if not path.exists():
            others = sorted(one.parent.name for one in path.parent.glob("*/run.json"))
            close = difflib.get_close_matches(path.name, others, n=1)
            hint = f"; perhaps you meant {path.parent / close[0]}" if close else ""
            raise ValueError(f"{path}: there is no such folder{hint}") from None
        inside = [str(one.parent) for one in sorted(path.glob("*/run.json"))]
        hint = f"; it contains runs, {inside[0]} for example" if inside else ""
        raise ValueError(f"{path} is no run: it has no run.json{hint}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path / 'run.json'} cannot be read ({_reason(error)}): is {path} a run?") from None
    return info


def record_session(path: Path, num_updates: int, compile_seconds: float, wall_seconds: float) -> None:
    """Adds the work of this process to `run.json`."""
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
    """The sinks for the rows of a run, from `num_updates` on."""
    metrics = path / "metrics.jsonl"
    sinks = [logger.jsonl(metrics, keep_updates=num_updates)]
    agents = tracking.agents_of(path, spec)
    if options["csv"]:
        sinks.append(logger.csv_file(path / "metrics.csv", metrics, agents))
    if not (options["tensorboard"] or options["wandb"]):
        return sinks
    series = tracking.series(spec, agents, options["tracked_runs"])
    if options["tensorboard"]:
        known = logger.read_jsonl(metrics)
        after = known[-1]["timesteps"] if known else 0
        sinks.append(logger.tensorboard(path / "tensorboard", series, after))
    if options["wandb"]:
        init = {
            "project": options["wandb_project"],
            "entity": options["wandb_entity"] or None,
            "group": options["wandb_group"] or tracking.group(path),
            "tags": list(options["wandb_tags"]) or None,
        }
        names = tracking.label(path), tracking.unique(path, read_info(path)["started"])
        sinks.append(logger.wandb(path, series, *names, **init))
    return sinks


EXTRAS = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def require_extras(options: dict[str, Any]) -> None:
    """Raises ValueError if a package that an option needs is missing, or if its value is invalid."""
    if options["tracked_runs"] < 1:
        raise ValueError(f"--tracked-runs {options['tracked_runs']} must be at least 1")
    for name, package in EXTRAS.items():
        if options[name] and importlib.util.find_spec(package) is None:
            raise ValueError(f"--{name} needs the extra: pip install 'jaxrl[{name}]'")


def announcement(spec: Spec, programs: Programs, path: Path) -> str:
    """The text before training: device, agents, steps, memory, folder."""
    device = jax.devices()[0]
    state = jax.eval_shape(programs.init, spec.keys, *programs.data)
    keeping.require_part(programs.keep, state)
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if x.dtype.itemsize)
    seeds = f"seeds {spec.seed} to {spec.seed + spec.seeds - 1}" if spec.seeds > 1 else f"seed {spec.seed}"
    trials = f"{spec.slots} trials, " if spec.trials else f"{spec.slots} at a time, " if spec.search else ""
    agents = f"{spec.agents} agent{'s' * (spec.agents > 1)} ({trials}{seeds})"
    if spec.lanes > spec.agents:
        agents += f" in {spec.lanes} lanes"
    length = f"{programs.agent_updates} updates"
    if programs.algo.steps_per_update:
        length = f"{count(train.steps_after(programs.algo, programs.agent_updates))} steps each in {length}"
    return (
        f"{sources.shown(f'{spec.algorithm} on {spec.environment}')}: {agents}, {length}, "
        f"on {device.device_kind} ({device.platform}), {size(held)} of state; into {path}"
    )


def closing(path: Path, how: str) -> str:
    """The text after training: how the run ended, and the commands that can follow."""
    rows = records.rows(path)
    last = rows[-1] if rows else {}
    name = "evaluation/return" if "evaluation/return" in last else "episode/return"
    agents = {"per_seed": last.get(name, []), "died": reporters.diverged_lanes(last)}
    values = diverged.counted(agents, diverged.worst([agents]))
    returns = spread(values)
    if len(values) > 1:
        low, high = bootstrap_interval(values, iqm)
        returns = f"IQM {iqm(values):.4g} (95 % interval {low:.4g} to {high:.4g})"
    lost = f"; {len(agents['died'])} of {len(agents['per_seed'])} agents diverged and count as the worst"
    where = files.quoted(path)
    return (
        f"{how}: return {returns}{lost * bool(agents['died'])}\n"
        f"jaxrl evaluate {where} | jaxrl render {where} | jaxrl plot {where}"
    )


def plot_curves(paths: list[Path], out: Path) -> str:
    """Draws the curves of runs. Raises ValueError for a folder without a run or without rows."""
    from jaxrl.experiments import plot

    folders.require_output(out)
    curves = []
    for path in paths:
        if not (path / "fit.json").exists():
            read_info(path)
        if not logger.read_jsonl(path / "metrics.jsonl"):
            raise ValueError(f"{path} has no rows of metrics yet: let it train for an interval first")
        curves.append((path.name, records.rows(path)))
    plot.curves(curves, out)
    return str(out)
