"""Folders beside the results in which these are written, and how all results take their places or none.

Each result has a folder of its own, so that taking its place is a renaming. A lock says that
the run which made a folder is alive; the system frees it when that ends, however it does.

A journal in each folder lists what is to be renamed and removed, by names without a folder:
it can't lead elsewhere. When all journals are written, a mark in the first folder says that
the results are whole. A failure after that is undone. After a kill the next run that writes
there finishes what has the mark, and removes what has none.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.outputs.place import free_place, is_taken, main_files, stale_files, state_of

PREFIX = ".exemplar-draft-"
DRAFT = "draft"  # a plain name: libraries change others, and would write beside what was asked for
LOCK, JOURNAL, WHOLE = "lock", "journal.json", "whole"
ELSEWHERE = "exemplar-results"
YOUNG = 60  # seconds in which a folder without a lock may still get one


class DraftFolder:
    """A folder in which one result is written, held by this process.

    Parameters
    ----------
    path : Path
        The folder.
    lock : FileLock, optional
        Held; None on a disk that knows no locks, where nobody sweeps either.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path, lock: FileLock | None):
        self.path, self._lock = path, lock
        self._done: list[tuple[str, Path, Path]] = []

    @classmethod
    def make(cls, parent: Path) -> DraftFolder:
        """Make one; raises ``OSError`` where that can't be."""
        while True:
            path = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
            try:
                lock = _lock(path)
            except (OSError, NotImplementedError):
                if path.exists():
                    return cls(path, None)
                continue
            if lock is not None and (path / LOCK).exists():
                return cls(path, lock)
            if lock is not None:  # somebody swept it before it was ours
                lock.release()

    def draft(self, path: Path) -> Path:
        """Where to write what is to go to a path."""
        return self.path / f"{DRAFT}{path.suffix.lower()}"

    def close(self) -> None:
        """Remove the folder with what is left in it."""
        if self._lock is None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for file in self.path.iterdir() if self.path.is_dir() else ():
            if file.name != LOCK:
                with suppress(OSError):
                    file.unlink()
        self._lock.release()  # Windows removes no open file
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.parent.name == ELSEWHERE:
            with suppress(OSError):  # if nothing is in it
                self.path.parent.rmdir()

    def release(self) -> None:
        """Leave the folder as it is to whoever comes next."""
        if self._lock is not None:
            self._lock.release()

    # The journal

    def write_journal(self, place: Path, leader: Path | None, followers: list[Path]) -> None:
        """Say what is to be done, and which folder has the mark.

        Parameters
        ----------
        place : Path
            Where the result is to go: a path in the folder beside which this one is.
        leader : Path, optional
            The folder with the mark; None where it is this one.
        followers : list of Path
            The other folders of the run, where it is this one.
        """
        steps = self._steps(place)
        for _, draft, _ in steps:
            if draft:
                _sync(self.path / draft)
        journal = {
            "place": place.name,
            "state": state_of(place),
            "steps": steps,
            "leader": leader and str(leader),
            "followers": [str(path) for path in followers],
        }
        unfinished = self.path / f"{JOURNAL}.part"
        unfinished.write_text(json.dumps(journal), encoding="utf-8")
        _sync(unfinished)
        unfinished.replace(self.path / JOURNAL)

    def _steps(self, place: Path) -> list[list[str]]:
        """What to do, in order: ``["move", draft, name]`` or ``["remove", "", name]``."""
        if not self.draft(place).exists():
            raise FileNotFoundError(errno.ENOENT, "the draft is gone", str(self.path))
        own = [(self.draft(file).name, file.name) for file in main_files(place)]
        beside = [(self.draft(place).name + name[len(place.name) :], name)
                  if name.startswith(place.name) else ("", name)
                  for name in (file.name for file in stale_files(place))]  # fmt: skip
        # of a raster at the end: an older one that can't be replaced keeps what is its own
        listed = [*beside, *own] if place.suffix.lower() == ".gpkg" else [*own, *beside]
        return [
            ["move", draft, name] if draft and (self.path / draft).exists() else ["remove", "", name]
            for draft, name in listed
        ]

    def read_journal(self) -> dict[str, Any] | None:
        """What :meth:`write_journal` wrote; None where there is none that holds."""
        try:
            journal = json.loads((self.path / JOURNAL).read_text(encoding="utf-8"))
            names = [journal["place"], *(name for step in journal["steps"] for name in step[1:] if name)]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        sound = all(isinstance(name, str) and Path(name).name == name != ".." for name in names)
        return journal if sound else None

    def take_place(self) -> None:
        """Do what the journal says, keeping what was there, so that :meth:`undo` can; raises ``OSError``."""
        journal = self.read_journal()
        if journal is None:
            raise FileNotFoundError(errno.ENOENT, "the draft is gone", str(self.path))
        for number, (kind, draft_name, name) in enumerate(journal["steps"]):
            place, kept = self.path.parent / name, self.path / f"older-{number}"
            if kind == "remove":
                with suppress(FileNotFoundError):
                    place.rename(kept)
                    self._done.append(("", kept, place))
                continue
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder has that name", str(place))
            if os.path.lexists(place):
                _keep(place, kept)
            self._done.append((draft_name, kept, place))
            (self.path / draft_name).replace(place)

    def undo(self) -> None:
        """Give back what :meth:`take_place` took, as far as the disk lets it."""
        for draft_name, kept, place in reversed(self._done):
            with suppress(OSError):
                if draft_name and not (self.path / draft_name).exists():
                    place.rename(self.path / draft_name)
                if os.path.lexists(kept):
                    kept.replace(place)
        self._done.clear()

    def finish(self) -> None:
        """Do what is left of the journal of a run that was killed.

        Where something else was put at the place since then, the result goes beside it.
        """
        journal = self.read_journal()
        if journal is None:
            return
        place = self.path.parent / journal["place"]
        moves = [step for step in journal["steps"] if step[0] == "move"]
        begun = any(not (self.path / draft).exists() for _, draft, _ in moves) or any(
            self.path.glob("older-*")
        )
        if not begun and state_of(place) != journal["state"]:
            place = free_place(place)
        stem = Path(journal["place"]).stem
        for kind, draft_name, name in journal["steps"]:
            at = place.with_name(f"{place.stem}{name[len(stem) :]}")
            if kind == "remove" and at.name == name:
                at.unlink(missing_ok=True)
            if kind == "move" and (self.path / draft_name).exists():
                (self.path / draft_name).replace(at)


def take_places(drafts: list[tuple[DraftFolder, Path]]) -> None:
    """Put results in their places, all or none.

    Parameters
    ----------
    drafts : list of tuple
        Folder, and the place of what was written in it, beside the folder.

    Raises
    ------
    OSError
        Where one can't take its place; all others are as they were then.
    """
    if not drafts:
        return
    (leader, first), others = drafts[0], drafts[1:]
    for folder, place in others:
        folder.write_journal(place, leader.path, [])
    leader.write_journal(first, None, [folder.path for folder, _ in others])
    whole = leader.path / WHOLE
    whole.touch()
    try:
        for folder, _ in drafts:
            folder.take_place()
    except BaseException:
        for folder, _ in reversed(drafts):
            folder.undo()
        whole.unlink(missing_ok=True)
        raise
    for folder, _ in reversed(drafts):  # the one with the mark is the last
        folder.close()


def make_elsewhere() -> DraftFolder | None:
    """Make a folder for a result whose own disk does not take it: at home, or among temporary files."""
    for parent in (Path.home(), Path(tempfile.gettempdir())):
        with suppress(OSError):
            (parent / ELSEWHERE).mkdir(exist_ok=True)
            sweep(parent / ELSEWHERE)
            return DraftFolder.make(parent / ELSEWHERE)
    return None


def copy_elsewhere(folder: DraftFolder, place: Path) -> Path | None:
    """Copy a whole draft there, where its own disk gives it no place; None where that can't be."""
    elsewhere = make_elsewhere()
    if elsewhere is None:
        return None
    other = elsewhere.path.parent / place.name
    other = free_place(other) if is_taken(other) else other
    try:
        for file in main_files(place):
            if folder.draft(file).exists():
                shutil.copyfile(folder.draft(file), elsewhere.draft(file))
        take_places([(elsewhere, other)])
    except OSError:
        elsewhere.close()
        return None
    return other


def sweep(parent: Path) -> None:
    """Finish or remove what runs that were killed left in a folder; what is of living ones stays."""
    with suppress(OSError):  # nobody asked for it: what can't be swept stays
        for path in sorted(path for path in parent.iterdir() if path.name.startswith(PREFIX)):
            if (folder := _take_over(path)) is not None:
                _recover(folder)


def _take_over(path: Path) -> DraftFolder | None:
    """Hold the folder of a run that is no more; None if it lives, or the folder isn't this user's."""
    try:
        there = path.stat(follow_symlinks=False)
        own = not hasattr(os, "geteuid") or there.st_uid == os.geteuid()
        if not stat.S_ISDIR(there.st_mode) or not own:
            return None
        if not (path / LOCK).exists() and time.time() - there.st_mtime < YOUNG:
            return None
        lock = _lock(path)
    except (OSError, NotImplementedError):
        return None
    return None if lock is None else DraftFolder(path, lock)


def _recover(folder: DraftFolder) -> None:
    """Finish or remove one folder, and with it all of its run."""
    journal = folder.read_journal()
    if journal is None:
        folder.close()
        return
    if journal["leader"] is None:
        _recover_run(folder, journal["followers"], {})
        return
    path = Path(journal["leader"])
    if not path.exists():
        # of what is finished, it goes last: this was not. If its disk is away, nobody knows.
        folder.close() if path.parent.is_dir() else folder.release()
        return
    leader = _take_over(path)
    listed = leader.read_journal() if leader else None
    if leader is None:
        folder.release()
    elif listed is None:  # it was about to be written
        folder.close()
        leader.close()
    else:
        _recover_run(leader, listed["followers"], {str(folder.path): folder})
        folder.release()


def _recover_run(leader: DraftFolder, followers: list[str], held: dict[str, DraftFolder]) -> None:
    whole, reached = (leader.path / WHOLE).exists(), True
    for path in followers:
        folder = held.get(path) or _take_over(Path(path))
        if folder is None:
            reached &= Path(path).parent.is_dir() and not Path(path).exists()
            continue
        journal = folder.read_journal()
        if journal is None or journal["leader"] != str(leader.path):
            folder.release()
            continue
        reached &= _finished(folder, whole)
    if whole and not reached:  # the mark stays for those that are out of reach
        with suppress(OSError):
            leader.finish()
        leader.release()
        return
    _finished(leader, whole)


def _finished(folder: DraftFolder, whole: bool) -> bool:
    """Finish a folder if its run was whole, and remove it; False where that can't be done now."""
    try:
        if whole:
            folder.finish()
    except OSError:
        folder.release()
        return False
    folder.close()
    return True


def _lock(folder: Path) -> FileLock | None:
    """Hold a folder; None if another one does."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _keep(place: Path, kept: Path) -> None:
    """Give a file a second name, so that it is never absent; where a disk can't, another one."""
    try:
        os.link(place, kept)
    except OSError:
        place.rename(kept)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk: else a renaming may come before what it renames."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
