"""Why something could not be written: the file, the cause, and what to do about it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from core.errors import InputError

PROBE = 1 << 20  # bytes: a library that writes a large file may leave a few blocks of a full disk
IN_USE = {32, 33}  # Windows' numbers for a file that another program holds
DENIED = 5  # Windows' number for want of permission, or for a file that another program shows

_FULL = "the disk is full. Make room there, or choose another place."
_GONE = "the folder {folder} is gone. Bring it back, or choose another."
_DENIED = "there is no permission to write it. Change that of {folder}, or choose another place."
_BUSY = "it is in use by another program. Close it there, or choose another name."
_CAUSES = {  # by the names of the system's numbers, some of which are not on every system
    "ENOSPC": _FULL,
    "EDQUOT": "the share of the disk that is yours is full. Make room there, or choose another place.",
    "EFBIG": "it is larger than that disk or a limit of the system allows. Choose another place.",
    "EROFS": "the disk of {folder} can only be read. Choose another place.",
    "EACCES": _DENIED,
    "EPERM": _DENIED,
    "ENAMETOOLONG": "its name or path is too long. Choose a shorter one.",
    **dict.fromkeys(("ENOENT", "ENOTDIR", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "EHOSTDOWN"), _GONE),
    **dict.fromkeys(("EBUSY", "ETXTBSY"), _BUSY),
    "EISDIR": "a folder has that name. Choose another name.",
    "EIO": "the disk reports a fault. Choose another disk.",
    **dict.fromkeys(("EMFILE", "ENFILE"), "too many files are open. Close programs, and try again."),
}


def not_written(path: Path | str, error: BaseException) -> InputError:
    """The sentence for a failure while a result was written or put in its place.

    Parameters
    ----------
    path : Path or str
        Of the result, as the user gave it.
    error : BaseException
        The system's own, or a library's, which hides the system's: then the folder is tried.
    """
    cause = known_cause(path, error)
    said = cause or f"{getattr(error, 'strerror', None) or error}. Choose another name or place.".replace(
        "..", "."
    )
    return InputError(f"{_short(path)} could not be written: {said}")


def known_cause(path: Path | str, error: BaseException) -> str | None:
    """Cause and next step, where the system tells the cause."""
    folder = Path(path).parent
    if not isinstance(error, OSError) or error.errno is None:
        found = probe(Path(path).resolve().parent)
        if found is None:
            return None
        error = found
    number = getattr(error, "winerror", None)
    if number in IN_USE:
        return _BUSY
    if number == DENIED:
        return f"{_BUSY[:-1]}; or it is closed to you: then change its permissions."
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and folder.is_dir():
        return None
    cause = _CAUSES.get(errno.errorcode.get(error.errno or 0, ""))
    return cause and cause.format(folder=folder)


def probe(folder: Path) -> OSError | None:
    """Try to write something to a folder; the system's answer where that fails."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _short(path: Path | str) -> str:
    """A path, or the beginning of one that fills the screen."""
    text = str(path)
    return text if len(text) <= 500 else f"{text[:60]}…{text[-60:]}"
