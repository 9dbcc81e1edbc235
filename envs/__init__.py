"""Environments by name.

    env = envs.make("CartPole-v1", length=0.7)      # resets itself, records returns, 500 steps at most
    env = envs.make("brax/ant:mjx", max_steps=200)
    raw = envs.REGISTRY["Catch-bsuite"].make()      # bare dynamics, to put wrappers around
    many = envs.family("CartPole-v1", length=families.uniform(0.3, 1.0))     # new pole in every episode
    vector_env = envs.to_gymnasium("CartPole-v1", num_envs=64)               # for users of Gymnasium

Importing this module imports no other environment library: that happens when an environment is made.
"""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from numbers import Integral
from types import EllipsisType
from typing import Any

import jax

from jaxrl.envs import (
    behaviour,
    classic,
    from_brax,
    from_craftax,
    from_gymnax,
    from_jumanji,
    from_navix,
    from_pgx,
    from_playground,
    from_xminigrid,
    hints,  # noqa: F401
    min_atar,
    misc,
    probes,
    toy_text,
    worlds,
)
from jaxrl.envs.entry import Entry, require_known
from jaxrl.envs.families import family as family
from jaxrl.envs.to_gymnasium import to_gymnasium as to_gymnasium
from jaxrl.envs.wrappers import auto_reset, episode_stats, time_limit
from jaxrl.names import lookup
from jaxrl.types import Env
from jaxrl.widths import narrow

REGISTRY: dict[str, Entry] = {}
_limit: int | None


def make(
    name: str, /, *, max_steps: int | EllipsisType | None = ..., resets: str | None = None, **params: Any
) -> Env:
    """An environment that resets itself, ends its episodes and records their returns.

    It can be called under a transformation with traced parameters; pole lengths, for example, can be vmapped.

    Args:
      max_steps: episodes are truncated after this number of steps; None for no limit. By default the limit of
        the environment.
      resets: "fresh", "pool" or "optimistic", see `wrappers.auto_reset`; None is the environment's default:
        "optimistic" if a reset generates a level, otherwise "fresh", unless another one was measured to be
        more than a tenth faster (docs/environments.md).
      params: parameters of the environment; `REGISTRY[name].params()` returns the scalar ones with defaults.

    Raises:
      ValueError: for an unknown name or parameter, or a time limit that is not a positive integer.
    """
    entry = lookup("environment", REGISTRY, name)
    if max_steps is not ...:
        _checked(max_steps)
    if entry.wrapped:  # its time limit and resets are its own, and may be parameters
        params |= {"max_steps": max_steps} if max_steps is not ... else {}
        params |= {"resets": resets} if resets else {}
    require_known(name, entry.make, params)
    with jax.enable_x64(False):  # other libraries use JAX's default dtype, which must match their state
        raw = entry.make(**narrow(params))  # before the limit, to report an invalid parameter first
    given = (
        params
        | ({} if max_steps is ... else {"max_steps": max_steps})
        | ({"resets": resets} if resets else {})
    )
    if entry.wrapped:
        return _recorded(raw, name, given)
    if max_steps is ...:
        max_steps = _default_limit(name, entry, params)
    env = auto_reset(episode_stats(time_limit(raw, max_steps)), resets or entry.resets)
    return _recorded(env, name, given)


def _recorded(env: Env, name: str, params: dict[str, Any]) -> Env:
    """Adds its name and the given parameters to an environment, for the records of `jaxrl.fit`."""
    with contextlib.suppress(AttributeError):  # not every callable takes attributes
        env.step.made_as = name, params  # type: ignore[attr-defined]  # functions take any attribute
    return env


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(REGISTRY)


def register(
    name: str,
    make: Callable[..., Env],
    max_steps: int | None = None,
    params: Callable[[], dict[str, Any]] = dict,
    origin: str = "yours",
    limit: Callable[..., int | None] | None = None,
) -> None:
    """Registers an environment under a name; `jaxrl.envs.check.check_env` checks it.

    Args:
      make: `(**params) -> Env`, raw: without resets in `step` and without a time limit.
      max_steps: the default time limit, None for endless episodes.
      params: `() -> {name: default}`, the scalar parameters of `make`.
      limit: `(**params) -> max_steps`, if the time limit depends on the parameters.

    Raises:
      ValueError: the name is already registered.
    """
    if name in REGISTRY:
        raise ValueError(f"an environment {name!r} is already registered; choose another name")
    REGISTRY[name] = Entry(make, _checked(max_steps), params, origin, limit)
    if ids := sys.modules.get("jaxrl.envs.gymnasium_ids"):
        ids.announce(name)


def _default_limit(name: str, entry: Entry, params: dict[str, Any]) -> int | None:
    """The default time limit of an environment with these parameters."""
    limit = entry.limit(**params) if entry.limit else entry.max_steps
    if isinstance(limit, jax.core.Tracer):
        raise ValueError(f"the time limit of {name} depends on traced parameters: give max_steps")
    return _checked(int(limit) if isinstance(limit, jax.Array) else limit)


def _checked(max_steps: Any) -> int | None:
    positive = isinstance(max_steps, Integral) and not isinstance(max_steps, bool) and int(max_steps) > 0
    if max_steps is not None and not positive:
        raise ValueError(f"max_steps must be a positive integer or None, not {max_steps!r}")
    return max_steps


for _package in (classic, min_atar, toy_text, behaviour, misc, worlds):
    REGISTRY.update(_package.ENTRIES)

# jaxrl's environments have the plain name; gymnax's have its prefix, and the plain name if it is still free.
for _id, _limit in from_gymnax.TIME_LIMITS.items():
    _entry = Entry(
        partial(from_gymnax.make, _id),
        _limit,
        partial(from_gymnax.params, _id),
        "gymnax 1.0",
        partial(from_gymnax.limit, _id),
        # Observations are expensive to compute and to select: a twelfth of PPO's update on Breakout.
        resets="optimistic" if _id.endswith("-MinAtar") else "fresh",
    )
    REGISTRY[f"gymnax/{_id}"] = _entry
    REGISTRY.setdefault(_id, _entry)

for _id in from_brax.PAIRS:
    REGISTRY[f"brax/{_id}"] = Entry(
        partial(from_brax.make, _id),
        from_brax.TIME_LIMIT,
        partial(from_brax.params, _id),
        "brax 0.14",
        # A reset in every step costs a quarter of the time. With a pool, lanes that end together start
        # differently.
        resets="pool",
    )

# Their resets generate a level: a reset in every step of every lane costs far more time and memory than a
# step.
_GENERATED = ("craftax", "jumanji", "navix", "xminigrid")

# Extras: the names of their packages, and their adapters.
for _prefix, _adapter in {
    "craftax": from_craftax,
    "jumanji": from_jumanji,
    "navix": from_navix,
    "pgx": from_pgx,
    "playground": from_playground,
    "xminigrid": from_xminigrid,
}.items():
    for _id, _limit in _adapter.NAMES.items():
        _params = partial(_adapter.params, _id) if hasattr(_adapter, "params") else dict
        REGISTRY[f"{_prefix}/{_id}"] = Entry(
            partial(_adapter.make, _id),
            _limit,
            _params,
            _prefix,
            resets="optimistic" if _prefix in _GENERATED else "fresh",
        )

for _make, _limit in {
    probes.value_only: None,
    probes.value_from_obs: None,
    probes.discount: None,
    probes.action: None,
    probes.action_from_obs: None,
    probes.truncation: 8,
    probes.memory: None,
    probes.action_continuous: None,
    probes.multidiscrete: None,
    probes.action_mask: None,
}.items():
    _id = f"probe/{_make.__name__.replace('_', '-')}"
    _params = partial(dict, delay=3) if _make is probes.memory else dict
    register(_id, _make, _limit, _params, "jaxrl")

if "gymnasium" in sys.modules:  # it is not imported merely to register the ids
    from jaxrl.envs import gymnasium_ids  # noqa: F401
