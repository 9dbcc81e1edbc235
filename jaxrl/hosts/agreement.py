"""Processes that agree: values are exchanged, and an error in one process ends all of them.

All processes must run the same JAX programs in the same order, so they must agree on whatever depends on the
clock or the signals of one host. They exchange messages through the key-value store of JAX's coordination
service, which process 0 runs: it needs no device, it can pass on errors, and a process that does not answer
can be named.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import jax
from jax._src import distributed  # the store has no public API; orbax imports it from here, too

PATIENCE = 1800.0  # seconds to wait for a process with a heartbeat: it may be compiling

_rounds = itertools.count()


class Elsewhere(ValueError):
    """Another process has failed, or does not answer; one sentence with its error."""


def several() -> bool:
    """Whether there are several processes. Does not start JAX's backend."""
    return jax.distributed.is_initialized() and distributed.global_state.num_processes > 1


def leads() -> bool:
    """Whether this is process 0, the only one that prints, writes and decides."""
    return not several() or distributed.global_state.process_id == 0


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
