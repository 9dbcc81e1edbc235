"""Settings of programs for accelerators. Each can be overridden by an environment variable, to measure it.

On a GPU every operation of a loop is a kernel launch of a few microseconds, however small it is: what counts
is the number of operations in a row, and their arithmetic hardly matters. On a CPU it is the reverse.
"""

import os

import jax


def _chosen(name: str, default: int, cpu: int) -> int:
    if jax.default_backend() == "cpu":
        return cpu
    return int(os.environ.get(f"JAXRL_GPU_{name}", default))


def unroll() -> int:
    """Steps of a rollout per iteration of its loop (`JAXRL_GPU_UNROLL`).

    On an H200, 8 instead of 2 make PPO 3 to 4 % faster; on a CPU, 2 instead of 1 make it 2 % faster.
    """
    return _chosen("UNROLL", 8, 2)


def early_bytes(cpu: int) -> int:
    """Memory for values of a rollout that are computed before its loop (`JAXRL_GPU_EARLY_BYTES`).

    Args:
      cpu: the limit on a CPU.
    """
    return _chosen("EARLY_BYTES", 2**30, cpu)


def early_parts(cpu: int) -> int:
    """Parts, one after another, in which those values are computed (`JAXRL_GPU_EARLY_PARTS`).

    Args:
      cpu: the number on a CPU, where it saves memory; on a GPU every part costs launches of kernels.
    """
    return _chosen("EARLY_PARTS", 1, cpu)


def associative() -> bool:
    """Whether sums over time are associative scans, of logarithmic depth (`JAXRL_GPU_ASSOCIATIVE`)."""
    return bool(_chosen("ASSOCIATIVE", 1, 0))
