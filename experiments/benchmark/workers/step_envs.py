"""Environments stepped with random actions, many in parallel in one program, including resets.

The loop is the same for all libraries, with their `reset` and `step`. "hoisted" is jaxrl in the loop of its
rollouts.
"""

import importlib
import json
import sys

from protocol import Contestant, jax_device, serve

SETTINGS = json.loads(sys.argv[1])
LIBRARY, HOISTED = SETTINGS["library"], SETTINGS.get("hoisted", False)
STEPS_PER_UNIT = 1000


def load():
    if LIBRARY == "ours":
        importlib.import_module("jaxrl.envs")
    else:
        importlib.import_module(LIBRARY)


def ours(name, num_envs):
    from jaxrl import envs
    from jaxrl.rollout import vectorize

    env = envs.make(name)
    many = vectorize(env, num_envs)

    def reset(key):
        state, timestep = many.reset(key)
        return state, timestep.obs

    def step(key, state, action):
        state, timestep = many.step(key, state, action)
        return state, timestep.obs, timestep.reward, timestep.done

    space = env.action_space
    return reset, step, space.n if hasattr(space, "n") else (space.shape, space.low, space.high)


def gymnax(name, num_envs):
    import jax

    env, params = importlib.import_module("gymnax").make(name.removeprefix("gymnax/"))

    def reset(key):
        obs, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, num_envs), params)
        return state, obs

    def step(key, state, action):
        keys = jax.random.split(key, num_envs)
        obs, state, reward, terminated, truncated, _ = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, action, params
        )
        return state, obs, reward, terminated | truncated

    space = env.action_space(params)
    return reset, step, space.n if hasattr(space, "n") else (space.shape, space.low, space.high)


def brax(name, num_envs):
    from brax import envs

    short, _, backend = name.removeprefix("brax/").partition(":")
    env = envs.create(short, auto_reset=True, batch_size=num_envs, backend=backend or "spring")

    def reset(key):
        state = env.reset(key)
        return state, state.obs

    def step(key, state, action):
        state = env.step(state, action)
        return state, state.obs, state.reward, state.done

    return reset, step, ((env.action_size,), -1.0, 1.0)


def make(settings):
    import jax
    import jax.numpy as jnp

    num_envs = settings["num_envs"]
    scan = jax.lax.scan
    if HOISTED:
        try:
            scan = importlib.import_module("jaxrl.cpu.hoist").scan
        except ImportError:  # an older version, to compare with
            scan = importlib.import_module("jaxrl.hoist").scan
    reset, step, actions = {"ours": ours, "gymnax": gymnax, "brax": brax}[LIBRARY](settings["env"], num_envs)

    def draw(key):
        if isinstance(actions, tuple):
            shape, low, high = actions
            return jax.random.uniform(key, (num_envs, *shape), minval=low, maxval=high)
        return jax.random.randint(key, (num_envs,), 0, actions)

    def body(carry, keys):
        # The observation is in the carry, so that its computation is not removed as unused.
        state, _, total, ended = carry
        action_key, step_key = keys
        state, obs, reward, done = step(step_key, state, draw(action_key))
        return (state, obs, total + reward.sum(), ended + done.sum()), None

    @jax.jit
    def program(key, carry, units):
        def unit(i, carry):
            unit_key = jax.random.fold_in(key, i)
            return scan(body, carry, tuple(jax.random.split(unit_key, (2, STEPS_PER_UNIT))))[0]

        return jax.lax.fori_loop(0, units, unit, carry)

    @jax.jit
    def start(key):
        carry = (*reset(key), jnp.zeros(()), jnp.zeros(()))
        # With the types after a step: other environments change types between `reset` and `step`.
        after = jax.eval_shape(lambda c: body(c, (key, key))[0], carry)
        return jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), carry, after)

    carry, runs = start(jax.random.key(0)), 0

    def run(units):
        nonlocal carry, runs
        runs += 1
        carry = jax.block_until_ready(program(jax.random.key(runs), carry, units))

    module = "jaxrl" if LIBRARY == "ours" else LIBRARY
    return Contestant(
        run=run,
        steps_per_unit=STEPS_PER_UNIT * num_envs,
        device=jax_device,
        source=importlib.import_module(module).__file__,
    )


if __name__ == "__main__":
    serve(load, make)
