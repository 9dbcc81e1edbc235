"""Connects a process to the others of a command, and reports its errors to them."""

import contextlib
import os
import re
from collections.abc import Iterator

import jax

from jaxrl.hosts.agreement import leads, report_failure
from jaxrl.hosts.meeting import bind_address, meet

AUTO = "auto"
HEARTBEAT = 30  # seconds without a heartbeat after which a process counts as lost, and all exit


@contextlib.contextmanager
def joined(
    coordinator: str, num_processes: int | None, process_id: int | None, seconds: int
) -> Iterator[None]:
    """Connects this process to the others; an error inside the context is reported to them.

    Must be called before JAX's backend starts. On a CPU a process has one device, unless the user has set a
    number (XLA_FLAGS, JAX_NUM_CPU_DEVICES), because it is unknown how many processes share the machine.
    Processes other than 0 print nothing.

    Args:
      coordinator: `ADDRESS:PORT` of process 0, or "auto": values that are not given are obtained from the
        cluster (Slurm, Open MPI, TPU pod, ...).
      seconds: how long to wait for the other processes.

    Raises:
      ValueError: the numbers are inconsistent, process 0 cannot be reached, or processes are missing.
    """
    _require_sense(coordinator, num_processes, process_id, seconds)
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not chosen and jax.config.jax_num_cpu_devices == -1:  # type: ignore[attr-defined]  # JAX defines it when imported
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", 1)
    if coordinator != AUTO:
        assert num_processes is not None and process_id is not None  # by _require_sense
        meet(coordinator, num_processes, process_id, seconds)
    if num_processes != 1:
        _initialize(coordinator, num_processes, process_id, seconds)
    try:
        with contextlib.ExitStack() as stack:
            if not leads():
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            yield
    except BaseException as error:
        report_failure(error)
        raise


def _initialize(coordinator, num_processes, process_id, seconds) -> None:
    # Its handler of SIGTERM would replace ours.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator_address=None if coordinator == AUTO else coordinator,
            num_processes=num_processes,
            process_id=process_id,
            cluster_detection_method=None if coordinator == AUTO else "deactivate",
            coordinator_bind_address=None if coordinator == AUTO else bind_address(coordinator),
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
        jax.devices()  # starting a backend waits for all processes
    except ValueError as error:
        raise ValueError(
            f"no cluster environment was detected ({error}): give --coordinator "
            f"ADDRESS:PORT, --num-processes and --process-id"
        ) from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the processes cannot join at {coordinator} ({reason}): choose another port"
        ) from None


def _require_sense(coordinator, num_processes, process_id, seconds) -> None:
    if not coordinator:
        raise ValueError("--num-processes and --process-id need --coordinator ADDRESS:PORT, or auto")
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"--num-processes {num_processes} must be at least 1")
    if seconds < 1:
        raise ValueError(f"--join-seconds {seconds} must be at least 1")
    if coordinator == AUTO:
        return
    for name, value in (("--num-processes", num_processes), ("--process-id", process_id)):
        if value is None:
            raise ValueError(f"--coordinator {coordinator} needs {name} as well, or give --coordinator auto")
    if not 0 <= process_id < num_processes:
        raise ValueError(f"--process-id {process_id} must lie between 0 and {num_processes - 1}")
    port = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+):(\d{1,5})", coordinator)
    if not port or not 0 < int(port[2]) < 65536:
        raise ValueError(f"--coordinator {coordinator} must be ADDRESS:PORT, as in 127.0.0.1:1234, or auto")
