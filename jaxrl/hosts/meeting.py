"""Waits until all processes have started, and only then lets JAX connect them.

JAX's own coordination service cannot report a start that went wrong (JAX 0.10.2; a slow test in
tests/jaxrl/test_hosts.py shows it). If a process is missing, or two have the same number, its client aborts
the process with SIGABRT and a stack trace, after `initialization_timeout` and 5 seconds more, without
naming the process; Python cannot catch that. If a process has another number of processes than process 0,
all connect nevertheless. If two are process 0, both listen on the same port. Here each of these is one
sentence in every process. After the meeting everything goes through JAX's service, on the same address.

For trusted networks only, like JAX's service: neither knows passwords. Process 0 listens on the given address
only and ignores what is not a message of these processes, but whoever can connect can send one.
"""

import contextlib
import errno
import json
import os
import selectors
import socket
import time

MOST_BYTES = 200  # of a message; a longer one is not ours
MOST_STRANGERS = 64  # connections without a message; then the first of them is closed
GRACE = 5.0  # seconds beyond the time limit in which process 0 replies
_NAME = "jaxrl"


def meet(coordinator: str, num_processes: int, process_id: int, seconds: float) -> None:
    """Waits until all processes are connected, at most `seconds`, and a few more for the reply.

    Process 0 listens on the coordinator's address, receives a number from each of the others, replies to all
    of them and closes the port, so that JAX can use it.

    Raises:
      ValueError: processes are missing, or their numbers are inconsistent; the address cannot be used.
    """
    if num_processes == 1:
        return
    deadline = time.monotonic() + seconds
    trouble: str | None
    if process_id == 0:
        trouble = _receive(coordinator, num_processes, deadline)
    else:
        trouble = _report(coordinator, num_processes, process_id, deadline)
    if trouble is None:
        raise ValueError(f"process 0 was not reached at {coordinator} within {seconds} s: start it too")
    if trouble:
        raise ValueError(f"{trouble}: start every process with the same command, except for --process-id")


def bind_address(coordinator: str) -> str:
    """Where process 0 listens: at the coordinator's address, or where JAX_COORDINATOR_BIND_ADDRESS says."""
    return os.environ.get("JAX_COORDINATOR_BIND_ADDRESS") or coordinator


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listening(coordinator: str) -> socket.socket:
    """A socket that listens on the address of process 0 only."""
    where = bind_address(coordinator)
    try:
        family, *_, address = socket.getaddrinfo(*_parts(where), type=socket.SOCK_STREAM)[0]
        both = address[0] == "::" and socket.has_dualstack_ipv6()  # all addresses, those of IPv4 as well
        return socket.create_server(address[:2], family=family, dualstack_ipv6=both)
    except OSError as error:
        remedy = "choose another port"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = "give an address of process 0, or set JAX_COORDINATOR_BIND_ADDRESS=ADDRESS:PORT there"
        raise ValueError(f"--coordinator {where}: {error.strerror}: {remedy}") from None


def _receive(coordinator: str, num_processes: int, deadline: float) -> str:
    """The part of process 0; returns an error message, or an empty string."""
    callers: list[socket.socket] = []
    here: set[int] = set()
    trouble = ""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(coordinator))
        server.setblocking(False)
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(server, selectors.EVENT_READ)
        while len(here) < num_processes - 1 and not trouble:
            ready = selector.select(_left(deadline))
            if time.monotonic() > deadline:
                missing = ", ".join(str(k) for k in range(1, num_processes) if k not in here)
                trouble = f"of {num_processes} processes did not connect to {coordinator} in time: {missing}"
                break
            for key, _ in ready:
                if key.fileobj is server:
                    _accept(server, selector, stack)
                elif message := _heard(key, selector):
                    trouble = trouble or _difference(*message, num_processes, here)
                    callers.append(key.fileobj)  # type: ignore[arg-type]  # it is a socket
                    here.add(message[0])
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.settimeout(1.0)
                caller.sendall(json.dumps(trouble).encode() + b"\n")
        until = time.monotonic() + GRACE
        for caller in callers:  # they close first, so that the port is free at once
            with contextlib.suppress(OSError):
                caller.settimeout(_left(until))
                caller.recv(1)
    return trouble


def _accept(server: socket.socket, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> None:
    with contextlib.suppress(OSError):  # it has gone already
        caller = stack.enter_context(server.accept()[0])
        caller.setblocking(False)
        selector.register(caller, selectors.EVENT_READ, bytearray())
    strangers = [key for key in selector.get_map().values() if key.data is not None]
    if len(strangers) > MOST_STRANGERS:
        _close(strangers[0], selector)


def _close(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]  # it is a socket


def _heard(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> tuple[int, int] | None:
    """The two numbers of a process once they have arrived; a connection with anything else is closed."""
    if key.fileobj.fileno() < 0:  # type: ignore[union-attr]  # it is a socket, closed by `_accept` meanwhile
        return None
    try:
        piece = key.fileobj.recv(MOST_BYTES)  # type: ignore[union-attr]  # it is a socket
    except BlockingIOError:
        return None
    except OSError:
        piece = b""
    key.data.extend(piece)
    if piece and b"\n" not in key.data and len(key.data) < MOST_BYTES:
        return None
    message = _message(bytes(key.data))
    if message is None:
        _close(key, selector)
    else:
        selector.unregister(key.fileobj)
    return message


def _message(line: bytes) -> tuple[int, int] | None:
    """The number of a process, and its number of processes; None for whatever else was sent."""
    try:
        name, number, count = json.loads(line.decode())
    except (ValueError, TypeError, RecursionError):
        return None
    whole = type(number) is int and type(count) is int
    return (number, count) if name == _NAME and whole and 0 < number < count else None


def _difference(number: int, theirs: int, num_processes: int, here: set[int]) -> str:
    """What does not match in a message, or an empty string."""
    if theirs != num_processes:
        return f"--num-processes is {theirs} in process {number}, but {num_processes} in process 0"
    if number in here:
        return f"--process-id {number} was given to two processes"
    return ""


def _report(coordinator: str, num_processes: int, process_id: int, deadline: float) -> str | None:
    """The part of the others; returns an error message or "", or None if process 0 does not answer."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(_parts(coordinator), timeout=_left(deadline)) as caller:
                caller.sendall(json.dumps([_NAME, process_id, num_processes]).encode() + b"\n")
                answer = _answer(caller, deadline + GRACE)  # process 0 waits for the deadline, then replies
                if answer is not None:
                    return answer
        except socket.gaierror as error:
            raise ValueError(
                f"--coordinator {coordinator}: {error.strerror}: give an address of process 0"
            ) from None
        except OSError:
            pass
        time.sleep(0.1)  # process 0 may start later than this one
    return None


def _answer(caller: socket.socket, deadline: float) -> str | None:
    """The reply of process 0; None for whatever else was received until the deadline."""
    received = b""
    while b"\n" not in received and len(received) < 10 * MOST_BYTES:
        caller.settimeout(_left(deadline))
        piece = caller.recv(MOST_BYTES)
        if not piece or time.monotonic() > deadline:
            return None
        received += piece
    try:
        answer = json.loads(received.decode())
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, str) else None
