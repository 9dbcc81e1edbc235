"""Spaces: samples are contained in them, and other values are not."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl.spaces import (
    Box,
    Discrete,
    MultiDiscrete,
    contains,
    flat_size,
    require_bounded_box,
    require_counts,
    sample,
)

INT, BOOL, UINT8 = (np.dtype(x) for x in (np.int32, bool, np.uint8))
LARGEST = float(np.finfo(np.float32).max)
SPACES = {
    "one": Discrete(1),
    "discrete": Discrete(5),
    "multi": MultiDiscrete((2, 7, 1)),
    "box": Box(-1.0, 3.0, (2, 3)),
    "scalar": Box(0.25, 0.5, ()),
    "point": Box(2.0, 2.0, (2,)),
    "per number": Box(np.array([0.0, -9.0]), np.array([1.0, -8.5]), (2,)),
    "broadcast": Box(np.array([[0.0], [10.0]]), np.array([[1.0], [11.0]]), (2, 3)),
    "infinite": Box(-np.inf, np.inf, (4,)),
    "below": Box(-np.inf, -7.0, (4,)),
    "above": Box(7.0, np.inf, (4,)),
    "mixed": Box(np.array([-np.inf, -np.inf, 1.0]), np.array([np.inf, 2.0, np.inf]), (3,)),
    "largest": Box(-LARGEST, LARGEST, (4,)),
    "half": Box(0.0, LARGEST, (4,)),
    "bytes": Box(0, 255, (3, 3, 1), UINT8),
    "int8": Box(-128, 127, (9,), np.dtype(np.int8)),
    "int": Box(-2, 1, (5,), INT),
    "all int": Box(-(2**31), 2**31 - 1, (50,), INT),
    "endless int": Box(-np.inf, np.inf, (5,), INT),
    "natural": Box(0, np.inf, (5,), INT),
    "bool": Box(False, True, (6,), BOOL),
    "tree": {"a": Discrete(3), "b": (MultiDiscrete((2, 2)), Box(-1.0, 1.0, (2,)))},
    "nothing": (),
}


@cache
def fifty_draws():
    """`[50, ...]` samples of every space and whether they lie in it; compiled as one."""

    @jax.jit
    @jax.vmap
    def draw(key):
        values = sample(SPACES, key)
        return values, {name: contains(space, values[name]) for name, space in SPACES.items()}

    return draw(jax.random.split(jax.random.key(0), 50))


@pytest.mark.parametrize("name", SPACES)
def test_a_sample_lies_in_the_space(name):
    draws, inside = (x[name] for x in fifty_draws())
    assert inside.all()
    leaves = jax.tree.leaves(SPACES[name])
    for leaf, value in zip(leaves, jax.tree.leaves(draws), strict=True):
        assert value.shape == (50, *leaf.shape)
        assert value.dtype == leaf.dtype
        assert np.isfinite(value).all()


def test_samples_are_uniform():
    spaces = {
        "discrete": Discrete(5),
        "multi": MultiDiscrete((2, 7, 3)),
        "int": Box(-2, 3, (), INT),
        "bool": Box(False, True, (), BOOL),
        "box": Box(np.array([-1.0, 5.0]), np.array([3.0, 5.5]), (2,)),
    }
    keys = jax.random.split(jax.random.key(1), 6_000)
    drawn = jax.tree.map(np.asarray, jax.jit(jax.vmap(partial(sample, spaces)))(keys))

    def is_uniform(x, low, high):
        counts = np.bincount(x - low, minlength=high - low + 1)
        return len(counts) == high - low + 1 and stats.chisquare(counts).pvalue > 1e-3

    assert is_uniform(drawn["discrete"], 0, 4)
    assert not is_uniform(drawn["discrete"], 0, 5)  # the check can fail
    assert [is_uniform(x, 0, n - 1) for x, n in zip(drawn["multi"].T, (2, 7, 3))] == [True] * 3
    assert is_uniform(drawn["int"], -2, 3)
    assert is_uniform(drawn["bool"].astype(int), 0, 1)
    assert stats.kstest(drawn["box"][:, 0], stats.uniform(-1, 4).cdf).pvalue > 1e-3
    assert stats.kstest(drawn["box"][:, 1], stats.uniform(5, 0.5).cdf).pvalue > 1e-3


def test_an_unbounded_side_is_drawn_near_the_other_one():
    keys = jax.random.split(jax.random.key(2), 200)
    mixed, natural = SPACES["mixed"], SPACES["natural"]
    draw = jax.jit(jax.vmap(lambda key: (sample(mixed, key), sample(natural, key))))
    draws, naturals = (np.asarray(x) for x in draw(keys))
    for column, (low, high) in zip(draws.T, [(-1, 1), (1, 2), (1, 2)]):
        assert low <= column.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < column.max() <= high
    assert set(naturals.ravel()) == {0, 1}


def test_leaves_are_drawn_with_separate_keys():
    space = {name: Box(0.0, 1.0, ()) for name in "abc"}
    assert len({float(x) for x in sample(space, jax.random.key(0)).values()}) == 3


INSIDE = [
    (Discrete(3), np.int32(2)),
    (Discrete(3), np.uint8(0)),
    (Discrete(300), np.uint8(255)),
    (MultiDiscrete((2, 3)), np.array([1, 2])),
    (Box(-1.0, 1.0, (2,)), np.array([-1.0, 1.0], np.float32)),
    (Box(-5, 300, (), INT), np.uint8(3)),
    (Box(-np.inf, np.inf, ()), np.float32(LARGEST)),
    (Box(0, 255, (2,), UINT8), np.array([0, 255], np.uint8)),
    ({"a": Discrete(2), "b": ()}, {"a": np.int32(1), "b": ()}),
]
OUTSIDE = {
    "too large": (Discrete(3), np.int32(3)),
    "negative": (Discrete(3), np.int32(-1)),
    "a float": (Discrete(3), np.float32(1.0)),
    "a bool": (Discrete(3), np.bool_(True)),
    "a vector": (Discrete(3), np.array([1])),
    "one of them too large": (MultiDiscrete((2, 3)), np.array([2, 2])),
    "another one too large": (MultiDiscrete((2, 3)), np.array([0, 3])),
    "one missing": (MultiDiscrete((2, 3)), np.array([1])),
    "above": (Box(-1.0, 1.0, (2,)), np.array([0.0, 1.001], np.float32)),
    "below": (Box(-1.0, 1.0, (2,)), np.array([-1.001, 0.0], np.float32)),
    "not a number": (Box(-np.inf, np.inf, (2,)), np.array([0.0, np.nan], np.float32)),
    "ints": (Box(-1.0, 1.0, (2,)), np.array([0, 1])),
    "floats": (Box(0, 255, (2,), UINT8), np.array([0.0, 1.0], np.float32)),
    "bools": (Box(0, 255, (2,), UINT8), np.array([True, False])),
    "numbers": (Box(False, True, (2,), BOOL), np.array([0, 1])),
    "a longer one": (Box(-1.0, 1.0, (2,)), np.zeros(3, np.float32)),
    "one more axis": (Box(-1.0, 1.0, (2,)), np.zeros((1, 2), np.float32)),
    "turned": (Box(-1.0, 1.0, (2, 3)), np.zeros((3, 2), np.float32)),
    "outside its own bound": (SPACES["per number"], np.array([-8.7, 0.5], np.float32)),
    "too few parts": ({"a": Discrete(2), "b": Discrete(2)}, {"a": np.int32(1)}),
    "other names": ({"a": Discrete(2)}, {"b": np.int32(1)}),
    "a list for a tuple": ((Discrete(2),), [np.int32(1)]),
    "a tree for a leaf": (Discrete(2), (np.int32(1),)),
    "one bad leaf": ({"a": Discrete(2), "b": Discrete(2)}, {"a": np.int32(1), "b": np.int32(2)}),
}


@pytest.mark.parametrize(("space", "value"), INSIDE)
def test_contains_accepts(space, value):
    answer = contains(space, jax.tree.map(jnp.asarray, value))
    assert answer.shape == ()
    assert answer.dtype == bool
    assert answer


@pytest.mark.parametrize(("space", "value"), OUTSIDE.values(), ids=OUTSIDE)
def test_contains_rejects(space, value):
    assert not contains(space, jax.tree.map(jnp.asarray, value))


def test_contains_can_be_traced():
    inside = jax.jit(jax.vmap(lambda x: contains(Box(-1.0, 1.0, ()), x)))
    np.testing.assert_array_equal(inside(jnp.array([-2.0, 0.0, 2.0])), [False, True, False])


def test_a_space_is_a_leaf():
    for space in (Discrete(2), MultiDiscrete((2, 3)), Box(0.0, 1.0, (2,))):
        assert jax.tree.leaves(space) == [space]


@pytest.mark.parametrize(
    ("name", "size"),
    [("discrete", 5), ("multi", 10), ("box", 6), ("scalar", 1), ("bytes", 9), ("tree", 9), ("nothing", 0)],
)
def test_flat_size(name, size):
    assert flat_size(SPACES[name]) == size


def test_options_for_continuous_actions_need_a_bounded_box():
    require_bounded_box(Box(-1.0, np.array([1.0, 2.0]), (2,)), "squash")
    for space in (Discrete(3), MultiDiscrete((2,)), (Box(-1.0, 1.0, ()),)):
        with pytest.raises(ValueError, match=r"^squash requires continuous actions"):
            require_bounded_box(space, "squash")
    for low, high in [(-np.inf, 1.0), (0.0, LARGEST), (np.array([0.0, -np.inf]), 1.0)]:
        with pytest.raises(ValueError, match=r"^squash needs actions with finite bounds"):
            require_bounded_box(Box(low, high, (2,)), "squash")

    def traced(high):  # cannot be looked at, and is let through
        require_bounded_box(Box(-1.0, high, ()), "squash")
        return high

    assert jax.jit(traced)(2.0) == 2.0


def test_counts_are_at_least_one():
    config = SimpleNamespace(num_envs=1, num_steps=0, num_epochs=-3)
    require_counts(config, "num_envs")
    with pytest.raises(ValueError, match=r"num_steps = 0 must be at least 1"):
        require_counts(config, "num_envs", "num_steps")
    with pytest.raises(ValueError, match=r"num_epochs = -3"):
        require_counts(config, "num_epochs")
