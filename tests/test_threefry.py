"""The unrolled generator gives JAX's numbers."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.cpu import threefry

# Random123's known answers for 20 rounds: counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def test_known_answers():
    for counter, key, result in KNOWN:
        words = [jnp.uint32(w) for w in (*key, *counter)]
        assert tuple(int(w) for w in threefry.threefry2x32(*words)) == result


DRAWS = """
import sys, os, jax, numpy as np
if sys.argv[1] == "on":
    from jaxrl import rollout
def draws(key):
    a, b, c = jax.random.split(key, 3)
    more = jax.vmap(lambda k: jax.random.normal(k, (3,)))(jax.random.split(b, 5))
    return jax.random.bits(a, (7, 2)), jax.random.bits(a, (9,), "uint8"), jax.random.key_data(c), more, \
        jax.random.permutation(jax.random.fold_in(c, 3), 11)
loops = jax.jit(draws).lower(jax.random.key(7)).as_text().count("stablehlo.while")
print(loops > 0, *(np.asarray(x).tobytes().hex() for x in jax.jit(draws)(jax.random.key(7))))
"""


def test_it_changes_no_random_number_of_jax():
    texts = [
        subprocess.run([sys.executable, "-c", DRAWS, how], capture_output=True, text=True, check=True).stdout
        for how in ("on", "off")
    ]
    (looped, *ours), (looped_before, *before) = (text.split() for text in texts)
    assert ours == before and len(ours) == 5
    assert (looped, looped_before) == ("False", "True")  # the unrolled generator, and JAX's


def test_it_matches_jax_random_bits():
    counts = np.arange(6, dtype=np.uint32)
    key = jax.random.key_data(jax.random.key(3))
    want = jax.random.bits(jax.random.key(3), (6,))
    high, low = threefry.threefry2x32(key[0], key[1], jnp.zeros(6, jnp.uint32), counts)
    np.testing.assert_array_equal(want, high ^ low)
