"""The format numbers of files, by which those of other versions are recognized."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrl.version import __version__

FORMAT = 1  # of the files that identify folders; those of earlier versions have it, without the number


@dataclasses.dataclass(frozen=True)
class Numbered:
    """The content of a file as far as all of its formats have it."""

    format: int


def require(info: dict[str, Any], file: Path) -> None:
    """Checks the format of the file that identifies a folder.

    Args:
      info: its content.

    Raises:
      ValueError: it has another format; one line that names the version that wrote it, and this one.
    """
    if info.get("format", FORMAT) != FORMAT:
        found = f"its format is {info['format']!r}; jaxrl {__version__} reads format {FORMAT}"
        raise ValueError(f"{another_version(info, file)}: {found}")


def another_version(info: dict[str, Any], file: Path) -> str:
    """Why a file cannot be read, with the version that wrote it if that is another one."""
    versions = info.get("versions")
    written = versions.get("jaxrl") if isinstance(versions, dict) else None
    named = f" ({written})" if isinstance(written, str) and written != __version__ else ""
    return f"{file} was edited, or written by another version of jaxrl{named}"
