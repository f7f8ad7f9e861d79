"""What the user has is not overwritten: other layers, inputs under another name, what a link leads to."""

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely

from core.errors import InputError
from core.outputs.check import check_writable
from core.outputs.write import write_table
from core.pipeline.detect import detect
from core.pipeline.edges import find_edges
from core.protocol import DetectRequest, EdgesRequest

UTM = "EPSG:25832"


def table_of(count):
    return gpd.GeoDataFrame(geometry=[shapely.box(n, 0, n + 1, 1) for n in range(count)], crs=UTM)


@pytest.fixture
def example(write_polygons):
    return write_polygons([shapely.box(500_020, 5_399_958, 500_032, 5_399_970)])


def test_a_geopackage_with_other_layers_is_refused_by_their_names(tmp_path):
    path = tmp_path / "mine.gpkg"
    for layer in ("truth", "parcels"):
        table_of(2).to_file(path, layer=layer)
    before = path.read_bytes()
    with pytest.raises(InputError, match="other layers, which would be lost: parcels, truth"):
        check_writable(path)
    assert path.read_bytes() == before


def test_a_geopackage_with_an_image_is_refused(noisy_raster, tmp_path):
    path = tmp_path / "PHOTO.gpkg"  # the table has the file's own name, as an earlier result's
    rasterio.shutil.copy(noisy_raster, path, driver="GPKG", RASTER_TABLE="PHOTO")
    with pytest.raises(InputError, match="would be lost: PHOTO"):
        check_writable(path)


def test_an_earlier_result_is_replaced_styled_or_not(tmp_path):
    path = tmp_path / "found.gpkg"
    write_table(table_of(3), path)
    check_writable(path)
    pyogrio.write_dataframe(pd.DataFrame({"styleName": ["mine"]}), path, layer="layer_styles")  # as QGIS does
    check_writable(path)
    (tmp_path / "other.gpkg").write_text("no database")
    check_writable(tmp_path / "other.gpkg")
    write_table(table_of(5), path)
    assert len(gpd.read_file(path)) == 5


def test_a_raster_in_a_geopackage_is_not_overwritten(noisy_raster, example, tmp_path):
    path = tmp_path / "image.gpkg"
    rasterio.shutil.copy(noisy_raster, path, driver="GPKG", RASTER_TABLE="PHOTO")
    path = path.rename(tmp_path / "image.tif")  # GDAL looks into it, whatever its name
    before = path.read_bytes()
    found = str(tmp_path / "found.gpkg")
    asked = {"raster": f"GPKG:{path}:PHOTO", "example": str(example), "output": found, "mask": str(path)}
    with pytest.raises(InputError, match="would be overwritten"):
        detect(DetectRequest(**asked), segmenter=object())
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["mask", "edges"])
def test_what_a_virtual_raster_is_made_of_is_not_overwritten(noisy_raster, example, tmp_path, what):
    virtual = tmp_path / "virtual.vrt"
    rasterio.shutil.copy(noisy_raster, virtual, driver="VRT")
    before = noisy_raster.read_bytes()
    with pytest.raises(InputError, match="would be overwritten"):
        if what == "edges":
            find_edges(EdgesRequest(raster=str(virtual), output=str(noisy_raster)), segmenter=object())
        else:
            found, mask = str(tmp_path / "found.gpkg"), str(noisy_raster)
            request = DetectRequest(raster=str(virtual), example=str(example), output=found, mask=mask)
            detect(request, segmenter=object())
    assert noisy_raster.read_bytes() == before


@pytest.mark.parametrize("ending", [".gpkg", ".shp", ".parquet"])
def test_a_link_stays_a_link(tmp_path, ending):
    (tmp_path / "real").mkdir()
    link, real = tmp_path / f"link{ending}", tmp_path / "real" / f"found{ending}"
    write_table(table_of(1), real)
    link.symlink_to(real)
    write_table(table_of(4), link)
    assert link.is_symlink()
    read = gpd.read_parquet if ending == ".parquet" else gpd.read_file
    assert len(read(real)) == 4
