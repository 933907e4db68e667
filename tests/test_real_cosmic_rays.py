"""Cosmic rays on real frames: the pixels that astroscrappy finds with its full median filters, and no others.

It is given the same variance. Within `EDGE` pixels of the edge and `APART` of a saturated one the two have different
rules, and are not compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from albireo import Flag, Frame, Instrument, Registry, flags_of, image, variance_of

EDGE, APART = 12, 8
AGREE = 0.995


def night(data: Path, name: str) -> Path:
    folder = data / name
    if not folder.is_dir():
        pytest.skip(f"there is no set {name} in {data}")
    return folder


def corrected(camera: Instrument, path: Path, constants: dict, masters: dict, *names: str):
    """Read the first frame of a file and correct it."""
    frame: Frame = next(iter(camera.frames(path)))
    if constants:
        frame = frame.replace(amplifiers=tuple(replace(a, **constants) for a in frame.amplifiers))
    picture = camera.read(frame)
    for name in names:
        picture = Registry.discover().get("correction", name).cls().correct(picture, frame, masters)
    return frame, picture


def median_of(pictures: list) -> np.ndarray:
    return np.median([picture.data for picture in pictures], axis=0)


def flat_of(pictures: list):
    flat = median_of([image(p.data / np.median(p.data)) for p in pictures])
    return image(flat, "", variance=np.zeros(flat.shape))


def part(picture, rows: slice, columns: slice):
    """Cut out a part, because the other program takes long."""
    cut = rows, columns
    return image(
        picture.data[cut], str(picture.unit), variance=variance_of(picture)[cut], flags=flags_of(picture)[cut].copy()
    )


def compared(frame: Frame, picture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels found by ours, by the other, and where the two follow the same rules."""
    astroscrappy = pytest.importorskip("astroscrappy")
    ndimage = pytest.importorskip("scipy.ndimage")
    lacosmic = pytest.importorskip("albireo_lacosmic")
    result = lacosmic.CosmicRays().correct(picture, frame, {})
    ours = (flags_of(result) & Flag.COSMIC_RAY) != 0
    before = flags_of(picture)
    saturated = (before & Flag.SATURATED) != 0
    assert not ours[(before & ~np.uint16(Flag.SATURATED)) != 0].any()
    level = float(picture.data[saturated].min()) if saturated.any() else np.inf
    theirs, _ = astroscrappy.detect_cosmics(
        picture.data,
        inmask=picture.mask & ~saturated,
        invar=variance_of(picture),
        satlevel=level,
        gain=1.0,
        sepmed=False,
        cleantype="medmask",
    )
    same = ~ndimage.binary_dilation(picture.mask, np.ones((3, 3)), iterations=APART)
    same[:EDGE], same[-EDGE:], same[:, :EDGE], same[:, -EDGE:] = False, False, False, False
    return ours, theirs, same


def test_a_long_exposure_has_the_rays_that_astroscrappy_finds(data: Path, examples: Path) -> None:
    raw = night(data, "lowell42")
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(examples / "lowell42-camera.toml"))
    constants = {"gain": 3.66, "read_noise": 4.3}  # measured; the header is wrong
    steps = "overscan", "trim", "gain"
    flats = [corrected(camera, path, constants, {}, *steps)[1] for path in sorted((raw / "flat").glob("*011[0-5]*"))]
    (path,) = (raw / "5945").glob("*0159*")
    frame, picture = corrected(camera, path, constants, {"flat": flat_of(flats)}, *steps, "flat")
    ours, theirs, same = compared(frame, part(picture, slice(300, 1000), slice(300, 1000)))
    assert 100 < (ours & same).sum() < 2000
    assert (ours & theirs & same).sum() >= AGREE * max((ours & same).sum(), (theirs & same).sum())


def test_a_short_exposure_has_them_too(data: Path) -> None:
    raw = night(data, "ratir_c1")
    camera = Registry.discover().get("instrument", "ratir").cls()
    bias = median_of([corrected(camera, path, {}, {})[1] for path in sorted((raw / "bias").iterdir())])
    masters = {"bias": image(bias, "adu", variance=np.full(bias.shape, 0.7))}
    darks = [corrected(camera, path, {}, masters, "bias")[1] for path in sorted((raw / "dark").iterdir())]
    dark = median_of(darks)
    masters["dark"] = image(dark, "adu", variance=np.full(dark.shape, 1.2), meta={"EXPTIME": 80.0})
    steps = "bias", "dark", "gain"
    flats = [corrected(camera, path, {}, masters, *steps)[1] for path in sorted((raw / "flat").iterdir())[2:]]
    (path,) = (raw / "object").glob("*110452*")
    frame, picture = corrected(camera, path, {}, {**masters, "flat": flat_of(flats)}, *steps, "flat")
    ours, theirs, same = compared(frame, part(picture, slice(75, 1000), slice(15, 1000)))
    assert 50 < (ours & same).sum() < 1000  # with pixels whose dark current is noisy
    assert (ours & theirs & same).sum() >= AGREE * max((ours & same).sum(), (theirs & same).sum())
