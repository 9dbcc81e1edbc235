"""Adapters to libraries that are extras: each passes `check_env` and matches its library step by step."""

import importlib
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs.check import check_env
from jaxrl.spaces import Discrete, MultiDiscrete, sample

KEY = jax.random.key(0)
# They run only briefly: optimizing the program would take longer than it saves.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# The library that an adapter imports, and the name of one of its environments.
LIBRARIES = {
    "craftax": ("craftax", "Craftax-Symbolic-v1"),
    "jumanji": ("jumanji", "Snake-v1"),
    "navix": ("navix", "Navix-Empty-5x5-v0"),
    "pgx": ("pgx", "2048"),
    "playground": ("mujoco_playground", "CartpoleBalance"),
    "xminigrid": ("xminigrid", "MiniGrid-Empty-5x5"),
}
# Environments that are checked within seconds; the others are slow.
CHEAP = {
    "craftax": ["Craftax-Classic-Symbolic-v1"],
    "jumanji": ["Game2048-v1", "JobShop-v0", "RubiksCube-v0", "Snake-v1", "Tetris-v0"],
    "navix": ["Navix-Dynamic-Obstacles-5x5-v0", "Navix-Empty-5x5-v0"],
    "pgx": ["2048", "connect_four", "kuhn_poker", "tic_tac_toe"],
    "playground": ["CartpoleBalance"],
    "xminigrid": ["MiniGrid-DoorKey-5x5", "MiniGrid-MemoryS8"],
}


def adapter(package):
    return importlib.import_module(f"jaxrl.envs.from_{package}")


def library(package):
    return pytest.importorskip(LIBRARIES[package][0])


def make(package, env_id, jit=quick, **params):
    env = adapter(package).make(env_id, **params)
    return env._replace(reset=jit(env.reset), step=jit(env.step))


def everything():
    return [
        pytest.param(package, env_id, marks=[pytest.mark.slow] * (env_id not in CHEAP[package]))
        for package in sorted(LIBRARIES)
        for env_id in adapter(package).NAMES
    ]


@pytest.mark.parametrize("package", sorted(LIBRARIES))
def test_a_missing_library_is_reported_with_the_remedy(package, monkeypatch):
    root, env_id = LIBRARIES[package]
    for module in [m for m in sys.modules if m == root or m.startswith(f"{root}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, root, None)
    message = rf"{package}/{env_id} needs the package {package}: pip install 'jaxrl\[{package}\]'"
    with pytest.raises(ValueError, match=message):
        adapter(package).make(env_id)


def test_names_are_known_without_the_libraries():
    roots = [root for root, _ in LIBRARIES.values()]
    imports = ", ".join(f"from_{package}" for package in LIBRARIES)
    code = f"import sys; from jaxrl.envs import {imports}; print(*[r for r in {roots} if r in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == ""


@pytest.mark.parametrize("package, env_id", everything())
def test_it_passes_check_env(package, env_id):
    library(package)
    check_env(make(package, env_id, jit=jax.jit), num_steps=32)


@pytest.mark.parametrize("package", ["craftax", "jumanji", "playground", "xminigrid"])
def test_an_unknown_parameter_is_refused(package):
    library(package)
    env_id = LIBRARIES[package][1]
    with pytest.raises(ValueError, match=f"{package}/{env_id} has no parameter 'wind'; it has "):
        adapter(package).make(env_id, wind=1.0)


def assert_same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# --- craftax ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def craftax():
    library("craftax")
    original = adapter("craftax")._load("Craftax-Classic-Symbolic-v1")
    return make("craftax", "Craftax-Classic-Symbolic-v1"), original


def test_a_step_matches_craftax(craftax):
    env, original = craftax
    state, timestep = env.reset(KEY)
    params = original.default_params
    obs, expected = quick(original.reset_env)(KEY, params)
    original_step = quick(original.step_env)
    assert_same(timestep.obs, obs)
    for key in jax.random.split(KEY, 20):
        action = sample(env.action_space, key)
        state, timestep = env.step(key, state, action)
        obs, expected, reward, done, _ = original_step(key, expected, action, params)
        assert_same((state, timestep.next_obs, timestep.reward), (expected, obs, reward))
        assert timestep.terminated == done


def test_the_time_limit_of_craftax_truncates_and_death_terminates(craftax):
    env, original = craftax
    limit = original.default_params.max_timesteps
    assert adapter("craftax").NAMES["Craftax-Classic-Symbolic-v1"] == limit
    state, _ = env.reset(KEY)
    late = state.replace(timestep=jnp.asarray(limit, state.timestep.dtype))
    assert original.is_terminal(late, original.default_params)
    assert not env.step(KEY, late, jnp.int32(0))[1].terminated
    no_health = state.replace(player_health=jnp.asarray(-3, state.player_health.dtype))
    assert env.step(KEY, no_health, jnp.int32(0))[1].terminated


# --- jumanji ----------------------------------------------------------------------------------


def test_the_time_limits_of_jumanji_and_the_excluded_environments():
    jumanji = library("jumanji")
    names = adapter("jumanji").NAMES
    assert jumanji.registered_environments() - set(names) == {
        "Connector-v3",
        "LevelBasedForaging-v0",
        "MMST-v0",
        "MultiCVRP-v0",
        "SearchAndRescue-v0",
        "Sokoban-v0",
    }
    for env_id in ("Snake-v1", "Tetris-v0", "Maze-v0", "RubiksCube-partly-scrambled-v0", "TSP-v1"):
        assert getattr(jumanji.make(env_id), "time_limit", None) == names[env_id]


@pytest.mark.parametrize("env_id", ["Snake-v1", "Tetris-v0"])
def test_a_step_matches_jumanji(env_id):
    original = library("jumanji").make(env_id)
    env = make("jumanji", env_id)
    state, timestep = env.reset(KEY)
    expected, _ = quick(original.reset)(KEY)
    original_step = quick(original.step)
    for key in jax.random.split(KEY, 10):
        action = jnp.argmax(timestep.info["action_mask"]).astype(jnp.int32)
        state, timestep = env.step(key, state, action)
        pair = jnp.array([action // 10, action % 10]) if env_id == "Tetris-v0" else action
        expected, then = original_step(expected, pair)
        assert_same(state, expected)
        assert_same((timestep.next_obs["grid"], timestep.reward), (then.observation.grid, then.reward))
        np.testing.assert_array_equal(timestep.info["action_mask"], then.observation.action_mask.ravel())
        assert timestep.terminated == then.last()


def test_the_time_limit_of_jumanji_truncates_and_a_wall_terminates():
    original = library("jumanji").make("Snake-v1")
    env = make("jumanji", "Snake-v1")
    state, timestep = env.reset(KEY)
    late = state.replace(step_count=jnp.asarray(4000, state.step_count.dtype))
    legal = jnp.argmax(timestep.info["action_mask"]).astype(jnp.int32)
    assert quick(original.step)(late, legal)[1].last()
    assert not env.step(KEY, late, legal)[1].terminated
    for _ in range(13):
        state, timestep = env.step(KEY, state, jnp.int32(0))
        if timestep.terminated:
            break
    assert timestep.terminated and not timestep.truncated


def test_joint_masks_of_jumanji_make_one_discrete_action():
    library("jumanji")
    spaces = {name: make("jumanji", name).action_space for name in ("Minesweeper-v0", "JobShop-v0")}
    assert spaces["Minesweeper-v0"] == Discrete(100)
    assert spaces["JobShop-v0"] == MultiDiscrete((21,) * 10)


# --- navix ------------------------------------------------------------------------------------


def test_navix_has_the_same_names():
    assert set(adapter("navix").NAMES) == set(library("navix").registry())


def test_a_step_matches_navix_and_the_time_limit_truncates():
    navix = library("navix")
    original = navix.make("Navix-Empty-5x5-v0", max_steps=100)
    env = make("navix", "Navix-Empty-5x5-v0")
    state, timestep = env.reset(KEY)
    expected = quick(original.reset)(KEY)
    late = state.replace(t=jnp.asarray(99, state.t.dtype))
    assert quick(original._step)(late, jnp.int32(0)).is_truncation()
    assert not env.step(KEY, late, jnp.int32(0))[1].done
    for action in (2, 2, 1, 2, 2):  # forward, forward, turn right, forward, forward
        assert not timestep.terminated
        state, timestep = env.step(KEY, state, jnp.int32(action))
        expected = quick(original._step)(expected, jnp.int32(action))
        assert_same(
            (timestep.next_obs, timestep.reward, timestep.terminated),
            (expected.observation, expected.reward, expected.is_termination()),
        )
    assert timestep.terminated and timestep.reward == 1.0


def test_the_obstacles_of_navix_move_by_the_key_of_the_step():
    library("navix")
    env = make("navix", "Navix-Dynamic-Obstacles-6x6-v0")
    state, _ = env.reset(KEY)
    turn = jax.vmap(lambda key: env.step(key, state, jnp.int32(0))[1].next_obs)
    assert len(np.unique(turn(jax.random.split(KEY, 16)), axis=0)) > 1


def test_navix_has_the_requested_observations():
    library("navix")
    shapes = {
        name: adapter("navix").make("Navix-Empty-5x5-v0", observation=name).observation_space.shape
        for name in ("categorical", "symbolic_first_person", "rgb")
    }
    assert shapes == {"categorical": (5, 5), "symbolic_first_person": (7, 7, 3), "rgb": (40, 40, 3)}
    with pytest.raises(ValueError, match=r"observation must be one of symbolic, .*, not 'smell'"):
        adapter("navix").make("Navix-Empty-5x5-v0", observation="smell")


# --- pgx --------------------------------------------------------------------------------------


def test_a_step_of_2048_matches_pgx():
    original_step = quick(library("pgx").make("2048").step)
    env = make("pgx", "2048")
    state, timestep = env.reset(KEY)
    for key in jax.random.split(KEY, 20):
        action = jnp.argmax(timestep.info["action_mask"]).astype(jnp.int32)
        expected = original_step(state, action, jax.random.split(key)[0])
        state, timestep = env.step(key, state, action)
        assert_same(state, expected)
        assert_same((timestep.next_obs, timestep.reward), (expected.observation, expected.rewards[0]))
        assert timestep.terminated == expected.terminated


@pytest.mark.parametrize("game", ["tic_tac_toe", "kuhn_poker"])
def test_it_is_always_the_agents_turn_and_every_game_ends(game):
    library("pgx")
    env = adapter("pgx").make(game)

    def play(key):
        state, timestep = env.reset(key)

        def step(carry, key):
            state, mask, over = carry
            action_key, step_key = jax.random.split(key)
            action = jax.random.categorical(action_key, jnp.where(mask, 0.0, -jnp.inf))
            state, timestep = env.step(step_key, state, action)
            over_now = over | timestep.terminated
            agents_turn = (state.current_player == 0) | over_now
            return (state, timestep.info["action_mask"], over_now), (
                agents_turn,
                jnp.where(over, 0, timestep.reward),
            )

        carry = (state, timestep.info["action_mask"], False)
        (_, _, over), (agents_turn, reward) = jax.lax.scan(step, carry, jax.random.split(key, 9))
        return state.current_player, over, agents_turn, reward.sum()

    begins, over, agents_turn, outcome = quick(jax.vmap(play))(jax.random.split(KEY, 256))
    assert (begins == 0).all() and agents_turn.all() and over.all()
    assert len(np.unique(outcome)) > 1 and abs(outcome.mean()) < 0.3  # both wins and losses occur


def test_an_illegal_move_loses():
    library("pgx")
    env = make("pgx", "tic_tac_toe")
    state, timestep = env.reset(KEY)
    state, timestep = env.step(KEY, state, jnp.int32(4))
    state, timestep = env.step(KEY, state, jnp.int32(4))
    assert timestep.terminated and timestep.reward == -1.0


# --- playground -------------------------------------------------------------------------------


def test_a_step_matches_playground():
    suite = library("playground").dm_control_suite
    assert set(adapter("playground").NAMES) == set(suite.ALL_ENVS)
    original = suite.load("CartpoleBalance", config_overrides={"impl": "jax"})
    env = make("playground", "CartpoleBalance")
    state, timestep = env.reset(KEY)
    expected = quick(original.reset)(KEY)
    original_step = quick(original.step)
    assert_same(timestep.obs, expected.obs)
    for key in jax.random.split(KEY, 5):
        action = sample(env.action_space, key)
        state, timestep = env.step(key, state, action)
        expected = original_step(expected, action)
        assert_same((timestep.next_obs, timestep.reward), (expected.obs, expected.reward))
        assert not timestep.done
    assert suite.get_default_config("CartpoleBalance").episode_length == 1000


# --- xminigrid --------------------------------------------------------------------------------


def test_the_time_limits_of_xminigrid_are_known():
    xminigrid = library("xminigrid")
    names = adapter("xminigrid").NAMES
    theirs = {n for n in xminigrid.registered_environments() if n.startswith("MiniGrid")}
    assert theirs - set(names) == {"MiniGrid-Playground"}
    assert names == {n: xminigrid.make(n)[1].max_steps for n in names}


def test_a_step_matches_xminigrid_and_the_time_limit_truncates():
    original, params = library("xminigrid").make("MiniGrid-Empty-5x5")
    env = make("xminigrid", "MiniGrid-Empty-5x5")
    state, timestep = env.reset(KEY)
    original_step = quick(lambda state, action: original.step(params, state, action))
    late = state.replace(state=state.state.replace(step_num=state.state.step_num + params.max_steps - 1))
    assert original_step(late, 1).last() and not env.step(KEY, late, jnp.int32(1))[1].done
    expected = state
    for action in (0, 0, 1, 0, 0):  # forward, forward, turn right, forward, forward
        assert not timestep.terminated
        state, timestep = env.step(KEY, state, jnp.int32(action))
        expected = original_step(expected, action)
        assert_same((state, timestep.next_obs), (expected, expected.observation))
        assert timestep.reward == expected.reward and timestep.terminated == expected.last()
    assert timestep.terminated
    np.testing.assert_allclose(timestep.reward, 1 - 0.9 * 5 / 100)
