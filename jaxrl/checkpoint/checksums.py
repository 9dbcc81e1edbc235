"""SHA-256 checksums of the files of a checkpoint, and what they reveal about damage."""

import hashlib
from pathlib import Path

from jaxrl import files
from jaxrl.checkpoint.errors import reason_of

CHECKSUMS = "checksums.txt"


def checksum(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with files.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def all_checksums(folder: Path, flush: bool = False) -> bytes:
    """The contents of `checksums.txt`. Hidden files are ignored: the operating system may add them."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            if flush:
                files.flush(path)
        elif path.name != CHECKSUMS and not path.name.startswith("."):
            if flush:
                files.flush(path)
            lines.append(f"{checksum(path)}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines).encode()


def damage_of(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint, or `None`."""
    try:
        said, found = files.read(folder / CHECKSUMS), all_checksums(folder)
    except (OSError, ValueError) as error:
        return f"the checkpoint {folder} is damaged ({reason_of(error)})"
    if said == found:
        return None
    said, found = (set(text.decode(errors="replace").splitlines()) for text in (said, found))
    # A line starts with 64 digits and two spaces. Missing files are reported before additional ones.
    names = sorted(line[66:] for line in said - found) or sorted(line[66:] for line in found - said)
    name = names[0] if names else CHECKSUMS
    if name and name.isprintable() and not (folder / name).exists():
        return f"the checkpoint {folder} is damaged ({name} is missing)"
    return f"the checkpoint {folder} is damaged ({name or CHECKSUMS} was changed)"
