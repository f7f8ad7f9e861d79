"""Files that get their place only with the right hash."""

import errno
import hashlib
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import CancelledError, InputError
from core.weights import verified_file
from core.weights.verified_file import PartFile, copy_verified, hash_file, in_words

CONTENT = np.random.default_rng(7).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models ä" / "model.pth"  # the folder is made


def names(place):
    return sorted(path.name for path in place.parent.iterdir())


def test_a_part_grows_over_several_attempts_and_then_gets_its_place(place):
    for start in (0, 100_000, 200_000):
        with PartFile(place) as part:
            part.take_up(len(CONTENT), lambda *_: None, lambda: False)
            assert part.length == start
            part.write(CONTENT[start : start + 100_000])
            if part.length == len(CONTENT):
                assert part.sha256 == SHA256
                part.put_in_place()
    assert place.read_bytes() == CONTENT and names(place) == ["model.pth"]


def test_a_part_without_a_byte_is_not_left_behind(place):
    with PartFile(place) as part:
        assert names(place) == ["model.pth.part"]
        part.write(CONTENT)
        part.restart()
        assert part.length == 0 and part.sha256 == hashlib.sha256().hexdigest()
    assert names(place) == []


def test_too_little_space_is_told_in_figures(place, monkeypatch):
    monkeypatch.setattr(verified_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with PartFile(place) as part:
        with pytest.raises(InputError, match="100 kB left, and 300 kB are needed"):
            part.check_space(300_000)
        part.write(CONTENT[:250_000])
        part.check_space(300_000)  # the rest fits


def test_a_copy_is_verified_on_the_way(tmp_path, place):
    source = tmp_path / "mine.pth"
    source.write_bytes(CONTENT)
    copy_verified(source, place, SHA256)
    assert place.read_bytes() == CONTENT
    source.write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match="is not the published file"):
        copy_verified(source, place, SHA256)
    with pytest.raises(CancelledError):
        copy_verified(source, place, SHA256, cancelled=lambda: True)
    with pytest.raises(InputError, match=r"absent\.pth can't be read"):
        copy_verified(tmp_path / "absent.pth", place, SHA256)
    assert place.read_bytes() == CONTENT and names(place) == ["model.pth"]  # as it was
    copy_verified(place, place, SHA256)  # onto itself
    assert place.read_bytes() == CONTENT and names(place) == ["model.pth"]


def test_a_copy_wants_its_space_before_it_begins(tmp_path, place, monkeypatch):
    source = tmp_path / "mine.pth"
    source.write_bytes(CONTENT)
    monkeypatch.setattr(verified_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(InputError, match=r"100 kB left, and 300 kB are needed\. Free some space"):
        copy_verified(source, place, SHA256)
    assert names(place) == []


def test_drafts_of_copies_that_were_killed_are_removed(tmp_path, place):
    source = tmp_path / "mine.pth"
    source.write_bytes(CONTENT)
    place.parent.mkdir()
    old, going_on, users = (place.with_name(name) for name in (".exemplar-old", ".exemplar-new", "old.pth"))
    for path in (old, going_on, users):
        path.write_bytes(b"draft")
    for path in (old, users):
        os.utime(path, (time.time() - 90_000,) * 2)
    copy_verified(source, place, SHA256)
    assert names(place) == [".exemplar-new", "model.pth", "old.pth"]


def _fails(*_, **__):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_does_not_tell_its_space_is_one_sentence(tmp_path, place, monkeypatch):
    source = tmp_path / "mine.pth"
    source.write_bytes(CONTENT)
    monkeypatch.setattr(verified_file.shutil, "disk_usage", _fails)
    with pytest.raises(InputError, match="can't be read"):
        copy_verified(source, place, SHA256)
    with PartFile(place) as part, pytest.raises(InputError, match="can't be read"):
        part.check_space(1)


def test_a_part_that_can_not_be_read_is_one_sentence(place, monkeypatch):
    with PartFile(place) as part:
        part.write(CONTENT)
    with PartFile(place) as part:
        monkeypatch.setattr(verified_file, "_hash", _fails)
        with pytest.raises(InputError, match=r"model\.pth\.part can't be read"):
            part.take_up(len(CONTENT), lambda *_: None, lambda: False)
    assert place.with_name("model.pth.part").read_bytes() == CONTENT


# Two programs at one part

posix = pytest.mark.skipif(os.name == "nt", reason="an open file keeps its name there")


@posix
@pytest.mark.parametrize("end", ["placed", "removed"])
def test_a_part_is_held_until_its_name_is_gone(place, monkeypatch, end):
    """Who could take hold of it before would write into the finished file, or into one without a name."""
    held, move = [], getattr(Path, "replace" if end == "placed" else "unlink")

    def watched(path, *more):
        with pytest.raises(InputError, match="by another program"):
            PartFile(place)
        held.append(path)
        return move(path, *more)

    monkeypatch.setattr(Path, move.__name__, watched)
    with PartFile(place) as part:
        if end == "placed":
            part.write(CONTENT)
            part.put_in_place()
    assert held == [place.with_name("model.pth.part")]
    assert names(place) == (["model.pth"] if end == "placed" else [])


@posix
def test_a_part_that_was_put_in_its_place_meanwhile_is_not_written_to(place, monkeypatch):
    first, claim = PartFile(place), verified_file._claim
    first.write(CONTENT)

    def late(descriptor):
        """The first program ends between the other one's opening and its claim."""
        monkeypatch.setattr(verified_file, "_claim", claim)
        with first:
            first.put_in_place()
        return claim(descriptor)

    monkeypatch.setattr(verified_file, "_claim", late)
    with PartFile(place) as second:
        second.take_up(len(CONTENT), lambda *_: None, lambda: False)
        assert second.length == 0
        second.write(b"other")
        assert place.read_bytes() == CONTENT
        assert names(place) == ["model.pth", "model.pth.part"]


@posix
def test_what_another_program_began_afterwards_is_left_alone(place):
    with PartFile(place) as first:
        first.write(CONTENT)
        first.put_in_place()
        second = PartFile(place)  # empty, and not ours
    assert names(place) == ["model.pth", "model.pth.part"]
    with second:
        pass
    assert names(place) == ["model.pth"]


def test_hashes_and_sizes(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    heard = []
    assert hash_file(tmp_path / "file", progress=lambda *told: heard.append(told)) == SHA256
    assert heard[-1] == (1.0, "checking, 300 kB of 300 kB")
    with pytest.raises(InputError, match="can't be read"):
        hash_file(tmp_path / "absent")
    assert [in_words(n) for n in (5000, 375_042_383, 2_564_550_879)] == ["5 kB", "375 MB", "2.56 GB"]


def test_a_source_that_can_no_longer_be_read_is_told_as_that(place, tmp_path, monkeypatch):
    source = tmp_path / "stick.pth"
    source.write_bytes(CONTENT)

    class Broken:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def fileno(self):
            return self._file.fileno()

        def read(self, _):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(verified_file, "open_file", lambda path: Broken(path.open("rb")))
    with pytest.raises(InputError, match=r"stick\.pth can't be read: Input/output error"):
        copy_verified(source, place, SHA256)
    assert not place.exists() and names(place) == []


def test_a_disk_that_knows_no_locks_gets_the_bytes_at_the_beginning(place, monkeypatch):
    def locking(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(verified_file, "fcntl", None)
    monkeypatch.setattr(
        verified_file, "msvcrt", SimpleNamespace(LK_NBLCK=0, LK_UNLCK=1, locking=locking), raising=False
    )
    with PartFile(place) as part:
        part.write(b"ten bytes!")
        assert place.with_name("model.pth.part").stat().st_size == 10
