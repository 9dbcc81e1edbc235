"""The registry of environments: environments by name, with their parameters and time limits."""

import contextlib
import sys
from collections.abc import Callable
from numbers import Integral
from types import EllipsisType
from typing import Any

import jax

from jaxrl.envs.entry import Entry, require_known
from jaxrl.envs.wrappers import auto_reset, episode_stats, time_limit
from jaxrl.names import lookup
from jaxrl.types import Env
from jaxrl.widths import narrow

REGISTRY: dict[str, Entry] = {}  # `jaxrl.envs` adds all environments that come with jaxrl


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
        checked_limit(max_steps)
    if entry.wrapped:  # its time limit and resets are its own, and may be parameters
        params |= {"max_steps": max_steps} if max_steps is not ... else {}
        params |= {"resets": resets} if resets else {}
    require_known(name, entry.make, params)
    for parameter, value in params.items():
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise ValueError(f"{parameter} = {value} of {name} must be an integer of 32 bits")
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
    REGISTRY[name] = Entry(make, checked_limit(max_steps), params, origin, limit)
    if ids := sys.modules.get("jaxrl.envs.gymnasium_ids"):
        ids.announce(name)


def _default_limit(name: str, entry: Entry, params: dict[str, Any]) -> int | None:
    """The default time limit of an environment with these parameters."""
    limit = entry.limit(**params) if entry.limit else entry.max_steps
    if isinstance(limit, jax.core.Tracer):
        raise ValueError(f"the time limit of {name} depends on traced parameters: give max_steps")
    return checked_limit(int(limit) if isinstance(limit, jax.Array) else limit)


def checked_limit(max_steps: Any) -> int | None:
    """The time limit; raises ValueError unless it is a positive integer or None."""
    positive = isinstance(max_steps, Integral) and not isinstance(max_steps, bool) and int(max_steps) > 0
    if max_steps is not None and not positive:
        raise ValueError(f"max_steps must be a positive integer or None, not {max_steps!r}")
    if max_steps is not None and max_steps >= 2**31:
        raise ValueError(f"max_steps = {max_steps} must be less than 2147483648, or None for no limit")
    return max_steps
