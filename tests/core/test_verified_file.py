"""Files that get their place only with the right hash."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from core import verified_file
from core.errors import CancelledError, InputError
from core.verified_file import PartFile, copy_verified, hash_file, in_words

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


def test_hashes_and_sizes(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    heard = []
    assert hash_file(tmp_path / "file", progress=lambda *told: heard.append(told)) == SHA256
    assert heard[-1] == (1.0, "checking, 300 kB of 300 kB")
    with pytest.raises(InputError, match="can't be read"):
        hash_file(tmp_path / "absent")
    assert [in_words(n) for n in (5000, 375_042_383, 2_564_550_879)] == ["5 kB", "375 MB", "2.56 GB"]
