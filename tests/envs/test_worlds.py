"""Environments with a known optimum: the optimum, the table and the steps agree, and PPO attains it."""

import inspect
import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except

from jaxrl import envs, fields, train
from jaxrl.algos import ppo
from jaxrl.envs.check import check_env
from jaxrl.envs.worlds import (
    ENTRIES,
    chain,
    garnet,
    grid,
    grid_values,
    loop,
    optimal_return,
    river_swim,
    t_maze,
    tabular,
    two_state,
)
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.envs.wrappers import auto_reset, episode_stats, time_limit
from jaxrl.evaluate import evaluate

GAMMA = 0.95
# Small enough to try every policy: A^S of them.
TINY = {
    "chain": chain.mdp,
    "chain-3": partial(chain.mdp, length=3, slip=0.4, small=1.0, large=3.0),
    "garnet": partial(garnet.mdp, 3, num_states=4, num_actions=3, branching=2),
    "garnet-all": partial(garnet.mdp, 4, num_states=5, num_actions=2, branching=5, density=0.5),
    "loop": loop.mdp,
    "river-swim": river_swim.mdp,
    "t-maze": partial(t_maze.mdp, length=1),
    "two-state": partial(two_state.mdp, depth=2),
}
WORLDS = sorted(ENTRIES)


def make(name, max_steps=..., **params):
    """As `envs.make`, also for environments that are not registered."""
    entry = ENTRIES[name]
    limit = entry.limit(**params) if entry.limit else entry.max_steps
    return auto_reset(
        episode_stats(time_limit(entry.make(**params), limit if max_steps is ... else max_steps))
    )


# --- definitions, in float64 ------------------------------------------------------------------


def as_numpy(mdp):
    """Transitions `[S, A, S]` that do not leave a terminal state, expected rewards `[S, A]`, start `[S]`."""
    transition, reward, start = (np.asarray(x, np.float64) for x in (mdp.transition, mdp.reward, mdp.start))
    if reward.ndim == 3:
        reward = (transition * reward).sum(axis=2)
    alive = ~np.asarray(mdp.terminal)
    return transition * alive[:, None, None] * alive, reward * alive[:, None], start


def deterministic_policies(mdp):
    """Every map of states to actions, `[A^S, S]`; a single action for terminal states."""
    num_states, num_actions = mdp.transition.shape[:2]
    ranges = [range(1 if over else num_actions) for over in np.asarray(mdp.terminal)]
    return np.array(list(itertools.product(*ranges))).reshape(-1, num_states)


def best_of_all_policies(mdp, gamma):
    """The largest value of each state over all deterministic policies, each by a linear system."""
    transition, reward, _ = as_numpy(mdp)
    states = np.arange(len(transition))
    policies = deterministic_policies(mdp)
    chains, rewards = transition[states, policies], reward[states, policies]
    values = np.linalg.solve(np.eye(len(states)) - gamma * chains, rewards[..., None])[..., 0]
    return values.max(axis=0)


def best_of_all_plans(mdp, gamma, horizon):
    """The best return over all sequences of deterministic policies, following the distribution forwards."""
    transition, reward, start = as_numpy(mdp)
    states = np.arange(len(transition))

    def follow(distribution, plan):
        total = 0.0
        for t, policy in enumerate(plan):
            total += gamma**t * distribution @ reward[states, policy]
            distribution = distribution @ transition[states, policy]
        return total

    policies = deterministic_policies(mdp)
    return max(follow(start, plan) for plan in itertools.product(policies, repeat=horizon))


# --- tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95])
def test_value_iteration_finds_the_best_of_all_policies(name, gamma):
    mdp = TINY[name]()
    expected = best_of_all_policies(mdp, gamma)
    result = tabular.optimal_values(mdp, gamma)
    close = {"rtol": 1e-5, "atol": 2e-6 * np.abs(expected).max()}
    np.testing.assert_allclose(result, expected, **close)
    np.testing.assert_allclose(tabular.optimal_return(mdp, gamma), expected @ as_numpy(mdp)[2], **close)


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize(
    "table, params, horizon",
    [
        (garnet.mdp, dict(seed=0, num_states=3, num_actions=2), 4),
        (chain.mdp, dict(length=3), 4),
        (loop.mdp, dict(length=3, large=5.0), 4),
        (t_maze.mdp, dict(length=1), 2),
    ],
    ids=["garnet", "chain", "loop", "t-maze"],
)
def test_backward_induction_finds_the_best_of_all_plans(table, params, horizon, gamma):
    mdp = table(**params)
    expected = best_of_all_plans(mdp, gamma, horizon)
    np.testing.assert_allclose(tabular.optimal_return(mdp, gamma, horizon), expected, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(TINY))
def test_the_value_of_a_policy_solves_the_linear_system(name):
    mdp = TINY[name]()
    transition, reward, start = as_numpy(mdp)
    policy = np.random.default_rng(0).dirichlet(np.ones(reward.shape[1]), len(reward))
    step = np.einsum("sa,sat->st", policy, transition)
    expected = np.linalg.solve(np.eye(len(step)) - GAMMA * step, (policy * reward).sum(1))
    result = tabular.policy_value(mdp, jnp.asarray(policy, jnp.float32), GAMMA)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    total, distribution = 0.0, start
    for t in range(7):
        total += GAMMA**t * distribution @ (policy * reward).sum(1)
        distribution = distribution @ step
    result = tabular.policy_return(mdp, jnp.asarray(policy, jnp.float32), GAMMA, horizon=7)
    np.testing.assert_allclose(result, total, rtol=1e-5)


def test_a_plan_of_the_same_actions_at_all_times_is_that_policy():
    mdp = garnet.mdp(num_states=6, seed=3)
    actions = jnp.arange(6) % mdp.reward.shape[1]
    policy = jax.nn.one_hot(actions, mdp.reward.shape[1])
    plan = jnp.tile(actions, (9, 1))
    for horizon, steps in ((None, 9), (4, 4)):
        expected = tabular.policy_return(mdp, policy, GAMMA, steps)
        np.testing.assert_allclose(tabular.plan_return(mdp, plan, GAMMA, horizon), expected, rtol=1e-6)


def test_the_greedy_policy_of_the_optimal_values_attains_them():
    mdp = garnet.mdp(7)
    best = tabular.optimal_values(mdp, GAMMA)
    policy = tabular.greedy_policy(mdp, best, GAMMA)
    np.testing.assert_allclose(tabular.policy_value(mdp, policy, GAMMA), best, rtol=1e-5)
    uniform = tabular.policy_value(mdp, tabular.uniform_policy(mdp), GAMMA)
    assert (uniform < best).all()


def test_values_are_right_for_a_long_view():
    """At gamma 0.999 plain value iteration would take ten thousand sweeps and lose digits."""
    for name in ("chain", "loop", "garnet", "t-maze"):
        mdp = TINY[name]()
        expected = best_of_all_policies(mdp, 0.999)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(tabular.optimal_values(mdp, 0.999), expected, atol=3e-4 * scale)


def test_many_mdps_are_solved_in_one_call():
    seeds = jnp.arange(64)
    mdps = jax.vmap(lambda seed: garnet.mdp(seed, num_states=8))(seeds)
    together = jax.jit(jax.vmap(tabular.optimal_values, (0, None)))(mdps, GAMMA)
    policy = jnp.full((8, 4), 0.25)
    values = jax.jit(jax.vmap(tabular.policy_value, (0, None, None)))(mdps, policy, GAMMA)
    for i in (0, 17, 63):
        mdp = jax.tree.map(lambda x: x[i], mdps)  # noqa: B023
        np.testing.assert_allclose(together[i], tabular.optimal_values(mdp, GAMMA), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(values[i], tabular.policy_value(mdp, policy, GAMMA), rtol=1e-4, atol=1e-4)
    direct = jax.jit(jax.vmap(lambda s: optimal_return("world/garnet", gamma=GAMMA, seed=s, num_states=8)))
    np.testing.assert_allclose(direct(seeds), together.mean(axis=1), rtol=1e-5, atol=1e-4)


def test_gamma_and_horizon_may_be_traced():
    mdp = chain.mdp()
    traced = jax.jit(tabular.optimal_return)
    np.testing.assert_allclose(traced(mdp, 0.9, jnp.int32(9)), tabular.optimal_return(mdp, 0.9, 9), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jit(lambda g: optimal_return("world/chain", gamma=g))(0.9),
        tabular.optimal_return(mdp, 0.9),
        rtol=1e-6,
    )


@pytest.mark.parametrize("horizon", [None, 20])
def test_the_value_of_a_policy_has_a_gradient(horizon):
    mdp = chain.mdp()

    def value_of(logits):
        return tabular.policy_return(mdp, jax.nn.softmax(logits), 0.9, horizon)

    logits = jax.random.normal(jax.random.key(0), (5, 2))
    direction = jax.random.normal(jax.random.key(1), (5, 2))
    slope = (jax.grad(value_of)(logits) * direction).sum()
    numeric = (value_of(logits + 0.02 * direction) - value_of(logits - 0.02 * direction)) / 0.04
    np.testing.assert_allclose(slope, numeric, rtol=1e-2)


def test_draws_are_inverted_at_their_edges():
    """No outcome of probability 0, and no index beyond the last, for any number of [0, 1)."""
    last = np.nextafter(np.float32(1), np.float32(0))
    for row in ([0.0, 0.0, 0.3, 0.7, 0.0], [0.1] * 10, [1 / 3] * 3, [0.0, 1.0], [1.0, 0.0]):
        cumulative = tabular._cumulative(jnp.asarray(row))
        uniforms = np.array([0.0, 0.5, last], np.float32)
        drawn = [int(tabular._invert(cumulative, u)) for u in uniforms]
        assert all(row[i] > 0 for i in drawn), (row, drawn)
        assert drawn[0] == np.flatnonzero(row)[0] and drawn[-1] == np.flatnonzero(row)[-1]


def test_a_table_shows_states_as_requested():
    mdp = chain.mdp(length=3)
    for observation, expected in (
        ("one_hot", [1.0, 0.0, 0.0]),
        ("index", 0),
        (np.array([[5.0, 6.0], [1.0, 1.0], [1.0, 1.0]]), [5.0, 6.0]),
    ):
        env = tabular.env(mdp, observation)
        check_env(env)
        np.testing.assert_array_equal(env.reset(jax.random.key(0))[1].obs, expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: tabular.env(chain.mdp(), "pixels"), "observation 'pixels' is not known"),
        (lambda: tabular.env(chain.mdp(), np.ones((3, 2))), "a row for each of 5 states"),
        (lambda: tabular.optimal_values(chain.mdp(), 1.0), "give a horizon, or a gamma below 1"),
        (lambda: optimal_return("world/grid", gamma=1.0), "give a horizon, or a gamma below 1"),
        (lambda: optimal_return("world/chian", gamma=0.9), "unknown world 'world/chian'; the nearest"),
        (lambda: optimal_return("world/chain", gamma=0.9, slop=1), "has no parameter 'slop'"),
        (lambda: tabular.env(chain.mdp().replace(start=jnp.ones(3))), r"start must have shape \(5,\)"),
        (lambda: tabular.env(chain.mdp().replace(reward=jnp.ones(5))), r"reward must have shape \(5, 2\)"),
        (lambda: chain.make(length=1), "length must be a whole number, 2 or more, not 1"),
        (lambda: river_swim.make(num_states=2), "num_states must be a whole number, 3 or more"),
        (lambda: loop.make(length=1), "length must be a whole number, 2 or more"),
        (lambda: chain.make(length=2.5), "length must be a whole number"),
        (lambda: optimal_return("world/chain", gamma=0.9, slip=1.5), "slip must be between 0 and 1"),
        (lambda: river_swim.make(up=0.8, down=0.5), "must not sum to more than 1"),
        (lambda: river_swim.make(up=-0.1), "up must be between 0 and 1"),
        (lambda: garnet.make(density=2.0), "density must be between 0 and 1"),
        (lambda: garnet.make(seed=0.5), "seed must be a whole number"),
        (lambda: garnet.make(num_actions=0), "num_actions must be a whole number, 1 or more"),
        (lambda: t_maze.make(length=2.5), "length must be a whole number"),
        (
            lambda: jax.vmap(lambda n: envs.make("world/t-maze", length=n).reset(jax.random.key(0)))(
                jnp.arange(1, 3)
            ),
            "depends on traced parameters: give max_steps",
        ),
        (lambda: t_maze.make(length=0), "length must be at least 1"),
        (lambda: two_state.make(accuracy=1.0), "accuracy must lie between 0 and 1"),
        (lambda: garnet.make(num_states=3, branching=4), "branching = 4 must be at most num_states = 3"),
        (lambda: grid.make(level="huge"), "unknown level 'huge'"),
        (lambda: grid.make(observation="sound"), "unknown observation 'sound'"),
        (
            lambda: optimal_return("world/t-maze", gamma=0.9, memory=False, bump=1.0),
            "known only for costs",
        ),
    ],
)
def test_invalid_arguments_are_rejected(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- known numbers ----------------------------------------------------------------------------


def test_the_chain_has_its_published_value():
    """3,677 in 1,000 steps (Strens 2000), in the stationary distribution."""
    mdp = chain.mdp()
    gain = optimal_return("world/chain", gamma=1.0, horizon=400) - optimal_return(
        "world/chain", gamma=1.0, horizon=300
    )
    assert 10 * float(gain) == pytest.approx(3676.8, abs=0.3)
    best = tabular.greedy_policy(mdp, tabular.optimal_values(mdp, 0.99), 0.99)
    assert (best[:, 0] == 1).all()


def test_the_river_is_swum_upstream():
    mdp = river_swim.mdp()
    best = tabular.greedy_policy(mdp, tabular.optimal_values(mdp, 0.99), 0.99)
    assert (best[:, 1] == 1).all()
    # Always upstream: flows balance, so p_5 follows from ratios of 3 and of 3/7.
    weights = np.array([1, 3, 9, 27, 81, 81 * 3 / 7])
    gain = 10_000 * 0.3 * weights[-1] / weights.sum()
    result = [optimal_return("world/river-swim", gamma=1.0, horizon=h) for h in (1000, 1200)]
    assert float(result[1] - result[0]) / 200 == pytest.approx(gain, rel=1e-3)
    rows = np.asarray(mdp.transition)
    np.testing.assert_allclose(rows[0, 1], [0.7, 0.3, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rows[2, 1], [0, 0.1, 0.6, 0.3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rows[5, 1], [0, 0, 0, 0, 0.7, 0.3], atol=1e-6)
    np.testing.assert_array_equal(rows[:, 0].argmax(1), [0, 0, 1, 2, 3, 4])


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("length, small, large", [(6, 1.0, 12.0), (3, 0.5, 1.0), (9, 0.2, 7.0)])
def test_the_loop_has_a_value_for_each_interpretation_of_its_time_limit(gamma, length, small, large):
    mdp = loop.mdp(length, small, large)
    hub = max(small / (1 - gamma), large * gamma ** (length - 1) / (1 - gamma**length))
    way = [gamma ** (length - 1 - i) * (large + gamma * hub) for i in range(1, length)]
    np.testing.assert_allclose(
        tabular.optimal_values(mdp, gamma), [hub, *way], rtol=3e-5
    )  # 1e-7 / (1 - gamma)

    horizon = loop.limit(length=length)
    assert horizon == length - 1
    hub = [small * (1 - gamma**k) / (1 - gamma) for k in range(length)]  # with k steps left
    way = [
        gamma ** (length - 1 - i) * (large + gamma * hub[horizon - (length - i)]) for i in range(1, length)
    ]
    np.testing.assert_allclose(tabular.optimal_values(mdp, gamma, horizon), [hub[horizon], *way], rtol=1e-5)


def test_the_best_policy_of_the_loop_depends_on_the_interpretation():
    mdp, horizon = loop.mdp(), loop.limit()
    stay, walk = (jnp.tile(jax.nn.one_hot(a, 2), (6, 1)) for a in (0, 1))
    endless = [float(tabular.policy_return(mdp, p, GAMMA)) for p in (stay, walk)]
    cut = [float(tabular.policy_return(mdp, p, GAMMA, horizon)) for p in (stay, walk)]
    assert endless[1] > 1.4 * endless[0] and cut[0] > 1.05 * cut[1]
    np.testing.assert_allclose(endless[1], optimal_return("world/loop", gamma=GAMMA), rtol=1e-5)
    np.testing.assert_allclose(cut[0], optimal_return("world/loop", gamma=GAMMA, horizon=horizon), rtol=1e-5)


@pytest.mark.parametrize("length", [1, 4, 70])
def test_the_t_maze_has_the_value_of_its_shortest_path(length):
    best = partial(optimal_return, "world/t-maze", length=length)
    np.testing.assert_allclose(best(gamma=0.98), 4 * 0.98**length, rtol=1e-5)
    np.testing.assert_allclose(best(gamma=1.0), 4.0)
    np.testing.assert_allclose(best(gamma=0.98, memory=False), 0.98**length * 1.95, rtol=1e-5)
    np.testing.assert_allclose(best(gamma=1.0, horizon=length + 1), 4.0)
    for memory in (True, False):
        assert best(gamma=1.0, horizon=length, memory=memory) == 0.0
    assert best(gamma=1.0, memory=False, prize=1.0, miss=-3.0) == 0.0


@pytest.mark.parametrize("prize, miss, bump", [(4.0, -0.1, -0.1), (1.0, -3.0, -0.1), (4.0, -5.0, -0.02)])
def test_no_policy_of_the_t_maze_without_memory_is_better(prize, miss, bump):
    """All maps of the four observations to actions, and random mixtures of actions."""
    length = 2
    mdp = t_maze.mdp(length, prize, miss, bump)
    seen = np.array([0, 1, 2, 3, 1, 2, 2])  # south sign, corridor, junction; north sign; the end
    choices = np.eye(4)[np.array(list(itertools.product(range(4), repeat=4)))]
    mixed = np.random.default_rng(0).dirichlet(np.full(4, 0.3), (400, 4))
    policies = jnp.asarray(np.concatenate([choices, mixed]), jnp.float32)[:, seen]
    result = jax.vmap(lambda policy: tabular.policy_return(mdp, policy, 0.9))(policies)
    params = {"length": length, "prize": prize, "miss": miss, "bump": bump}
    expected = optimal_return("world/t-maze", gamma=0.9, memory=False, **params)
    np.testing.assert_allclose(result.max(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "length, prize, miss, bump, gamma, expected",
    [(3, 4.0, -0.1, 0.0, 0.99, 1.9406), (2, 4.0, -5.0, 0.0, 0.9, 1.62), (3, 4.0, -0.1, 0.0, 1.0, 2.0)],
)
def test_staying_is_optimal_with_one_sign_and_free_bumps(length, prize, miss, bump, gamma, expected):
    params = {"length": length, "prize": prize, "miss": miss, "bump": bump}
    best = optimal_return("world/t-maze", gamma=gamma, memory=False, **params)
    np.testing.assert_allclose(best, expected, rtol=1e-4)


def walked(choice, north, length, prize, miss, bump, gamma, steps):
    """The return of one episode of the T-maze for one sign, step by step from the rules alone.

    `choice` are the actions (n, e, s or w) at the start with the sign north, with the sign south, in the
    corridor and at the junction.
    """
    place, total = 0, 0.0
    for t in range(steps):
        if place == length:
            action = choice[3]
            if action in "ns":
                return total + gamma**t * (prize if (action == "n") == north else miss)
        else:
            action = choice[2] if place else choice[0] if north else choice[1]
        to = place + {"e": 1, "w": -1}.get(action, 0)
        if to < 0 or to > length or action in "ns":
            total += gamma**t * bump
        else:
            place = to
    return total


@pytest.mark.parametrize("horizon", [None, 4, 12])
def test_no_reactive_policy_of_the_t_maze_is_better_for_any_costs(horizon):
    """All 256 maps from observations to actions, each played for both signs, with many rewards."""
    rng = np.random.default_rng(0)
    for number in range(24):
        length, gamma = int(rng.integers(1, 4)), float(rng.choice([0.6, 0.9]))
        prices = {
            "prize": float(rng.choice([4.0, 1.0, -1.0])),
            "miss": float(rng.choice([-0.1, -5.0, 2.0, 0.0])),
            "bump": float(rng.choice([0.0, -0.01, -0.3])),
        }
        steps = 200 if horizon is None else horizon
        returns = [
            np.mean([walked(choice, north, length, gamma=gamma, steps=steps, **prices) for north in (0, 1)])
            for choice in itertools.product("nesw", repeat=4)
        ]
        best = optimal_return(
            "world/t-maze", gamma=gamma, horizon=horizon, memory=False, length=length, **prices
        )
        np.testing.assert_allclose(best, max(returns), atol=1e-5, err_msg=f"{number}: {length}, {prices}")


@pytest.mark.parametrize("length", [1, 3])
def test_the_t_maze_steps_match_its_table(length):
    env, mdp = t_maze.make(length=length, bump=-0.2), t_maze.mdp(length, bump=-0.2)
    width = length + 1
    signs = {0: [1.0, 1.0, 0.0], 1: [0.0, 1.0, 1.0]}
    for north, position, action in itertools.product((0, 1), range(width), range(4)):
        state = t_maze.State(jnp.asarray(north == 1), jnp.int32(position))
        then, timestep = env.step(jax.random.key(0), state, jnp.int32(action))
        here = north * width + position
        (to,) = np.flatnonzero(mdp.transition[here, action])
        assert timestep.reward == mdp.reward[here, action]
        assert timestep.terminated == mdp.terminal[to]
        if not timestep.terminated:
            assert int(then.north) * width + int(then.position) == to
            at = int(then.position)
            expected = signs[north] if at == 0 else [0, 1, 0] if at == length else [1, 0, 1]
            np.testing.assert_array_equal(timestep.obs, expected)


def tiger_by_histories(horizon, gamma, left=0.5, accuracy=0.85, listen=-1.0, prize=10.0, penalty=-100.0):
    """The optimum by trying every action after every history, from Bayes' rule alone."""
    if horizon == 0:
        return 0.0
    again = partial(tiger_by_histories, horizon - 1, gamma, accuracy=accuracy)
    heard_left = left * accuracy + (1 - left) * (1 - accuracy)
    after = left * accuracy / heard_left, left * (1 - accuracy) / (1 - heard_left)
    listening = listen + gamma * (heard_left * again(after[0]) + (1 - heard_left) * again(after[1]))
    opened = gamma * again(0.5)
    return max(
        listening,
        left * penalty + (1 - left) * prize + opened,
        left * prize + (1 - left) * penalty + opened,
    )


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("accuracy", [0.85, 0.97, 0.6])
def test_the_tiger_has_the_value_of_the_best_history_policy(gamma, accuracy):
    for horizon in (1, 2, 3, 6):
        expected = tiger_by_histories(horizon, gamma, accuracy=accuracy)
        result = optimal_return("world/two-state", gamma=gamma, horizon=horizon, accuracy=accuracy)
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_the_tiger_has_the_value_of_belief_value_iteration():
    """A fine grid of beliefs, interpolated, which bounds a convex function from above; 19.37 is published."""
    grid_of_beliefs = np.linspace(0, 1, 4001)
    heard_left = grid_of_beliefs * 0.85 + (1 - grid_of_beliefs) * 0.15
    after = grid_of_beliefs * 0.85 / heard_left, grid_of_beliefs * 0.15 / (1 - heard_left)
    v = np.zeros_like(grid_of_beliefs)
    for _ in range(400):
        to = [np.interp(belief, grid_of_beliefs, v) for belief in after]
        listening = -1 + 0.95 * (heard_left * to[0] + (1 - heard_left) * to[1])
        opened = 0.95 * v[2000]
        left, right = 10 - 110 * grid_of_beliefs + opened, -100 + 110 * grid_of_beliefs + opened
        v = np.maximum(listening, np.maximum(left, right))
    result = float(optimal_return("world/two-state", gamma=0.95))
    assert result == pytest.approx(19.3714, abs=1e-3)
    assert result == pytest.approx(v[2000], abs=2e-3)


def test_the_belief_of_the_tiger_follows_bayes_rule():
    """How often the tiger is left in simulations with k more observations of left than of right."""
    env = two_state.make(accuracy=0.7)

    def listen_thrice(key):
        keys = jax.random.split(key, 4)
        state, _ = env.reset(keys[0])
        heard = 0.0
        for step_key in keys[1:]:
            state, timestep = env.step(step_key, state, jnp.int32(0))
            heard += timestep.obs[0] - timestep.obs[1]
        return heard, state.left

    heard, left = jax.jit(jax.vmap(listen_thrice))(jax.random.split(jax.random.key(0), 40_000))
    for k in (-3, -1, 1, 3):
        of_these = np.asarray(left)[np.asarray(heard) == k]
        p = 1 / (1 + (0.3 / 0.7) ** k)
        assert abs(of_these.mean() - p) < 4 * np.sqrt(p * (1 - p) / len(of_these))


@pytest.mark.parametrize("door", [1, 2])
@pytest.mark.parametrize("left", [False, True])
def test_after_a_door_the_tiger_is_anywhere_and_nothing_is_heard(door, left):
    env = two_state.make()
    state = two_state.State(jnp.asarray(left))
    keys = jax.random.split(jax.random.key(0), 20_000)
    after, timestep = jax.jit(jax.vmap(lambda key: env.step(key, state, jnp.int32(door))))(keys)
    assert (timestep.obs == 0).all()
    assert (timestep.reward == (-100.0 if (door == 1) == left else 10.0)).all()
    assert abs(after.left.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(keys))


# --- steps against the table ------------------------------------------------------------------


def random_returns(env, gamma, horizon, num_episodes):
    """Discounted returns of whole episodes under random actions, at most `horizon` steps."""
    num_actions = env.action_space.n

    def play(key):
        reset_key, run_key = jax.random.split(key)
        state, _ = env.reset(reset_key)

        def step(carry, keys):
            state, total, scale = carry
            action = jax.random.randint(keys[0], (), 0, num_actions)
            state, timestep = env.step(keys[1], state, action)
            total = total + scale * timestep.reward
            return (state, total, scale * gamma * ~timestep.terminated), None

        start = (state, jnp.zeros(()), jnp.ones(()))
        keys = jax.random.split(run_key, (horizon, 2))
        return jax.lax.scan(step, start, keys)[0][1]

    return np.asarray(jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(0), num_episodes)), np.float64)


@pytest.mark.parametrize(
    "name, params",
    [
        ("world/chain", {}),
        ("world/garnet", {"seed": 5, "num_states": 12, "branching": 3}),
        ("world/grid", {"level": "tiny", "seed": 3}),
        ("world/grid", {"level": "longer", "seed": 1}),
        ("world/loop", {}),
        ("world/river-swim", {"num_states": 3}),
        ("world/t-maze", {"length": 2}),
        ("world/two-state", {}),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
@pytest.mark.parametrize("gamma", slow_except([1.0, 0.9], 1.0))
def test_random_play_attains_the_value_of_the_table(name, params, gamma, transitions):
    horizon = 25
    returns = random_returns(ENTRIES[name].make(**params), gamma, horizon, num_episodes=transitions)
    if name == "world/grid":
        level = grid.sample(**params)
        policy = jnp.full((2 ** len(level.objects) * level.walls.size, 5), 0.2)
        expected = grid_values.policy_return(level, policy, gamma, horizon)
    else:
        table = {
            "world/chain": chain,
            "world/garnet": garnet,
            "world/loop": loop,
            "world/river-swim": river_swim,
            "world/t-maze": t_maze,
            "world/two-state": two_state,
        }[name].mdp(**params)
        expected = tabular.policy_return(table, tabular.uniform_policy(table), gamma, horizon)
    error = returns.std() / np.sqrt(len(returns))
    assert error > 0
    assert abs(returns.mean() - float(expected)) < 4 * error
    best = float(optimal_return(name, gamma=gamma, horizon=horizon, **params))
    assert returns.mean() < best + 4 * error


@pytest.mark.parametrize("name", WORLDS)
def test_the_registry_has_parameters_and_time_limits(name):
    entry = ENTRIES[name]
    params = entry.params()
    assert params
    entry.make(**params)
    if entry.limit:
        assert entry.limit(**params) == entry.limit() == entry.max_steps
    known = set(inspect.signature(entry.make).parameters) - {"observation"}
    params = {k: v for k, v in params.items() if k in known}
    assert np.isfinite(optimal_return(name, gamma=0.9, **params))


# --- Garnet -----------------------------------------------------------------------------------


@pytest.mark.parametrize("branching", [1, 2, 5, 8])
def test_every_garnet_has_exactly_so_many_successors(branching):
    draw = jax.vmap(lambda seed: garnet.mdp(seed, num_states=8, num_actions=3, branching=branching))
    mdps = jax.jit(draw)(jnp.arange(500))
    rows = np.asarray(mdps.transition)
    assert ((rows > 0).sum(axis=-1) == branching).all()
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0, atol=1e-6)
    # Successors are anywhere, and no two MDPs are equal.
    share = (rows > 0).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(share, branching / 8, atol=0.02)
    assert len(np.unique(rows.reshape(500, -1), axis=0)) > (490 if branching > 1 else 1)
    rewards = np.asarray(mdps.reward)
    assert abs(rewards.mean()) < 0.05 and abs(rewards.std() - 1) < 0.05


def test_the_probabilities_of_a_garnet_are_gaps_between_uniform_points():
    """With two successors, the probability of either is uniform; with three, its mean square is 1/6."""
    for branching, square in ((2, 1 / 3), (3, 1 / 6)):
        mdp = garnet.mdp(0, num_states=64, num_actions=64, branching=branching)
        p = np.asarray(mdp.transition)
        p = p[p > 0]
        assert abs(p.mean() - 1 / branching) < 0.01
        assert abs((p**2).mean() - square) < 0.01


def test_rewards_of_a_garnet_can_be_rare_and_keys_are_seeds():
    mdp = garnet.mdp(0, num_states=100, num_actions=10, density=0.06)
    assert 0.03 < float((mdp.reward != 0).mean()) < 0.09
    by_key, by_seed = garnet.mdp(jax.random.key(3)), garnet.mdp(3)
    np.testing.assert_array_equal(by_key.transition, by_seed.transition)
    assert not np.array_equal(by_seed.transition, garnet.mdp(4).transition)


# --- grid worlds ------------------------------------------------------------------------------


def grid_by_definition(level, gamma, horizon):
    """The optimum by recursion over cells and sets of objects, with every outcome written out."""
    walls = np.asarray(level.walls)
    size = len(walls)
    objects = [int(cell) for cell in level.objects]
    there = [i for i, present in enumerate(np.asarray(level.present)) if present]
    reward, p_end, p_back = (
        np.asarray(x, np.float64) for x in (level.reward, level.p_terminate, level.p_respawn)
    )

    def walk(cell, move):
        row, column = cell // size + move[0], cell % size + move[1]
        inside = 0 <= row < size and 0 <= column < size
        return row * size + column if inside and not walls[row, column] else cell

    @cache
    def value(cell, exists, left):
        if left == 0:
            return 0.0
        return max(value_of(walk(cell, move), exists, left) for move in grid.MOVES.tolist())

    @cache
    def value_of(cell, exists, left):
        taken = {i for i in exists if objects[i] == cell}
        gone = [i for i in there if i not in exists]
        future = 0.0
        for back in itertools.product((False, True), repeat=len(gone)):
            p = np.prod([p_back[i] if b else 1 - p_back[i] for i, b in zip(gone, back)])
            after = (exists - taken) | {i for i, b in zip(gone, back) if b}
            future += p * value(cell, frozenset(after), left - 1)
        ends = sum(p_end[i] for i in taken)
        return sum(reward[i] for i in taken) + gamma * (1 - ends) * future

    return value(int(level.start), frozenset(there), horizon)


@pytest.mark.parametrize("name, seed", [("tiny", 0), ("tiny", 1), ("tiny", 2), ("small", 5), ("sparse", 0)])
def test_the_optimum_of_a_grid_matches_its_definition(name, seed):
    level = grid.sample(name, seed)
    horizon = min(int(level.max_steps), 12)
    expected = grid_by_definition(level, 0.99, horizon)
    result = grid_values.optimal_return(level, 0.99, horizon)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("horizon", [None, 9])
def test_a_grid_has_the_value_of_its_table(horizon):
    level = grid.sample("tiny", 7)
    mdp = grid_values.mdp(level)
    np.testing.assert_allclose(mdp.transition.sum(axis=-1), 1.0, atol=1e-6)
    best = tabular.optimal_values(mdp, 0.97, horizon)[:-1]
    np.testing.assert_allclose(grid_values.values(level, 0.97, horizon), best, rtol=1e-4, atol=1e-5)
    policy = jax.nn.softmax(jax.random.normal(jax.random.key(0), (len(best) + 1, 5)))
    table_values = tabular.policy_value(mdp, policy, 0.97, horizon)[:-1]
    np.testing.assert_allclose(
        grid_values.values(level, 0.97, horizon, policy[:-1]), table_values, rtol=1e-4, atol=1e-5
    )


def test_levels_are_drawn_from_their_family():
    family = grid.LEVELS["all"]
    levels = jax.jit(jax.vmap(lambda seed: grid.sample("all", seed)))(jnp.arange(500))
    walls, cells = np.asarray(levels.walls), np.asarray(levels.objects)
    cells = np.concatenate([np.asarray(levels.start)[:, None], cells], axis=1)
    assert not np.take_along_axis(walls.reshape(500, -1), cells, axis=1).any()
    assert (np.diff(np.sort(cells, axis=1), axis=1) > 0).all()
    counts, steps = np.asarray(levels.present).sum(1), np.asarray(levels.max_steps)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert family.max_steps[0] <= steps.min() < 30 and 600 < steps.max() <= family.max_steps[1]
    assert 100 < np.median(steps) < 150  # the middle of the logarithm
    sides = 10 - np.asarray([(w.all(axis=1)).sum() for w in walls])
    assert {4, 5, 6, 7, 8, 9, 10} >= set(sides) and len(set(sides)) >= 6
    rewards = np.asarray(levels.reward)
    assert (rewards[:, 0] >= 0).all() and (rewards[:, 1:] < 0).mean() == pytest.approx(0.5, abs=0.05)
    for p, (low, high) in (
        (levels.p_terminate, family.p_terminate),
        (levels.p_respawn, family.p_respawn),
    ):
        p = np.asarray(p)
        assert low * 0.999 <= p.min() and p.max() <= high * 1.001
        assert np.log(p).mean() == pytest.approx(np.log(low * high) / 2, abs=0.1)


def test_the_levels_match_the_original():
    sizes = {"dense": (11, 4, 500), "sparse": (13, 2, 50), "long": (11, 4, 1000)}
    sizes |= {"longer": (9, 5, 2000), "long-dense": (11, 4, 2000)}
    for name, (side, count, steps) in sizes.items():
        level = grid.sample(name, 1)
        assert (level.walls.shape, level.objects.shape) == ((side, side), (count,))
        assert grid.limit(level=name) == level.max_steps == steps
        assert grid.sample(name, 2).start != level.start
    assert int(grid.sample("longer").walls.sum()) == 7
    assert int(grid.sample("long-dense").walls.sum()) == 17  # 9 + 9, less the crossing
    assert grid.limit(level="all", seed=3) == grid.sample("all", 3).max_steps
    assert jax.jit(lambda seed: grid.limit(level="all", seed=seed))(3) == 750
    assert jax.jit(lambda: grid.limit(level="all", seed=3))() == grid.sample("all", 3).max_steps


def test_a_grid_is_shown_as_requested():
    level = grid.sample("tiny", 3)
    num_states = 2 ** len(level.objects) * level.walls.size
    for observation in ("one_hot", "index", "planes"):
        check_env(time_limit(grid.env(level, observation), 5))
    hot = grid.env(level, "one_hot").reset(jax.random.key(0))[1].obs
    number = grid.env(level, "index").reset(jax.random.key(0))[1].obs
    assert hot.shape == (num_states + 1,) and hot.argmax() == number == grid_values.first_state(level)
    env = grid.env(level, "planes")
    state, timestep = env.reset(jax.random.key(0))
    image = np.asarray(timestep.obs).reshape(-1, 2 + len(level.objects))
    assert image[int(level.start), 0] == image[:, 0].sum() == 1
    np.testing.assert_array_equal(image[:, 1], np.asarray(level.walls).reshape(-1))
    np.testing.assert_array_equal(image[:, 2:].sum(0), np.asarray(level.present))
    state, _ = grid.env(level).step(jax.random.key(0), state, jnp.int32(4))
    assert grid.env(level).step(jax.random.key(0), state, jnp.int32(4))[1].obs[-1] == pytest.approx(0.002)


def test_collected_objects_disappear_and_respawn_in_place():
    level = grid.sample("sparse").replace(
        start=jnp.int32(0),
        objects=jnp.array([1, 14]),
        p_terminate=jnp.zeros(2),
        p_respawn=jnp.array([1.0, 0.0]),
    )
    env = grid.env(level)
    state, _ = env.reset(jax.random.key(0))
    observed = []
    for action in (3, 4, 4, 1, 0, 1):  # right, stay, stay, down, up, down
        state, timestep = env.step(jax.random.key(0), state, jnp.int32(action))
        observed.append((int(state.cell), float(timestep.reward), state.exists.tolist()))
    assert observed == [
        (1, 1.0, [False, True]),
        (1, 0.0, [True, True]),
        (1, 1.0, [False, True]),
        (14, -1.0, [True, False]),
        (1, 1.0, [False, False]),
        (14, 0.0, [True, False]),
    ]


# --- PPO and the bounds -----------------------------------------------------------------------


def train_ppo(env, updates, gamma=GAMMA, seeds=2, **config):
    sizes = {"num_envs": 16, "num_steps": 32, "hidden_sizes": (16,), **config}
    algo = ppo.make(env, fields.configured(ppo.Config(), sizes))
    hp = algo.hparams.replace(learning_rate=1e-2, total_updates=float(updates), gamma=gamma)
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    return algo, jax.jit(jax.vmap(lambda key: train.run(algo, key, hp, updates)[0]))(keys)


def tables_of(algo, states, mdp):
    """The greedy policies `[P, S, A]` of agents that see states one-hot."""
    num_states, num_actions = mdp.transition.shape[:2]
    eye, first = jnp.eye(num_states), jnp.zeros(num_states, bool)
    act = jax.vmap(lambda state: algo.act(state, (), jax.random.key(0), eye, first)[1])
    return jax.nn.one_hot(act(states), num_actions)


def played(algo, states, env, num_episodes=256):
    """Episode returns `[P, E]`."""

    def one(state, key):
        return evaluate(env, partial(algo.act, state), state.stream.memory, key, num_episodes).returns

    return np.asarray(jax.jit(jax.vmap(one))(states, jax.vmap(jax.random.key)(7 + jnp.arange(2))))


def assert_bounded(returns, best):
    error = returns.std(axis=1) / np.sqrt(returns.shape[1])
    assert (returns.mean(axis=1) <= best + 4 * error + 1e-4 * abs(best)).all()


@pytest.mark.slow
def test_ppo_solves_the_chain():
    env, mdp = make("world/chain"), chain.mdp()
    algo, states = train_ppo(env, 60)
    values = jax.vmap(lambda policy: tabular.policy_return(mdp, policy, GAMMA))(tables_of(algo, states, mdp))
    best = float(optimal_return("world/chain", gamma=GAMMA))
    assert (values >= 0.9 * best).all() and (values <= best * (1 + 1e-5)).all()
    assert_bounded(played(algo, states, env), float(optimal_return("world/chain", gamma=1.0, horizon=100)))


@pytest.mark.slow  # the probe of a time limit shows the same in less time (test_learns_probes.py)
def test_ppo_walks_the_loop_unless_time_limits_terminate():
    env, mdp, horizon = make("world/loop"), loop.mdp(), loop.limit()
    algo, states = train_ppo(env, 60)
    policies = tables_of(algo, states, mdp)
    values = jax.vmap(lambda policy: tabular.policy_return(mdp, policy, GAMMA))(policies)
    best = float(optimal_return("world/loop", gamma=GAMMA))
    assert (values >= 0.9 * best).all() and (values <= best * (1 + 1e-5)).all()
    assert_bounded(played(algo, states, env), float(optimal_return("world/loop", gamma=1.0, horizon=horizon)))

    def step(key, state, action):
        state, then = env.step(key, state, action)
        return state, then.replace(terminated=then.done, truncated=jnp.zeros_like(then.done))

    algo, states = train_ppo(env._replace(step=step), 60)
    policies = tables_of(algo, states, mdp)
    assert (policies[:, 0, 0] == 1).all()  # it stays at the hub
    cut = jax.vmap(lambda policy: tabular.policy_return(mdp, policy, GAMMA, horizon))(policies)
    best = float(optimal_return("world/loop", gamma=GAMMA, horizon=horizon))
    np.testing.assert_allclose(cut, best, rtol=1e-5)


@pytest.mark.slow  # the probe of memory shows the same in less time (test_learns_probes.py)
def test_ppo_with_memory_solves_the_t_maze():
    env = make("world/t-maze", length=4)
    algo, states = train_ppo(env, 120, memory_size=16)
    returns = played(algo, states, env)
    best = float(optimal_return("world/t-maze", gamma=1.0, length=4))
    assert (returns.mean(axis=1) >= 0.9 * best).all()
    assert_bounded(returns, best)


@pytest.mark.slow
def test_ppo_without_memory_stays_below_the_memoryless_bound():
    env = make("world/t-maze", length=4)
    algo, states = train_ppo(env, 40)
    best = float(optimal_return("world/t-maze", gamma=1.0, length=4, memory=False))
    assert_bounded(played(algo, states, env, num_episodes=2048), best)


@pytest.mark.slow
def test_ppo_with_memory_stays_below_the_optimum_of_the_tiger():
    env = make("world/two-state", max_steps=20)
    algo, states = train_ppo(env, 300, memory_size=16, normalize_reward=True)
    returns = played(algo, states, env, num_episodes=4096)
    best = float(optimal_return("world/two-state", gamma=1.0, horizon=20))
    assert (returns.mean(axis=1) > -20.0).all()  # no worse than always listening
    assert_bounded(returns, best)


@pytest.mark.slow
@pytest.mark.parametrize("name, updates", [("world/garnet", 200), ("world/grid", 300)])
def test_ppo_stays_below_the_optimum(name, updates):
    env = make(name)
    limit = ENTRIES[name].limit() if ENTRIES[name].limit else ENTRIES[name].max_steps
    algo, states = train_ppo(env, updates)
    returns = played(algo, states, env, num_episodes=4096)
    best = float(optimal_return(name, gamma=1.0, horizon=limit))
    assert_bounded(returns, best)
    assert (returns.mean(axis=1) > 0.6 * best).all()


def test_a_custom_table_is_an_environment():
    """Two states: the second ends the episode, and action 1 gets there with probability 1/2."""
    transition = jnp.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]])
    mdp = Tabular(
        transition, jnp.array([[0.0, 1.0], [9.0, 9.0]]), jnp.array([False, True]), jnp.array([1.0, 0.0])
    )
    np.testing.assert_allclose(tabular.optimal_values(mdp, 1.0), [2.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(
        tabular.policy_value(mdp, jnp.array([[0.0, 1.0], [1.0, 0.0]]), 1.0), [2.0, 0.0]
    )
    np.testing.assert_allclose(tabular.optimal_values(mdp, 1.0, horizon=2), [1.5, 0.0])

    env = tabular.env(mdp)
    check_env(auto_reset(env))
    # Rewards of the table in a terminal state must be ignored.
    returns = random_returns(env, 0.9, 20, num_episodes=5_000)
    expected = tabular.policy_return(mdp, tabular.uniform_policy(mdp), 0.9, 20)
    assert abs(returns.mean() - float(expected)) < 4 * returns.std() / np.sqrt(len(returns))
