"""Fixed dtypes for the environments of other libraries."""

import functools

import jax
import jax.numpy as jnp

from jaxrl.envs.wrappers.layers import layered
from jaxrl.spaces import Box
from jaxrl.types import Env, TimeStep
from jaxrl.widths import narrow


def fix_dtypes(env: Env) -> Env:
    """Gives all outputs of an environment fixed types, as a scan requires.

    Observations have the dtype of their space, rewards are float32, flags bool; every leaf of the state and
    of `info` keeps the dtype that it has after `reset`. Other libraries' environments initialize counters
    with Python scalars (weakly typed) and may return another dtype from `step`. With `JAX_ENABLE_X64=1` they
    are traced without it: most were written for 32 bits, and some mix both widths where JAX accepts only one.
    """

    def settle(leaf, dtype=None):
        leaf = jnp.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # a random key cannot be converted
            return leaf
        return jax.lax.convert_element_type(leaf, dtype or leaf.dtype)  # not weakly typed

    def seen(obs):
        spaces, structure = jax.tree.flatten(env.observation_space)
        if jax.tree.structure(obs) != structure:
            return obs  # not a matter of dtypes
        dtypes = [space.dtype if isinstance(space, Box) else jnp.int32 for space in spaces]
        return structure.unflatten(map(settle, jax.tree.leaves(obs), dtypes))

    def settled(timestep, info):
        flags = {name: settle(getattr(timestep, name), bool) for name in ("terminated", "truncated", "first")}
        obs, next_obs = seen(timestep.obs), seen(timestep.next_obs)
        reward = settle(timestep.reward, jnp.float32)
        return TimeStep(obs=obs, next_obs=next_obs, reward=reward, **flags, info=info)

    @functools.cache
    def first_info():
        return jax.eval_shape(env.reset, jax.random.key(0))[1].info

    def reset(key):
        with jax.enable_x64(False):
            state, timestep = env.reset(key)
        return jax.tree.map(settle, state), settled(timestep, jax.tree.map(settle, timestep.info))

    def step(key, state, action):
        with jax.enable_x64(False):
            new_state, timestep = env.step(key, *narrow((state, action)))
            begun = first_info()
        state = jax.tree.map(lambda new, old: settle(new, jnp.result_type(old)), new_state, state)
        info = timestep.info
        if jax.tree.structure(info) == jax.tree.structure(begun):
            info = jax.tree.map(lambda new, old: settle(new, old.dtype), info, begun)
        return state, settled(timestep, info)

    return layered("fix_dtypes", env, env._replace(reset=reset, step=step))
