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

    On a CPU two make PPO's update 2 % faster than one.
    """
    return _chosen("UNROLL", 2, 2)


def most_bytes() -> int:
    """Memory for values of a rollout that are computed before its loop (`JAXRL_GPU_EARLY_BYTES`).

    On a CPU 64 games of MinAtar need 3.5 MB for 128 steps, and if more is needed, the arrays of random
    numbers are so large that computing them in the loop adds little time. On a GPU it adds kernels.
    """
    return _chosen("EARLY_BYTES", 2**30, 2**22)


def associative() -> bool:
    """Whether sums over time are associative scans, of logarithmic depth (`JAXRL_GPU_ASSOCIATIVE`)."""
    return bool(_chosen("ASSOCIATIVE", 1, 0))
