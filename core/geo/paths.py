"""Names of files that the libraries below can't take, or take for something else."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from core.errors import InputError

LONGEST = 255  # bytes of a name, on nearly every file system


def check_name(path: str | Path) -> None:
    """Raise ``InputError`` where a name is too long for a file, or no text."""
    try:
        parts = [part.encode("utf-8") for part in Path(path).parts]
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{shown} holds bytes that are no text. Rename it first.") from None
    if any(len(part) > LONGEST for part in parts):
        raise InputError(f"{str(path)[:60]}… is too long a name. Choose a shorter one.")


def check_vector_name(path: str | Path) -> None:
    """As :func:`check_name`, and where a vector file's path would be read as that of another file.

    What stands before a ``!`` would be taken for an archive and what stands behind it for
    a file in it, and characters that can't be seen would be left out.
    """
    check_name(path)
    whole = str(Path(path).absolute()), str(Path(path).resolve())
    if any("!" in text for text in whole):
        raise InputError(f"{path} has an exclamation mark in its path. Rename it, or choose another place.")
    if any(unicodedata.category(character) == "Cc" for text in whole for character in text):
        raise InputError(f"{str(path)!r} has a tab or a line's end in its path. Rename it first.")
