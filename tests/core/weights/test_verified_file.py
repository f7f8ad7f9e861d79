"""Files that get their place only with the right hash."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import CancelledError, InputError
from core.weights import part_file, verified_file
from core.weights.part_file import PartFile
from core.weights.verified_file import copy_verified, hash_file, in_words

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "dev").exists())
CONTENT = np.random.default_rng(7).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models ä" / "model.pth"  # the folder is made


def names(place):
    """What lies in the folder, but for the lock, which stays."""
    return sorted(path.name for path in place.parent.iterdir() if path.suffix != ".lock")


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
        monkeypatch.setattr(part_file, "hash_on", _fails)
        with pytest.raises(InputError, match=r"model\.pth\.part can't be read"):
            part.take_up(len(CONTENT), lambda *_: None, lambda: False)
    assert place.with_name("model.pth.part").read_bytes() == CONTENT


# Two programs at one part


@pytest.mark.parametrize("end", ["placed", "left"])
def test_a_part_is_its_programs_alone_until_it_lets_go(place, end):
    with PartFile(place) as part:
        part.write(CONTENT)
        if end == "placed":
            part.put_in_place()
        with pytest.raises(InputError, match="by another program"):
            PartFile(place)
    with PartFile(place) as other:
        other.take_up(len(CONTENT), lambda *_: None, lambda: False)
        assert other.length == (0 if end == "placed" else len(CONTENT))
    assert names(place) == (["model.pth"] if end == "placed" else ["model.pth.part"])


def test_another_process_is_refused_while_one_has_the_part(place):
    code = (
        "import sys; from pathlib import Path; from core.errors import InputError\n"
        "from core.weights.part_file import PartFile\n"
        "try:\n    PartFile(Path(sys.argv[1]))\nexcept InputError as error:\n    print(error)"
    )
    with PartFile(place):
        done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, cwd=ROOT)
    assert "by another program" in done.stdout, done.stderr


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


def test_a_disk_that_knows_no_locks_is_written_to_all_the_same(place, monkeypatch):
    def acquire(*_):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(part_file.FileLock, "acquire", acquire)
    with PartFile(place) as part:
        part.write(b"ten bytes!")
        assert place.with_name("model.pth.part").stat().st_size == 10
