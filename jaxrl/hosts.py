"""Several processes as one: how they join, agree, fail together, and hold each a part of an array.

JAX runs the same programs in the same order in all processes; what a host decides by its own clock or
its own signals must therefore be agreed. Processes speak through the key-value store of JAX's
coordination service, which process 0 runs: no device is needed for it, an error can be passed on, and
who does not answer is named. In a single process every function here gives back what it was given.
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
from jax._src import distributed  # the store has no public name; orbax takes it from here, too
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.types import PyTree

AUTO = "auto"
PATIENCE = 1800.0  # seconds for an answer of a process that is alive: one may compile while others wait
HEARTBEAT = 30  # seconds after which a process that is not heard of counts as dead, and all end

_rounds = itertools.count()


class Elsewhere(ValueError):
    """Another process has failed, or does not answer; one sentence with what it said."""


def several() -> bool:
    """Whether this process is one of several. Does not start JAX's backend."""
    return jax.distributed.is_initialized() and distributed.global_state.num_processes > 1


def leads() -> bool:
    """Whether this is process 0, which alone prints, writes and decides."""
    return not several() or distributed.global_state.process_id == 0


# --- agreeing ------------------------------------------------------------------------------------


def together(function: Callable[[], Any]) -> list[Any]:
    """What `function()` gives in each process, in order; if it fails in one, it fails in all.

    Every process must call this, in the same order as all others.

    Args:
      function: its result must be plain JSON.

    Raises:
      Elsewhere: another process failed. The one that did raises its own error.
    """
    if not several():
        return [function()]
    try:
        mine = function()
    except Exception as error:
        tell(error)
        raise
    return _exchange(mine)


def everyone(value: Any) -> list[Any]:
    """The values of all processes, in order; plain JSON."""
    return together(lambda: value)


def by_leader(function: Callable[[], Any]) -> Any:
    """What `function()` gives in process 0, where alone it is called; plain JSON."""
    return together(lambda: function() if leads() else None)[0]


def require_same(what: str, value: Any) -> None:
    """Raises ValueError in all processes unless all have the same value; plain JSON."""
    first, *others = (json.dumps(one, sort_keys=True) for one in everyone(value))
    for number, other in enumerate(others, 1):
        if other != first:
            raise ValueError(
                f"{what} differs between processes 0 and {number}: start all of them with the same "
                f"command, but for --process-id"
            )


def tell(error: BaseException) -> None:
    """Tells the other processes that this one fails. They fail too, when they next wait for somebody."""
    if several():
        text = " ".join(str(error).split()) or "interrupted"
        what = json.dumps(f"process {distributed.global_state.process_id} has stopped: {text}")
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # they may be gone already
            _client().key_value_set(_name("failed"), what, allow_overwrite=True)


def _exchange(mine: Any) -> list[Any]:
    """A round of speaking: everybody tells process 0, and process 0 tells all."""
    state, number = distributed.global_state, next(_rounds)
    if state.process_id > 0:
        _client().key_value_set(_name(number, state.process_id), json.dumps(mine))
        return _hear(_name(number, "all"), 0)
    said = [mine, *(_hear(_name(number, k), k) for k in range(1, state.num_processes))]
    _client().key_value_set(_name(number, "all"), json.dumps(said))
    if number:  # who has spoken now has heard what was said then
        _client().key_value_delete(_name(number - 1))
    return said


def _client() -> Any:
    """What processes speak through, once they have met."""
    return distributed.global_state.client


def _name(*parts) -> str:
    return "/".join(["jaxrl", *map(str, parts)])


def _hear(key: str, speaker: int) -> Any:
    """What is said under a key, as soon as it is; an error if some process has failed meanwhile."""
    client = _client()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # nothing yet
            return json.loads(client.blocking_key_value_get(key, 1000))
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # nobody
            raise Elsewhere(json.loads(client.key_value_try_get(_name("failed"))))
    raise Elsewhere(f"process {speaker} has not answered for {PATIENCE:.0f} seconds")


# --- arrays --------------------------------------------------------------------------------------


def place(tree: PyTree, sharding: PyTree) -> PyTree:
    """Arrays that every process has whole, made into arrays of which each process holds its part.

    Args:
      tree: the same in all processes; arrays that are spread over processes already stay as they are.
      sharding: a `Sharding`, or a tree of them of which `tree` is an extension.
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
    """Arrays that are spread over processes by one mesh, whole in every process. All must call it."""
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
    """This process as one of several, from here on; an error inside is told to the others.

    Must come before JAX's backend starts. On a CPU a process has one device, unless somebody has chosen
    (XLA_FLAGS, JAX_NUM_CPU_DEVICES): how many processes share a machine is not known here. Processes
    other than 0 print nothing.

    Args:
      coordinator: `ADDRESS:PORT` at which process 0 is found, or "auto": a cluster (Slurm, Open MPI,
        TPU pod, ...) says all that is not given.
      seconds: how long to wait for the others to come.

    Raises:
      ValueError: the numbers make no sense, process 0 is not found, or others do not come.
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
        tell(error)
        raise


def _initialize(coordinator, num_processes, process_id, seconds) -> None:
    # Its handler of SIGTERM would take the signal away from ours.
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
        jax.devices()  # a backend starts in all processes at once, or not at all
    except ValueError as error:
        raise ValueError(
            f"no cluster was detected that says how processes join ({error}): give --coordinator "
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
            raise ValueError(f"--coordinator {coordinator} needs {name} as well, or say --coordinator auto")
    if not 0 <= process_id < num_processes:
        raise ValueError(f"--process-id {process_id} must lie between 0 and {num_processes - 1}")
    port = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+):(\d{1,5})", coordinator)
    if not port or not 0 < int(port[2]) < 65536:
        raise ValueError(f"--coordinator {coordinator} must be ADDRESS:PORT, as in 127.0.0.1:1234, or auto")


def meet(coordinator: str, num_processes: int, process_id: int, seconds: float) -> None:
    """Waits until all processes are there. JAX itself would abort where one is missing.

    Process 0 listens at the coordinator's port, hears a number from each of the others, answers all of
    them and leaves the port to JAX.

    Raises:
      ValueError: who is missing, or what does not fit.
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
        raise ValueError(f"process 0 is not found at {coordinator} within {seconds} s: start it too")
    if trouble:
        raise ValueError(f"{trouble}: start every process with the same command, but for --process-id")


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _receive(coordinator: str, port: int, num_processes: int, deadline: float) -> str:
    """Process 0's part; returns what is wrong, or nothing."""
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
                trouble = f"of {num_processes} processes have not come to {coordinator} in time: {missing}"
                break
            try:
                server.settimeout(_left(deadline))
                caller = stack.enter_context(server.accept()[0])
                caller.settimeout(5.0)
                number, theirs = json.loads(caller.makefile().readline(100))
            except (OSError, ValueError, TypeError):
                continue  # nobody, or somebody else's call
            callers.append(caller)
            if theirs != num_processes:
                trouble = f"--num-processes is {theirs} in process {number}, but {num_processes} in process 0"
            elif number in here:
                trouble = f"--process-id {number} was given to two processes"
            here.add(number)
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.sendall(json.dumps(trouble).encode() + b"\n")
        for caller in callers:  # they hang up first, so that the port is free at once
            with contextlib.suppress(OSError):
                caller.recv(1)
    return trouble


def _report(coordinator: str, address, num_processes: int, process_id: int, deadline: float) -> str | None:
    """The others' part; returns what is wrong, or nothing; None where process 0 does not answer."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=_left(deadline)) as caller:
                caller.sendall(json.dumps([process_id, num_processes]).encode() + b"\n")
                caller.settimeout(_left(deadline) + 5.0)  # process 0 waits as long, and knows who is missing
                return json.loads(caller.makefile().readline(1000))
        except socket.gaierror as error:
            raise ValueError(
                f"--coordinator {coordinator}: {error.strerror}: give an address of process 0"
            ) from None
        except (OSError, ValueError):
            time.sleep(0.1)  # process 0 may be later than this one
    return None
