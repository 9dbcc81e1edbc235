"""What a run computes (`Spec`), its JSON, and the seeds, hyperparameters and environments of its lanes."""

import dataclasses
import math
from typing import Any, Literal

import jax
import numpy as np

from jaxrl import fields, objective_file, objectives, sources, train
from jaxrl.experiments import user_files
from jaxrl.experiments.json_types import dotted, reason, require_types, restored
from jaxrl.experiments.runs.names import algorithm, is_mixture, objective
from jaxrl.names import lookup
from jaxrl.programs import agent_keys
from jaxrl.programs import evaluation_keys as keys_for_evaluation

# Fields that were added to a Config after runs had been saved. They are left out of the JSON if they have the
# values with which an algorithm does what it did before, so that checkpoints remain valid.
ADDED: dict[str, dict[str, Any]] = {
    "dqn": {"noisy": False},
    "ppo": {"critic": "scalar", "num_atoms": 51, "lowest_return": -100.0, "highest_return": 100.0},
}
ADDED_TO_NETWORK = {"core": "gru", "layer_norm": False, "num_experts": 8}  # of all algorithms


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
        if not self.trials:
            return self.env
        trial = self.trials[min(lane // self.seeds, len(self.trials) - 1)]
        return self.env | {name: float(np.float32(value)) for name, value in parts(trial)[1].items()}

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
        _leave_out(data["config"], type(self.config)(), ADDED.get(self.algorithm, {}))
        if isinstance(network := data["config"].get("network"), dict):
            _leave_out(network, type(self.config)().network, ADDED_TO_NETWORK)
        if self.objective:
            objective = data["hparams"]["objective"]
            data["hparams"]["objective"] = jax.tree.map(lambda x: x.tolist() if np.ndim(x) else x, objective)
        return data


def _leave_out(values: dict[str, Any], usual: Any, added: dict[str, Any]) -> None:
    """Removes the fields in `added` that have these values, and have them in `usual`, the defaults."""
    for name, value in added.items():
        if values.get(name) == getattr(usual, name, None) == value:
            del values[name]


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
            f"the run.json was edited, or written by another version of jaxrl: {reason(error)}"
        ) from None
    inner = _parts_of(spec.hparams.objective) if spec.objective else []
    require_types(spec, *_parts_of(spec.config), spec.hparams, *inner)
    return spec


def objective_from_json(name: str, data: dict[str, Any]) -> Any:
    """The parameters of an objective from JSON; weights can have any size, and are checked as in a file."""
    if name in objectives.LEARNED:
        return objective_file.from_json(name, data)
    params = objective(name).params
    if not is_mixture(name):
        return restored(params, data)
    pairs = zip(name.split("+"), data["parts"], strict=True)
    parts = tuple(objective_from_json(part, values) for part, values in pairs)
    return type(params)(weights=restored(params.weights, data["weights"]), parts=parts)


def _parts_of(params: Any) -> list[Any]:
    """The parameters of an objective; for a mixture also those of its parts."""
    inner = vars(params).values() if dataclasses.is_dataclass(params) else params
    deeper = [x for x in inner if isinstance(x, tuple) or dataclasses.is_dataclass(x)]
    below = [part for x in deeper for part in _parts_of(x)]
    return [params, *below] if dataclasses.is_dataclass(params) else below


def evaluation_keys(spec: Spec, num_updates: int, domain: int = 0) -> jax.Array:
    """Keys `[P]`, one per lane, for an evaluation after `num_updates`, independent of the training keys.

    Args:
      domain: a different one for each purpose; 0 is the evaluation during training.
    """
    return keys_for_evaluation(spec.lane_seeds, num_updates, domain)


def default_name(spec: Spec, prefix: str = "") -> str:
    """The name of a run's folder, without the time: `ppo-CartPole-v1`."""
    return sources.shown(f"{prefix}{spec.algorithm}-{spec.environment}").replace(":", "-")
