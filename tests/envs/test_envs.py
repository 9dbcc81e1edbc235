"""The registry and the adapters: environments of other libraries pass `check_env` and are unchanged."""

import inspect
import subprocess
import sys
from urllib.error import URLError

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except
from flax import struct

from jaxrl import envs
from jaxrl.envs import from_brax, from_gymnax, probes
from jaxrl.envs.check import check_env, check_types
from jaxrl.envs.wrappers import time_limit
from jaxrl.spaces import Box, contains, sample

KEY = jax.random.key(0)
DOWNLOADS = "MNISTBandit-bsuite"
GYMNAX = [f"gymnax/{name}" for name in sorted(set(from_gymnax.TIME_LIMITS) - {DOWNLOADS})]
# The first of several names of one environment; extras and brax have separate tests.
UNIQUE = {id(entry): name for name, entry in sorted(envs.REGISTRY.items(), reverse=True)}
ELSEWHERE = ("brax/", "playground/", "craftax/", "navix/", "jumanji/", "pgx/", "xminigrid/")
QUICK = sorted(n for n in UNIQUE.values() if not n.startswith(ELSEWHERE) and DOWNLOADS not in n)


def gymnax_of(name, **params):
    """The environment and parameters of gymnax."""
    return from_gymnax._construct(name.removeprefix("gymnax/"), **params)


def steps(env, num_steps, key=KEY):
    """A few random steps without jit: their operations are compiled already by `check_env`."""
    state, timestep = env.reset(key)
    yield state, timestep
    for step_key in jax.random.split(key, num_steps):
        state, timestep = env.step(step_key, state, sample(env.action_space, step_key))
        yield state, timestep


# --- the registry -----------------------------------------------------------------------------


def test_every_environment_of_gymnax_and_its_time_limit_is_registered():
    gymnax = from_gymnax._import_gymnax()
    assert sorted(from_gymnax.TIME_LIMITS) == sorted(gymnax.registered_envs)
    for name in GYMNAX:
        limit = gymnax_of(name)[1].max_steps_in_episode
        assert envs.REGISTRY[name].max_steps == limit
        assert from_gymnax.limit(name.removeprefix("gymnax/")) == limit


def test_names_are_sorted_and_complete():
    assert envs.names() == sorted(envs.REGISTRY)
    probe_makers = [
        f
        for name, f in inspect.getmembers(probes, inspect.isfunction)
        if f.__module__ == probes.__name__ and name[0] != "_" and f is not probes.count_traces
    ]
    assert len([n for n in envs.names() if n.startswith("probe/")]) == len(probe_makers) == 11
    assert {"brax/ant", "brax/ant:mjx", "CartPole-v1", "probe/value-only"} <= set(envs.names())


@pytest.mark.parametrize("name", [*QUICK, DOWNLOADS])
def test_parameters_are_scalars_that_make_accepts(name):
    entry = envs.REGISTRY[name]
    params = entry.params()
    assert all(isinstance(v, bool | int | float | str) for v in params.values())
    assert "max_steps_in_episode" not in params
    if name != DOWNLOADS:
        entry.make(**params)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("cartpole", {}, "unknown environment 'cartpole'; the nearest: CartPole-v1"),
        ("brax/ant:cuda", {}, "the nearest: brax/ant"),
        ("CartPole-v1", {"lenght": 1.0}, "has no parameter 'lenght'; it has force_mag, gravity, kinematics"),
        ("CartPole-v1", {"gravity": "low"}, "gravity must be one number, not 'low'"),
        ("CartPole-v1", {"gravity": jnp.ones(2)}, "gravity must be one number"),
        ("gymnax/CartPole-v1", {"lenght": 1.0}, "has no parameter 'lenght'; it has force_mag, gravity"),
        ("gymnax/CartPole-v1", {"gravity": "low"}, "gravity of CartPole-v1 must be like 9.8, not 'low'"),
        ("gymnax/CartPole-v1", {"gravity": jnp.ones(2)}, "gravity of CartPole-v1 must be like 9.8"),
        ("gymnax/Pong-misc", {"ball_x_speed": 0.5}, "ball_x_speed of Pong-misc must be a whole number"),
        ("PointRobot-misc", {"dense_reward": 0.5}, "dense_reward of PointRobot-misc must be true or false"),
        ("CartPole-v1", {"max_steps": 0}, "max_steps must be a positive integer or None, not 0"),
        ("CartPole-v1", {"max_steps": 2.5}, "max_steps must be a positive integer or None, not 2.5"),
        ("CartPole-v1", {"max_steps": True}, "max_steps must be a positive integer or None, not True"),
        ("gymnax/CartPole-v1", {"max_steps_in_episode": -1}, "max_steps must be a positive integer"),
    ],
)
def test_invalid_arguments_are_rejected(name, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        envs.make(name, **arguments)
    assert "\n" not in str(caught.value)


def test_users_can_register_environments():
    try:
        envs.register("mine", probes.truncation, max_steps=3)
        state, _ = (env := envs.make("mine")).reset(KEY)
        ends = []
        for _ in range(6):
            state, timestep = env.step(KEY, state, jnp.int32(0))
            ends.append(bool(timestep.truncated))
        assert ends == [False, False, True] * 2
        with pytest.raises(ValueError, match="'mine' is already registered"):
            envs.register("mine", probes.truncation)
        with pytest.raises(ValueError, match="max_steps must be a positive integer"):
            envs.register("worse", probes.truncation, max_steps=0)
        assert "worse" not in envs.names()
    finally:
        envs.REGISTRY.pop("mine", None)


def run_python(code):
    """Runs code in a new process, where nothing has been imported yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_foreign_libraries_are_imported_when_used():
    run_python("""
import sys
from jaxrl import envs
assert not {"gymnax", "brax", "mujoco", "matplotlib", "seaborn"} & set(sys.modules)
envs.make("CartPole-v1")
assert "gymnax" not in sys.modules
envs.make("gymnax/CartPole-v1")
assert "gymnax" in sys.modules
late = {"brax", "mujoco", "matplotlib", "matplotlib.pyplot", "seaborn", "pandas", "scipy.stats"}
assert not late & set(sys.modules), late & set(sys.modules)
""")


@pytest.mark.parametrize("before", slow_except(["pass", "import matplotlib"], "pass"))
def test_plotting_libraries_work_before_and_after_gymnax_came_without_them(before):
    run_python(f"""
import os
os.environ["MPLBACKEND"] = "agg"
{before}
from jaxrl.envs.from_gymnax import _construct
pong, params = _construct("Pong-misc")
import jax, matplotlib
import matplotlib.pyplot as plt
import seaborn.palettes
assert matplotlib.pyplot is plt and plt.subplots()[1].plot([1, 2])
assert seaborn.palettes.color_palette is seaborn.color_palette
_, state = pong.reset(jax.random.key(0), params)
assert type(pong.render(state, params)) is matplotlib.image.AxesImage
""")


# --- check_env --------------------------------------------------------------------------------


# Adapters and wrappers are checked with a few environments, and each of our environments once: not again with
# noise, other scales of rewards or fewer actions. The types of all are checked below.
ADAPTED = ("gymnax/CartPole-v1", "gymnax/Pendulum-v1", "gymnax/FrozenLake-misc", "gymnax/Catch-bsuite")
VARIANTS = ("/noise", "/scale", "Asterix-v0", "Asterix-v1", "Breakout-v0", "Freeway-v0", "Freeway-v1")
VARIANTS += ("Seaquest-v0", "SpaceInvaders-v0", "SpaceInvaders-v1")
CHECKED = [n for n in QUICK if n in ADAPTED or (not n.startswith("gymnax/") and not n.endswith(VARIANTS))]


@pytest.mark.parametrize("name", slow_except(QUICK, *CHECKED))
def test_environments_pass_check_env(name):
    check_env(envs.make(name, resets="fresh"), num_steps=1000)


@pytest.mark.parametrize("name", QUICK)
def test_raw_environments_have_valid_types(name):
    """What has no types as an environment that resets itself; its values are those of the test above."""
    entry = envs.REGISTRY[name]
    check_types(entry.make(**entry.params()), KEY)


@pytest.mark.parametrize("name", GYMNAX)
def test_truncation_matches_gymnax(name):
    theirs, params = gymnax_of(name)
    params = params.replace(max_steps_in_episode=3)
    env = time_limit(envs.REGISTRY[name].make(), 3)
    for time, (state, timestep) in enumerate(steps(env, 3)):
        # Some of them end in both ways at once, which is a termination.
        expected = theirs.is_truncated(state.inner, params) & ~timestep.terminated
        assert timestep.truncated == expected
        assert state.inner.time == state.time == time


# --- gymnax -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["gymnax/CartPole-v1", "gymnax/Pendulum-v1", "gymnax/FourRooms-misc", "gymnax/UmbrellaChain-bsuite"],
)
def test_the_adapter_steps_as_gymnax_does(name):
    theirs, params = gymnax_of(name)
    env = envs.REGISTRY[name].make()
    obs, their_state = theirs.reset(KEY, params)
    state, timestep = env.reset(KEY)
    np.testing.assert_array_equal(timestep.obs, obs)
    for key in jax.random.split(KEY, 4):
        action = sample(env.action_space, key)
        _, their_state, reward, terminated, _, info = theirs.step(key, their_state, action, params)
        state, timestep = env.step(jax.random.split(key)[0], state, action)
        np.testing.assert_allclose(timestep.next_obs, info["final_observation"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(timestep.reward, reward, rtol=1e-5, atol=1e-6)
        assert timestep.terminated == terminated
        assert timestep.info == {}


@pytest.mark.parametrize("name", GYMNAX)
def test_no_leaf_of_a_state_loses_precision(name):
    """`fix_dtypes` keeps the dtype after reset, which must hold what gymnax's step computes."""
    theirs, params = gymnax_of(name)
    action_space = envs.REGISTRY[name].make().action_space
    action = jax.ShapeDtypeStruct(action_space.shape, action_space.dtype)
    _, before = jax.eval_shape(theirs.reset_env, KEY, params)
    _, after, *_ = jax.eval_shape(theirs.step_env, KEY, before, action, params)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert jnp.promote_types(old.dtype, new.dtype) == old.dtype


@pytest.mark.parametrize(
    "name, params",
    [
        ("gymnax/BernoulliBandit-misc", {"normalize_time": False}),
        ("gymnax/Catch-bsuite", {"rows": 4, "columns": 3}),
        ("gymnax/DiscountingChain-bsuite", {"max_steps_in_episode": 2}),
        ("gymnax/FourRooms-misc", {"use_visual_obs": True}),
        ("gymnax/FrozenLake-misc", {"map_name": "8x8", "is_slippery": False}),
        ("gymnax/GaussianBandit-misc", {"normalize_time": False}),
        ("gymnax/MemoryChain-bsuite", {"num_bits": 3, "memory_length": 2}),
        ("gymnax/MetaMaze-misc", {"normalize_time": True, "punishment": -1.0, "rf_size": 5}),
        ("gymnax/Pendulum-v1", {"max_speed": 1.0}),
        ("gymnax/UmbrellaChain-bsuite", {"n_distractor": 2, "chain_length": 3}),
    ],
)
def test_the_observation_space_is_true_for_other_parameters(name, params):
    env = envs.REGISTRY[name].make(**params)
    for _, timestep in steps(env, 4):
        assert contains(env.observation_space, timestep.obs)
        assert timestep.obs.dtype == env.observation_space.dtype
        if timestep.terminated:
            break


def test_pole_lengths_can_be_vmapped():
    lengths = jnp.array([0.25, 0.5, 2.0])

    def play(length):
        env = envs.make("CartPole-v1", length=length)
        state, _ = env.reset(KEY)
        step = lambda state, key: env.step(key, state, jnp.int32(1))  # noqa: E731
        return jax.lax.scan(step, state, jax.random.split(KEY, 12))[1]

    together = jax.jit(jax.vmap(play))(lengths)
    alone = play(2.0)
    np.testing.assert_array_equal(together.terminated[2], alone.terminated)
    np.testing.assert_allclose(together.next_obs[2], alone.next_obs, rtol=1e-4, atol=1e-5)
    assert not np.allclose(together.next_obs[0], together.next_obs[2], atol=1e-2)


@pytest.mark.parametrize(
    "name", ["FourRooms-misc", "MetaMaze-misc", "DeepSea-bsuite", "FrozenLake-misc", "gymnax/FrozenLake-misc"]
)
def test_make_works_inside_jit_where_constructors_look_at_arrays(name):
    @jax.jit
    def first(key):
        env = envs.make(name)
        return env.reset(key)[1].obs

    np.testing.assert_array_equal(first(KEY), envs.make(name).reset(KEY)[1].obs)


def test_gymnax_may_be_imported_first_inside_jit():
    run_python("""
import jax
from jaxrl import envs
def play(key):
    env = envs.make("gymnax/FrozenLake-misc", map_name="8x8")
    state, _ = env.reset(key)
    return env.step(key, state, 1)[1].obs
assert jax.eval_shape(play, jax.random.key(0)).shape == ()
assert int(play(jax.random.key(0))) in range(64)
""")


def test_static_parameters_cannot_be_traced():
    with pytest.raises(ValueError, match="size of DeepSea-bsuite determines array shapes"):
        jax.jit(lambda size: envs.make("gymnax/DeepSea-bsuite", size=size).reset(KEY))(4)


def velocity_after_a_push(**params):
    env = envs.REGISTRY["gymnax/CartPole-v1"].make(**params)
    state, _ = env.reset(KEY)
    _, timestep = env.step(KEY, state.replace(theta=1.0, theta_dot=1.0), jnp.int32(1))
    return timestep.obs[1]


def test_derived_parameters_follow_unless_set():
    heavy = velocity_after_a_push(masspole=0.5)
    by_hand = velocity_after_a_push(masspole=0.5, total_mass=1.5, polemass_length=0.25)
    as_gymnax = velocity_after_a_push(masspole=0.5, total_mass=1.1, polemass_length=0.05)
    np.testing.assert_allclose(heavy, by_hand)
    assert abs(heavy - as_gymnax) > 1e-3
    traced = jax.jit(lambda m: velocity_after_a_push(masspole=m))(0.5)
    np.testing.assert_allclose(heavy, traced, rtol=1e-5)


@pytest.mark.parametrize(
    "name, params, limit",
    [
        ("gymnax/DeepSea-bsuite", {"size": 20}, 20),
        ("gymnax/FrozenLake-misc", {}, 100),
        ("gymnax/FrozenLake-misc", {"map_name": "8x8"}, 200),
        ("gymnax/FrozenLake-misc", {"desc": ["SFG"]}, 100),
        ("gymnax/FrozenLake-misc", {"desc": ["SFFFFFFG", *["FFFFFFFF"] * 7]}, 200),
        ("gymnax/CartPole-v1", {"max_steps_in_episode": 7}, 7),
        ("gymnax/BernoulliBandit-misc", {}, 100),
    ],
)
def test_the_time_limit_follows_the_parameters(name, params, limit):
    assert envs.REGISTRY[name].limit(**params) == limit
    if "max_steps_in_episode" not in params:
        assert gymnax_of(name, **params)[1].max_steps_in_episode == limit


def test_images_of_mnist_are_read_as_unsigned(monkeypatch):
    from_gymnax._import_gymnax()
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    data = (images.astype(np.int8), np.array([3], np.uint8))
    monkeypatch.setattr("gymnax.utils.load_mnist.load_mnist", lambda: (data, data))
    env = envs.REGISTRY[DOWNLOADS].make()
    _, timestep = env.reset(KEY)
    np.testing.assert_allclose(timestep.obs, images[0] / 255, rtol=1e-6)
    check_env(envs.make(DOWNLOADS))


def test_mnist_without_a_network_names_the_remedy(monkeypatch):
    def offline():
        raise URLError("no network")

    from_gymnax._import_gymnax()
    from gymnax.utils import load_mnist

    offline.__signature__ = inspect.signature(load_mnist.load_mnist)
    monkeypatch.setattr(load_mnist, "load_mnist", offline)
    with pytest.raises(OSError, match=r"needs the MNIST images.*no network.*connect to the network or put"):
        envs.make(DOWNLOADS)


def test_an_action_mask_of_a_foreign_gymnax_environment_is_kept():
    gymnax = from_gymnax._import_gymnax()
    spaces = sys.modules["gymnax.environments.spaces"]

    @struct.dataclass
    class State:
        time: int

    class Nested(gymnax.environments.environment.Environment):
        def reset_env(self, key, params):
            return {"x": (jnp.zeros(1),)}, State(time=0)

        def step_env(self, key, state, action, params):
            info = {"action_mask": jnp.array([True, False]), "discount": 1.0}
            return {"x": (jnp.ones(1),)}, State(time=state.time + 1), 1, state.time > 2, info

        def action_space(self, params):
            return spaces.Discrete(2)

        def observation_space(self, params):
            return spaces.Dict({"x": spaces.Tuple([spaces.Box(0, 1, (1,))])})

    gymnax.register("Nested-test", Nested)
    try:
        env = from_gymnax.make("Nested-test")
        check_env(env)
        (_, first), (_, then) = steps(env, 1)
        assert list(then.info) == ["action_mask"]
        assert first.info["action_mask"].tolist() == [True, True]
        assert then.info["action_mask"].tolist() == [True, False]
    finally:
        gymnax.registration._registry.pop("Nested-test")
        gymnax.registered_envs.remove("Nested-test")


# --- brax -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ant():
    """With compiled reset and step: operation by operation they take half a minute."""
    env = envs.REGISTRY["brax/ant"].make()
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))


@pytest.mark.slow
def test_ant_passes_check_env(ant):
    check_env(ant, num_steps=16)
    assert isinstance(ant.action_space, Box) and ant.action_space.shape == (8,)
    assert (ant.action_space.low, ant.action_space.high) == (-1.0, 1.0)
    assert ant.observation_space.shape == (27,)
    assert envs.REGISTRY["brax/ant"].max_steps == 1000


@pytest.mark.slow
def test_ant_starts_differ_between_episodes(ant):
    starts = np.stack([ant.reset(jax.random.key(i))[1].obs for i in range(4)])
    assert len(np.unique(starts, axis=0)) == 4


def test_hopper_steps_and_leaves_its_argument_alone():
    env = envs.REGISTRY["brax/hopper"].make(healthy_reward=2.0)
    state, _ = jax.jit(env.reset)(KEY)
    before = jax.tree.map(np.asarray, state)
    # Closed over: brax itself would leave tracers behind in the dictionaries of this very state.
    _, timestep = jax.jit(lambda: env.step(KEY, state, jnp.zeros(3)))()
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.isfinite(timestep.obs).all() and not timestep.terminated
    assert 1.5 < timestep.reward < 2.5


def test_parameters_of_brax():
    params = envs.REGISTRY["brax/hopper"].params()
    assert params["healthy_reward"] == 1.0 and "backend" not in params
    with pytest.raises(ValueError, match="brax/hopper has no parameter 'healthy'; it has ctrl_cost_weight"):
        envs.make("brax/hopper", healthy=1.0)


def test_every_environment_of_brax_that_works_is_registered():
    from brax.envs import _envs

    assert set(_envs) - set(from_brax.NAMES) == {"fast"}  # a dummy
    assert {n for n in envs.names() if n.startswith("brax/")} == {f"brax/{pair}" for pair in from_brax.PAIRS}
