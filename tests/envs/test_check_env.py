"""`check_env` on a valid environment, and on a broken copy of it for each check."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs
from jaxrl.envs.check import check_env
from jaxrl.envs.wrappers import auto_reset, episode_stats, restart, time_limit, transition
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

KEY = jax.random.key(7)


def walk(length=4):
    """Observes a random number in each step, ends after `length` steps."""

    def reset(key):
        return {"time": jnp.zeros((), jnp.int32)}, restart(jax.random.uniform(key, (1,)), {"cost": 0.5})

    def step(key, state, action):
        time = state["time"] + 1
        obs = jax.random.uniform(key, (1,))
        return {"time": time}, transition(obs, action * 1.0, time >= length, {"cost": 0.5})

    return Env(reset, step, Box(0.0, 1.0, (1,)), Discrete(3))


SOUND = walk()
RESETTING = auto_reset(walk())


def after(env, reset=None, step=None):
    """`env` with the functions `reset` or `step` applied to its (state, TimeStep)."""

    def new_reset(key):
        result = env.reset(key)
        return result if reset is None else reset(*result)

    def new_step(key, state, action):
        result = env.step(key, state, action)
        return result if step is None else step(*result)

    return env._replace(reset=new_reset, step=new_step)


def replacing(env=SOUND, where=("reset", "step"), **changes):
    """`env` with fields of its TimeSteps replaced by `(timestep) -> value`."""

    def change(state, timestep):
        return state, timestep.replace(**{name: f(timestep) for name, f in changes.items()})

    return after(env, **dict.fromkeys(where, change))


def branching(key, state, action):
    return SOUND.step(key, state, action if action > 0 else 0)


def five_values(key, state, action):
    state, timestep = SOUND.step(key, state, action)
    return timestep.obs, state, timestep.reward, timestep.done, {}


def vector_action(key, state, action):
    return SOUND.step(key, state, action[0])


_noise = np.random.default_rng(0)
_calls = itertools.count()


def noisy_reset(state, timestep):
    obs = jnp.full((1,), _noise.random(), jnp.float32)
    return state, timestep.replace(obs=obs, next_obs=obs)


def counting_step(state, timestep):
    return state, timestep.replace(reward=jnp.float32(next(_calls)))


def other_under_jit(state, timestep):
    traced = isinstance(timestep.reward, jax.core.Tracer)
    return state, timestep.replace(reward=timestep.reward + traced)


@jax.custom_batching.custom_vmap
def shared(x):
    return x


@shared.def_vmap
def _(axis_size, in_batched, x):
    return jnp.full_like(x, x.mean()), True


def gymnax_style(state, timestep):
    """Overwrites the last observation of an episode by the first of the next."""
    return state, timestep.replace(next_obs=timestep.obs)


def float_time(state, timestep):
    return {"time": state["time"].astype(jnp.float32)}, timestep


def masked(mask, action_space=SOUND.action_space):
    """`SOUND` with a mask, or one made of each TimeStep."""
    of = mask if callable(mask) else lambda timestep: jnp.asarray(mask)
    env = SOUND._replace(step=lambda key, state, action: SOUND.step(key, state, jnp.sum(action)))
    env = replacing(env, info=lambda t: {**t.info, "action_mask": of(t)})
    return env._replace(action_space=action_space)


BROKEN = {
    "not an Env": (tuple(SOUND), "env must be a jaxrl.types.Env, not a tuple"),
    "no space": (
        SOUND._replace(observation_space="box"),
        "observation_space must hold Box, Discrete or MultiDiscrete, not 'box'",
    ),
    "reset without a key": (
        SOUND._replace(reset=lambda: SOUND.reset(KEY)),
        "reset must take .key., but too many positional",
    ),
    "step with parameters": (
        SOUND._replace(step=lambda key, state, action, params: SOUND.step(key, state, action)),
        "step must take .key, env_state, action., but missing a required argument: 'params'",
    ),
    "five values": (SOUND._replace(step=five_values), "step must return .env_state, TimeStep."),
    "python branch": (SOUND._replace(step=branching), "step cannot be compiled.* use jnp.where"),
    "refuses its actions": (SOUND._replace(step=vector_action), "step fails on .key, env_state, action."),
    "integer reward": (
        replacing(reward=lambda t: t.reward.astype(jnp.int32)),
        r"reward of reset must be a float32 scalar, not int32\[\]",
    ),
    "vector reward": (
        replacing(where=["step"], reward=lambda t: t.reward[None]),
        r"reward of step must be a float32 scalar, not float32\[1\]",
    ),
    "float flag": (
        replacing(terminated=lambda t: t.terminated * 1.0),
        "terminated of reset must be a bool scalar, not float32",
    ),
    "float truncated": (
        replacing(where=["step"], truncated=lambda t: t.truncated * 1.0),
        "truncated of step must be a bool scalar, not float32",
    ),
    "float first": (
        replacing(first=lambda t: t.first * 1.0),
        "first of reset must be a bool scalar, not float32",
    ),
    "integer observation": (
        replacing(obs=lambda t: t.obs.astype(int)),
        r"obs of reset is int32\[1\], but observation_space says float32\[1\]",
    ),
    "wrong shape": (
        replacing(where=["step"], next_obs=lambda t: t.obs[0]),
        r"next_obs of step is float32\[\], but observation_space says float32\[1\]",
    ),
    "wrong structure": (
        replacing(obs=lambda t: {"x": t.obs}),
        "obs of reset must have the structure of observation_space",
    ),
    "info is None": (replacing(info=lambda t: None), "info must be a dict, not None"),
    "info changes": (
        replacing(where=["step"], info=lambda t: {**t.info, "speed": t.reward}),
        r"info must always have the same keys, not \['cost'\] after reset and \['cost', 'speed'\]",
    ),
    "info changes type": (
        replacing(where=["step"], info=lambda t: {"cost": jnp.int32(1)}),
        r"the TimeStep must not change type at .info\['cost'\]: float32\[\].* after reset, int32\[\]",
    ),
    "state changes structure": (
        after(SOUND, step=lambda state, t: ({**state, "more": t.reward}, t)),
        "step must not change the structure of env_state",
    ),
    "state changes dtype": (
        after(SOUND, step=float_time),
        r"env_state must not change type at \['time'\]: int32\[\] after reset, float32.* fixes dtypes",
    ),
    "state changes weak type": (
        after(SOUND, lambda _, t: ({"time": 0}, t), lambda state, t: ({"time": jnp.int32(1)}, t)),
        r"type at \['time'\]: int32\[\], weakly typed after reset, int32\[\] after step",
    ),
    "impure reset": (after(SOUND, reset=noisy_reset), "reset gives two results for the same key.*obs"),
    "impure step": (after(SOUND, step=counting_step), "step gives two results for the same key.*reward"),
    "another result under jit": (
        after(SOUND, step=other_under_jit),
        "the same under jit as without; they differ at .reward",
    ),
    "lanes mixed": (
        replacing(obs=lambda t: shared(t.obs), next_obs=lambda t: shared(t.obs)),
        "lanes of a vmap must be independent; lane 0 differs at .obs",
    ),
    "no first": (
        replacing(where=["reset"], first=lambda t: ~t.first),
        "first must be true after reset; violated at step 0 of lane 0",
    ),
    "ended at reset": (
        replacing(where=["reset"], terminated=lambda t: t.first),
        "must not have ended after reset",
    ),
    "next_obs of a reset": (
        replacing(where=["reset"], next_obs=lambda t: t.obs / 2),
        "next_obs must be obs after reset",
    ),
    "reward of a reset": (
        replacing(where=["reset"], reward=lambda t: t.reward + 1),
        "reward must be 0 after reset",
    ),
    "obs out of its space": (
        replacing(RESETTING, where=["step"], obs=lambda t: t.obs + 3.0 * t.first),
        "obs must lie in observation_space; violated at step 4 of lane 0",
    ),
    "next_obs out of its space": (
        replacing(RESETTING, where=["step"], next_obs=lambda t: t.next_obs + 3.0 * t.first),
        "next_obs must lie in observation_space; violated at step 4 of lane 0",
    ),
    "reward is not a number": (
        replacing(where=["step"], reward=lambda t: jnp.where(t.terminated, jnp.nan, t.reward)),
        "reward must be a number",
    ),
    "two ends at once": (
        replacing(where=["step"], truncated=lambda t: t.terminated),
        "an episode that terminates is not truncated too; violated at step 4 of lane 0",
    ),
    "first too often": (
        replacing(where=["step"], first=lambda t: t.reward > 0),
        "first must be false unless the step ended an episode",
    ),
    "empty mask": (masked([False] * 3), "action_mask must allow at least one action"),
    "mask empties": (
        masked(lambda t: jnp.arange(3) < jnp.where(t.obs[0] > 0.5, 0, 3)),
        "action_mask must allow at least one action; violated at step",
    ),
    "short mask": (masked([True] * 2), r"action_mask of reset is bool\[2\].* for each choice, bool\[3\]"),
    "mask of numbers": (masked([1.0] * 3), r"action_mask of reset is float32\[3\]"),
    "mask without axes": (masked(True), r"action_mask of reset is bool\[\]"),
    "mask of one choice of two": (
        masked([True, True, False, False], MultiDiscrete((2, 2))),
        "action_mask must allow at least one action",
    ),
    "mask for a Box": (
        masked([True], Box(-1.0, 1.0, (1,))),
        "an action mask needs one Discrete or MultiDiscrete",
    ),
    "resets without first": (
        replacing(RESETTING, where=["step"], first=lambda t: t.first & False),
        "next_obs must be obs unless first is true",
    ),
    "next_obs crosses": (
        after(RESETTING, step=gymnax_style),
        "next_obs must be the last observation of the episode that ended",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_violations_are_reported_in_one_sentence(fault):
    env, message = BROKEN[fault]
    with pytest.raises(ValueError, match=message) as caught:
        check_env(env)
    assert "\n" not in str(caught.value)


SOUND_ONES = {
    "raw": SOUND,
    "resetting": RESETTING,
    "made": auto_reset(episode_stats(time_limit(walk(), 3))),
    "endless": walk(10_000),
    "mask empty at the end": masked(lambda t: ~t.done & jnp.ones(3, bool)),
    "masked": envs.make("probe/action-mask"),
}


@pytest.mark.parametrize("name", SOUND_ONES)
def test_a_valid_environment_passes(name):
    assert check_env(SOUND_ONES[name]) is None


def test_a_raw_environment_whose_episodes_end_at_once_passes():
    check_env(envs.probes.action(), num_steps=4)


def test_it_accepts_a_key_and_a_length():
    assert check_env(SOUND, jax.random.PRNGKey(3), num_steps=2) is None


def test_masks_are_respected():
    """Forbidden actions leave the observation space here, so they must not be taken."""
    raw = envs.REGISTRY["probe/action-mask"].make()
    env = replacing(raw, where=["step"], obs=lambda t: t.obs + 9.0 * t.info["violated"])
    env = replacing(env, where=["step"], next_obs=lambda t: t.obs)
    assert check_env(env) is None
