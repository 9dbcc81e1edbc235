"""What goes wrong with checkpoints, in one sentence."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, found, read or used; one sentence with the remedy."""

    __module__ = "jaxrl.checkpoint"  # where users import it from, for tracebacks


def reason_of(error: Exception) -> str:
    """A short description of an exception."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = str(error)
    if "No space left on device" in text:  # orbax reports it as a long ValueError
        return "No space left on device"
    return (text.splitlines() or [""])[0][:200] or type(error).__name__
