"""Errors that are caused by the input, as one line."""


def in_one_line(error: Exception) -> str:
    """An error as one line; "" for one that is not caused by the input."""
    from jaxrl import sources

    if in_a_file := sources.in_one_line(error):
        return in_a_file
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):
        return f"out of memory ({text[:100]}): take fewer seeds, environments, steps or episodes at once"
    if not isinstance(error, ValueError | OSError):
        return ""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return text
