"""Waits until all processes have started, before JAX's coordination service does, which would abort."""

import contextlib
import json
import socket
import time


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
