"""Names of files that the libraries below can't take, or take for something else."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyogrio.util import vsi_path

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


@contextmanager
def plain_path(path: str | Path) -> Iterator[Path]:
    """Give a path by which pyogrio and GDAL reach this very file, whatever its name is.

    pyogrio reads a path as if it were an address of the web: it cuts off what stands behind
    a ``;`` or a last ``?``, takes what stands before a ``!`` for an archive, and leaves out
    line ends. Where it would change a path, this gives that of a link in a folder of its own.

    Parameters
    ----------
    path : str or Path
        Of a file or a folder; it need not exist as long as its name is plain.

    Yields
    ------
    Path
        Absolute; it serves inside the ``with`` block only.

    Raises
    ------
    InputError
        Where there can be no such link: on some Windows shares.
    """
    whole = Path(path).absolute()
    if _is_plain(whole):
        yield whole
        return
    with ExitStack() as made:
        try:
            folder = made.enter_context(tempfile.TemporaryDirectory(prefix="exemplar-"))
            linked = _link(whole, Path(folder))
        except OSError as error:
            raise _not_plain(path) from error
        if not _is_plain(linked):
            raise _not_plain(path)
        yield linked


def _is_plain(path: Path) -> bool:
    text = str(path)
    # GDAL takes a backslash for the end of a folder's name on every system
    reserved = text.startswith("/vsi") or (os.sep == "/" and "\\" in text)
    return not reserved and vsi_path(path) in (text, f"/vsizip/{text}")


def _link(path: Path, folder: Path) -> Path:
    """Link to what lies at a path, with all that belongs to it; gives the link."""
    (folder / "in").symlink_to(path.parent, target_is_directory=True)
    linked = folder / "in" / path.name
    if _is_plain(linked):  # what is not plain is the folder: a file in it may refer to others in it
        return linked
    ending = re.match(r"[.\w]*", path.suffix)
    linked = folder / f"file{ending[0] if ending else ''}"
    linked.symlink_to(path, target_is_directory=path.is_dir())
    for part in path.parent.iterdir():  # a shapefile's other parts, a description beside a text file
        other = folder / f"file{part.name[len(path.stem) :]}"
        if part.name.startswith(f"{path.stem}.") and not other.is_symlink():
            other.symlink_to(part)
    return linked


def _not_plain(path: str | Path) -> InputError:
    return InputError(
        f"{str(path)!r} has a sign in its path that the library for vector files takes for something "
        "else. Rename it, or choose another place."
    )
