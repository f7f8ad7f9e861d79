"""What happens to the results' places while a run goes on."""

import shutil

import geopandas as gpd
import pytest
import shapely

from core.errors import InputError
from core.pipeline.detect import detect
from core.pipeline.edges import find_edges
from core.protocol import DetectRequest, EdgesRequest


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("home")
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture
def request_in(tmp_path):
    """A small run on the sample, whose results go to a folder."""
    (tmp_path / "out").mkdir()
    return DetectRequest(
        raster="resources/sample/town.tif",
        example="resources/sample/example_building.geojson",
        output=str(tmp_path / "out" / "found.gpkg"),
        mask=str(tmp_path / "out" / "mask.tif"),
        resolution=0.32,
        runs=4,
        extent=[500110, 5399900, 500140, 5399930],
    )


def when(message, then):
    """A hearer of the progress that does something once, at a message."""
    done = []

    def hear(_, told):
        if told == message and not done:
            done.append(told)
            then()

    return hear


def test_a_layer_that_comes_while_a_run_goes_on_is_not_lost(request_in, tmp_path):
    parcels = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    found, kept = tmp_path / "out" / "found.gpkg", tmp_path / "out" / "found_2.gpkg"
    detect(request_in)
    (tmp_path / "out" / "mask.tif").unlink()
    told = when("writing", lambda: parcels.to_file(found, layer="parcels"))
    with pytest.raises(InputError, match=r"found\.gpkg now holds other layers \(parcels\).*stays as it is"):
        detect(request_in, progress=told)
    assert len(gpd.read_file(found, layer="parcels")) == 1
    assert len(gpd.read_file(kept)) == len(gpd.read_file(found, layer="found")) > 0
    assert {path.name for path in kept.parent.iterdir()} == {found.name, kept.name, "mask_2.tif"}


def test_a_folder_that_is_gone_when_writing_begins_loses_nothing(request_in, tmp_path, home):
    gone = tmp_path / "out"
    with pytest.raises(InputError, match=r"the folder .*out is gone\. Bring it back.* What was found is in"):
        detect(request_in, progress=when("writing", lambda: shutil.rmtree(gone)))
    kept = home / "exemplar-results"
    assert {path.name for path in kept.iterdir()} == {"found.gpkg", "mask.tif"}
    assert len(gpd.read_file(kept / "found.gpkg")) > 0


@pytest.mark.parametrize("message", ["tile 1 of 1", "writing"])
def test_edges_whose_folder_goes_away_are_told(tmp_path, home, message):
    """What was written into that folder is gone with it; what was not is kept."""
    (tmp_path / "out").mkdir()
    request = EdgesRequest(
        raster="resources/sample/town.tif",
        output=str(tmp_path / "out" / "edges.tif"),
        lines=str(tmp_path / "out" / "lines.gpkg"),
        resolution=0.64,
        extent=[500100, 5399880, 500160, 5399940],
    )
    with pytest.raises(InputError, match=r"could not be written: the folder .*out is gone") as told:
        find_edges(request, progress=when(message, lambda: shutil.rmtree(tmp_path / "out")))
    if message == "writing":
        assert f"{request.output} could not be kept: ask for it once more." in str(told.value)
        assert len(gpd.read_file(home / "exemplar-results" / "lines.gpkg")) > 0
    else:
        assert list(home.iterdir()) == []
