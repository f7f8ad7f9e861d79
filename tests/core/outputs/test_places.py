"""Results take their places all or none, whatever stops the run, and what is whole is never lost."""

import errno
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.outputs import draft_folder
from core.outputs.check import check_writable
from core.outputs.draft_folder import PREFIX, DraftFolder, sweep
from core.outputs.place import states_of
from core.outputs.write import Drafts, write_table
from tests.support.results import MASK, count, left_behind, squares, value

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def write_all(folder, n, before=None):
    """A run with four results in two folders: layers of n shapes, and a mask of the value n."""
    with Drafts(before) as drafts:
        drafts.table(squares(n), folder / "found.gpkg")
        drafts.table(squares(n), folder / "roofs.shp")
        drafts.table(squares(n), folder / "all.geojson")
        with drafts.raster(folder / "masks" / "mask.tif", MASK) as mask:
            mask.write(np.full((300, 300), n, np.uint8), 1)


def answers(folder):
    """What the four results say; None for those that are not there."""
    layers = [folder / name for name in ("found.gpkg", "roofs.shp", "all.geojson")]
    mask = folder / "masks" / "mask.tif"
    return {
        *(count(path) if path.exists() else None for path in layers),
        value(mask) if mask.exists() else None,
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run" / "masks").mkdir(parents=True)
    return tmp_path / "run"


# A kill at any moment


def killed_at(step, work):
    """Run something in a process of its own that is killed before a step; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = step

        def kill(event, _):
            nonlocal left
            if event in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "open"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(kill)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@forks
@pytest.mark.parametrize("older", [True, False], ids=["replacing", "new"])
def test_a_run_that_is_killed_leaves_all_results_or_none(folder, older, monkeypatch):
    if older:
        write_all(folder, 2)
        (folder / "roofs.qix").write_bytes(b"an index of the older shapefile")
    start = folder.parent / "start"
    shutil.copytree(folder, start)
    monkeypatch.setattr(draft_folder, "YOUNG", 0)
    step, seen = 0, []
    while killed_at(step, lambda: write_all(folder, 3)):
        check_writable(folder / "next.gpkg")
        check_writable(folder / "masks" / "next.tif", (".tif",))
        found = answers(folder)
        assert found in ({3}, {2} if older else {None}), f"half done after step {step}: {found}"
        assert left_behind(folder) == []
        assert (folder / "roofs.qix").exists() == (older and found == {2})
        seen.append(found)
        shutil.rmtree(folder)
        shutil.copytree(start, folder)
        step += 1
    assert answers(folder) == {3} and left_behind(folder) == []
    turned = seen.index({3})  # before it all is undone, from it on all is finished
    assert 20 < turned < len(seen) - 20 and all(found == {3} for found in seen[turned:])


@forks
def test_the_folder_of_a_living_run_stays(folder):
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with Drafts() as drafts:
            drafts.table(squares(3), folder / "found.gpkg")
            os.write(told, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    try:
        check_writable(folder / "other.gpkg")
        assert len(left_behind(folder)) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    check_writable(folder / "other.gpkg")
    assert list(folder.iterdir()) == [folder / "masks"]


def test_the_folder_of_a_living_run_stays_in_the_same_process(folder):
    with Drafts() as drafts:
        drafts.table(squares(3), folder / "found.gpkg")
        sweep(folder)
    assert count(folder / "found.gpkg") == 3


def half_done(folder, n=3):
    """What is left by a run that was killed when its results were whole and none had its place."""
    draft = DraftFolder.make(folder)
    squares(n).to_file(draft.path / "draft.gpkg", layer="found")
    draft.write_journal(folder / "found.gpkg", None, [])
    (draft.path / "whole").touch()
    draft.release()
    return draft.path


def test_what_was_put_there_after_the_kill_stays(folder):
    write_table(squares(2), folder / "found.gpkg")
    half_done(folder)
    write_table(squares(5), folder / "found.gpkg")
    sweep(folder)
    assert count(folder / "found.gpkg") == 5
    assert count(folder / "found_2.gpkg") == 3
    assert left_behind(folder) == []


def test_a_journal_leads_nowhere_else(folder):
    """A folder may come with files of somebody else's."""
    (folder / "in").mkdir()
    (folder / "precious.txt").write_text("mine")
    for names in (["draft.gpkg", "../precious.txt"], ["../../precious.txt", "found.gpkg"]):
        path = half_done(folder / "in")
        journal = json.loads((path / "journal.json").read_text())
        journal["steps"] = [["move", *names], ["remove", "", "../precious.txt"]]
        (path / "journal.json").write_text(json.dumps(journal))
        sweep(folder / "in")
        assert (folder / "precious.txt").read_text() == "mine"
    path = half_done(folder / "in")
    path.rename(folder / "elsewhere")
    (folder / "in" / f"{PREFIX}link").symlink_to(folder / "elsewhere")
    sweep(folder / "in")
    assert (folder / "elsewhere" / "draft.gpkg").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_stays(folder):
    path = half_done(folder)
    os.chown(path, 12345, 12345)
    sweep(folder)
    assert path.exists() and not (folder / "found.gpkg").exists()


def whole_in_two_folders(folder):
    """What is left by a run that was killed when both its results were whole and none had its place."""
    first, second = DraftFolder.make(folder), DraftFolder.make(folder / "masks")
    for draft, place in ((first, folder / "found.gpkg"), (second, folder / "masks" / "all.gpkg")):
        squares(3).to_file(draft.path / "draft.gpkg", layer=place.stem)
    second.write_journal(folder / "masks" / "all.gpkg", first.path, [])
    first.write_journal(folder / "found.gpkg", None, [second.path])
    (first.path / "whole").touch()
    first.release(), second.release()


@forks
@pytest.mark.parametrize("begin", [".", "masks"])
def test_the_next_run_may_be_killed_too(folder, begin, monkeypatch):
    monkeypatch.setattr(draft_folder, "YOUNG", 0)
    for name in ("found.gpkg", "masks/all.gpkg"):
        write_table(squares(2), folder / name)
    whole_in_two_folders(folder)
    start, step = folder.parent / "start", 0
    shutil.copytree(folder, start)
    while killed_at(step, lambda: sweep(folder / begin)):
        for _ in range(2):
            sweep(folder)
            sweep(folder / "masks")
        assert count(folder / "found.gpkg") == count(folder / "masks" / "all.gpkg") == 3, step
        assert left_behind(folder) == []
        shutil.rmtree(folder)
        shutil.copytree(start, folder)
        step += 1
    assert step > 10


def test_a_run_whose_other_folder_is_away_is_finished_when_it_is_back(folder):
    """A disk that is not plugged in when the next run begins."""
    whole_in_two_folders(folder)
    (folder / "masks").rename(folder / "away")
    sweep(folder)
    assert count(folder / "found.gpkg") == 3 and left_behind(folder) != []
    (folder / "away").rename(folder / "masks")
    sweep(folder / "masks")
    assert count(folder / "masks" / "all.gpkg") == 3 and left_behind(folder) == []


# A failure while places are taken


@pytest.mark.parametrize("older", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("which", ["found.gpkg", "roofs.dbf", "all.geojson", "mask.tif"])
def test_if_one_result_cannot_take_its_place_none_does(folder, monkeypatch, which, links, older):
    if older:
        write_all(folder, 2)
    rename, before = os.replace, states_of([])
    if not links:  # as on a memory stick
        monkeypatch.setattr(
            os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "no links"))
        )

    def held(source, target, **options):
        if Path(target).name == which and Path(source).name.startswith("draft"):
            raise PermissionError(errno.EBUSY, "Device or resource busy", str(source), None, str(target))
        rename(source, target, **options)

    monkeypatch.setattr(os, "replace", held)
    with pytest.raises(InputError) as told:
        write_all(folder, 3, before)
    name = which.replace(".dbf", ".shp")
    assert f"{name} could not be written: it is in use by another program. Close it there" in str(told.value)
    assert answers(folder) == ({2} if older else {None})
    for kept in ("found_2.gpkg", "roofs_2.shp", "all_2.geojson", "mask_2.tif"):
        assert kept in str(told.value)
    assert count(folder / "found_2.gpkg") == count(folder / "roofs_2.shp") == 3
    assert value(folder / "masks" / "mask_2.tif") == 3
    assert left_behind(folder) == []


def test_a_folder_that_has_come_to_a_results_place_stays(folder, monkeypatch):
    def write():
        with Drafts() as drafts:
            drafts.table(squares(3), folder / "found.gpkg")
            (folder / "found.gpkg").mkdir()
            (folder / "found.gpkg" / "precious.txt").write_text("mine")

    with pytest.raises(InputError, match="was changed since the run began"):
        write()
    shutil.rmtree(folder / "found.gpkg")
    monkeypatch.setattr(Drafts, "_changes", lambda _: None)  # it came a moment later
    with pytest.raises(InputError, match="a folder has that name"):
        write()
    assert (folder / "found.gpkg" / "precious.txt").read_text() == "mine"
    assert count(folder / "found_2.gpkg") == count(folder / "found_3.gpkg") == 3
