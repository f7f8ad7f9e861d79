"""Reading a raster: the right pixels, in the right place, at any resolution."""

import math

import numpy as np
import pytest
from affine import Affine

from core.errors import InputError
from core.geo.raster import Raster, Stretch
from core.geo.work_grid import SPECK, WorkGrid

UTM = "EPSG:25832"
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
TURNED = Affine.translation(500_000, 5_400_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)
SOUTH_UP = Affine(0.5, 0, 500_000, 0, 0.5, 5_400_000)


def noise(*shape, dtype=np.uint8, high=256):
    return np.random.default_rng(7).integers(0, high, shape).astype(dtype)


def smooth(height, width):
    """Three bands without sharp edges, so that neighbouring resolutions look alike."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / a) * np.cos(y / b) for a, b in ((17, 23), (11, 31), (29, 13))]
    return np.stack(waves).astype(np.uint8)


# What is read


def test_bytes_at_the_rasters_own_resolution_are_untouched(make_raster):
    array = noise(3, 90, 120)
    with Raster(make_raster(array)) as raster:
        assert raster.stretch is None and raster.bands == [1, 2, 3]
        image, valid = WorkGrid(raster, 0.5).read(0, 0, 120, 90)
        np.testing.assert_array_equal(image, array.transpose(1, 2, 0))
        assert valid.all()
        image, _ = WorkGrid(raster, 0.5).read(31, 17, 20, 40)
        np.testing.assert_array_equal(image, array.transpose(1, 2, 0)[17:57, 31:51])


def test_a_box_that_reaches_beyond_the_raster_is_not_valid_there(make_raster):
    array = noise(3, 40, 50)
    with Raster(make_raster(array)) as raster:
        image, valid = WorkGrid(raster, 0.5).read(-10, -20, 100, 100)
        assert valid.sum() == 40 * 50 and valid[20:60, 10:60].all()
        np.testing.assert_array_equal(image[20:60, 10:60], array.transpose(1, 2, 0))
        assert not image[~valid].any()
        _, valid = WorkGrid(raster, 0.5).read(500, 500, 16, 16)
        assert valid.shape == (16, 16) and not valid.any()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_deeper_values_are_stretched_once_from_2_to_98_percent(make_raster, dtype):
    values = np.random.default_rng(1).permutation(200 * 150).reshape(1, 150, 200)
    array = (values.repeat(3, axis=0) + np.array([0, 500, 1000])[:, None, None]).astype(dtype)
    with Raster(make_raster(array)) as raster:
        image, valid = WorkGrid(raster, 0.5).read(0, 0, 200, 150)
        assert valid.all()
        low, high = 0.02 * 30_000, 0.98 * 30_000
        expected = np.clip((values[0] - low) / (high - low), 0, 1) * 255
        for band in range(3):  # each band has its own stretch
            np.testing.assert_allclose(image[..., band], expected, atol=1)
        # The stretch is the raster's, not the window's.
        part, _ = WorkGrid(raster, 0.5).read(40, 30, 50, 50)
        np.testing.assert_array_equal(part, image[30:80, 40:90])


def test_another_rasters_stretch_can_be_used(make_raster):
    array = noise(3, 40, 40, dtype=np.uint16, high=1000)
    with Raster(make_raster(array)) as raster:
        stretch = Stretch(np.float32([0, 0, 0]), np.float32([2550, 2550, 2550]))
        image, _ = WorkGrid(raster, 0.5).read(0, 0, 40, 40, stretch)
        np.testing.assert_allclose(image, array.transpose(1, 2, 0) / 10, atol=0.51)


def test_a_constant_band_does_not_divide_by_zero(make_raster):
    with Raster(make_raster(np.full((3, 30, 30), 700, np.uint16))) as raster:
        image, valid = WorkGrid(raster, 0.5).read(0, 0, 30, 30)
        assert valid.all() and len(np.unique(image)) == 1


def test_one_band_is_shown_as_grey_and_of_two_bands_the_first(make_raster):
    for bands in (1, 2):
        array = noise(bands, 30, 40)
        with Raster(make_raster(array, f"{bands}.tif")) as raster:
            image, _ = WorkGrid(raster, 0.5).read(0, 0, 40, 30)
            np.testing.assert_array_equal(image, np.repeat(array[0][..., None], 3, axis=2))


def test_bands_are_chosen_by_number(make_raster):
    array = noise(4, 30, 40)
    path = make_raster(array)
    with Raster(path, [4, 1, 2]) as raster:
        np.testing.assert_array_equal(
            WorkGrid(raster, 0.5).read(0, 0, 40, 30)[0], array[[3, 0, 1]].transpose(1, 2, 0)
        )
    with Raster(path, [4]) as raster:
        np.testing.assert_array_equal(WorkGrid(raster, 0.5).read(0, 0, 40, 30)[0][..., 1], array[3])


@pytest.mark.parametrize("bands", [[0], [5], [1, 2], [1, 2, 3, 4], [1, 2, -1]])
def test_bands_that_are_not_there_are_refused(make_raster, bands):
    with pytest.raises(InputError, match="bands"):
        Raster(make_raster(noise(4, 10, 10)), bands)


def test_a_palette_is_shown_in_its_colours(make_raster):
    index = noise(1, 30, 40, high=3)
    colours = {0: (255, 0, 0, 255), 1: (0, 200, 30, 255), 2: (7, 8, 9, 255)}
    with Raster(make_raster(index, colormap=colours, photometric="palette")) as raster:
        image, _ = WorkGrid(raster, 0.5).read(0, 0, 40, 30)
        expected = np.array([colours[i][:3] for i in range(3)], np.uint8)[index[0]]
        np.testing.assert_array_equal(image, expected)
        half, _ = WorkGrid(raster, 1.0).read(0, 0, 20, 15)  # an index has no mean
        assert {tuple(c) for c in half.reshape(-1, 3)} <= {c[:3] for c in colours.values()}


# Where there is image


def test_nodata_and_alpha_and_specks(make_raster):
    array = noise(3, 80, 80, high=200) + 1
    array[:, :, 60:] = 0  # no image
    array[:, 10:14, 10:14] = 0  # a speck: 16 pixels of a roof that happens to be 0
    with Raster(make_raster(array.astype(np.uint8), nodata=0)) as raster:
        _, valid = WorkGrid(raster, 0.5).read(0, 0, 80, 80)
        assert not valid[:, 60:].any() and valid[:, :60].all()
    alpha = np.full((1, 80, 80), 255, np.uint8)
    alpha[:, 30:] = 0
    with_alpha = np.concatenate([noise(3, 80, 80), alpha])
    with Raster(make_raster(with_alpha, "alpha.tif", photometric="rgb", alpha="yes")) as raster:
        assert raster.bands == [1, 2, 3]
        _, valid = WorkGrid(raster, 0.5).read(0, 0, 80, 80)
        assert valid[:30].all() and not valid[30:].any()
    grey_alpha = np.concatenate([noise(1, 80, 80), alpha])
    with Raster(make_raster(grey_alpha, "grey-alpha.tif", alpha="yes")) as raster:
        assert raster.bands == [1]
        assert WorkGrid(raster, 0.5).read(0, 0, 80, 80)[1].sum() == 30 * 80


def test_alpha_beside_more_than_three_bands_is_a_mask_too(make_raster):
    bands = noise(5, 80, 80, dtype=np.uint16, high=9000) + np.uint16(1000)
    bands[4] = 65535
    bands[:, 30:] = 0  # the collar
    with Raster(make_raster(bands, "five.tif", photometric="rgb", alpha="yes")) as raster:
        _, valid = WorkGrid(raster, 0.5).read(0, 0, 80, 80)
        assert valid[:30].all() and not valid[30:].any()
        assert raster.stretch.low.min() > 500  # the collar's zeros are no values
        half = WorkGrid(raster, 1.0).read(0, 0, 40, 40)[1]
        assert half[:15].all() and not half[15:].any()


@pytest.mark.parametrize("missing", [np.nan, np.inf, np.finfo(np.float32).min, -1e38])
def test_what_nobody_can_have_measured_is_missing_though_no_nodata_is_declared(make_raster, missing):
    array = np.linspace(0, 1, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
    array[:, :, 40:] = missing
    with Raster(make_raster(array)) as raster:
        assert raster.stretch.low.min() >= 0 and raster.stretch.high.max() <= 1
        assert WorkGrid(raster, 0.5).read(0, 0, 64, 64)[1].sum() == 40 * 64
        twice = WorkGrid(raster, 0.25).read(0, 0, 128, 128)[1]
        assert twice[:, :76].all() and not twice[:, 80:].any()


def test_the_least_number_of_double_precision_is_missing_without_a_warning(make_raster, recwarn):
    array = np.linspace(0, 1, 3 * 64 * 64).reshape(3, 64, 64)
    array[:, :, 40:] = np.finfo(np.float64).min
    with Raster(make_raster(array)) as raster:
        assert WorkGrid(raster, 0.5).read(0, 0, 64, 64)[1].sum() == 40 * 64
    assert not [str(each.message) for each in recwarn if each.category is RuntimeWarning]


def test_a_patch_larger_than_a_speck_is_missing(make_raster):
    side = math.isqrt(SPECK) + 1
    array = np.full((3, 60, 60), 100, np.uint8)
    array[:, 20 : 20 + side, 20 : 20 + side] = 0
    with Raster(make_raster(array, nodata=0)) as raster:
        _, valid = WorkGrid(raster, 0.5).read(0, 0, 60, 60)
        assert (~valid).sum() == side**2


def test_missing_image_does_not_bleed_into_means_and_stretch(make_raster):
    array = np.full((3, 64, 64), 1000, np.uint16)
    array[:, :, ::2] = 1100
    array[:, :, 33:] = 65535
    with Raster(make_raster(array, nodata=65535)) as raster:
        assert raster.stretch.high.max() <= 1100
        image, valid = WorkGrid(raster, 1.0).read(0, 0, 32, 32)  # two by two raster pixels
        assert valid[:, :16].all() and not valid[:, 17:].any()
        mean = raster.stretch.apply(np.full((1, 1, 3), 1050.0))[0, 0, 0]
        np.testing.assert_allclose(image[:, :16].astype(int), int(mean), atol=1)


def test_not_a_number_is_black_not_a_crash(make_raster):
    array = np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    array[:, 4, 4] = np.nan
    with Raster(make_raster(array)) as raster:
        image, _ = WorkGrid(raster, 0.5).read(0, 0, 32, 32)
        assert (image[4, 4] == 0).all() and image[20].any()


# What is refused


def test_files_that_are_no_raster(tmp_path):
    with pytest.raises(InputError, match="no file"):
        Raster(tmp_path / "absent.tif")
    text = tmp_path / "text.tif"
    text.write_text("not a raster")
    with pytest.raises(InputError, match="No raster can be read"):
        Raster(text)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_georeference_is_refused(make_raster):
    path = make_raster(noise(3, 10, 10), transform=Affine.identity(), crs=None)
    with pytest.raises(InputError, match="georeference"):
        Raster(path)


def test_all_nodata_is_refused_where_a_stretch_is_needed(make_raster):
    with pytest.raises(InputError, match="no valid pixels"):
        Raster(make_raster(np.zeros((3, 20, 20), np.uint16), nodata=0))


def test_a_file_cut_off_in_the_middle_is_a_sentence(make_raster):
    path = make_raster(noise(3, 400, 400))
    path.write_bytes(path.read_bytes()[:200_000])
    with Raster(path) as raster, pytest.raises(InputError, match="can't be read"):
        WorkGrid(raster, 0.5).read(0, 0, 400, 400)


# Where it is


def test_two_halves_are_the_whole_at_the_rasters_own_resolution(make_raster):
    with Raster(make_raster(noise(3, 70, 91))) as raster:
        whole, _ = WorkGrid(raster, 0.5).read(0, 0, 91, 70)
        left, _ = WorkGrid(raster, 0.5).read(0, 0, 33, 70)
        right, _ = WorkGrid(raster, 0.5).read(33, 0, 58, 70)
        np.testing.assert_array_equal(np.concatenate([left, right], axis=1), whole)


@pytest.mark.parametrize("resolution", [0.2, 0.37, 0.8, 1.13])
def test_two_halves_are_nearly_the_whole_at_other_resolutions(make_raster, resolution):
    with Raster(make_raster(smooth(201, 303))) as raster:
        width, height = WorkGrid(raster, resolution).size(math.ceil)
        cut = width // 3
        whole, _ = WorkGrid(raster, resolution).read(0, 0, width, height)
        left, _ = WorkGrid(raster, resolution).read(0, 0, cut, height)
        right, _ = WorkGrid(raster, resolution).read(cut, 0, width - cut, height)
        halves = np.concatenate([left, right], axis=1).astype(int)
        difference = np.abs(halves - whole)
        assert difference.mean() < 0.5  # of 255
        assert difference[:, cut - 8 : cut + 8].mean() < 3


def centre_of_brightness(image):
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED, SOUTH_UP])
@pytest.mark.parametrize("times", [0.5, 1, 2.3, 3.1])
@pytest.mark.parametrize("corner", [(30, 40), (247, 181), (2, 3)])
def test_a_bright_square_is_where_the_map_says(make_raster, transform, times, corner):
    x, y = corner
    array = np.zeros((3, 203, 271), np.uint8)
    array[:, y : y + 20, x : x + 20] = 200
    resolution = 0.5 * times
    with Raster(make_raster(array, transform=transform)) as raster:
        image, _ = WorkGrid(raster, resolution).read(0, 0, *WorkGrid(raster, resolution).size(math.ceil))
        seen = centre_of_brightness(image)
        expected = ~WorkGrid(raster, resolution).map_from_work @ (transform @ (x + 10, y + 10))
        assert seen == pytest.approx(expected, abs=0.1)  # working pixels: half a one would show
        # The same in a window that starts elsewhere and reaches beyond the raster.
        left, top = max(0, int(expected[0]) - 50), max(0, int(expected[1]) - 45)
        image, _ = WorkGrid(raster, resolution).read(left, top, 120, 130)
        seen = np.add(centre_of_brightness(image), (left, top))
        assert tuple(seen) == pytest.approx(expected, abs=0.1)


def test_the_working_grid_covers_the_raster_and_no_more(make_raster):
    with Raster(make_raster(noise(3, 203, 271))) as raster:
        assert WorkGrid(raster, 0.5).size(math.ceil) == (271, 203)
        assert WorkGrid(raster, 1.0).size(math.ceil) == (136, 102)
        assert WorkGrid(raster, 0.25).size(math.ceil) == (542, 406)
        assert WorkGrid(raster, 1.0).map_from_work @ (1, 1) == pytest.approx((500_001, 5_399_999))


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED, SOUTH_UP])
def test_bounds_hold_whichever_way_the_raster_is_turned(make_raster, transform):
    with Raster(make_raster(noise(1, 20, 30), transform=transform)) as raster:
        xmin, ymin, xmax, ymax = raster.bounds_map
        corners = [transform @ corner for corner in ((0, 0), (30, 0), (0, 20), (30, 20))]
        assert xmin == min(x for x, _ in corners) and ymax == max(y for _, y in corners)
        assert ymin == min(y for _, y in corners) and xmax == max(x for x, _ in corners)


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        (UTM, NORTH_UP, (0.5, 0.5)),
        (UTM, TURNED, (0.5, 0.5)),
        (UTM, SOUTH_UP, (0.5, 0.5)),
        (None, NORTH_UP, (0.5, 0.5)),
        # A degree of longitude at latitude 60 is 55.8 km, of latitude 111.4 km.
        ("EPSG:4326", Affine(1e-5, 0, 10, 0, -1e-5, 60), (0.558, 1.114)),
        # Web Mercator's metres are half as long at latitude 60.
        ("EPSG:3857", Affine(0.6, 0, 1e6, 0, -0.6, 8_399_737.9), (0.3, 0.3)),
        ("EPSG:2263", Affine(2, 0, 1e6, 0, -2, 2e5), (0.6096, 0.6096)),
    ],
)
def test_metres_per_pixel(make_raster, crs, transform, expected):
    with Raster(make_raster(noise(1, 20, 30), transform=transform, crs=crs)) as raster:
        assert raster.metres_per_pixel == pytest.approx(expected, rel=5e-3)


def test_pixels_longer_one_way_become_square_metres(make_raster):
    # In degrees at latitude 60 a pixel is twice as tall as wide; the working grid is square.
    degrees = Affine(1e-6, 0, 10, 0, -1e-6, 60)
    array = np.zeros((3, 100, 200), np.uint8)
    array[:, 40:60, 80:120] = 255
    with Raster(make_raster(array, transform=degrees, crs="EPSG:4326")) as raster:
        across, _ = raster.metres_per_pixel
        width, height = WorkGrid(raster, across).size(math.ceil)
        assert (width, height) == (200, pytest.approx(200, abs=2))
        image, _ = WorkGrid(raster, across).read(0, 0, width, height)
        rows, columns = np.nonzero(image[..., 0] > 127)
        assert np.ptp(columns) + 1 == 40 and np.ptp(rows) + 1 == pytest.approx(40, abs=1)


def test_reading_follows_rasterios_own_average(make_raster):
    array = smooth(120, 160)
    with Raster(make_raster(array)) as raster:
        image, _ = WorkGrid(raster, 1.0).read(10, 5, 30, 20)
        blocks = array[:, 10:50, 20:80].reshape(3, 20, 2, 30, 2).mean((2, 4)).transpose(1, 2, 0)
        np.testing.assert_allclose(image, blocks, atol=1)


def test_a_raster_off_the_earth_in_its_own_crs_is_refused(make_raster):
    """Metres labelled as degrees, which a wrong entry in a dialog makes."""
    path = make_raster(noise(3, 40, 40), crs="EPSG:4326")
    with pytest.raises(InputError, match="does not lie on the earth in its coordinate reference system"):
        Raster(path)


def mixed(make_raster, tmp_path):
    """A virtual raster of one band of bytes and two of larger numbers."""
    make_raster(noise(1, 20, 20), "bytes.tif")
    make_raster(noise(2, 20, 20, dtype=np.uint16, high=3000), "deep.tif")
    sources = [("Byte", "bytes.tif", 1), ("UInt16", "deep.tif", 1), ("UInt16", "deep.tif", 2)]
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource><SourceFilename relativeToVRT="1">'
        f"{file}</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for number, (kind, file, band) in enumerate(sources, 1)
    )
    path = tmp_path / "mixed.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>EPSG:25832</SRS>'
        f"<GeoTransform>500000, 0.5, 0, 5400000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"
    )
    return path


def test_bands_of_different_types_are_told_and_those_of_one_are_stretched(make_raster, tmp_path):
    path = mixed(make_raster, tmp_path)
    with pytest.raises(InputError, match=r"hold different types of numbers \(uint16, uint8\)"):
        Raster(path)
    with Raster(path, [2, 3, 3]) as raster, Raster(tmp_path / "deep.tif", [1, 2, 2]) as alone:
        assert raster.dtype == "uint16"
        np.testing.assert_array_equal(
            WorkGrid(raster, 0.5).read(0, 0, 20, 20)[0], WorkGrid(alone, 0.5).read(0, 0, 20, 20)[0]
        )


def test_a_value_that_the_palette_has_no_colour_for_is_black(make_raster, tmp_path):
    make_raster(np.array([[0, 1], [2, 200]], np.uint8).repeat(8, 0).repeat(8, 1), "grey.tif")
    path = tmp_path / "few.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><SRS>EPSG:25832</SRS>'
        "<GeoTransform>500000, 0.5, 0, 5400000, 0, -0.5</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><ColorInterp>Palette</ColorInterp><ColorTable>'
        '<Entry c1="9" c2="9" c3="9" c4="255"/><Entry c1="200" c2="10" c3="10" c4="255"/></ColorTable>'
        '<SimpleSource><SourceFilename relativeToVRT="1">grey.tif</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    with Raster(path) as raster:
        image = WorkGrid(raster, 0.5).read(0, 0, 16, 16)[0]
    assert image[0, 0].tolist() == [9, 9, 9] and image[0, 15].tolist() == [200, 10, 10]
    assert image[15, 0].tolist() == image[15, 15].tolist() == [0, 0, 0]
