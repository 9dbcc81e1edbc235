"""Training in several processes: how they connect, agree, fail together, and share arrays.

All processes must run the same JAX programs in the same order, so they must agree on whatever depends on the
clock or the signals of one host. They exchange messages through the key-value store of JAX's coordination
service, which process 0 runs: it needs no device, it can pass on errors, and a process that does not answer
can be named. In a single process, every function here returns its input.
"""

import contextlib
import functools
import itertools
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the store has no public API; orbax imports it from here, too
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.types import PyTree

AUTO = "auto"
PATIENCE = 1800.0  # seconds to wait for a process with a heartbeat: it may be compiling
HEARTBEAT = 30  # seconds without a heartbeat after which a process counts as lost, and all exit

_rounds = itertools.count()


class Elsewhere(ValueError):
    """Another process has failed, or does not answer; one sentence with its error."""


def several() -> bool:
    """Whether there are several processes. Does not start JAX's backend."""
    return jax.distributed.is_initialized() and distributed.global_state.num_processes > 1


def leads() -> bool:
    """Whether this is process 0, the only one that prints, writes and decides."""
    return not several() or distributed.global_state.process_id == 0


# --- agreeing ------------------------------------------------------------------------------------


def together(function: Callable[[], Any]) -> list[Any]:
    """The results of `function()` in all processes, in order; if it fails in one, all fail.

    Every process must call this, in the same order as all others.

    Args:
      function: its result must be plain JSON.

    Raises:
      Elsewhere: another process failed. The process that failed raises the original error.
    """
    if not several():
        return [function()]
    try:
        mine = function()
    except Exception as error:
        report_failure(error)
        raise
    return _exchange(mine)


def everyone(value: Any) -> list[Any]:
    """The values of all processes, in order; plain JSON."""
    return together(lambda: value)


def by_leader(function: Callable[[], Any]) -> Any:
    """The result of `function()`, plain JSON, which is called in process 0 only."""
    return together(lambda: function() if leads() else None)[0]


def require_same(what: str, value: Any) -> None:
    """Raises ValueError in all processes unless `value`, plain JSON, is the same in all."""
    first, *others = (json.dumps(one, sort_keys=True) for one in everyone(value))
    for number, other in enumerate(others, 1):
        if other != first:
            raise ValueError(
                f"{what} differs between processes 0 and {number}: start all of them with the same "
                f"command, except for --process-id"
            )


def report_failure(error: BaseException) -> None:
    """Reports an error of this process to the others, which fail when they next wait for a message."""
    if several():
        text = " ".join(str(error).split()) or "interrupted"
        what = json.dumps(f"process {distributed.global_state.process_id} has stopped: {text}")
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # they may have exited already
            _client().key_value_set(_name("failed"), what, allow_overwrite=True)


def _exchange(mine: Any) -> list[Any]:
    """One exchange: all processes send their values to process 0, which sends all values to each of them."""
    state, number = distributed.global_state, next(_rounds)
    if state.process_id > 0:
        _client().key_value_set(_name(number, state.process_id), json.dumps(mine))
        return _wait_for(_name(number, "all"), 0)
    values = [mine, *(_wait_for(_name(number, k), k) for k in range(1, state.num_processes))]
    _client().key_value_set(_name(number, "all"), json.dumps(values))
    if number:  # a process that has sent this message has read those of the previous exchange
        _client().key_value_delete(_name(number - 1))
    return values


def _client() -> Any:
    """The client of the coordination service, once the processes are connected."""
    return distributed.global_state.client


def _name(*parts) -> str:
    return "/".join(["jaxrl", *map(str, parts)])


def _wait_for(key: str, speaker: int) -> Any:
    """Waits for the value of a key; raises an error if a process fails meanwhile."""
    client = _client()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # no value yet
            return json.loads(client.blocking_key_value_get(key, 1000))
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # no process has failed
            raise Elsewhere(json.loads(client.key_value_try_get(_name("failed"))))
    raise Elsewhere(f"process {speaker} has not answered for {PATIENCE:.0f} seconds")


# --- arrays --------------------------------------------------------------------------------------


def place(tree: PyTree, sharding: PyTree) -> PyTree:
    """Converts arrays that are complete in every process to arrays of which each process holds its shards.

    Args:
      tree: the same in all processes; arrays that are already distributed over processes are not changed.
      sharding: a `Sharding`, or a tree of them that is a prefix of `tree`.
    """
    if not several():
        return tree
    return jax.tree.map(_place, tree, jax.tree.broadcast(sharding, tree))


def _place(leaf, sharding):
    if isinstance(leaf, jax.Array):
        if not leaf.is_fully_addressable:
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = _place(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def fetch(tree: PyTree) -> PyTree:
    """Gathers arrays that are distributed over processes by one mesh. All processes must call it."""
    if not several():
        return tree
    (mesh,) = {leaf.sharding.mesh for leaf in jax.tree.leaves(tree)}
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), _everywhere(mesh)(tree))


@functools.lru_cache(maxsize=16)
def _everywhere(mesh):
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))


# --- joining -------------------------------------------------------------------------------------


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


def meet(coordinator: str, num_processes: int, process_id: int, seconds: float) -> None:
    """Waits until all processes are connected. JAX itself would abort if one were missing.

    Process 0 listens on the coordinator's port, receives a number from each of the others, replies to all of
    them and closes the port, so that JAX can use it.

    Raises:
      ValueError: processes are missing, or their numbers are inconsistent.
    """
    if num_processes == 1:
        return
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + seconds
    trouble: str | None
    if process_id == 0:
        trouble = _receive(coordinator, int(port), num_processes, deadline)
    else:
        trouble = _report(coordinator, (host.strip("[]"), int(port)), num_processes, process_id, deadline)
    if trouble is None:
        raise ValueError(f"process 0 was not reached at {coordinator} within {seconds} s: start it too")
    if trouble:
        raise ValueError(f"{trouble}: start every process with the same command, except for --process-id")


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _receive(coordinator: str, port: int, num_processes: int, deadline: float) -> str:
    """The part of process 0; returns an error message, or an empty string."""
    callers: list[socket.socket] = []
    here: set[int] = set()
    trouble = ""
    with contextlib.ExitStack() as stack:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        try:
            server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            raise ValueError(f"--coordinator {coordinator}: {error.strerror}: choose another port") from None
        stack.enter_context(server)
        while len(here) < num_processes - 1 and not trouble:
            if time.monotonic() > deadline:
                missing = ", ".join(str(k) for k in range(1, num_processes) if k not in here)
                trouble = f"of {num_processes} processes did not connect to {coordinator} in time: {missing}"
                break
            try:
                server.settimeout(_left(deadline))
                caller = stack.enter_context(server.accept()[0])
                caller.settimeout(5.0)
                number, theirs = json.loads(caller.makefile().readline(100))
            except (OSError, ValueError, TypeError):
                continue  # a timeout, or an unrelated connection
            callers.append(caller)
            if theirs != num_processes:
                trouble = f"--num-processes is {theirs} in process {number}, but {num_processes} in process 0"
            elif number in here:
                trouble = f"--process-id {number} was given to two processes"
            here.add(number)
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.sendall(json.dumps(trouble).encode() + b"\n")
        for caller in callers:  # they close first, so that the port is free at once
            with contextlib.suppress(OSError):
                caller.recv(1)
    return trouble


def _report(coordinator: str, address, num_processes: int, process_id: int, deadline: float) -> str | None:
    """The part of the others; returns an error message or "", or None if process 0 does not answer."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=_left(deadline)) as caller:
                caller.sendall(json.dumps([process_id, num_processes]).encode() + b"\n")
                caller.settimeout(_left(deadline) + 5.0)  # process 0 waits for the deadline, then replies
                return json.loads(caller.makefile().readline(1000))
        except socket.gaierror as error:
            raise ValueError(
                f"--coordinator {coordinator}: {error.strerror}: give an address of process 0"
            ) from None
        except (OSError, ValueError):
            time.sleep(0.1)  # process 0 may start later than this one
    return None
