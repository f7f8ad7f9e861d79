"""What came to a result's place meanwhile, and a disk that does not take it: nothing is lost, all is told."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import geopandas as gpd
import numpy as np
import pytest

from core.errors import InputError
from core.outputs import failures
from core.outputs.check import check_writable
from core.outputs.place import states_of
from core.outputs.write import Drafts, write_table
from tests.support.results import MASK, count, left_behind, squares

NAMES = ("found.gpkg", "found.shp", "found.geojson", "found.parquet")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run" / "masks").mkdir(parents=True)
    return tmp_path / "run"


# What has come since the run began


def test_a_layer_that_has_come_since_is_not_lost(folder):
    path = folder / "found.gpkg"
    write_table(squares(2), path)
    before = states_of([str(path)])
    squares(7).to_file(path, layer="parcels")
    with (
        pytest.raises(
            InputError, match=r"now holds other layers \(parcels\) since the run began.*found_2\.gpkg"
        ),
        Drafts(before) as drafts,
    ):
        drafts.table(squares(3), str(path))
    assert len(gpd.read_file(path, layer="parcels")) == 7 and len(gpd.read_file(path, layer="found")) == 2
    assert count(folder / "found_2.gpkg") == 3


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_has_come_since_is_not_replaced(folder, name, older):
    path = folder / name
    if older:
        write_table(squares(2), path)
    before = states_of([str(path)])
    time.sleep(0.02)  # a GeoPackage's time of change has thousandths of seconds
    write_table(squares(7), path)
    with (
        pytest.raises(
            InputError, match=r"was changed since the run began, and stays as it is\. What was found"
        ),
        Drafts(before) as drafts,
    ):
        drafts.table(squares(3), str(path))
    assert count(path) == 7
    assert count(folder / f"found_2{path.suffix}") == 3


def test_a_result_that_is_only_looked_at_meanwhile_is_replaced(folder):
    """QGIS writes into a GeoPackage that it shows: its mode, and a table of styles."""
    path = folder / "found.gpkg"
    write_table(squares(2), path)
    before = states_of([str(path)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, styleName TEXT)")
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) "
            "VALUES ('layer_styles', 'attributes', 's')"
        )
        database.commit()
    with Drafts(before) as drafts:
        drafts.table(squares(3), str(path))
    assert count(path) == 3


# A disk that does not take it


def test_what_is_found_is_kept_if_the_folder_is_gone(folder, home):
    gone = folder / "masks"
    with (
        pytest.raises(InputError, match=r"the folder .*masks is gone.*exemplar-results") as told,
        Drafts() as drafts,
    ):
        gone.rmdir()
        drafts.table(squares(3), gone / "found.shp")
        drafts.table(squares(4), folder / "all.gpkg")
    assert count(home / "exemplar-results" / "found.shp") == 3
    assert count(folder / "all_2.gpkg") == 4
    assert "all_2.gpkg" in str(told.value)
    assert left_behind(home) == left_behind(folder) == []


def test_two_results_of_one_name_are_both_kept(folder, home):
    for name in ("a", "b"):
        (folder / name).mkdir()
    with pytest.raises(InputError, match="is gone"), Drafts() as drafts:
        for number, name in enumerate("ab"):
            (folder / name).rmdir()
            drafts.table(squares(number + 1), folder / name / "found.gpkg")
    kept = home / "exemplar-results"
    assert sorted(count(path) for path in kept.iterdir()) == [1, 2]


def test_drafts_that_are_taken_away_are_told(folder):
    with (
        pytest.raises(InputError, match=r"mask\.tif could not be written: the folder .* is gone"),
        Drafts() as drafts,
        drafts.raster(folder / "masks" / "mask.tif", MASK),
    ):
        shutil.rmtree(folder / "masks")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk, leave):
    free = shutil.disk_usage(disk).free
    (disk / "fill").write_bytes(b"\0" * max(0, free - leave))


@pytest.mark.parametrize("leave", [0, 4096, 20_000, 60_000, 120_000])
@pytest.mark.parametrize("name", [*NAMES, "mask.tif"])
def test_on_a_full_disk_the_sentence_says_so(small_disk, home, name, leave):
    path = small_disk / name
    (small_disk / name).write_text("older")
    before = states_of([str(path)])
    fill(small_disk, leave)
    table = squares(4000)
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500)).astype(np.uint8)
    with pytest.raises(InputError) as told, Drafts(before) as drafts:
        if name == "mask.tif":
            with drafts.raster(path, MASK | {"width": 1500, "height": 1500}) as raster:
                raster.write(noise, 1)
        else:
            drafts.table(table, str(path))
    assert f"{name} could not be written: the disk is full. Make room there" in str(told.value)
    assert path.read_text() == "older" and sorted(p.name for p in small_disk.iterdir()) == sorted(
        [name, "fill"]
    )
    if name != "mask.tif":  # that is streamed, and never whole
        kept = home / "exemplar-results" / name
        assert f"What was found is in {kept}." in str(told.value) and count(kept) == 4000


def test_on_a_disk_that_is_full_beforehand_nobody_says_that_the_name_is_wrong(small_disk):
    fill(small_disk, 0)
    for name in NAMES[:3]:
        with pytest.raises(InputError, match=r"could not be written: the disk is full\. Make room"):
            check_writable(small_disk / name)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full. Make room"),
        (errno.EDQUOT, "share of the disk that is yours is full. Make room"),
        (errno.EACCES, "there is no permission to write it. Change that of"),
        (errno.EPERM, "there is no permission to write it. Change that of"),
        (errno.EROFS, "can only be read. Choose another place"),
        (errno.ENAMETOOLONG, "its name or path is too long. Choose a shorter one"),
        (errno.EFBIG, "larger than that disk or a limit of the system allows. Choose"),
        (errno.EBUSY, "in use by another program. Close it there, or choose"),
        (errno.EIO, "the disk reports a fault. Choose another"),
        (errno.EMFILE, "too many files are open. Close programs"),
        (errno.EDOM, "Numerical argument out of domain. Choose another"),
    ],
)
def test_each_cause_has_its_own_sentence(folder, number, says):
    error = OSError(number, os.strerror(number), str(folder / "found.gpkg"))
    told = str(failures.not_written(folder / "found.gpkg", error))
    assert told.startswith(f"{folder / 'found.gpkg'} could not be written: ") and says in told
    assert told.endswith(".") and ".." not in told and "{" not in told
    gone = failures.not_written(
        folder / "no" / "found.gpkg", OSError(errno.ENOENT, "No such file or directory")
    )
    assert f"the folder {folder / 'no'} is gone. Bring it back" in str(gone)


def test_on_windows_a_file_that_another_program_holds_is_in_use(folder):
    error = PermissionError(errno.EACCES, "The process cannot access the file")
    for number, says in ((32, "in use by another program"), (5, "or it is closed to you")):
        error.winerror = number
        assert says in str(failures.not_written(folder / "found.gpkg", error))
