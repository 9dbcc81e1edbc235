"""The options with which a command runs in several processes."""

import contextlib
import re
from collections.abc import Iterator

from jaxrl.experiments.options import UsageError, value_of


@contextlib.contextmanager
def connected(argv: list[str]) -> Iterator[None]:
    """Connects to the other processes, if there are several: must happen before JAX's backend starts."""
    flags = ("--coordinator", "--num-processes", "--process-id", "--join-seconds")
    words = [f"--{word[2:].replace('_', '-')}" if word.startswith("--") else word for word in argv]
    given = {flag: value_of(flag, words, "") for flag in flags}
    if not any(given.values()) or {"-h", "--help"} & set(argv):
        yield
        return
    from jaxrl import hosts

    for flag in flags[1:]:
        if given[flag] and not re.fullmatch(r"-?\d+", given[flag]):
            raise UsageError(f"{flag} takes a whole number, not {given[flag]}")
    numbers = [int(given[flag]) if given[flag] else None for flag in flags[1:]]
    with hosts.joined(given["--coordinator"], *numbers[:2], 60 if numbers[2] is None else numbers[2]):
        yield
