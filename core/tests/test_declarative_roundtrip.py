"""What `header` writes, `frames` reads: the two are held together by one property."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from albireo import Amplifier, CameraDefinition, DeclarativeInstrument, Frame, Section, iso_to_mjd, load_definition

TABLE = """
name = "roundtrip"
kinds = [
    { kind = "bias", when = { IMAGETYP = "BIAS*" } },
    { kind = "flat", variant = "sky", when = { IMAGETYP = ["SKY FLAT", "SKYFLAT"] } },
    { kind = "flat", variant = "dome", when = { IMAGETYP = "DOME FLAT" } },
    { kind = "science", when = { IMAGETYP = "OBJECT", SHUTTER = true } },
]
[identity]
TELESCOP = ["T1", "T2"]
DETECTOR = "CCD*"
[frame]
filter = { keyword = [["FILTER1", "FILTER2"]], drop = ["OPEN"], values = { "H-A" = "Ha" } }
target = ["OBJECT", "OBJNAME"]
exptime = "EXPTIME"
start = { keyword = "DATE-OBS", time = "UT", offset = -7 }
ra = { keyword = "RA", unit = "hms" }
dec = { keyword = "DEC", unit = "dms" }
airmass = { keyword = "ALT", unit = "altitude" }
temperature = { keyword = "CCDTEMP", unit = "K" }
scale = { keyword = "PIXSCAL", times = "CCDSUM" }
gain = ["GAIN", "GAIN1"]
read_noise = "RN"
saturation = "SATLEVEL"
trim = "TRIMSEC"
overscan = "BIASSEC"
[site]
longitude = { keyword = "LONG", unit = "west" }
latitude = "LAT"
height = "ALTITUDE"
[setup]
binning = "CCDSUM"
window = { keyword = [["X0", "Y0"]], join = "," }
mirror = { keyword = "MIRROR", values = { EXTENDED = "in", HOME = "out" }, default = "out" }
[example]
NAXIS1 = 48
NAXIS2 = 32
"""


class RoundTrip(DeclarativeInstrument, name="roundtrip"):
    """A camera whose header has every kind of rule."""

    table: Path = Field(description="The table.")

    @property
    def camera(self) -> CameraDefinition:
        return load_definition(self.table)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "cam.toml"
    path.write_text(TABLE)
    return RoundTrip(table=path)


def numbers(low, high):
    return st.floats(low, high, allow_subnormal=False).map(lambda value: float(f"{value:.12g}"))


@st.composite
def frames(draw):
    y0, x0 = draw(st.integers(0, 10)), draw(st.integers(0, 10))
    kind, variant = draw(
        st.sampled_from([("bias", ""), ("flat", "sky"), ("flat", "dome"), ("science", ""), ("unknown", "")])
    )
    exptime = draw(numbers(0.0, 1e4))
    start = iso_to_mjd("2000-01-01") + draw(st.integers(0, 40 * 366 * 86400 * 1000)) / 86400e3
    word = st.from_regex(r"[A-Za-z0-9+'/&]{1,8}", fullmatch=True)
    return Frame(
        path="",
        instrument="roundtrip",
        kind=kind,
        variant=variant,
        filter=draw(st.one_of(word.filter(lambda t: t != "OPEN"), st.sampled_from(["Ha", "OPEN", "B-ND"]))),
        target=draw(st.one_of(st.just(""), word, st.tuples(word, word).map(" ".join))),
        exptime=exptime,
        start=start,
        mid=start + exptime / 2 / 86400,
        ra=draw(numbers(0.0, 359.9)),
        dec=draw(numbers(-90.0, 90.0)),
        airmass=draw(numbers(1.0, 5.0)),
        temperature=draw(numbers(-150.0, 30.0)),
        scale=draw(numbers(0.01, 60.0)),
        shape=(32, 48),
        amplifiers=(
            Amplifier(
                Section(y0, draw(st.integers(y0 + 1, 32)), x0, draw(st.integers(x0 + 1, 40))),
                draw(st.one_of(st.none(), st.just(Section(0, 32, 40, 48)))),
                gain=draw(numbers(0.01, 100.0)),
                read_noise=draw(numbers(0.1, 100.0)),
            ),
        ),
        saturation=draw(numbers(100.0, 1e6)),
        site=(draw(numbers(-180.0, 180.0)), draw(numbers(-90.0, 90.0)), draw(numbers(-100.0, 6000.0))),
        setup=(
            ("binning", draw(st.sampled_from(["1 1", "2 2", "3 3"]))),
            ("window", draw(st.sampled_from(["0,0", "17,1024"]))),
            ("mirror", draw(st.sampled_from(["in", "out"]))),
        ),
    )


@given(frames())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_survives_its_own_header(stage, tmp_path_factory, frame):
    path = tmp_path_factory.getbasetemp() / "roundtrip.fits"
    fits.PrimaryHDU(np.zeros(frame.shape, np.uint16), stage.header(frame)).writeto(path, overwrite=True)
    (back,) = stage.frames(path)
    assert stage.owns(fits.getheader(path), path)
    for name in ("instrument", "kind", "variant", "filter", "target", "shape", "setup"):
        assert getattr(back, name) == getattr(frame, name), name
    (mine,), (theirs,) = back.amplifiers, frame.amplifiers
    assert (mine.data, mine.overscan) == (theirs.data, theirs.overscan)
    for name in ("exptime", "airmass", "temperature", "scale", "gain", "read_noise", "saturation"):
        # twenty columns hold at least twelve digits; an altitude near the zenith tells little of the airmass
        close = {"airmass": 1e-9, "temperature": 1e-9}.get(name, 1e-11)
        assert getattr(back, name) == pytest.approx(getattr(frame, name), rel=close, abs=close), name
    assert back.site == pytest.approx(frame.site, rel=1e-11, abs=1e-11)
    half_millisecond = 0.51e-3 / 86400
    assert abs(back.start - frame.start) < half_millisecond
    assert abs(back.mid - frame.mid) < half_millisecond
    assert abs(back.ra - frame.ra) < 0.51e-4 * 15 / 3600
    assert abs(back.dec - frame.dec) < 0.51e-3 / 3600


def test_a_kind_without_a_rule_cannot_be_written(stage):
    with pytest.raises(ValueError, match="roundtrip has no rule for dark frames; it knows bias, flat, science"):
        stage.header(stage.example().replace(kind="dark"))


def test_unknown_values_are_not_written(stage):
    header = stage.header(Frame(path="", kind="science"))
    assert dict(header) == {"TELESCOP": "T1", "DETECTOR": "CCD", "IMAGETYP": "OBJECT", "SHUTTER": True}
    assert math.isnan(stage.example().gain)
