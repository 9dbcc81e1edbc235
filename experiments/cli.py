"""The command line: `jaxrl train`, `sweep`, `resume`, `evaluate`, `plot`, `render`, `list` and more.

Invalid input results in one line on standard error and exit status 2; JAXRL_TRACEBACK=1 shows the traceback.
The commands are in `commands`, their options in `options`.
"""

import atexit
import contextlib
import gc
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator

from jaxrl.experiments import commands, errors, streams


def main(argv: list[str] | None = None, command: Callable[[list[str]], int] | None = None) -> int:
    """Runs a command. Returns the exit status: 0, 2 for bad input, 130 when interrupted.

    Args:
      command: `(argv) -> status`, for programs other than `jaxrl`.
    """
    is_process = argv is None  # not a call in a program or a test
    argv = list(sys.argv[1:] if argv is None else argv)
    # Imports and tracing allocate many objects and free few: garbage collection would take a sixth of the
    # start, and another second at exit, where nothing needs to be freed.
    collecting = gc.isenabled()
    gc.disable()
    atexit.register(gc.freeze)
    streams.open_missing()
    for stream in (sys.stdout, sys.stderr):  # a dash that a terminal cannot show must not end a run
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # or suppressed
    try:
        with _warnings_shown(), streams.one_interrupt_at_a_time() if is_process else contextlib.nullcontext():
            status = (command or dispatch)(argv)
            sys.stdout.flush()  # here, where a closed output is handled
            return status
    except SystemExit as stop:  # raised by tyro after printing help
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:  # the output was closed, as in `jaxrl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("JAXRL_TRACEBACK") or not (text := errors.in_one_line(error)):
            raise
        print(f"jaxrl: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if is_process:
            streams.ignore_interrupts()
        print("jaxrl: interrupted", file=sys.stderr)
        return 130
    finally:
        if collecting:
            gc.enable()


class _Printable(logging.Formatter):
    """Escapes what a terminal would execute in the text of a file."""

    def format(self, record: logging.LogRecord) -> str:
        return errors.printable(super().format(record))


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Prints warnings that the library logs, such as damaged lines of a file, on standard error."""
    log, handler = logging.getLogger("jaxrl"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("jaxrl: warning: %(message)s"))
    log.addHandler(handler)
    # Other packages change the level of the root logger, and disable the loggers that exist.
    before = log.level, log.disabled
    log.setLevel(logging.WARNING)
    log.disabled = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.disabled = before[1]


def dispatch(argv: list[str]) -> int:
    """Runs the command that the first word names. Returns its exit status."""
    from jaxrl import names
    from jaxrl.experiments import hints  # noqa: F401 (explains names of algorithms)

    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "help":
        return dispatch([*argv[1:], "--help"])
    if argv[0] == "--version":
        import jaxrl

        print(f"jaxrl {jaxrl.__version__}")
        return 0
    name = names.lookup("command", {command: command for command in commands.known()}, argv[0])
    return commands.load(name)(argv[1:])


def usage() -> str:
    """The text of `jaxrl --help`."""
    lines = "\n".join(command.usage for command in commands.known().values())
    return f"usage: jaxrl COMMAND ...\n\n{textwrap.indent(lines, '  ')}\n\n{NOTES}"


NOTES = """\
ALGO, ENV and objectives may be Python files of yours: jaxrl train ./my_ppo.py ./my_env.py:walk
`jaxrl help COMMAND` shows all options; `jaxrl train ALGO ENV --help` those of train, with the defaults."""


if __name__ == "__main__":
    sys.exit(main())
