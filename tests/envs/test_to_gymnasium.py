"""Environments of jaxrl for Gymnasium: its checker, its vector interface, and the same numbers."""

import builtins
import importlib
import warnings
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs
from jaxrl.envs import families, gymnasium_session, registry, render
from jaxrl.envs.stochastic import drift, non_stationary
from jaxrl.envs.to_gymnasium import to_gymnasium
from jaxrl.envs.wrappers import auto_reset, episode_stats, restart, time_limit, transition
from jaxrl.rollout import vectorize
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

import jaxrl.envs.gymnasium_ids  # noqa: E402, F401 (its import registers)

module = importlib.import_module("jaxrl.envs.to_gymnasium")  # the package has the function by this name

NAMES = ["CartPole-v1", "Pendulum-v1", "Breakout-MinAtar", "FrozenLake-misc", "probe/action-mask"]


def tree(length=3):
    """Spaces of every kind, nested; the observation contains the action."""
    space = {"a": Discrete(5), "b": (Box(-1.0, 1.0, (2,)), Box(False, True, (2, 2), np.bool_))}
    actions = {"x": Discrete(5), "y": (Box(-1.0, 1.0, (2,)), MultiDiscrete((2, 3)))}

    def show(x, y, key):
        return {"a": x, "b": (y, jax.random.bernoulli(key, 0.5, (2, 2)))}

    def reset(key):
        return jnp.zeros((), jnp.int32), restart(show(jnp.int32(0), jnp.zeros(2), key))

    def step(key, state, action):
        state = state + 1
        return state, transition(show(action["x"], action["y"][0], key), 1.0, state >= length)

    return Env(reset, step, space, actions)


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)  # two programs may round differently


# --- one environment --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "tree"])
def test_environments_pass_gymnasiums_checker(name):
    env = to_gymnasium(auto_reset(tree()) if name == "tree" else name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on infinite bounds
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_steps_like_the_jax_environment(name):
    env, ours = to_gymnasium(name, seed=3), envs.make(name)
    key, reset_key = jax.random.split(jax.random.key(3))
    state, timestep = ours.reset(reset_key)
    step = jax.jit(ours.step)
    obs, _ = env.reset()
    same(obs, timestep.obs)
    env.action_space.seed(0)
    for _ in range(30):
        action = env.action_space.sample()
        key, step_key = jax.random.split(key)
        state, timestep = step(step_key, state, jnp.asarray(action, ours.action_space.dtype))
        obs, reward, terminated, truncated, info = env.step(action)
        same(obs, timestep.next_obs)  # the end of an episode is shown
        assert obs in env.observation_space
        assert (terminated, truncated) == (timestep.terminated, timestep.truncated)
        same(reward, timestep.reward)
        assert type(reward) is float and type(terminated) is type(truncated) is bool
        assert info.keys() == timestep.info.keys()
        if terminated or truncated:
            break


def test_seeds_make_episodes_reproducible():
    def observations_of(env, **seed):
        observations = [env.reset(**seed)[0]]
        for action in (0, 1, 1, 0):
            observations.append(env.step(action)[0])
        return np.array([*observations, env.reset()[0]])

    make = lambda seed=0: to_gymnasium("CartPole-v1", seed=seed)  # noqa: E731
    first = observations_of(make(7))
    np.testing.assert_array_equal(first, observations_of(make(7)))
    np.testing.assert_array_equal(first, observations_of(make(), seed=7))
    assert not np.array_equal(first, observations_of(make(8)))
    assert not np.array_equal(first[0], first[-1])
    env = make()
    np.testing.assert_array_equal(observations_of(env, seed=7), observations_of(env, seed=7))


def counter():
    """Counts its steps."""

    def reset(key):
        return jnp.int32(0), restart(jnp.zeros(1))

    def step(key, state, action):
        return state + 1, transition(jnp.zeros(1), 0.0, False)

    return Env(reset, step, Box(0.0, 1.0, (1,)), Discrete(2))


def wages(wage=0.0):
    """Three steps per episode; observes a random number, the reward is the wage, masks differ by start."""

    def reset(key):
        mask = jax.random.bernoulli(key, 0.5, (32,))
        return jnp.int32(0), restart(jax.random.uniform(key, (1,)), {"action_mask": mask})

    def step(key, state, action):
        timestep = transition(jax.random.uniform(key, (1,)), wage, False, {"action_mask": jnp.ones(32, bool)})
        return state + 1, timestep

    raw = Env(reset, step, Box(0.0, 1.0, (1,)), Discrete(32))
    return auto_reset(episode_stats(time_limit(raw, 3)))


def episode(env):
    """The rewards until the end."""
    rewards, over = [], False
    while not over:
        _, reward, terminated, truncated, _ = env.step(0)
        rewards.append(reward)
        over = terminated or truncated
    return rewards


def test_a_reset_after_an_end_continues_the_automatic_reset():
    env = to_gymnasium(non_stationary(wages, "wage", drift(0.0, 99.0, 99)))
    paid = []
    for _ in range(3):
        obs, info = env.reset()
        assert obs in env.observation_space
        assert info["episode_return"] == info["episode_length"] == 0
        assert type(info["episode_length"]) is np.int32
        np.testing.assert_array_equal(info["action_mask"], env.action_masks())
        assert not info["action_mask"].all()
        paid += episode(env)
    np.testing.assert_allclose(paid, np.arange(9), rtol=1e-6)
    # During an episode or with a seed everything is reset.
    env.reset()
    assert env.step(0)[1] == 9
    env.reset()
    assert env.step(0)[1] == 0
    episode(env)
    env.reset(seed=1)
    assert env.step(0)[1] == 0


def test_the_start_that_is_shown_is_the_one_played():
    env, ours = to_gymnasium(wages(), seed=3), wages()
    key, reset_key = jax.random.split(jax.random.key(3))
    state, timestep = ours.reset(reset_key)
    env.reset()
    for _ in range(3):
        key, step_key = jax.random.split(key)
        state, timestep = ours.step(step_key, state, jnp.int32(0))
        obs, *_ = env.step(0)
    same(obs, timestep.next_obs)
    start, info = env.reset()
    same(start, timestep.obs)
    np.testing.assert_array_equal(info["action_mask"], timestep.info["action_mask"])
    assert env.reset()[0] != start  # nothing was played in between: another start


def test_a_member_of_a_family_stays():
    make = lambda **p: envs.family("CartPole-v1", length=families.uniform(0.3, 1.0), max_steps=3, **p)  # noqa: E731
    for per, members in (("lane", 1), ("episode", 4)):
        env, lengths = to_gymnasium(make(per=per, report=True)), set()
        for _ in range(4):
            env.reset()
            lengths.add(float(env.step(0)[4]["params"]["length"]))
            episode(env)
        assert len(lengths) == members


def test_copies_share_their_program():
    one, other = (gymnasium_session._programs(*envs.make("CartPole-v1")[:2], None) for _ in range(2))
    assert one is not other
    env = envs.make("CartPole-v1")
    assert to_gymnasium(env)._session._step is to_gymnasium(env, seed=1)._session._step


def test_spaces_are_translated():
    env = to_gymnasium(auto_reset(tree()))
    spaces = gymnasium.spaces
    assert env.observation_space == spaces.Dict(
        a=spaces.Discrete(5),
        b=spaces.Tuple([spaces.Box(-1, 1, (2,), np.float32), spaces.Box(0, 1, (2, 2), np.uint8)]),
    )
    assert env.action_space["y"][1] == spaces.MultiDiscrete([2, 3])
    env.reset(seed=0)
    action = env.action_space.sample()
    obs, *_ = env.step(action)
    assert obs in env.observation_space and obs["a"] == action["x"]
    np.testing.assert_array_equal(obs["b"][0], action["y"][0])
    obs["b"][0][:] = 0  # returned arrays belong to the user


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_infinite_bounds_of_integers_become_those_of_the_dtype(dtype):
    raw = envs.make("CartPole-v1")
    high = np.array([np.inf, 7.0], np.float32)
    env = to_gymnasium(raw._replace(observation_space=Box(-np.inf, high, (2,), np.dtype(dtype))))
    box, limits = env.observation_space, np.iinfo(dtype)
    assert box.low.tolist() == [limits.min] * 2 and box.high.tolist() == [limits.max, 7]
    assert np.array([3, 4], dtype) in box and box.sample() in box


def test_actions_of_every_integer_dtype_are_accepted():
    env = started(to_gymnasium("CartPole-v1"))
    for action in (1, np.int64(1), np.array(1), np.uint8(1), jnp.int32(1)):
        env.step(action)
    env = started(to_gymnasium("Pendulum-v1", num_envs=2))
    env.step([[0.5], [1]])
    env.step(np.zeros((2, 1), int))


# --- many environments ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "tree"])
def test_vector_environments_step_like_the_jax_environments(name):
    ours = auto_reset(tree()) if name == "tree" else envs.make(name, max_steps=7)
    env = to_gymnasium(ours, num_envs=5, seed=3)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    many = vectorize(ours, 5)
    key, reset_key = jax.random.split(jax.random.key(3))
    state, timestep = many.reset(reset_key)
    obs, info = env.reset()
    same(obs, timestep.obs)
    step = jax.jit(many.step)
    env.action_space.seed(0)
    ended = 0
    for _ in range(20):
        actions = env.action_space.sample()
        key, step_key = jax.random.split(key)
        state, timestep = step(step_key, state, jax.tree.map(jnp.asarray, actions))
        obs, reward, terminated, truncated, info = env.step(actions)
        same(obs, timestep.obs)
        assert obs in env.observation_space
        same(reward, timestep.reward)
        np.testing.assert_array_equal(terminated, timestep.terminated)
        np.testing.assert_array_equal(truncated, timestep.truncated)
        done = terminated | truncated
        ended += done.sum()
        assert ("final_obs" in info) == done.any()
        if done.any():
            np.testing.assert_array_equal(info["_final_obs"], done)
            for lane in range(5):
                if not done[lane]:
                    assert info["final_obs"][lane] is None
                    continue
                assert info["final_obs"][lane] in env.single_observation_space
                same(info["final_obs"][lane], jax.tree.map(lambda x, i=lane: x[i], timestep.next_obs))
        if "action_mask" in info:
            assert info["_action_mask"].all()
            np.testing.assert_array_equal(info["action_mask"], timestep.info["action_mask"])
            np.testing.assert_array_equal(env.action_masks(), timestep.info["action_mask"])
    assert ended > 0


def test_info_is_laid_out_as_gymnasium_lays_it_out():
    sync = SyncVectorEnv(
        [lambda: to_gymnasium("CartPole-v1", max_steps=5)] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = to_gymnasium("CartPole-v1", num_envs=3, max_steps=5)
    assert ours.observation_space == sync.observation_space and ours.action_space == sync.action_space
    sync.reset(seed=0), ours.reset(seed=0)
    for _ in range(5):
        (obs, reward, terminated, truncated, theirs), actual = (
            sync.step(np.zeros(3, int)),
            ours.step(np.zeros(3, int)),
        )
        for a, b in ((obs, actual[0]), (reward, actual[1]), (terminated, actual[2]), (truncated, actual[3])):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert actual[3].all() and truncated.all()
    actual = actual[4]
    # Their info also contains that of the resets, which is empty here.
    assert set(actual) == {k for k in theirs if "final" in k}
    for name in ("final_obs", "_final_obs", "_final_info"):
        assert (actual[name].shape, actual[name].dtype) == (theirs[name].shape, theirs[name].dtype)
    assert actual["final_info"].keys() == theirs["final_info"].keys()
    for name, value in theirs["final_info"].items():
        np.testing.assert_array_equal(actual["final_info"][name], value)


def test_the_final_info_describes_whole_episodes():
    env = to_gymnasium("CartPole-v1", num_envs=8, seed=1)
    env.reset()
    env.action_space.seed(1)
    total, ended = np.zeros(8), 0
    for _ in range(60):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        done = terminated | truncated
        if done.any():
            ended += done.sum()
            final_info = info["final_info"]
            np.testing.assert_array_equal(final_info["_episode_return"], done)
            np.testing.assert_array_equal(final_info["episode_return"], np.where(done, total, 0))
        if not done.all():
            np.testing.assert_array_equal(info["_episode_return"], ~done)
            np.testing.assert_array_equal(info["episode_return"], np.where(done, 0, total))
        total[done] = 0
    assert ended > 8


def test_seeds_of_vector_environments():
    env = to_gymnasium("CartPole-v1", num_envs=16)
    first, _ = env.reset(seed=5)
    step = env.step(np.zeros(16, int))[0]
    again, _ = env.reset(seed=5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(step, env.step(np.zeros(16, int))[0])
    assert len(np.unique(first, axis=0)) == 16  # lanes are independent
    assert not np.array_equal(first, env.reset(seed=6)[0])
    env.close()


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: to_gymnasium("cartpole"), "the nearest: CartPole-v1"),
        (lambda: to_gymnasium(envs.make("CartPole-v1"), length=1.0), "parameters require a name"),
        (
            lambda: to_gymnasium("CartPole-v1", num_envs=0),
            "num_envs must be a positive integer or None, not 0",
        ),
        (lambda: to_gymnasium("CartPole-v1", num_envs=2.5), "a positive integer or None, not 2.5"),
        (lambda: to_gymnasium("CartPole-v1", num_envs="2"), "a positive integer or None, not '2'"),
        (lambda: to_gymnasium("CartPole-v1", num_envs=True), "a positive integer or None, not True"),
        (
            lambda: to_gymnasium("world/grid", seed=0),
            r"too: .* pass envs.make\('world/grid', seed=0\) instead",
        ),
        (lambda: started(to_gymnasium("CartPole-v1")).step(7), "integers from 0 to below 2, not 7"),
        (lambda: started(to_gymnasium("CartPole-v1")).step(-1), "integers from 0 to below 2, not -1"),
        (lambda: started(to_gymnasium("CartPole-v1")).step(1.7), "integers from 0 to below 2, not 1.7"),
        (lambda: started(to_gymnasium("CartPole-v1")).step(None), "integers from 0 to below 2, not None"),
        (lambda: started(to_gymnasium("CartPole-v1", 2)).step([0, 2]), "integers from 0 to below 2"),
        (lambda: started(to_gymnasium("Pendulum-v1")).step([np.nan]), "finite numbers"),
        (lambda: started(to_gymnasium("Pendulum-v1")).step([None]), "finite numbers"),
        (
            lambda: started(to_gymnasium(auto_reset(tree()), 2)).step(actions(2, choice=3)),
            r"integers from 0 to below \(2, 3\)",
        ),
        (lambda: to_gymnasium("CartPole-v1").step(0), "call reset before the first step"),
        (lambda: started(to_gymnasium("CartPole-v1")).step([0, 1]), r"must have the shape \(\), not \(2,\)"),
        (
            lambda: started(to_gymnasium("CartPole-v1", 2)).step([0]),
            r"must have the shape \(2,\), not \(1,\)",
        ),
        (lambda: started(to_gymnasium("CartPole-v1")).action_masks(), "there is no action mask"),
        (
            lambda: to_gymnasium("CartPole-v1", 2).reset(options={"reset_mask": 1}),
            "reset_mask is not supported",
        ),
        (
            lambda: started(to_gymnasium(time_limit(tree(), 1), 2)).step(actions(2)),
            "wrap it in jaxrl's auto_reset",
        ),
    ],
)
def test_invalid_arguments_are_rejected(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def started(env):
    env.reset()
    return env


def actions(n, choice=0):
    return {"x": np.zeros(n, int), "y": (np.zeros((n, 2)), np.full((n, 2), choice))}


def test_without_gymnasium_the_remedy_is_named(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *rest, **more):
        if name.split(".")[0] == "gymnasium":
            raise ImportError("no such module")
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    module._classes.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'jaxrl\[gymnasium\]'"):
        to_gymnasium("CartPole-v1")


@pytest.mark.slow
def test_stable_baselines_learns():
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

    def copies(seeds):
        return VecMonitor(DummyVecEnv([lambda s=s: to_gymnasium("CartPole-v1", seed=s) for s in seeds]))

    agent = sb3.PPO("MlpPolicy", copies(range(8)), n_steps=128, seed=0, device="cpu")
    agent.learn(30_000)
    mean_return, _ = evaluate_policy(agent, copies([100]), 10)
    assert mean_return > 300  # observed: 500; a random policy gets 22


# --- images and the registry -----------------------------------------------------------------------


@pytest.mark.parametrize("resets", ["fresh", "pool"])
def test_images_match_the_observation_to_the_end_of_the_episode(resets):
    env = gymnasium.make("jaxrl/CartPole-v1", render_mode="rgb_array", max_steps=2, resets=resets, length=0.7)
    shown = gymnasium.wrappers.AddRenderObservation(env, render_only=False)
    state, _ = shown.reset(seed=3)
    for number in (0, 1, 2, 0, 1):
        if number:
            state, _, terminated, truncated, _ = shown.step(1)
            assert (terminated, truncated) == (False, number == 2)
        elif shown.unwrapped._session._started is not None:
            state, _ = shown.reset()
        cart = namedtuple("Cart", "x x_dot theta theta_dot")(*state["state"])
        wanted = render.frame("CartPole-v1", cart, state["state"], {"length": 0.7})
        np.testing.assert_array_equal(state["pixels"], wanted)
    assert state["pixels"].dtype == np.uint8 and state["pixels"].shape[2] == 3


def test_images_of_several_environments_and_custom_ones():
    env = gymnasium.make_vec("jaxrl/Breakout-MinAtar", num_envs=2, render_mode="rgb_array")
    env.reset(seed=1)
    frames = env.render()
    assert len(frames) == 2 and frames[0].dtype == np.uint8 and frames[0].shape[2] == 3
    assert not to_gymnasium("CartPole-v1").render()
    adapter = to_gymnasium(
        auto_reset(counter()), render_mode="rgb_array", draw=lambda state, obs: (state, obs)
    )
    with pytest.raises(ValueError, match="reset before"):
        adapter.render()
    adapter.reset()
    adapter.step(0)
    assert adapter.render()[0] == 1
    with pytest.raises(ValueError, match="render_mode 'human' is not known: take 'rgb_array'"):
        to_gymnasium("CartPole-v1", render_mode="human")


def test_every_environment_has_an_id(monkeypatch):
    names = [name for name, entry in envs.REGISTRY.items() if entry.origin != "yours"]  # of all tests
    ids = {f"jaxrl/{name.replace('/', '-')}" for name in names}
    assert len(ids) == len(names) > 200 and ids <= set(gymnasium.registry)
    monkeypatch.setattr(registry, "REGISTRY", dict(envs.REGISTRY))
    envs.register("mine/first-v3", lambda: counter(), 5)
    assert gymnasium.spec("jaxrl/mine-first-v3").entry_point == "jaxrl.envs.to_gymnasium:to_gymnasium"
    del gymnasium.registry["jaxrl/mine-first-v3"]
