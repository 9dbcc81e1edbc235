"""Automatic resets, and where their initial states come from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.envs.wrappers.layers import layered
from jaxrl.types import Env, PyTree, TimeStep
from jaxrl.widths import narrow


@struct.dataclass
class Pooled:
    """An environment's state, the result of a reset in the pool, and the total number of steps."""

    inner: Any
    spare: Any
    time: jax.Array


RESETS = ("fresh", "pool", "optimistic")
POOL_PERIOD = 16  # steps after which a lane's next initial state is replaced
OPTIMISTIC_SHARE = 16  # lanes per initial state generated in a step


def auto_reset(env: Env, resets: str = "fresh") -> Env:
    """Starts a new episode in the step that ends one; the only place where that happens.

    Only the state, `obs` and the action mask for `obs` are replaced: `next_obs`, `reward`, the flags and
    the rest of `info` still describe the episode that ended. With `JAX_ENABLE_X64=1` states and TimeSteps
    are kept at 32 bits.

    Args:
      resets: the source of the initial states of new episodes.
        "fresh": a reset in every step of every lane, used if the episode ends there.
        "pool": there are as many initial states as lanes, of which one in 16 is replaced in each step; a lane
        that ends an episode takes the next one in turn. No lane takes an initial state twice, so the length
        of an episode does not affect which ones are taken; but several lanes may take the same. Costs the
        memory of a second state.
        "optimistic": in each step one reset per 16 lanes, assigned in turn to the lanes that end an episode
        there; if more of them end at once, several have the same initial state. After Matthews et al. 2024,
        Craftax. https://arxiv.org/abs/2402.16801
      "pool" and "optimistic" are for environments whose reset costs as much as a step; lanes are those of the
      innermost `vmap`, and no longer independent of each other. Without a `vmap`, both are equal to "fresh".

    Raises:
      ValueError: another name.
    """
    if resets not in RESETS:
        raise ValueError(f"resets {resets!r} is not known: take {', '.join(map(repr, RESETS))}")

    def last_state(key, state, action):
        return env.step(jax.random.split(key)[0], state, action)[0]

    if resets == "pool":
        resetting = layered("auto_reset", env, _narrow(_auto_reset_from_pool(env)))
        return _showing(resetting, lambda key, state, action: last_state(key, state.inner, action))
    start = _dealt(env) if resets == "optimistic" else lambda key, _: env.reset(key)

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        with jax.named_scope("dynamics"):
            state, timestep = env.step(step_key, state, action)
        with jax.named_scope("reset"):
            return _exchange(timestep, start(reset_key, timestep.done), state)

    return _showing(layered("auto_reset", env, _narrow(env._replace(step=step))), last_state)


def _showing(env: Env, last_state: Callable[..., PyTree]) -> Env:
    """Gives access to the state that a step led to before the reset, so that it can be rendered."""
    env.step.last_state = last_state  # type: ignore[attr-defined]  # functions take any attribute
    return env


def _narrow(env: Env) -> Env:
    """Keeps states and TimeSteps at 32 bits if JAX's default is 64 (`jaxrl.widths`)."""

    def reset(key):
        return narrow(env.reset(key))

    def step(key, state, action):
        return narrow(env.step(key, state, action))

    return env._replace(reset=reset, step=step)


def _exchange(timestep: TimeStep, start, state):
    """State and TimeStep after a step: those of `start`, the result of a reset, if the episode has ended."""
    fresh_state, fresh = start
    done = once(timestep.done)

    def exchange(new, old):
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), new, old)

    info = dict(timestep.info)
    if "action_mask" in info:
        info["action_mask"] = exchange(fresh.info["action_mask"], info["action_mask"])
    timestep = timestep.replace(obs=exchange(fresh.obs, timestep.obs), first=done, info=info)
    return exchange(fresh_state, state), timestep


def _dealt(env: Env):
    """`(key, done) -> env.reset(key)`; under `vmap`, few resets are computed and assigned to done lanes."""

    @jax.custom_batching.custom_vmap
    def start(key, done):
        return env.reset(key)

    @start.def_vmap
    def batched(axis_size, in_batched, key, done):
        keys, done = _as_batched(axis_size, in_batched, (key, done))
        count = -(-axis_size // OPTIMISTIC_SHARE)
        fresh = jax.vmap(env.reset)(keys[:count])
        turn = (jnp.cumsum(done) - 1) % count
        dealt = jax.tree.map(lambda x: x[turn], fresh)
        return dealt, jax.tree.map(lambda _: True, dealt)

    return start


def _auto_reset_from_pool(env: Env) -> Env:
    @jax.custom_batching.custom_vmap
    def offered(time, spare):
        return spare

    @offered.def_vmap
    def offered_batched(axis_size, in_batched, time, spare):
        """Lane i is offered initial state i + t: it has been replaced before a lane is offered it again."""
        time, spare = _as_batched(axis_size, in_batched, (time, spare))
        moved = jax.tree.map(lambda x: jnp.roll(x, -time[0], axis=0), spare)  # lanes step together
        return moved, jax.tree.map(lambda _: True, moved)

    @jax.custom_batching.custom_vmap
    def refill(key, time, spare):
        return env.reset(key)

    @refill.def_vmap
    def refill_batched(axis_size, in_batched, key, time, spare):
        keys, time, spare = _as_batched(axis_size, in_batched, (key, time, spare))
        count = -(-axis_size // POOL_PERIOD)
        fresh = jax.vmap(env.reset)(keys[:count])
        begin = (time[0] % -(-axis_size // count)) * count  # the last block may overlap others

        def exchange(some, every):
            return jax.lax.dynamic_update_slice_in_dim(every, some, begin, 0)

        spare = jax.tree.map(exchange, fresh, spare)
        return spare, jax.tree.map(lambda _: True, spare)

    def reset(key):
        key, spare_key = jax.random.split(key)
        state, timestep = env.reset(key)
        return Pooled(state, env.reset(spare_key), jnp.zeros((), jnp.int32)), timestep

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        with jax.named_scope("dynamics"):
            inner, timestep = env.step(step_key, state.inner, action)
        with jax.named_scope("reset"):
            inner, timestep = _exchange(timestep, offered(state.time, state.spare), inner)
            spare = refill(reset_key, state.time, state.spare)
        return Pooled(inner, spare, state.time + 1), timestep

    return env._replace(reset=reset, step=step)


def _as_batched(axis_size: int, in_batched, args):
    """The arguments of a `vmap` rule; those that are not batched are repeated along the axis."""

    def repeat(leaf, batched):
        return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return jax.tree.map(repeat, args, tuple(in_batched))
