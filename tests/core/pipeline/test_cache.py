"""What was computed before comes back bit for bit, and nothing else ever does."""

import os
import pathlib
import shutil
import time

import numpy as np
import pytest

from core.errors import InputError
from core.pipeline import cache as cache_module
from core.pipeline.cache import Cache, digest, users_cache
from core.weights.catalogue import cache_folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "computed"


def arrays(value, n=1000):
    return {"a": np.full(n, value, np.float32), "b": np.array(value)}


def on_disk(folder):
    return sum(path.stat().st_size for path in folder.glob("*"))


def test_arrays_come_back_in_this_process_and_in_the_next(folder):
    cache = Cache(folder, limit=1_000_000)
    cache.put("one", arrays(0.1))
    for there in (cache, Cache(folder, limit=1_000_000)):
        found = there.get("one")
        assert set(found) == {"a", "b"} and found["a"].dtype == np.float32
        np.testing.assert_array_equal(found["a"], arrays(0.1)["a"])
        assert found["b"].shape == () and found["b"] == 0.1
    assert cache.get("two") is None


def test_what_comes_back_cannot_be_changed(folder):
    cache = Cache(folder, limit=1_000_000)
    cache.put("one", arrays(1))
    with pytest.raises(ValueError, match="read-only"):
        cache.get("one")["a"][0] = 2


def test_the_folder_stays_under_its_limit_and_keeps_what_was_used_last(folder):
    limit = 50_000
    cache = Cache(folder, limit, in_memory=0)
    for number in range(10):
        cache.put(f"{number}", arrays(number))
        os.utime(folder / f"{number}.npz", (1000 + number, 1000 + number))
    assert cache.get("0") is not None  # used now: no longer the oldest
    for number in range(10, 14):
        cache.put(f"{number}", arrays(number))
        assert on_disk(folder) <= limit
    assert cache.get("0") is not None
    for number in range(14, 30):
        cache.put(f"{number}", arrays(number))
        assert on_disk(folder) <= limit
    assert cache.get("1") is None and cache.get("2") is None
    assert cache.get("29") is not None
    cache.put("huge", arrays(1, n=limit))
    assert cache.get("huge") is None and cache.get("29") is not None


def test_memory_holds_no_more_than_it_is_given(folder):
    cache = Cache(folder, limit=1_000_000, in_memory=9_000)  # two entries of four kilobytes
    for number in range(5):
        cache.put(f"{number}", arrays(number))
    for path in folder.glob("*"):
        path.unlink()
    assert [cache.get(f"{number}") is not None for number in range(5)] == [False, False, False, True, True]


def test_a_job_of_more_than_there_is_room_for_finds_its_first_part_again(folder):
    cache, found = Cache(folder, limit=30_000, in_memory=0), []
    for _ in range(3):
        cache.begin_job()
        found.append([cache.get(f"{number}") is not None for number in range(12)])
        for number in range(12):
            cache.put(f"{number}", arrays(number))
    assert found[0] == [False] * 12
    assert found[1] == found[2] and found[1][:5] == [True] * 5 and not any(found[1][7:])
    assert on_disk(folder) <= 30_000
    time.sleep(0.01)
    cache.begin_job()  # another job's entries take the place of the older ones
    cache.put("new", arrays(1))
    assert cache.get("new") is not None


def test_what_another_process_writes_is_counted_in_time(folder, monkeypatch):
    one, other = (Cache(folder, limit=30_000, in_memory=0) for _ in range(2))
    for number in range(5):
        one.put(f"{number}", arrays(number))
        other.put(f"{number} other", arrays(number))
    assert on_disk(folder) > 30_000  # neither wrote as much
    monkeypatch.setattr(cache_module, "COUNT_AGAIN_S", 0.0)  # the time has passed
    one.put("next", arrays(1))
    assert on_disk(folder) <= 30_000 and one.get("next") is not None


def test_a_file_that_cannot_be_removed_does_not_stop_the_others_from_going(folder, monkeypatch):
    cache = Cache(folder, limit=30_000, in_memory=0)
    cache.put("0", arrays(0))
    unlink = pathlib.Path.unlink

    def refuse(path, **options):
        if path.name == "0.npz":
            raise PermissionError(path)
        unlink(path, **options)

    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    for number in range(1, 20):
        cache.put(f"{number}", arrays(number))
    assert on_disk(folder) <= 30_000 and cache.get("19") is not None and cache.get("0") is not None


def test_drafts_of_killed_processes_are_removed_in_time(folder):
    folder.mkdir()
    for name, age_s in (("old.part", 7200), ("new.part", 10)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age_s,) * 2)
    Cache(folder, limit=1_000_000).put("one", arrays(1))
    assert {path.name for path in folder.iterdir()} == {"new.part", "one.npz"}


def test_what_can_be_read_but_not_touched_serves_all_the_same(folder, monkeypatch):
    Cache(folder, limit=1_000_000).put("one", arrays(1))

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(cache_module.os, "utime", refuse)
    assert Cache(folder, limit=1_000_000).get("one")["b"] == 1
    assert (folder / "one.npz").exists()


def test_the_disks_last_bytes_are_left_to_the_results(folder, monkeypatch):
    usage = cache_module.shutil.disk_usage(".")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage._replace(free=900_000_000))
    cache = Cache(folder, limit=1_000_000, in_memory=0)
    cache.put("one", arrays(1))
    assert cache.get("one") is None and on_disk(folder) == 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"no archive at all"])
def test_a_damaged_file_is_computed_again(folder, damage):
    cache = Cache(folder, limit=1_000_000, in_memory=0)
    cache.put("one", arrays(1))
    (folder / "one.npz").write_bytes(damage)
    assert cache.get("one") is None
    cache.put("one", arrays(2))
    assert cache.get("one")["b"] == 2


def test_no_flipped_byte_ends_the_job(folder):
    cache = Cache(folder, limit=1_000_000, in_memory=0)
    cache.put("one", {"a": np.arange(3.0)})
    whole = (folder / "one.npz").read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        (folder / "one.npz").write_bytes(flipped)
        found = cache.get("one")
        assert found is None or len(found) == 1


def test_a_truncated_file_is_computed_again(folder):
    cache = Cache(folder, limit=1_000_000, in_memory=0)
    cache.put("one", arrays(1))
    whole = (folder / "one.npz").read_bytes()
    (folder / "one.npz").write_bytes(whole[: len(whole) // 2])
    assert cache.get("one") is None


def test_no_pickle_is_ever_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    folder.mkdir()
    np.savez(folder / "one.npz", a=np.array([Trap()], object))
    assert Cache(folder, limit=1_000_000).get("one") is None
    assert not (tmp_path / "sprung").exists()


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_the_disk(tmp_path):
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "below", limit=1_000_000)
    cache.put("one", arrays(1))
    assert cache.get("one")["b"] == 1  # from memory


def test_keys_differ_as_soon_as_anything_does():
    pixels = np.zeros((4, 6), np.uint8)
    other = pixels.copy()
    other[3, 5] = 1
    kinds = (pixels, other, pixels.reshape(6, 4), pixels.astype(np.int8), 1, 1.0, "1", None)
    keys = [digest("vote", kind) for kind in kinds]
    keys += [digest("embedding", pixels), digest("vote", pixels, 1), digest("vote", 1, pixels)]
    assert len(set(keys)) == len(keys)
    assert digest("vote", pixels[:, ::2]) == digest("vote", pixels[:, ::2].copy())


@pytest.fixture
def copied_code(tmp_path, monkeypatch):
    """The package's text, where it can be changed; gives its folder."""
    shutil.copytree(cache_module.PACKAGE, tmp_path / "core", ignore=shutil.ignore_patterns("__*__*"))
    with monkeypatch.context() as patched:
        patched.setattr(cache_module, "PACKAGE", tmp_path / "core")
        cache_module.code_digest.cache_clear()
        yield tmp_path / "core"
    cache_module.code_digest.cache_clear()


def key_now():
    cache_module.code_digest.cache_clear()
    return digest("vote", 1)


@pytest.mark.parametrize(
    "name", ["targets.py", "pipeline/tile.py", "sam/networks/embedded.py", "sam/fast/new_step.py"]
)
def test_another_text_of_the_code_gives_other_keys(copied_code, name):
    before = key_now()
    assert key_now() == before
    with (copied_code / name).open("a") as file:
        file.write("# changed\n")
    assert digest("vote", 1) == before  # the code that runs was loaded before
    assert key_now() != before


@pytest.mark.parametrize("library", ["torch", "segment-anything", "timm", "numpy", "scipy"])
def test_other_versions_of_the_libraries_give_other_keys(copied_code, monkeypatch, library):
    before, version = key_now(), cache_module.version
    monkeypatch.setattr(cache_module, "version", lambda name: version(name) + ".post1" * (name == library))
    assert key_now() != before


def test_the_environment_names_folder_and_limit(tmp_path):
    named = users_cache({"EXEMPLAR_CACHE": str(tmp_path / "here"), "EXEMPLAR_CACHE_GB": "0.000006"})
    named.put("one", arrays(1))
    assert on_disk(tmp_path / "here") > 0
    named.put("two", arrays(2))
    assert len(list((tmp_path / "here").iterdir())) == 1  # six kilobytes hold one of them
    assert users_cache({"EXEMPLAR_CACHE_GB": "0"}) is None
    assert users_cache({"EXEMPLAR_CACHE": "~nobody-of-that-name/here"}) is None
    with pytest.raises(InputError, match="EXEMPLAR_CACHE is 'here', which is no full path"):
        users_cache({"EXEMPLAR_CACHE": "here"})
    for wrong in ("much", "-1", "nan", "inf"):
        with pytest.raises(InputError, match="EXEMPLAR_CACHE_GB"):
            users_cache({"EXEMPLAR_CACHE_GB": wrong})


@pytest.mark.skipif(os.name != "posix", reason="Windows gives a folder its parent's rights")
def test_the_folder_is_its_users_alone(tmp_path, monkeypatch):
    def rights(path):
        return path.stat().st_mode & 0o777

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own, environ = cache_folder() / "computed", {}
    before = os.umask(0o022)
    try:
        users_cache(environ).put("one", arrays(1))
        assert rights(own) == 0o700
        own.chmod(0o755)  # by an earlier version
        users_cache(environ).put("two", arrays(2))
        assert rights(own) == 0o700
        assert {rights(path) for path in own.iterdir()} == {0o600}
        new, shared = tmp_path / "new", tmp_path / "shared"
        shared.mkdir()
        for folder in (new, shared):  # that the user names
            users_cache({"EXEMPLAR_CACHE": str(folder)}).put("one", arrays(1))
            assert len(list(folder.iterdir())) == 1
        assert (rights(new), rights(shared)) == (0o700, 0o755)
    finally:
        os.umask(before)
