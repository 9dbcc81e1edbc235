"""Environments by name.

    env = envs.make("CartPole-v1", length=0.7)      # resets itself, records returns, 500 steps at most
    env = envs.make("brax/ant:mjx", max_steps=200)
    raw = envs.REGISTRY["Catch-bsuite"].make()      # bare dynamics, to put wrappers around
    many = envs.family("CartPole-v1", length=families.uniform(0.3, 1.0))     # new pole in every episode
    vector_env = envs.to_gymnasium("CartPole-v1", num_envs=64)               # for users of Gymnasium

Importing this module imports no other environment library: that happens when an environment is made.
"""

import sys
from functools import partial

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
from jaxrl.envs.entry import Entry
from jaxrl.envs.families import family as family
from jaxrl.envs.registry import REGISTRY as REGISTRY
from jaxrl.envs.registry import make as make
from jaxrl.envs.registry import names as names
from jaxrl.envs.registry import register as register
from jaxrl.envs.to_gymnasium import to_gymnasium as to_gymnasium

_limit: int | None

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
    probes.truncation_continuous: 8,
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
