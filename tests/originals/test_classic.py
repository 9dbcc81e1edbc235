"""Classic control against Gymnasium's originals, every transition from a state of the port.

The originals compute in float64 (MountainCarContinuous stores float32), the port in float32: a field may
differ by 1e-5 of its scale, and `terminated` only where the original's value is within 1e-5 of its threshold.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import OPTIMIZED

from jaxrl.envs import from_gymnax
from jaxrl.envs.classic import (
    ENTRIES,
    acrobot,
    cartpole,
    common,
    mountain_car,
    mountain_car_continuous,
    pendulum,
)
from jaxrl.spaces import contains, sample
from originals.ledger import record

gymnasium = pytest.importorskip("gymnasium")

TOLERANCE = 1e-5
PI = math.pi


class Case:
    """The parameters of the comparison of one environment."""

    def __init__(self, module, low, high, scale, margin, inject=np.array, angles=(), trigonometric=False):
        self.module = module
        self.low, self.high = np.array(low), np.array(high)  # of states that half of the lanes start from
        self.scale = np.array(scale)  # of the state's fields
        self.margin = margin  # (original's state, environment) -> how far `terminated` is from changing
        self.inject = inject
        self.angles = angles  # fields compared on the circle
        self.trigonometric = trigonometric  # shows sines and cosines of the first half of its fields


def car_margin(s, env):
    """The distance to the nearer of two thresholds, if the other one is passed."""
    return min(abs(s[0] - env.goal_position), abs(s[1] - env.goal_velocity) if s[0] > 0.4 else 1.0)


CASES = {
    "CartPole-v1": Case(
        cartpole,
        [-2.4, -3.0, -0.21, -3.5],
        [2.4, 3.0, 0.21, 3.5],
        [2.4, 3.0, 0.21, 3.5],
        lambda s, env: min(abs(abs(s[0]) - env.x_threshold), abs(abs(s[2]) - env.theta_threshold_radians)),
    ),
    "MountainCar-v0": Case(mountain_car, [-1.2, -0.07], [0.6, 0.07], [1.8, 0.07], car_margin),
    "MountainCarContinuous-v0": Case(
        mountain_car_continuous,
        [-1.2, -0.07],
        [0.6, 0.07],
        [1.8, 0.07],
        car_margin,
        inject=lambda s: np.array(s, np.float32),
    ),
    "Acrobot-v1": Case(
        acrobot,
        [-PI, -PI, -2 * PI, -4 * PI],  # faster ones below, in float64 too
        [PI, PI, 2 * PI, 4 * PI],
        [PI, PI, 4 * PI, 9 * PI],
        lambda s, env: abs(-math.cos(s[0]) - math.cos(s[0] + s[1]) - 1.0),
        angles=(0, 1),
        trigonometric=True,
    ),
    "Pendulum-v1": Case(
        pendulum, [-20.0, -8.0], [20.0, 8.0], [2 * PI, 8.0], lambda s, env: 1.0, trigonometric=True
    ),
}


def vector(state):
    """The fields of our state `[..., D]`, without what only drawing needs."""
    names = [n for n in state.__dataclass_fields__ if n != "last_u"]
    return jnp.stack([getattr(state, n) for n in names], axis=-1)


def wide(case, key, like):
    """A state drawn from the whole range."""
    values = jax.random.uniform(key, (len(case.low),), minval=case.low, maxval=case.high)
    return like.replace(**dict(zip([n for n in like.__dataclass_fields__ if n != "last_u"], values)))


def play(name, env, num_lanes, num_steps):
    """Transitions of lanes that keep an action for a while; every other lane is put anywhere now and then.

    Actions of a Box reach beyond its bounds. A lane whose episode terminates starts again.
    """
    case = CASES[name]

    def fresh(key, anywhere):
        start_key, wide_key = jax.random.split(key)
        start, _ = env.reset(start_key)
        return jax.tree.map(lambda a, b: jnp.where(anywhere, a, b), wide(case, wide_key, start), start)

    def lane(key, anywhere):
        def step(carry, key):
            state, action = carry
            keep_key, action_key, step_key, reset_key, move_key = jax.random.split(key, 5)
            new = sample(env.action_space, action_key)
            if not hasattr(env.action_space, "n"):
                new = 1.5 * new
            action = jnp.where(jax.random.bernoulli(keep_key, 0.8), action, new)
            then, timestep = env.step(step_key, state, action)
            moved = timestep.terminated | (anywhere & jax.random.bernoulli(move_key, 0.1))
            after = jax.tree.map(lambda a, b: jnp.where(moved, a, b), fresh(reset_key, anywhere), then)
            return (after, action), (vector(state), action, vector(then), timestep, step_key)

        start_key, action_key, run_key = jax.random.split(key, 3)
        carry = fresh(start_key, anywhere), sample(env.action_space, action_key)
        return jax.lax.scan(step, carry, jax.random.split(run_key, num_steps))[1]

    lanes = jax.jit(jax.vmap(lane))(
        jax.random.split(jax.random.key(0), num_lanes), jnp.arange(num_lanes) % 2 == 0
    )
    keys = lanes[4].reshape(-1)
    return [jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), x) for x in lanes[:4]], keys


def compare(name, env, original, num_lanes, num_steps, before=lambda index: None, tolerance=TOLERANCE):
    """Steps the original from every state of `play` and asserts that nothing differs.

    Returns:
      The transitions, the largest difference in scales, and the number of ends too close to a threshold.
    """
    case = CASES[name]
    (states, actions, then, timestep), _ = played = play(name, env, num_lanes, num_steps)
    if callable(getattr(before, "prepare", None)):
        before.prepare(played[1])
    original.reset(seed=0)
    want_state, want_obs = np.zeros(then.shape), np.zeros(timestep.obs.shape)
    want_reward, want_end = np.zeros(len(then)), np.zeros(len(then), bool)
    margin = np.zeros(len(then))
    for i, state in enumerate(states.astype(np.float64)):
        before(i)
        original.state = case.inject(state)
        original.steps_beyond_terminated = None
        want_obs[i], want_reward[i], want_end[i], truncated, _ = original.step(actions[i])
        assert not truncated
        want_state[i] = original.state
        margin[i] = case.margin(original.state, original)

    near = timestep.terminated != want_end
    assert (margin[near] < tolerance).all(), "an end that the original does not see"
    off = then - want_state
    for field in case.angles:
        assert np.abs(then[:, field]).max() < PI + 5e-6
        off[:, field] = (off[:, field] + PI) % (2 * PI) - PI
    observed = np.abs(timestep.obs - want_obs)
    rewards = np.abs(timestep.reward - want_reward)[~near] / max(1.0, np.abs(want_reward).max())
    # Sines and cosines have scale 1; the other entries of an observation are the state's last fields.
    plain = len(case.scale) if not case.trigonometric else len(case.scale) // 2
    obs_scale = np.ones(observed.shape[1])
    obs_scale[-plain:] = case.scale[-plain:]
    parts = (np.abs(off) / case.scale).max(), (observed / obs_scale).max(), rewards.max()
    assert max(parts) < tolerance, dict(zip(("state", "obs", "reward"), parts))
    assert jax.vmap(lambda o: contains(env.observation_space, o))(jnp.asarray(timestep.obs)).all()
    return len(then), max(parts), int(near.sum()), int(want_end.sum())


def original_of(name, **attributes):
    original = gymnasium.make(name).unwrapped
    for attribute, value in attributes.items():
        assert hasattr(original, attribute), attribute
        setattr(original, attribute, value)
    return original


@pytest.mark.parametrize("name", ENTRIES)
def test_every_transition_is_the_originals(name, transitions):
    env, original = ENTRIES[name].make(), original_of(name)
    compared, largest, near, ends = compare(name, env, original, transitions // 200, 200)
    assert compared == transitions
    assert name == "Pendulum-v1" or ends > transitions // 1000
    note = f"largest in units of the field's scale; {ends} ends, {near} within 1e-5 of a threshold"
    record(name, f"gymnasium {gymnasium.__version__}", transitions, largest, note)


ACROBOT = dict(link_length_1=1.3, link_mass_1=0.8, link_mass_2=1.2, link_com_pos_1=0.6, link_com_pos_2=0.4)
MORE_ACROBOT = dict(dt=0.1, link_moi=1.5, max_vel_1=6.0, max_vel_2=9.0)


@pytest.mark.parametrize(
    "name, params, attributes",
    [
        ("CartPole-v1", dict(kinematics_integrator="semi-implicit"), {}),
        ("CartPole-v1", dict(sutton_barto_reward=True), dict(_sutton_barto_reward=True)),
        (
            "CartPole-v1",
            dict(gravity=5.0, force_mag=7.0, tau=0.03, x_threshold=2.0, theta_threshold_radians=0.15),
            {},
        ),
        (
            "CartPole-v1",
            dict(masscart=2.0, masspole=0.4, length=0.8),
            dict(masscart=2.0, masspole=0.4, length=0.8, total_mass=2.4, polemass_length=0.4 * 0.8),
        ),
        ("MountainCar-v0", dict(goal_velocity=0.03, min_position=-1.0, max_position=0.55), {}),
        ("MountainCar-v0", dict(force=0.002, gravity=0.003, max_speed=0.06, goal_position=0.4), {}),
        ("MountainCarContinuous-v0", dict(goal_velocity=0.03, power=0.003), {}),
        ("MountainCarContinuous-v0", dict(max_speed=0.06, min_action=-0.5), {}),
        ("Acrobot-v1", dict(book_or_nips="nips"), {}),
        ("Acrobot-v1", ACROBOT, {k.upper(): v for k, v in ACROBOT.items()}),
        ("Acrobot-v1", MORE_ACROBOT, {k if k == "dt" else k.upper(): v for k, v in MORE_ACROBOT.items()}),
        ("Acrobot-v1", dict(available_torque=(-3, 2, 1)), dict(AVAIL_TORQUE=[-3.0, 2.0, 1.0])),
        ("Pendulum-v1", dict(g=7.0, m=2.0, l=0.7, dt=0.04, max_torque=3.0, max_speed=6.0), {}),
    ],
)
def test_other_parameters_are_the_originals_too(name, params, attributes):
    original = original_of(name, **(attributes or params))
    compare(name, ENTRIES[name].make(**params), original, 20, 50)


def test_acrobot_at_full_speed_differs_by_rounding_alone(monkeypatch):
    """There one step turns a link by many radians, and float32's rounding grows a hundredfold."""
    case, name = CASES["Acrobot-v1"], "Acrobot-v1"
    monkeypatch.setattr(case, "low", -case.scale)
    monkeypatch.setattr(case, "high", case.scale)
    compare(name, acrobot.make(), original_of(name), 20, 100, tolerance=2e-4)
    with jax.enable_x64(True):
        compare(name, acrobot.make(), original_of(name), 20, 100, tolerance=1e-6)


def test_acrobots_torque_noise_is_the_originals():
    original = original_of("Acrobot-v1", torque_noise_max=0.7)

    class Noise:
        def prepare(self, keys):
            self.draws = np.asarray(jax.vmap(acrobot.draw_noise)(keys), np.float64)

        def __call__(self, index):
            self.now = self.draws[index]

        def uniform(self, low, high, **more):
            return low + (high - low) * self.now

    noise = Noise()
    original.reset(seed=0)
    original.reset = lambda seed: None
    original._np_random = noise
    compare("Acrobot-v1", acrobot.make(torque_noise_max=0.7), original, 10, 100, noise)


@pytest.mark.parametrize("name", ENTRIES)
def test_resets_are_distributed_as_the_originals(name):
    stats = pytest.importorskip("scipy.stats")
    original = original_of(name)
    original.reset(seed=0)
    theirs = np.stack([original.reset()[0] for _ in range(2000)])
    _, timestep = jax.vmap(ENTRIES[name].make().reset)(jax.random.split(jax.random.key(0), 2000))
    ours = np.asarray(timestep.obs)
    for column in range(ours.shape[1]):
        if np.ptp(theirs[:, column]) == 0:
            assert (ours[:, column] == theirs[0, column]).all()
        else:
            assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
            assert abs(np.ptp(ours[:, column]) / np.ptp(theirs[:, column]) - 1) < 0.02
    varied = np.ptp(ours, axis=0) > 0
    together = [np.corrcoef(x[:, varied].T) for x in (ours, theirs)]
    assert np.abs(together[0] - together[1]).max() < 0.15  # would detect one draw for two fields


def test_gymnaxs_continuous_car_moves_on_at_the_left_wall_and_ours_does_not():
    name, action = "MountainCarContinuous-v0", np.array([-1.0], np.float32)
    original = original_of(name)
    original.reset(seed=0)
    original.state = np.array([-1.19, -0.05], np.float32)
    stopped = original.step(action)[0]
    state = mountain_car.State(jnp.float32(-1.19), jnp.float32(-0.05))
    ours, _ = mountain_car_continuous.make().step(jax.random.key(0), state, action)
    np.testing.assert_allclose(vector(ours), stopped, atol=1e-6)
    assert stopped[1] == 0.0
    theirs = from_gymnax.make(name)
    start, _ = theirs.reset(jax.random.key(0))
    moving, _ = theirs.step(
        jax.random.key(0), start.replace(position=state.position, velocity=state.velocity), action
    )
    assert moving.position == ours.position and moving.velocity < -0.04


# --- common parts ---------------------------------------------------------------------------------


def test_sines_and_cosines_match_numpy_and_never_exceed_one():
    near = np.linspace(-8.0, 8.0, 400_001)
    x = np.concatenate([near, 6000 * near, [0.0, -0.0, 1e-30]]).astype(np.float32)
    sin, cos = jax.jit(common.sincos, compiler_options=OPTIMIZED)(x)
    np.testing.assert_allclose(sin, np.sin(x.astype(np.float64)), atol=1.5e-7)
    np.testing.assert_allclose(cos, np.cos(x.astype(np.float64)), atol=1.5e-7)
    assert np.abs(sin).max() <= 1 and np.abs(cos).max() <= 1
    assert np.isnan(common.sincos(jnp.float32(np.nan))).all()


def test_derivatives_of_sine_and_cosine_are_each_other_twice():
    x = jnp.float32(0.9)
    sin, cos = common.sincos(x)
    first = jax.grad(lambda x: common.sincos(x)[0])
    np.testing.assert_allclose([first(x), jax.grad(first)(x)], [cos, -sin], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: common.sincos(x)[1])(x), -sin, rtol=1e-6)


def test_angles_are_wrapped_as_by_the_originals_loop():
    from gymnasium.envs.classic_control.acrobot import wrap

    offsets = np.concatenate([np.linspace(-1e-4, 1e-4, 401), np.linspace(-3.0, 3.0, 401)])
    seams = np.arange(-9, 10)[:, None] * PI + offsets
    x = seams.astype(np.float32).ravel()
    ours = np.asarray(common.wrap(jnp.asarray(x)), np.float64)
    theirs = np.array([wrap(value, -PI, PI) for value in x.astype(np.float64)])
    apart = (ours - theirs + PI) % (2 * PI) - PI
    assert np.abs(apart).max() < 1e-6 and np.abs(ours).max() < PI + 5e-6
    inside = np.abs(theirs) < PI - 1e-5
    assert np.abs(ours - theirs)[inside].max() < 1e-6


# The name of a parameter, and two values that lead to two different steps.
TRACED = {
    "CartPole-v1": ("length", [0.4, 0.9]),
    "MountainCar-v0": ("gravity", [0.002, 0.003]),
    "MountainCarContinuous-v0": ("max_action", [0.3, 1.0]),
    "Acrobot-v1": ("link_mass_2", [0.7, 1.5]),
    "Pendulum-v1": ("l", [0.7, 1.2]),
}


def _all_numbers(name):
    """Every numeric parameter, moved a little from its default so that derived quantities must follow."""
    params = ENTRIES[name].params()
    return {n: v * 1.01 for n, v in params.items() if isinstance(v, float) and v != 0}


def _first_step(name, **params):
    env = ENTRIES[name].make(**params)
    state, _ = env.reset(jax.random.key(0))
    action = jnp.ones(env.action_space.shape, env.action_space.dtype)
    _, timestep = env.step(jax.random.key(0), state, action)
    return timestep.obs, timestep.reward, contains(env.observation_space, timestep.obs)


@pytest.mark.parametrize("name", ENTRIES)
def test_constants_may_be_traced(name):
    parameter, values = TRACED[name]
    many = jax.vmap(lambda value: _first_step(name, **{parameter: value}))(jnp.asarray(values))
    alone = [_first_step(name, **{parameter: value}) for value in values]
    for got, *want in zip(many, *alone):
        np.testing.assert_allclose(got, np.stack(want), atol=1e-6)
    assert np.abs(np.diff(many[0], axis=0)).max() > 1e-5
    numbers = _all_numbers(name)
    traced = jax.jit(lambda numbers: _first_step(name, **numbers))(numbers)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), traced, _first_step(name, **numbers)
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_parameters_have_gymnaxs_names_and_defaults(name):
    ours = ENTRIES[name].params()
    for parameter, value in from_gymnax.params(name).items():
        assert ours[parameter] == pytest.approx(value), parameter


@pytest.mark.parametrize(
    "make, params, message",
    [
        (cartpole.make, dict(length=0.0), "length must be above 0, not 0.0"),
        (cartpole.make, dict(masspole=-0.1), "masspole must be at least 0, not -0.1"),
        (cartpole.make, dict(gravity="low"), "gravity must be one number, not 'low'"),
        (cartpole.make, dict(gravity=jnp.ones(2)), "gravity must be one number"),
        (cartpole.make, dict(gravity=math.nan), "gravity must be one number, not nan"),
        (cartpole.make, dict(kinematics_integrator="rk4"), "must be 'euler' or 'semi-implicit', not 'rk4'"),
        (mountain_car.make, dict(max_speed=-1), "max_speed must be above 0"),
        (mountain_car.make, dict(min_position=0.7), "min_position must be below max_position"),
        (mountain_car_continuous.make, dict(min_action=1.0), "min_action must be below max_action"),
        (acrobot.make, dict(book_or_nips="paper"), "must be 'book' or 'nips', not 'paper'"),
        (acrobot.make, dict(torque_noise_max=-1.0), "torque_noise_max must be at least 0"),
        (pendulum.make, dict(m=0), "m must be above 0, not 0"),
    ],
)
def test_impossible_values_are_rejected(make, params, message):
    with pytest.raises(ValueError, match=message):
        make(**params)


# --- differentiable simulation --------------------------------------------------------------------


def _returned(name, original, start, actions):
    """The original's last position or angle plus its return, in float64."""
    original.reset(seed=0)
    original.state = CASES[name].inject(start)
    rewards = [float(original.step(np.array([a]))[1]) for a in actions]
    return original.state[0] + sum(rewards)


# Start, how far to move an action (the car's original rounds to float32), and the steps.
@pytest.mark.parametrize(
    "name, start, width, num_steps",
    [("Pendulum-v1", [2.0, 0.3], 1e-4, 30), ("MountainCarContinuous-v0", [-0.5, 0.01], 0.1, 20)],
)
def test_gradients_are_the_finite_differences_of_the_original(name, start, width, num_steps):
    env, original = ENTRIES[name].make(), original_of(name)
    actions = np.linspace(-0.7, 0.6, num_steps)
    first, _ = env.reset(jax.random.key(0))
    names = [n for n in first.__dataclass_fields__ if n != "last_u"]

    def total(start, actions):
        state = first.replace(**dict(zip(names, start)))
        state, timestep = jax.lax.scan(lambda s, a: env.step(jax.random.key(0), s, a[None]), state, actions)
        return vector(state)[0] + timestep.reward.sum()

    inputs = jnp.asarray(start, jnp.float32), jnp.asarray(actions, jnp.float32)
    of_start, of_actions = jax.jit(jax.grad(total, argnums=(0, 1)))(*inputs)
    want = []
    for i in range(num_steps):
        bump = width * np.eye(num_steps)[i]
        ends = [_returned(name, original, start, actions + sign * bump) for sign in (1, -1)]
        want.append((ends[0] - ends[1]) / (2 * width))
    np.testing.assert_allclose(of_actions, want, rtol=2e-3, atol=2e-5)
    assert np.all(np.isfinite(of_start)) and np.abs(of_start).min() > 1e-3
    small = 1e-3 if name != "Pendulum-v1" else 1e-5
    for i in range(2):
        bump = small * np.eye(2)[i]
        ends = [_returned(name, original, np.array(start) + sign * bump, actions) for sign in (1, -1)]
        np.testing.assert_allclose(of_start[i], (ends[0] - ends[1]) / (2 * small), rtol=1e-2)


def test_gradients_reach_the_constants():
    start, actions = [0.5, 0.3], np.ones(10)

    def total(l):
        env = pendulum.make(l=l)
        state = pendulum.State(jnp.float32(start[0]), jnp.float32(start[1]), jnp.float32(0.0))
        state, timestep = jax.lax.scan(
            lambda s, _: env.step(jax.random.key(0), s, jnp.ones(1)), state, length=10
        )
        return state.theta + timestep.reward.sum()

    ends = [_returned("Pendulum-v1", original_of("Pendulum-v1", l=l), start, actions) for l in (1.001, 0.999)]
    np.testing.assert_allclose(jax.grad(total)(jnp.float32(1.0)), (ends[0] - ends[1]) / 0.002, rtol=1e-3)
