"""The unrolled generator gives JAX's numbers, and JAX itself stays as it is."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def draws(key):
    """Bits of several shapes and widths, keys and what is drawn from them, also from a batch of keys."""
    split = jax.random.split(key, 4)
    bits = [
        jax.random.bits(key, (7, 2)),
        jax.random.bits(split[0], (9,), "uint8"),
        jax.random.bits(split[1], (), "uint16"),
        jax.random.bits(split[2], (3, 0)),
    ]
    more = jax.vmap(jax.vmap(lambda k: jax.random.normal(k, (3,))))(jax.random.split(split[3], (2, 5)))
    raw = jax.random.split(jax.random.key_data(key), 2)  # keys of the old kind: words
    return bits, jax.random.key_data(split), more, raw, jax.random.permutation(split[0], 11)


@pytest.mark.skipif("jax.default_backend() != 'cpu'", reason="does nothing elsewhere")
@pytest.mark.parametrize("partitionable", [True, False])
def test_the_numbers_are_those_of_jax(partitionable):
    key = jax.random.key(7)
    with jax.threefry_partitionable(partitionable):
        ours, theirs = (jax.jit(f).lower(key) for f in (threefry.unrolled(draws), draws))
        loops = [lowered.as_text().count("stablehlo.while") for lowered in (ours, theirs)]
        results = [lowered.compile()(key) for lowered in (ours, theirs)]
    # In the old order an odd number of words needs a constant, and a function with constants stays a call.
    assert loops[0] < loops[1] and (loops[0] == 0 or not partitionable)
    for a, b in zip(*map(jax.tree.leaves, results)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_keys_of_other_generators_are_left_to_jax():
    for impl, left in (("threefry2x32", False), ("unsafe_rbg", True)):
        (eqn,) = jax.make_jaxpr(lambda key: jax.random.split(key, 2))(jax.random.key(7, impl=impl)).eqns
        eqns = eqn.params["jaxpr"].jaxpr.eqns if "jaxpr" in eqn.params else [eqn]
        assert (threefry._expanded(eqns[0]) is None) == left


STATE = """
import json, jax
from jax._src.interpreters import mlir as internal

def state():
    tables = {"all": internal._lowerings, **internal._platform_specific_lowerings}
    rules = {(kind, p): rule for kind, table in tables.items() for p, rule in table.items()}
    text = jax.jit(lambda key: jax.random.bits(key)).lower(jax.random.key(0)).as_text()
    return text, rules, dict(jax.config.values)

before = state()
import jaxrl, jaxrl.rollout, jaxrl.train, jaxrl.envs, jaxrl.algos
after = state()
changed = [f"{kind} {p}" for (kind, p), rule in before[1].items() if after[1].get((kind, p)) is not rule]
changed += [name for name, value in before[2].items() if after[2][name] != value]
print(json.dumps([before[0] == after[0], len(before[1]), changed]))
"""


def test_an_import_changes_neither_rules_nor_options_of_jax():
    answer = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True)
    same_text, number, changed = json.loads(answer.stdout)
    assert same_text and number > 100 and changed == []
