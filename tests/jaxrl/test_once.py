"""`once` changes no value, and really stops the compiler from repeating work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.cpu import threefry
from jaxrl.cpu.once import once

ON_CPU = jax.default_backend() == "cpu"


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, -0.0, 0.0, np.nan, np.inf, -np.inf], np.float32),
        np.array([-3, 0, 2**31 - 1], np.int32),
        np.array([0, 2**32 - 1], np.uint32),
        np.array([-128, 127], np.int8),
        np.array([True, False]),
        np.float32(2.5),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)
def test_no_bit_changes(values):
    for function in (once, jax.jit(once), jax.jit(jax.vmap(once)) if values.shape else jax.jit(once)):
        same = np.asarray(function(values))
        assert (same.dtype, same.shape) == (values.dtype, values.shape)
        assert same.tobytes() == values.tobytes()


def test_trees_keys_and_gradients():
    key = jax.random.key(3)
    tree = jax.jit(once)({"key": key, "pair": (jnp.ones(2), jnp.arange(3))})
    assert jax.random.key_data(tree["key"]).tolist() == jax.random.key_data(key).tolist()
    assert jax.tree.structure(tree) == jax.tree.structure({"key": 0, "pair": (0, 0)})
    gradient = jax.grad(lambda x: (once(x) ** 3).sum())(jnp.array([1.0, -2.0]))
    np.testing.assert_allclose(gradient, [3.0, 12.0])


@pytest.mark.skipif(not ON_CPU, reason="does nothing elsewhere")
def test_work_is_not_repeated():
    """Random words that determine an image are drawn once in the program, not for each cell."""

    def picture(key, keep):
        counts = jnp.arange(8, dtype=jnp.uint32)
        words = keep(threefry.threefry2x32(*jax.random.key_data(key), jnp.zeros_like(counts), counts)[0])
        return words[:, None] & 7 == jnp.arange(10, dtype=jnp.uint32)

    def draws_for_each_cell(keep):
        function = jax.jit(jax.vmap(lambda key: picture(key, keep)))
        text = function.lower(jax.random.split(jax.random.key(0), 64)).compile().as_text()
        mixed_into_keys = "466688986"  # 0x1BD11BDA, a constant of the generator
        return any(mixed_into_keys in part and "pred[64,8,10]" in part for part in text.split("\n\n"))

    assert draws_for_each_cell(lambda x: x)
    assert not draws_for_each_cell(once)
