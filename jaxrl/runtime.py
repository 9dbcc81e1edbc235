"""What must be settled before JAX's CPU backend starts: a thread pool that cannot deadlock.

With a pool of two threads, JAX 0.10.2's CPU backend can wait for ever on a vmapped program: every
thread blocks on work that only another thread of the same pool could do. XLA sizes that pool by the
environment variable NPROC, or by the number of cores, at the moment the backend starts. Measured:
`docs/thread_pool.md`.
"""

import os
import warnings

SMALLEST_SAFE_POOL = 4


def available_cores() -> int:
    """Cores that this process may use (an affinity mask or `taskset` counts)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ensure_thread_pool() -> None:
    """Asks for at least four pool threads where there are two or three cores.

    A value of NPROC that the user has set stands. One core is safe as it is, four or more are too.
    Warns when the backend has already started with a pool that can deadlock.
    """
    cores = available_cores()
    if "NPROC" in os.environ or cores == 1 or cores >= SMALLEST_SAFE_POOL:
        return
    if _cpu_backend_started():
        warnings.warn(
            f"JAX's CPU backend started before jaxrl was imported, with a pool of {cores} threads that "
            "can deadlock on populations: import jaxrl first, or set the environment variable NPROC=4",
            stacklevel=3,
        )
        return
    os.environ["NPROC"] = str(SMALLEST_SAFE_POOL)


def _cpu_backend_started() -> bool:
    try:  # JAX has no public question for this
        from jax._src import xla_bridge

        return xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError):
        return False
