"""Pixels in and out."""

import gzip
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import MASKED, Flag, FrameError, Section, flags_of, image, read_image, read_pixels, variance_of
from albireo import write_image as write

RNG = np.random.default_rng(1)
COUNTS = RNG.integers(0, 65536, (40, 50)).astype(np.uint16)
REGION = Section(7, 31, 11, 50)


# --- the rules of the house -------------------------------------------------------------------------------------------


def test_an_image_is_native_float32_with_a_mask_that_follows_from_the_flags():
    flags = np.zeros((2, 3), dtype=np.uint16)
    flags[0] = Flag.HOT, Flag.INTERPOLATED, Flag.SATURATED | Flag.NON_LINEAR
    picture = image(np.ones((2, 3), dtype=">f8"), "electron", variance=np.ones((2, 3)), flags=flags, meta={"A": 1})
    assert picture.data.dtype == np.float32
    assert picture.data.dtype.isnative
    assert picture.uncertainty.array.dtype == np.float32
    assert picture.mask.tolist() == [[True, False, True], [False] * 3]
    assert str(picture.unit) == "electron"
    assert picture.meta["A"] == 1


def test_arrays_of_the_right_type_are_not_copied():
    data, variance = np.ones((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    flags = np.zeros((2, 3), dtype=np.uint16)
    picture = image(data, variance=variance, flags=flags)
    assert np.shares_memory(picture.data, data)
    assert np.shares_memory(variance_of(picture), variance)
    assert np.shares_memory(flags_of(picture), flags)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError) as caught:
        image(np.zeros((2, 3, 4)))
    assert str(caught.value) == "an image has two dimensions, these data have shape (2, 3, 4)"
    with pytest.raises(ValueError) as caught:
        image(np.zeros((2, 3)), variance=np.zeros((3, 2)))
    assert str(caught.value) == "the variance plane has shape (3, 2), the image (2, 3)"
    with pytest.raises(ValueError) as caught:
        image(np.zeros((2, 3)), flags=np.zeros((1, 3), dtype=np.uint16))
    assert str(caught.value) == "the flags plane has shape (1, 3), the image (2, 3)"


def test_planes_of_images_from_elsewhere():
    foreign = CCDData(np.ones((2, 2)), unit="adu", uncertainty=StdDevUncertainty(np.full((2, 2), 3.0)))
    foreign.mask = np.array([[True, False], [False, False]])
    assert variance_of(foreign).tolist() == [[9.0, 9.0], [9.0, 9.0]]
    assert flags_of(foreign).tolist() == [[Flag.BAD, 0], [0, 0]]
    bare = CCDData(np.ones((2, 2)), unit="adu")
    assert variance_of(bare) is None
    assert not flags_of(bare).any()


# --- reading raw pixels -----------------------------------------------------------------------------------------------


def save(path, *units):
    fits.HDUList(list(units)).writeto(path)
    return path


def test_unsigned_integers_are_exact(tmp_path):
    pixels = read_pixels(save(tmp_path / "a.fits", fits.PrimaryHDU(COUNTS)))
    np.testing.assert_array_equal(pixels, COUNTS)
    assert pixels.dtype == np.float32
    assert pixels.dtype.isnative


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_of_pixel_can_be_read(tmp_path, dtype):
    data = (COUNTS % 200).astype(dtype)
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.fits", fits.PrimaryHDU(data))), data)


def test_blanks_are_nan_and_scale_and_zero_are_applied(tmp_path):
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4)))
    fits.setval(path, "BLANK", value=5)
    expected = np.arange(12.0).reshape(3, 4)
    expected[1, 1] = np.nan
    np.testing.assert_array_equal(read_pixels(path), expected)
    fits.setval(path, "BZERO", value=100.0)
    np.testing.assert_array_equal(read_pixels(path), expected + 100)
    fits.setval(path, "BSCALE", value=0.25)
    np.testing.assert_array_equal(read_pixels(path), expected * 0.25 + 100)


def test_nan_of_a_float_image_stays(tmp_path):
    data = np.ones((3, 4), dtype=np.float32)
    data[1, 2] = np.nan
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.fits", fits.PrimaryHDU(data))), data)


@pytest.mark.parametrize("packing", ["plain", "extension", "gzip", "RICE_1", "GZIP_1", "HCOMPRESS_1"])
def test_a_region_is_the_cut_of_the_whole(tmp_path, packing):
    path, hdu = tmp_path / "a.fits", 1
    if packing in ("plain", "gzip"):
        save(path, fits.PrimaryHDU(COUNTS))
        hdu = 0
    elif packing == "extension":
        save(path, fits.PrimaryHDU(), fits.ImageHDU(COUNTS))
    else:
        save(path, fits.PrimaryHDU(), fits.CompImageHDU(COUNTS, compression_type=packing))
    if packing == "gzip":
        packed = tmp_path / "a.fits.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    np.testing.assert_array_equal(read_pixels(path, hdu), COUNTS)
    np.testing.assert_array_equal(read_pixels(path, hdu, REGION), COUNTS[REGION.slices])
    with pytest.raises(FrameError) as caught:
        read_pixels(path, hdu, Section(30, 41, 0, 5))
    assert str(caught.value) == f"section [1:5,31:41] reaches beyond the image of {path}, which has 50 x 40 pixels"


@pytest.mark.filterwarnings("ignore")  # astropy's remarks about truncated files
def test_a_file_that_is_no_image_is_named_with_the_reason(tmp_path):
    plain = save(tmp_path / "plain.fits", fits.PrimaryHDU(COUNTS)).read_bytes()
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    cube = fits.PrimaryHDU(np.zeros((3, 4, 5), dtype=np.float32))
    save(tmp_path / "cube.fits", cube)
    save(tmp_path / "table.fits", fits.PrimaryHDU(), table)
    (tmp_path / "text.fits").write_text("no FITS at all\n" * 50)
    (tmp_path / "empty.fits").write_bytes(b"")
    (tmp_path / "short.fits").write_bytes(plain[:4000])
    (tmp_path / "short.fits.gz").write_bytes(gzip.compress(plain)[:4000])
    (tmp_path / "a-folder.fits").mkdir()
    dimensions = "is not an image of two dimensions; give the HDU or describe the cube's planes"
    for name, hdu, message in (
        ("text.fits", 0, "{path} cannot be read: it is not a FITS file"),
        ("empty.fits", 0, "{path} cannot be read: it is not a FITS file"),
        ("short.fits", 0, "{path} is truncated: its image should end at byte 6880, the file has 4000"),
        ("short.fits.gz", 0, "{path} cannot be read: "),
        ("missing.fits", 0, "{path} cannot be read: No such file or directory"),
        ("a-folder.fits", 0, "{path} cannot be read: Is a directory"),
        ("cube.fits", 0, "HDU 0 of {path} " + dimensions),
        ("table.fits", 1, "HDU 1 of {path} " + dimensions),
        ("table.fits", 0, "HDU 0 of {path} holds no image"),
        ("plain.fits", 3, "{path} has no HDU 3; it has 1"),
    ):
        path = tmp_path / name
        with pytest.raises(FrameError) as caught:
            read_pixels(path, hdu)
        assert str(caught.value).startswith(message.format(path=path)), str(caught.value)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Three ways to pack one image: bytes, suffix, HDU."""
    folder = tmp_path_factory.mktemp("sound")
    small = COUNTS[:12, :20]
    plain = save(folder / "a.fits", fits.PrimaryHDU(small)).read_bytes()
    tiles = save(folder / "b.fits", fits.PrimaryHDU(), fits.CompImageHDU(small)).read_bytes()
    return folder, [(plain, ".fits", 0), (tiles, ".fits.fz", 1), (gzip.compress(plain), ".fits.gz", 0)]


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=120, derandomize=True)
@given(
    st.integers(0, 2),
    st.floats(0.02, 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_whatever_happened_to_a_file_it_is_the_frame_that_is_at_fault(sound, which, part, damages):
    folder, packed = sound
    original, suffix, hdu = packed[which]
    content = bytearray(original)
    for where, value in damages:
        content[int(where * len(content))] = value
    path = folder / f"damaged{suffix}"
    path.write_bytes(content[: int(part * len(content))])
    # Anything but a FrameError passes through and fails the test.
    with suppress(FrameError):
        assert read_pixels(path, hdu).ndim == 2


def test_reading_needs_the_memory_of_one_frame(tmp_path):
    data = np.zeros((1500, 2000), dtype=np.uint16)
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(data))
    result = data.size * 4
    read_pixels(path)
    tracemalloc.start()
    try:
        read_pixels(path)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * result
        tracemalloc.reset_peak()
        read_pixels(path, 0, Section(0, 150, 0, 2000))
        assert tracemalloc.get_traced_memory()[1] < 0.2 * result
    finally:
        tracemalloc.stop()


# --- writing and reading images ---------------------------------------------------------------------------------------


def test_an_image_comes_back_with_its_planes(tmp_path):
    data, variance = RNG.normal(size=(2, 5, 7)).astype(np.float32)
    data[2, 3] = np.nan
    flags = RNG.integers(0, 2048, (5, 7)).astype(np.uint16)
    picture = image(data, "electron", variance=variance, flags=flags, meta={"EXPTIME": 30.0, "FILTER": "r"})
    again = read_image(write(tmp_path / "sub" / "a.fits", picture, {"NFRAMES": 7}))
    np.testing.assert_array_equal(again.data, data)
    np.testing.assert_array_equal(variance_of(again), variance)
    np.testing.assert_array_equal(again.flags, flags)
    np.testing.assert_array_equal(again.mask, (flags & MASKED) != 0)
    for plane in (again.data, variance_of(again)):
        assert plane.dtype == np.float32
        assert plane.dtype.isnative
    assert again.flags.dtype == np.uint16
    assert str(again.unit) == "electron"
    assert (again.meta["EXPTIME"], again.meta["FILTER"], again.meta["NFRAMES"]) == (30.0, "r", 7)


def test_an_image_without_planes_gets_none(tmp_path):
    again = read_image(write(tmp_path / "a.fits", image(np.ones((3, 4)), "adu")))
    assert again.uncertainty is None
    assert again.mask is None
    assert again.flags is None


def test_a_second_writing_keeps_history_and_the_picture(tmp_path):
    picture = image(np.ones((3, 4)), meta={"HISTORY": ["bias", "flat"], "COMMENT": "one line"})
    once = read_image(write(tmp_path / "a.fits", picture))
    twice = read_image(write(tmp_path / "a.fits", once, {"MORE": True}))
    assert list(twice.meta["HISTORY"]) == ["bias", "flat"]
    assert list(twice.meta["COMMENT"]) == ["one line"]
    assert twice.meta["MORE"] is True


def test_what_a_card_cannot_hold_does_not_lose_the_image(tmp_path):
    meta = {"LEVEL": np.nan, "TOP": np.inf, "OBJECT": "H\N{GREEK SMALL LETTER ALPHA}\nin two lines", "LIST": [1, 2]}
    meta |= {"NUMBER": np.float32(1.5), "GOOD": np.bool_(True), "HISTORY": ["5 \N{DEGREE SIGN}C"]}
    again = read_image(write(tmp_path / "a.fits", image(np.ones((3, 4)), meta=meta)))
    assert not {"LEVEL", "TOP", "LIST"} & set(again.meta)
    assert again.meta["OBJECT"] == "H\\u03b1 in two lines"
    assert again.meta["NUMBER"] == 1.5
    assert list(again.meta["HISTORY"]) == ["5 \\xb0C"]


def test_scaling_cards_of_the_raw_file_do_not_touch_the_result(tmp_path):
    meta = {"BZERO": 32768.0, "BSCALE": 2.0, "BITPIX": 16, "NAXIS1": 99}
    again = read_image(write(tmp_path / "a.fits", image(np.full((3, 4), 7.0), meta=meta)))
    np.testing.assert_array_equal(again.data, np.full((3, 4), 7.0))


def test_a_failed_writing_leaves_neither_the_old_file_damaged_nor_a_new_one(tmp_path, monkeypatch):
    path = write(tmp_path / "a.fits", image(np.ones((3, 4))))
    before = path.read_bytes()

    def full(self, file, **options):
        with open(file, "wb") as half:
            half.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    for target in (path, tmp_path / "new.fits"):
        with pytest.raises(OSError, match="No space left"):
            write(target, image(np.zeros((3, 4))))
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]
    assert path.read_bytes() == before


def test_a_file_without_an_image_is_no_image(tmp_path):
    with pytest.raises(OSError, match="holds no image in its first HDU"):
        read_image(save(tmp_path / "a.fits", fits.PrimaryHDU()))
    with pytest.raises(OSError, match="missing"):
        read_image(tmp_path / "missing.fits")
