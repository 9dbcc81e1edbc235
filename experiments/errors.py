"""Errors that are caused by the input, as one line."""

import os
import sys

# Environment variables that decide on which devices JAX computes.
DEVICES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS")


def in_one_line(error: BaseException) -> str:
    """An error as one line; "" for one that is not caused by the input."""
    return printable(" ".join(_text_of(error).split()))


def printable(text: str) -> str:
    """Text of a file or a command line, in which terminals would execute nothing: `\\x1b` for an escape.

    Lines of the text remain lines.
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def _text_of(error: BaseException) -> str:
    from jaxrl import sources

    if in_a_file := sources.in_one_line(error):
        return in_a_file
    text, kind = " ".join(str(error).split()), type(error).__name__
    if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):
        return f"out of memory ({text[:100]}): take fewer seeds, environments, steps or episodes at once"
    if isinstance(error, OSError):
        reason = error.strerror or text
        return f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, ValueError):
        return text
    if isinstance(error, OverflowError):
        return f"a number is too large ({text[:200]})"
    if isinstance(error, FloatingPointError) or kind == "InternalFloatingPointError":  # which JAX hides
        return (
            f"a computed number is not finite ({text[:100]}), which is an error because of JAX_DEBUG_NANS or "
            "JAX_DEBUG_INFS: unset it, or take a lower learning rate"
        )
    return _why_no_device()


def _why_no_device() -> str:
    """Why JAX has no device to compute on; "" if it has one."""
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "devices"):
        return ""
    try:
        jax.devices()
    except Exception as error:  # of several types, AssertionError among them
        given = ", ".join(f"{name}={os.environ[name]!r}" for name in DEVICES if os.environ.get(name))
        reason = " ".join(str(error).split())[:200]
        why = f" ({reason})" if reason else ""
        remedy = f"correct or unset {given}" if given else "check the drivers, or set JAX_PLATFORMS=cpu"
        return f"JAX has no device to compute on{why}: {remedy}"
    return ""
