"""Families of environments: parameters drawn from distributions instead of fixed.

    env = families.family("CartPole-v1", length=uniform(0.3, 1.0), gravity=choice([9.8, 3.7]))

Training on it is domain randomization; `jaxrl.evaluate.evaluate` on it evaluates a policy on the family
rather than on one member. The ranking of methods differs between the two: Jayawardana et al. 2022, "The
Impact of Task Underspecification in Evaluating Deep Reinforcement Learning". https://arxiv.org/abs/2210.08607

A distribution is a function `(key) -> value`: `uniform`, `log_uniform`, `choice`, `normal` or a custom one.
"""

import contextlib
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import ndtr, ndtri

from jaxrl.envs.entry import Entry, require_known
from jaxrl.envs.family_spaces import spaces_for_all
from jaxrl.envs.registry import REGISTRY, checked_limit
from jaxrl.envs.wrappers import auto_reset, episode_stats, flatten_obs, time_limit
from jaxrl.names import lookup
from jaxrl.spaces import Box
from jaxrl.types import Env, Number

# Parameters are drawn from `fold_in(key, _DRAW)`; the environment itself receives `key`, so its draws are the
# same as with fixed parameters. Splits and draws use small counters, which never equal this one.
_DRAW = 0xFA417135


@struct.dataclass
class Drawn:
    """An environment's state and the parameters that it was made with."""

    inner: Any
    params: dict[str, jax.Array]


Distribution = Callable[[jax.Array], jax.Array]  # of a parameter: (key) -> number


def family(
    name: str | Callable[..., Env],
    /,
    *,
    per: str = "episode",
    observe: bool = False,
    report: bool = False,
    max_steps: int | EllipsisType | None = ...,
    resets: str | None = None,
    **params: Any,
) -> Env:
    """An environment of the registry whose parameters are drawn; it resets itself, like those of `envs.make`.

    Args:
      name: in the registry, or a function `(**params) -> raw Env`.
      per: "episode" draws at every reset; "lane" draws once, at the first reset, for the whole run, so that
        each of N parallel environments is one member of the family.
      observe: appends the drawn parameters, in the order of their names and without normalization, to the
        observation, which becomes one vector (by `flatten_obs`).
      report: adds them to `info["params"]`, a dict; where `done`, those of the episode that ended.
      max_steps: as in `envs.make`; None if `name` is a function. Required if it depends on a drawn parameter.
      resets: as in `envs.make`; with "lane" it must be "fresh", because the initial state of another lane
        belongs to another member.
      params: distributions, functions `(key) -> number`; anything else stays fixed. The draw of a
        parameter depends on the key and its name, not on the other parameters.

    Bounds of the spaces that depend on a drawn parameter become infinite.

    Raises:
      ValueError: for an unknown name or parameter, a drawn parameter that determines array shapes or the time
        limit, an unknown `per`, or `resets` that are incompatible with it.
    """
    if per not in ("episode", "lane"):
        raise ValueError(f"per must be 'episode' or 'lane', not {per!r}")
    distributions = {n: p for n, p in params.items() if callable(p)}
    fixed = {n: p for n, p in params.items() if not callable(p)}
    raw_make, limit, usual_resets = _maker(name, max_steps, distributions, fixed)
    if per == "lane" and resets not in (None, "fresh"):
        raise ValueError(f"per='lane' needs resets='fresh', not {resets!r}")
    resets = resets or ("fresh" if per == "lane" else usual_resets)
    if fixed:
        raw_make = partial(raw_make, **fixed)

    def complete(raw: Env) -> Env:
        return auto_reset(episode_stats(time_limit(raw, limit)), resets)

    # `auto_reset` replaces the whole state of the environment that it wraps: parameters inside it are drawn
    # again in every episode, parameters outside it are kept.
    if per == "episode":
        return complete(drawn(raw_make, distributions, observe, report))
    return drawn(lambda **p: complete(raw_make(**p)), distributions, observe, report)


def drawn(
    make: Callable[..., Env],
    distributions: dict[str, Distribution],
    observe: bool = False,
    report: bool = False,
) -> Env:
    """`make(**params)` with parameters drawn at its reset; `observe` and `report` as in `family`.

    If `make` returns raw environments, the parameters are kept for one episode; if it returns environments
    that reset themselves, for the whole run.
    """
    distributions = dict(sorted(distributions.items()))

    def member(**params) -> Env:
        env = make(**params)
        return flatten_obs(env) if observe else env

    def draw(key):
        key = jax.random.fold_in(key, _DRAW)
        return {
            name: _strong(distribution(jax.random.fold_in(key, zlib.crc32(name.encode()))))
            for name, distribution in distributions.items()
        }

    def extended(params, timestep):
        if observe:
            shown = [jnp.ravel(p).astype(jnp.float32) for p in params.values()]
            obs, next_obs = (jnp.concatenate([x, *shown]) for x in (timestep.obs, timestep.next_obs))
            timestep = timestep.replace(obs=obs, next_obs=next_obs)
        return timestep.replace(info={**timestep.info, "params": params}) if report else timestep

    def reset(key):
        params = draw(key)
        state, timestep = member(**params).reset(key)
        return Drawn(state, params), extended(params, timestep)

    def step(key, state, action):
        inner, timestep = member(**state.params).step(key, state.inner, action)
        return Drawn(inner, state.params), extended(state.params, timestep)

    with jax.ensure_compile_time_eval():
        example = draw(jax.random.key(0))
    observation_space, action_space = spaces_for_all(member, example)
    if observe:
        extra = np.full(sum(int(np.prod(p.shape)) for p in example.values()), np.inf, np.float32)
        low, high = (
            (jnp if isinstance(bound, jax.Array) else np).concatenate([bound, unknown])
            for bound, unknown in ((observation_space.low, -extra), (observation_space.high, extra))
        )
        observation_space = Box(low, high, low.shape)
    return Env(reset, step, observation_space, action_space)


def uniform(low: Number, high: Number) -> Distribution:
    """A number between `low` and `high`, all equally likely."""
    _require_order(low, high)
    return lambda key: low + (high - low) * jax.random.uniform(key)


def log_uniform(low: Number, high: Number) -> Distribution:
    """A number between `low` and `high`, both positive, whose logarithm is uniform."""
    _require_order(low, high)
    if _known(low) and low <= 0:
        raise ValueError(f"log_uniform needs positive bounds, not {low!r}")
    return lambda key: low * (high / low) ** jax.random.uniform(key)


def choice(values: Sequence, weights: Sequence | None = None) -> Distribution:
    """One of `values`, equally likely or in proportion to `weights`."""
    if len(values) == 0 or (weights is not None and len(weights) != len(values)):
        raise ValueError(f"choice needs values and as many weights, not {values!r} and {weights!r}")
    if weights is None:
        return lambda key: jnp.asarray(values)[jax.random.randint(key, (), 0, len(values))]
    if all(map(_known, weights)) and (min(weights) < 0 or sum(weights) <= 0):
        raise ValueError(f"weights of a choice must not be negative nor all 0: {weights!r}")
    return lambda key: jnp.asarray(values)[jax.random.categorical(key, jnp.log(jnp.asarray(weights)))]


def normal(mean: Number, std: Number, low: Number = -np.inf, high: Number = np.inf) -> Distribution:
    """A normal number, truncated to the range from `low` to `high`.

    Raises:
      ValueError: for a `std` that is not positive, or bounds more than 10 standard deviations away from the
        mean on one side, where float32 cannot represent the probabilities.
    """
    _require_order(low, high)
    if _known(std) and not np.asarray(std) > 0:
        raise ValueError(f"normal needs a positive std, not {std!r}: give a fixed value instead")
    if all(map(_known, (mean, std, low, high))) and _is_beyond(10, mean, std, low, high):
        raise ValueError(
            f"normal is not drawn beyond 10 std from its mean, as between {low!r} and {high!r}: change them"
        )

    def draw(key):
        a, b = ((jnp.asarray(bound) - mean) / std for bound in (low, high))
        # Values above the mean are drawn mirrored: floats resolve probabilities near 0, but not near 1.
        mirrored = a > -b
        p_low, p_high = ndtr(jnp.where(mirrored, -b, a)), ndtr(jnp.where(mirrored, -a, b))
        u = jax.random.uniform(key, minval=2.0**-24)  # 0 would be at minus infinity
        x = ndtri(jnp.maximum(p_low + u * (p_high - p_low), jnp.finfo(u.dtype).tiny))
        return jnp.clip(mean + std * jnp.where(mirrored, -x, x), low, high)

    return draw


def _maker(name, max_steps, distributions, fixed):
    """The function that makes the raw environment, its time limit, and its kind of resets."""
    if callable(name):
        return name, checked_limit(None if max_steps is ... else max_steps), "fresh"
    entry = lookup("environment", REGISTRY, name)
    require_known(name, entry.make, distributions | fixed)
    if max_steps is ...:
        max_steps = _limit(name, entry, distributions, fixed)
    return entry.make, checked_limit(max_steps), entry.resets


def _limit(name: str, entry: Entry, distributions: dict[str, Callable], fixed: dict[str, Any]) -> int | None:
    """The time limit of all members, determined without the values of the drawn parameters."""
    limit = entry.limit
    if limit is None or not distributions:
        return limit(**fixed) if limit else entry.max_steps
    limits: list[Any] = []

    def ask(key):
        traced = {n: distribution(key) for n, distribution in distributions.items()}
        limits.append(limit(**fixed, **traced))

    with contextlib.suppress(jax.errors.JAXTypeError):  # it needed a value
        jax.eval_shape(ask, jax.random.key(0))
    if not limits or isinstance(limits[0], jax.Array):
        among = ", ".join(sorted(distributions))
        raise ValueError(f"the time limit of {name} depends on drawn parameters ({among}): give max_steps")
    return limits[0]


def _strong(value) -> jax.Array:
    """An array that is not weakly typed, as a state must be."""
    value = jnp.asarray(value)
    return jax.lax.convert_element_type(value, jnp.result_type(value))


def _known(value) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _is_beyond(most: float, mean, std, low, high) -> bool:
    mean, std, low, high = map(np.asarray, (mean, std, low, high))
    return max(low - mean, mean - high) > most * std


def _require_order(low, high) -> None:
    if _known(low) and _known(high) and not np.asarray(low) <= np.asarray(high):
        raise ValueError(f"a distribution needs low <= high, not {low!r} and {high!r}")
