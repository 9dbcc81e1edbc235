"""Rules: maps from meta-parameters `theta` to the hyperparameters of an agent's next update."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl import fields
from jaxrl.names import lookup
from jaxrl.types import Env, PyTree, TimeStep


class Apply(Protocol):
    def __call__(self, theta: PyTree, agent: PyTree, hp: PyTree, /) -> PyTree:
        """The hyperparameters of an agent's next update; `agent` is its state, `hp` are the given ones."""


class Rule(NamedTuple):
    """Meta-parameters, and the map from them to an agent's hyperparameters."""

    init: Callable[[jax.Array, PyTree], PyTree]  # (key, hp) -> theta
    hparams: Apply


def hyperparameters(hparams: PyTree, names: Sequence[str]) -> Rule:
    """Constant hyperparameters, each as an unconstrained number.

        learning rates, coefficients, ranges:  theta = log x        in [0, 1] (gamma, ...):  theta = logit x
        others, weights of networks:           theta = x

    `theta` is a dict by name and starts at the values of `hp`.

    Args:
      hparams: of the algorithm, with its defaults.
      names: "gamma", "objective.clip_eps" or "objective" (all of its parameters, without a transformation).

    Raises:
      ValueError: an unknown name, no name, or a value at a bound of its scale, where the gradient is 0.
    """
    known = by_name(hparams)
    if not names:
        raise ValueError(f"names of hyperparameters are missing: choose from {', '.join(known)}")
    for name in names:
        start = lookup("hyperparameter", known, name)
        if isinstance(start, int | float) and not math.isfinite(_scale(hparams, name).free(start)):
            raise ValueError(
                f"{name} = {start} cannot be meta-learned: it has to start {_scale(hparams, name).limits}"
            )

    def init(key, hp):
        del key
        start = by_name(hp)
        return {name: jax.tree.map(_scale(hparams, name).free, start[name]) for name in names}

    def constrained(theta, agent, hp):
        del agent
        return fields.replace(
            hp, {name: jax.tree.map(_scale(hparams, name).bound, theta[name]) for name in names}
        )

    return Rule(init, constrained)


def by_name(hparams: PyTree) -> dict[str, Any]:
    """Every hyperparameter by name, and those of the objective also as `objective.NAME`."""
    return vars(hparams) | fields.flatten(hparams)


class _Scale(NamedTuple):
    free: Callable[..., jax.Array]  # from a hyperparameter to an unconstrained number
    bound: Callable[..., jax.Array]  # the inverse
    limits: str = ""


_SHARE = _Scale(jax.scipy.special.logit, jax.nn.sigmoid, "between 0 and 1, ends excluded")
_LOG = _Scale(jnp.log, jnp.exp, "above 0")
_FREE = _Scale(jnp.asarray, jnp.asarray)


def _scale(hparams: PyTree, name: str) -> _Scale:
    kind = fields.bounds(hparams).get(name)
    return _FREE if kind is None else _SHARE if kind == "share" else _LOG


def entropy_net(num_inputs: int, start: float = 0.1, width: int = 32, scale: float = 10.0) -> Rule:
    """The entropy coefficient as a function of recent reward: more exploration when reward drops.

        ent_coef = sigmoid(w2 . relu(W1 (scale x) + b1) + b2)

    `x` are the averages of `recent_reward`, over all of the agent's environments. Flennerhag et al. 2022 use
    the rewards of the last ten rollouts directly. https://arxiv.org/abs/2109.04504

    Args:
      num_inputs: number of averages, the windows of `recent_reward`.
      start: the initial coefficient, for any reward.
    """
    if not 0.0 < start < 1.0:
        raise ValueError(f"start = {start} must lie between 0 and 1, ends excluded")

    def init(key, hp):
        del hp
        hidden = jax.random.normal(key, (num_inputs, width)) / num_inputs**0.5
        last = jnp.log(jnp.asarray(start) / (1.0 - start))
        return {"hidden": hidden, "bias": jnp.zeros(width), "out": jnp.zeros(width), "last": last}

    def hparams(theta, agent, hp):
        x = scale * agent.stream.timestep.info["recent_reward"].mean(axis=0)
        features = jax.nn.relu(x @ theta["hidden"] + theta["bias"])
        return hp.replace(ent_coef=jax.nn.sigmoid(features @ theta["out"] + theta["last"]))

    return Rule(init, hparams)


@struct.dataclass
class Averaged:
    """An environment's state, and the current averages."""

    inner: Any
    average: jax.Array


def recent_reward(env: Env, windows: Sequence[int] = (160, 1600)) -> Env:
    """Adds moving averages of the reward as `info["recent_reward"]` `[W]`, continued across episodes.

        m <- m + (r - m) / window

    Apply it outside of `auto_reset`, for example to the result of `envs.make`.
    """
    rates = 1.0 / jnp.asarray(windows, jnp.float32)

    def record(timestep: TimeStep, average):
        return timestep.replace(info={**timestep.info, "recent_reward": average})

    def reset(key):
        state, timestep = env.reset(key)
        average = jnp.zeros(len(windows))
        return Averaged(state, average), record(timestep, average)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        average = state.average + rates * (timestep.reward - state.average)
        return Averaged(inner, average), record(timestep, average)

    return env._replace(reset=reset, step=step)
