"""The standard streams and the interrupts of a process that runs a command."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

BURST = 1.0  # seconds in which further interrupts belong to the one before


def open_missing() -> None:
    """Opens those of the standard streams that the caller has closed, on the null device.

    Otherwise the next file that is opened, a file of a run for example, would become the standard output,
    into which libraries print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for the rest of the process)


@contextlib.contextmanager
def one_interrupt_at_a_time() -> Iterator[None]:
    """Ignores interrupts that follow another one within `BURST`, while that one is handled.

    A key that is held down, or a program that sends many signals, would interrupt the handling itself.
    """
    last = -BURST

    def handler(number, frame):
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= BURST:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, in the background
        yield
        return
    signal.signal(signal.SIGINT, handler)
    yield


def ignore_interrupts() -> None:
    """Ignores interrupts for the rest of the process, which is about to end."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
