"""What holds for every algorithm: the contract of the house, over `ALGORITHMS`."""

import functools
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import (
    DISCRETE,
    FOLDERS,
    GRADIENT_FREE,
    counted,
    glossary,
    jitted,
    slow_except,
    small,
    small_env,
)

from jaxrl import checkpoint, train
from jaxrl.algos import ALGORITHMS


def bits(tree):
    """Leaves as bytes, keys by their data: equal means equal to the bit."""
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x).tobytes()
        for x in jax.tree.leaves(tree)
    ]


def begin(algo, seed=0, hp=None):
    return jitted(algo.init)(jax.random.key(seed), algo.hparams if hp is None else hp, *algo.data_args)


def after(algo, num_updates, seed=0, hp=None):
    """The state after so many updates, by the program that every run uses."""
    state, hp = begin(algo, seed, hp), algo.hparams if hp is None else hp
    zeros = train.no_totals(algo.update, state, hp, *algo.data_args)
    return train.program(algo.update)(state, zeros, hp, num_updates, *algo.data_args)[0]


@functools.cache
def metrics_of_a_run(algo):
    """Of each of 6 updates `[6]`, by the program that every run uses."""
    chunks = train.chunks(algo, begin(algo), algo.hparams, num_chunks=6, length=1)
    return jax.tree.map(lambda *x: jnp.stack(x), *(metrics for _, metrics in chunks))


@functools.cache
def population(algo_name):
    """Eight agents with seeds 0 to 7, and their states before the first update."""
    algo = train.population(small(algo_name))
    keys = jax.vmap(jax.random.key)(jnp.arange(8))
    return algo, jax.jit(algo.init)(keys, algo.hparams)


def avals(tree):
    return [(x.shape, str(x.dtype), getattr(x, "weak_type", False)) for x in jax.tree.leaves(tree)]


def test_state_is_a_fixed_point_of_update(algo_name):
    algo = small(algo_name)
    state = begin(algo)
    new, _ = jax.eval_shape(algo.update, state, algo.hparams, *algo.data_args)
    assert jax.tree.structure(state) == jax.tree.structure(new)
    assert avals(state) == avals(new)
    assert not any(weak for _, _, weak in avals(state))


def test_metrics_have_fixed_keys_and_are_finite(algo_name):
    algo = small(algo_name)
    metrics = metrics_of_a_run(algo)
    assert all(name.count("/") == 1 for name in metrics)
    assert all(value.shape == (6,) and bool(jnp.isfinite(value).all()) for value in metrics.values())
    # 6 updates of 8 steps: the first holds no end of an episode, and must not be `nan` for it
    assert 0.0 in metrics["episode/count"]


def test_the_glossary_has_the_metrics_of_an_algorithm_and_no_others(algo_name):
    algorithms = {name: set(re.findall(r"\w+", line.split("|")[4])) for name, line in glossary().items()}
    explained = {name for name, those in algorithms.items() if those & {"all", algo_name}}
    metrics = metrics_of_a_run(small(algo_name))
    assert {re.sub("^(episode/.*)_sum$", r"\1", name) for name in metrics} == explained  # as rows have them


def test_ppo_counts_the_ratios_that_it_clips():
    metrics = metrics_of_a_run(small("ppo"))
    assert 0.0 < metrics["policy/clip_fraction"].max() < 1.0 and metrics["policy/clip_fraction"].min() >= 0.0


def test_same_key_same_bits_other_key_other_bits(algo_name):
    algo = small(algo_name)
    assert bits(after(algo, 3)) == bits(after(algo, 3))
    assert bits(after(algo, 3).params) != bits(after(algo, 3, seed=1).params)


def test_seeds_differ_in_start_and_exploration(algo_name):
    """A key overwritten by the wrong one gives all lanes one initialisation (peers.md, mistake 2)."""
    _, state = population(algo_name)
    for lanes in (
        jax.tree.leaves(state.params),
        [jax.random.key_data(state.key)],
        [state.stream.timestep.obs],
    ):
        assert any(len({lane.tobytes() for lane in np.asarray(x)}) == 8 for x in lanes)


def test_updates_in_pieces_equal_updates_at_once(algo_name):
    algo = small(algo_name)
    hp, state = algo.hparams, begin(algo)
    totals = train.no_totals(algo.update, state, hp, *algo.data_args)
    advance = train.program(algo.update)
    whole = advance(begin(algo), totals, hp, 7, *algo.data_args)
    for length in (2, 1, 4):
        state, totals = advance(state, totals, hp, length, *algo.data_args)
    assert bits(whole) == bits((state, totals))


RESTORED = """
import sys
sys.path[:0] = {here!r}
import jax
from test_contract import GRID, learner
from jaxrl import checkpoint, train
for name in {names}:
    directory = {directory!r} + "/" + name
    algo, hp, keys = learner(name)
    state, _ = checkpoint.restore(directory, jax.eval_shape(algo.init, keys, hp))
    totals = train.no_totals(algo.update, state, hp)
    state, _ = train.program(algo.update)(state, totals, hp, 3)
    checkpoint.save(directory + "/done", 5, state)
"""
GRID = "ppo, four of them"


def population_grid(name):
    """Four agents that differ in how far they step and in seed, and their hyperparameters."""
    single = small(name)
    rate = "sigma" if name in GRADIENT_FREE else "learning_rate"
    hp = train.grid(single.hparams, **{rate: jnp.logspace(-4, -2, 4)})
    return train.population(single, vary_hparams=True), hp


def learner(name):
    """A small algorithm or population, its hyperparameters and its keys."""
    if name == GRID:
        return *population_grid("ppo"), jax.vmap(jax.random.key)(jnp.arange(4))
    return small(name), small(name).hparams, jax.random.key(0)


# Those with the largest states, and all.
RESUMED = [("dqn", "ga", "sac", GRID), pytest.param((*ALGORITHMS, GRID), marks=pytest.mark.slow)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("names", RESUMED, ids=["some", "all"])
def test_resuming_in_a_new_process_changes_no_bit(names, tmp_path):
    """One process for all: to start it takes longer than what it does."""
    wholes = {}
    for name in names:
        algo, hp, keys = learner(name)
        init = jax.jit(algo.init)
        zeros = train.no_totals(algo.update, jax.eval_shape(init, keys, hp), hp)
        advance = train.program(algo.update)
        wholes[name], _ = advance(init(keys, hp), zeros, hp, 5)
        half, _ = advance(init(keys, hp), zeros, hp, 2)
        checkpoint.save(tmp_path / name, 2, half)
    script = RESTORED.format(here=FOLDERS, names=json.dumps(list(wholes)), directory=str(tmp_path))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=600)
    for name, whole in wholes.items():
        resumed, _ = checkpoint.restore(tmp_path / name / "done", jax.eval_shape(lambda x=whole: x))
        assert bits(resumed) == bits(whole), name


# XLA sums a batched product in another order than a single one: after 5 updates, parameters of order 1
# differ by less than 1e-5. The step of TRPO solves a system with the Fisher matrix by conjugate gradients,
# which enlarge what rounding leaves: 3e-5 on processors without AVX-512.
ROUNDING = {"trpo": 1e-4}


@pytest.mark.parametrize("algo_name", slow_except(sorted(ALGORITHMS), "dqn", "es", "ga", "ppo", "trpo"))
def test_a_lane_of_a_population_is_that_agent_alone(algo_name):
    """Same keys and same data exactly, parameters and observations to `ROUNDING`."""
    single = small(algo_name)
    algo, states = population(algo_name)
    states = jax.tree.map(jnp.copy, states)  # the program takes them over
    zeros = train.no_totals(algo.update, states, algo.hparams)
    states, _ = train.program(algo.update)(states, zeros, algo.hparams, 5)
    alone = after(single, 5, seed=3)
    lane = jax.tree.map(lambda x: x[3], states)
    assert bits(lane.key) == bits(alone.key)
    pairs = zip(*(jax.tree.leaves((state.params, state.stream.timestep)) for state in (lane, alone)))
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=ROUNDING.get(algo_name, 1e-5))


def test_a_population_collects_and_evaluates_as_its_agents_do(algo_name):
    single = small(algo_name)
    if single.collect is None:
        pytest.skip("it has no collect")
    many, states = population(algo_name)
    keys = jax.vmap(jax.random.key)(jnp.arange(8))
    _, batch = jitted(many.collect)(states, keys)
    output = jitted(many.evaluate_actions)(states, batch)
    lane = jax.tree.map(lambda leaf: leaf[1], states)
    _, own = jitted(single.collect)(lane, keys[1])
    for a, b in zip(jax.tree.leaves(output), jax.tree.leaves(jitted(single.evaluate_actions)(lane, own))):
        np.testing.assert_allclose(a[1], b, atol=1e-5)


# Operation by operation an update takes ten seconds and more; least where there are no minibatches.
BY_HAND = slow_except(sorted(ALGORITHMS), "a2c")


@pytest.mark.parametrize("algo_name", BY_HAND)
def test_jitted_equals_not_jitted(algo_name):
    algo = small(algo_name, num_steps=2, **({} if algo_name in GRADIENT_FREE else {"num_epochs": 1}))
    state = begin(algo)
    compiled, _ = jitted(algo.update)(state, algo.hparams)
    with jax.disable_jit():
        plain, _ = algo.update(state, algo.hparams)
    for a, b in zip(jax.tree.leaves(compiled.params), jax.tree.leaves(plain.params)):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_trace_per_program(algo_name):
    """Python runs through the environment once per program, however many chunks and whatever length."""
    algo, (_, traces) = small(algo_name), counted(small_env(algo_name))
    rate, other = ("sigma", "sigma_decay") if algo_name in GRADIENT_FREE else ("learning_rate", "gamma")
    hp, state, advance = algo.hparams, begin(algo), train.program(algo.update)
    zeros = train.no_totals(algo.update, state, hp)
    state, _ = advance(state, zeros, hp, 2)
    before, programs = dict(traces), advance._cache_size()
    assert before["step"] >= 1 and programs >= 1
    for length, value in ((1, 1e-3), (5, 1e-4)):
        state, totals = advance(state, zeros, hp.replace(**{rate: value}), length)
    changed = hp.replace(**{other: 0.5})
    advance(begin(algo, 1, changed), totals, hp, 3)
    assert traces == before
    assert advance._cache_size() == programs


def test_every_hyperparameter_has_an_influence(algo_name):
    """With discrete actions, or else with continuous ones: a standard deviation has numbers of its own."""
    algo = small(algo_name)
    leaves, treedef = jax.tree.flatten(algo.hparams)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(algo.hparams)]

    def changes(algo, i):
        changed = [x * 0.8 if i == j else x for j, x in enumerate(leaves)]
        hp = jax.tree.unflatten(treedef, changed)
        return bits(after(algo, 4, hp=hp).params) != bits(after(algo, 4).params)

    idle = [i for i in range(len(names)) if not changes(algo, i)]
    for i in idle:
        continuous = algo_name not in DISCRETE and changes(small(algo_name, "Pendulum-v1"), i)
        assert continuous, f"{names[i]} changes nothing"


def test_every_parameter_learns(algo_name):
    algo = small(algo_name)
    starts, ends = jax.tree_util.tree_leaves_with_path(begin(algo).params), after(algo, 2).params
    for (path, start), end in zip(starts, jax.tree.leaves(ends)):
        assert bool((start != end).any()), f"{jax.tree_util.keystr(path)} never changes"


# Twenty seconds each to compile; an order of returns, as of `es` and `ga`, has no derivative.
DIFFERENTIABLE = slow_except(sorted(set(ALGORITHMS) - set(GRADIENT_FREE)), "ppo")


@pytest.mark.parametrize("algo_name", DIFFERENTIABLE)
def test_gradients_flow_through_an_update(algo_name):
    """Meta-gradients: the derivative of a learned policy by each traced hyperparameter is finite."""
    algo = small(algo_name)

    def outcome(hp):
        state, _ = jax.lax.scan(lambda state, _: (algo.update(state, hp)[0], None), begin_state, length=2)
        return sum(jnp.abs(x).sum() for x in jax.tree.leaves(state.params))

    begin_state = begin(algo)
    grads = jax.jit(jax.grad(outcome))(algo.hparams)
    assert all(bool(jnp.isfinite(g)) for g in jax.tree.leaves(grads))
    assert float(grads.learning_rate) != 0.0


def test_chunks_leave_the_state_they_are_given(algo_name):
    """Whatever buffers it shares: outside `jit` an `init` returns one array in several places."""
    algo = small(algo_name)
    first = begin(algo)
    timestep = first.stream.timestep
    shared = first.replace(stream=first.stream.replace(timestep=timestep.replace(next_obs=timestep.obs)))
    for _ in train.chunks(algo, shared, algo.hparams, num_chunks=1, length=1):
        pass
    seen = [
        {k: float(v) for k, v in metrics.items()}
        for _, metrics in train.chunks(algo, first, algo.hparams, num_chunks=2, length=3)
    ]
    assert not first.key.is_deleted()
    metrics = metrics_of_a_run(algo)
    for i, chunk in enumerate(seen):
        for name, value in chunk.items():
            part = metrics[name][3 * i : 3 * i + 3]
            expected = part.sum() if name.endswith(("_sum", "/count")) else part.mean()
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
