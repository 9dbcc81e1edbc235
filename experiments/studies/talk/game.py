"""The game of cheap talk: adversaries, their victims, and the scores of the messages."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl import envs, fields, memory, sources, train
from jaxrl.algos import ppo
from jaxrl.envs import wrappers
from jaxrl.experiments import user_files
from jaxrl.experiments.presets import preset
from jaxrl.rollout import rollout, vectorize, without_extras
from jaxrl.types import Env, Stream

MODES = ("harm", "help", "control")


class Goal(NamedTuple):
    """What is controlled: the victim's position, `(obs) -> [G]`, and a random goal, `(key) -> [G]`."""

    position: Any
    draw: Any
    size: int


def _on_circle(key):
    angle = jax.random.uniform(key, minval=-jnp.pi, maxval=jnp.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _in_reach(key):
    return sum(map(_on_circle, jax.random.split(key)))


GOALS = {
    "CartPole-v1": Goal(lambda obs: obs[:1], lambda key: jax.random.uniform(key, (1,), minval=-1.0), 1),
    "Pendulum-v1": Goal(lambda obs: obs[:2], _on_circle, 2),
    "Reacher-misc": Goal(lambda obs: jnp.stack([obs[:2].sum(), obs[2:4].sum()]), _in_reach, 2),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything that determines the evolution; stored in `talk.json`."""

    environment: str
    mode: str
    steps: int
    generations: int
    candidates: int
    victims: int
    messages: int
    hidden: int
    std: float
    goals: int
    seed: int


@struct.dataclass
class Speaker:
    """Weights of an adversary: tanh layers `[D, H]`, `[H, M]`, with biases."""

    hidden: jax.Array
    hidden_bias: jax.Array
    out: jax.Array
    out_bias: jax.Array


def speaker(key, inputs: int, hidden: int, messages: int) -> Speaker:
    """A random adversary, whose messages before the tanh have a standard deviation near 1."""
    hidden_key, out_key, bias_key = jax.random.split(key, 3)
    return Speaker(
        jax.random.normal(hidden_key, (inputs, hidden)),
        jax.random.normal(bias_key, (hidden,)),
        jax.random.normal(out_key, (hidden, messages)) / hidden**0.5,
        jnp.zeros(messages),
    )


def say(params: Speaker, heard):
    """The messages `[M]` of an adversary, before the tanh, for an input `[D]`."""
    return jnp.tanh(heard @ params.hidden + params.hidden_bias) @ params.out + params.out_bias


class Game(NamedTuple):
    """Adversaries as vectors `[D]`, and their scores.

    Attributes:
      draw: `(key) -> [D]`, a random adversary, the baseline for evolved ones.
      silent: `[D]`, an adversary whose messages are 0.
      score: `([D], key) -> number`, of one victim: its return, or minus its distance to the goals; NaN if the
        victim diverged, which does not count as harm.
      sign: of the score in the fitness, -1 in mode harm.
    """

    draw: Any
    silent: jax.Array
    score: Any
    sign: float


def make(setting: Setting) -> Game:
    """The game of a setting. Raises ValueError for an invalid setting."""
    from jaxrl.names import lookup

    lookup("environment", envs.REGISTRY, user_files.environment(setting.environment))
    if setting.mode == "control":
        if sources.is_name(setting.environment):
            raise ValueError(f"mode control needs an environment with goals, {', '.join(GOALS)}, not a file")
        goal = lookup("environment with goals", GOALS, setting.environment)
    for name in ("steps", "generations", "victims", "messages", "hidden", "goals"):
        if getattr(setting, name) < 1:
            raise ValueError(f"{name} = {getattr(setting, name)} must be at least 1")
    if setting.candidates < 4 or setting.candidates % 2:
        raise ValueError(f"candidates = {setting.candidates} must be even and at least 4")
    if not (0 < setting.std < np.inf and 0 <= setting.seed < 2**31):
        raise ValueError(f"std = {setting.std} must be positive, and seed = {setting.seed} not negative")
    env = wrappers.flatten_obs(envs.make(setting.environment))
    inputs = env.observation_space.shape[0]
    chosen = preset("ppo", setting.environment)
    config = fields.configured(ppo.Config(), chosen.config)

    def draw(key):
        train_key, test_key = jax.random.split(key)
        parts = {"train": speaker(train_key, inputs, setting.hidden, setting.messages)}
        if setting.mode == "control":
            heard = inputs + goal.size
            parts["test"] = speaker(test_key, heard, setting.hidden, setting.messages)
        return parts

    example = jax.eval_shape(draw, jax.random.key(0))
    _require_memory(setting, example, config)
    zeros, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example))

    def victim(talk, key):
        """The algorithm, its last state, its metrics, and whether the agent diverged."""
        algo = ppo.make(wrappers.cheap_talk(env, partial(say, talk), setting.messages), config)
        updates = train.updates_for(algo, setting.steps)
        hp = algo.hparams.replace(**chosen.hparams, total_updates=float(updates))
        state, metrics = train.run(algo, key, hp, updates)
        return algo, state, metrics, train.diverged(state.params, metrics)

    def return_of(x, key):
        """Mean return over the second half of training, in the updates in which an episode ended."""
        _, _, metrics, broken = victim(unravel(x)["train"], key)
        late = metrics["episode/count"].shape[0] // 2
        count, total = (metrics[f"episode/{name}"][late:] for name in ("count", "return_sum"))
        ended = count > 0
        mean = jnp.where(ended, total / jnp.maximum(count, 1), 0.0).sum() / jnp.maximum(ended.sum(), 1)
        return jnp.where(broken, jnp.nan, mean)

    def closeness(x, key):
        """Minus the mean distance to goals of a trained victim with messages of the test-time adversary."""
        talk = unravel(x)
        train_key, goal_key, play_key = jax.random.split(key, 3)
        algo, state, _, broken = victim(talk["train"], train_key)

        def steered(goal_key, play_key):
            wanted = goal.draw(goal_key)
            distance = partial(_distance, goal.position, wanted)
            heard = wrappers.cheap_talk(
                env, lambda obs: say(talk["test"], jnp.concatenate([obs, wanted])), setting.messages
            )
            return -distances(heard, partial(algo.act, state), state.stream.memory, play_key, distance).mean()

        goal_keys, play_keys = (jax.random.split(k, setting.goals) for k in (goal_key, play_key))
        return jnp.where(broken, jnp.nan, jax.vmap(steered)(goal_keys, play_keys).mean())

    score = closeness if setting.mode == "control" else return_of
    sign = -1.0 if setting.mode == "harm" else 1.0
    return Game(lambda key: ravel_pytree(draw(key))[0], zeros, score, sign)


def _require_memory(setting: Setting, adversary, config: ppo.Config) -> None:
    """Raises `memory.NotEnough` if the adversaries of a generation do not fit into memory."""
    lanes, size = setting.candidates * setting.victims, memory.num_bytes(adversary)
    options = ("candidates", "victims", "hidden", "messages")
    largest = max(options, key=lambda name: getattr(setting, name))
    # An adversary for each victim; the mean, and two moments of Adam.
    needs: dict[str, float] = {f"--{largest}": (lanes + 3) * size}
    needs["--steps"] = setting.steps / (config.num_envs * config.num_steps) * 8  # two metrics of each update
    needs["--goals"] = setting.goals * 16 * (setting.mode == "control")  # two keys
    memory.require(f"{lanes} adversaries of {size // 4} numbers", needs, memory.on_devices())


STEERED_STEPS = 100  # steps of a trained victim with a goal, the second half of which counts


def distances(env: Env, act, memory, key, distance):
    """The distance of a policy from its goal in each of the last steps of a short rollout: `[T]`."""
    env = vectorize(env, 1)
    reset_key, play_key = jax.random.split(key)
    memory = jax.tree.map(lambda m: jnp.zeros((1, *m.shape[1:]), m.dtype), memory)
    stream = Stream(*env.reset(reset_key), memory)
    _, played = rollout(env, without_extras(act), play_key, stream, STEERED_STEPS)
    return jax.vmap(distance)(played.next_obs[STEERED_STEPS // 2 :, 0])


def _distance(position, wanted, obs):
    return jnp.linalg.norm(position(obs) - wanted)
