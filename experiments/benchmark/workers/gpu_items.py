"""What `jaxrl benchmark gpu` measures, one function per kind of item; they run in a process of `gpu_worker`.

Each takes its settings as keywords and returns plain numbers and strings.
"""

import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from protocol import calibrate, timed, versions

from jaxrl import checkpoint, envs, fields, logger, train
from jaxrl.algos import ppo
from jaxrl.programs import fingerprint, memory_of

REPEATS = 3


def facts() -> dict[str, Any]:
    """Device, driver, versions, and the two limits: bandwidth of memory and rate of matrix products."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "driver": _driver(),
        "versions": versions(["jax", "jaxlib", "flax", "optax", "numpy"]),
        "bytes_per_second": _copy_rate(),
        "flop_per_second": {p: _product_rate(p) for p in ("highest", "tensorfloat32", "bfloat16")},
        "memory_limit": (device.memory_stats() or {}).get("bytes_limit"),
    }


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip() or None
    except OSError:
        return None


def _copy_rate() -> float:
    x = jnp.ones(2**22 if _is_cpu() else 2**29, jnp.float32)
    copy = jax.jit(lambda x: x + 1.0)
    return 2 * x.nbytes / _seconds(lambda: copy(x))


def _product_rate(precision: str) -> float:
    side = 256 if _is_cpu() else 8192
    x = jax.random.normal(jax.random.key(0), (side, side))
    product = jax.jit(partial(jnp.matmul, precision=precision))
    return 2 * side**3 / _seconds(lambda: product(x, x))


def _is_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _seconds(call, count: int = 10) -> float:
    jax.block_until_ready(call())
    begun = time.perf_counter()
    for _ in range(count):
        out = call()
    jax.block_until_ready(out)
    return (time.perf_counter() - begun) / count


def build(env: str, agents: int = 1, rates: bool = False, **sizes: Any):
    """PPO with the settings of PureJaxRL's examples for `env`, its hyperparameters, and a key for each agent.

    Args:
      rates: each agent has a learning rate of its own, as in a sweep.
      sizes: fields of the Config that differ.
    """
    breakout = "MinAtar" in env
    network = {"hidden_sizes": (64, 64), "torso": "mlp", "activation": "relu" if breakout else "tanh"}
    common = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 8 if breakout else 4, "greedy": False}
    config = fields.configured(ppo.Config(), {**network, **common, **sizes})
    algo = ppo.make(envs.make(env), config)
    numbers = {"learning_rate": 2.5e-3 if breakout else 1e-3, "lr_decay": 0.0}
    hp = jax.tree.map(lambda x: np.asarray(x, np.float32), algo.hparams.replace(**numbers))
    if agents == 1:
        return algo, hp, jax.random.key(0)
    if rates:
        hp = train.grid(hp, learning_rate=np.geomspace(1e-4, 1e-2, agents, dtype=np.float32))
    keys = jax.vmap(jax.random.key)(np.arange(agents))
    return train.population(algo, vary_hparams=rates), hp, keys


def speed(seconds: float = 1.5, agents: int = 1, **settings: Any) -> dict[str, Any]:
    """Environment steps per second while learning, and what the program needs."""
    algo, hp, keys = build(agents=agents, **settings)
    begun = time.perf_counter()
    state = jax.block_until_ready(jax.jit(algo.init)(keys, hp))
    zeros = train.no_totals(algo.update, state, hp)
    lowered = train.program(algo.update).lower(state, zeros, hp, 1)
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - begun
    text = compiled.as_text()

    totals = zeros

    def run(updates):
        nonlocal state, totals
        state, totals = jax.block_until_ready(compiled(state, zeros, hp, updates))

    run(1)
    updates = calibrate(run, seconds)
    times = [timed(run, updates) for _ in range(REPEATS)]
    steps = updates * algo.steps_per_update * agents
    ended = np.asarray(totals["episode/count"])
    returns = np.asarray(totals["episode/return_sum"]) / np.maximum(ended, 1)
    return {
        "steps_per_second": steps / statistics.median(times),
        "all_steps_per_second": [steps / took for took in times],
        "seconds_per_update": statistics.median(times) / updates,
        "steps_of_an_agent": int(np.max(np.asarray(state.num_updates))) * algo.steps_per_update,
        "return_median": float(np.median(returns)),
        "compile_seconds": compile_seconds,
        "planned_bytes": memory_of(compiled),
        "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
        "kernels": {name: text.count(f" {name}(") for name in ("fusion", "custom-call", "while", "sort")},
        "finite": bool(np.isfinite(jax.tree.leaves(state.params)[0]).all()),
    }


def digest(tree) -> str:
    """A hash of all leaves."""
    return hashlib.sha256(json.dumps(fingerprint(tree)).encode()).hexdigest()[:16]


def bits(env: str, folder: str, part: str, updates: int = 20, **settings: Any) -> dict[str, Any]:
    """The hash of a state after `updates`: `whole`, saving a checkpoint at half, or from that one: `rest`.

    Equal hashes in several processes mean that a run can be repeated and resumed exactly.
    """
    algo, hp, keys = build(env, **settings)
    half = updates // 2
    state = jax.jit(algo.init)(keys, hp)
    zeros = train.no_totals(algo.update, state, hp)
    go_on = train.program(algo.update)
    if part == "rest":
        state, _ = checkpoint.restore(folder, state)
    else:
        state, _ = go_on(state, zeros, hp, half)
        checkpoint.save(folder, half, state)
    at_half = digest(state)
    state, _ = go_on(state, zeros, hp, updates - half)
    return {"part": part, "half": at_half, "end": digest(state)}


def lane(env: str, agents: int = 16, updates: int = 5, **settings: Any) -> dict[str, Any]:
    """The largest difference between the parameters of an agent alone and in a population."""
    algo, hp, keys = build(env, agents, **settings)
    alone, _, _ = build(env, **settings)
    states = _after(algo, keys, hp, updates)
    state = _after(alone, keys[agents // 2], hp, updates)
    return _difference(jax.tree.map(lambda x: x[agents // 2], states.params), state.params)


def agreement(env: str, updates: int = 5, **settings: Any) -> dict[str, Any]:
    """The largest difference to parameters trained on a CPU from the same state, after each update.

    Products are exact to float32. The first sampled action that rounding changes ends the agreement.
    """
    algo, hp, key = build(env, **settings)
    cpu = jax.devices("cpu")[0]
    differences = []
    with jax.default_matmul_precision("highest"):
        here = jax.jit(algo.init)(key, hp)
        there = jax.device_put(here, cpu)
        update = jax.jit(algo.update)
        for _ in range(updates):
            here, _ = update(here, hp)
            with jax.default_device(cpu):
                there, _ = update(there, hp)
            differences.append(_difference(here.params, there.params)["largest_difference"])
    return {"largest_difference": differences[-1], "after_each_update": differences}


def _after(algo, key, hp, updates):
    state = jax.jit(algo.init)(key, hp)
    update = jax.jit(algo.update)
    for _ in range(updates):
        state, _ = update(state, hp)
    return state


def _difference(a, b) -> dict[str, Any]:
    a, b = (jnp.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    a, b = np.asarray(a), np.asarray(b)
    return {"largest_difference": float(np.abs(a - b).max()), "equal_bits": bool((a == b).all())}


def learn(env: str, steps: int, seeds: int = 8) -> dict[str, Any]:
    """`jaxrl train` with the environment's preset, as a user runs it; its rows contain evaluations."""
    from jaxrl.experiments import cli

    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/run"
        begun = time.perf_counter()
        code = cli.main(["train", "ppo", env, "--steps", str(steps), "--seeds", str(seeds), "--out", out])
        took = time.perf_counter() - begun
        rows = logger.read_jsonl(Path(out, "metrics.jsonl"))
    return {"status": code, "seconds_in_all": took, "last_row": rows[-1], "rows": len(rows)}


def trace(folder: str, seconds: float = 0.2, **settings: Any) -> dict[str, Any]:
    """A trace of some updates in `folder`, for the profiler's viewer."""
    algo, hp, keys = build(**settings)
    state = jax.jit(algo.init)(keys, hp)
    zeros, go_on = train.no_totals(algo.update, state, hp), train.program(algo.update)
    for _ in range(2):
        begun = time.perf_counter()
        state, _ = jax.block_until_ready(go_on(state, zeros, hp, 1))
        took = time.perf_counter() - begun
    updates = max(1, min(20, round(seconds / took)))
    with jax.profiler.trace(folder):
        begun = time.perf_counter()
        state, _ = jax.block_until_ready(go_on(state, zeros, hp, updates))
        took = time.perf_counter() - begun
    return {"updates": updates, "seconds_per_update": took / updates}


KINDS = {f.__name__: f for f in (facts, speed, bits, lane, agreement, learn, trace)}


def environment() -> dict[str, str]:
    """Variables that change programs."""
    names = ("XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAXRL_GPU_UNROLL", "JAXRL_GPU_EARLY_BYTES")
    names += ("JAXRL_GPU_ASSOCIATIVE", "JAX_PLATFORMS")
    return {name: os.environ[name] for name in names if name in os.environ}
