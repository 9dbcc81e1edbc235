"""What must be settled before JAX's CPU backend starts: a thread pool that does not deadlock.

Some of the CPU backend's operations (JAX 0.10.2: batched linear algebra such as QR or Cholesky, and
FFT) run on a thread of XLA's pool and wait there for other threads of the same pool. As many of them at
once as there are threads wait for ever. XLA sizes the pool by the environment variable NPROC, or by the
number of cores, when the backend starts. What was measured: docs/thread_pool.md.
"""

import os
import warnings

SAFE_POOL = 4  # more threads cost speed on few cores: 16 of them a quarter


def available_cores() -> int:
    """Cores that this process may use (an affinity mask or `taskset` counts)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ensure_thread_pool() -> None:
    """Asks for four pool threads where there are two or three cores.

    A value of NPROC that the user has set stands. A single core needs nothing: it does not wait.
    Warns when the backend has already started with a smaller pool.
    """
    cores = available_cores()
    if "NPROC" in os.environ or cores == 1 or cores >= SAFE_POOL:
        return
    if _cpu_backend_started():
        warnings.warn(
            f"JAX's CPU backend started before jaxrl was imported, with a pool of {cores} threads that "
            "can deadlock on vmapped linear algebra: import jaxrl first, or set the environment "
            f"variable NPROC={SAFE_POOL}",
            stacklevel=3,
        )
        return
    os.environ["NPROC"] = str(SAFE_POOL)


def _cpu_backend_started() -> bool:
    try:  # JAX has no public question for this
        from jax._src import xla_bridge

        return xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError):
        return False
