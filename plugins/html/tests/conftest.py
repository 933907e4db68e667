"""A finished run folder with known numbers, written as the engine writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from albireo import Flag, Results, image, mjd_to_iso, write_image

MJD0 = 58107.20
STARS = 40
VARIABLE, SATURATED = 17, 1
RECIPE = """\
[recipe]
title = "WASP-12 b"

[instrument]
use = "lmi"

[[masters]]
use = "combine"
kind = "flat"
method = "clipped mean"

[[corrections]]
use = "overscan"

[[corrections]]
use = "flat"

[alignment]
use = "astroalign"

[[photometry]]
use = "aperture"
radius = [4.0, 6.0]

[[curves]]
use = "differential"
"""


def transit(hours: np.ndarray, depth: float = 0.015) -> np.ndarray:
    """A trapezoid of 2.4 h with a quarter of an hour of ingress, in the middle of a run of 5 h."""
    return 1 - depth * np.clip((1.2 - np.abs(hours - 2.5)) / 0.25, 0, 1)


class Night:
    """Options of a run folder; `write` makes it."""

    def __init__(self, **options: Any) -> None:
        self.frames = 40
        self.filters: tuple[str, ...] = ("g", "r")
        self.target: str | None = "WASP-12 b"
        self.curves = True
        self.masters = True
        self.fields = True
        self.failed = False
        self.title = "WASP-12 b, two filters"
        self.warnings: tuple[str, ...] = ("the position of the field is not known",)
        self.notes: tuple[str, ...] = ("gain 3.66 from the recipe; the header says 4.95 (50 frames)",)
        self.reason = "mean level 61234 adu is above 0.8 of saturation"
        self.side = 240
        self.times = True
        self.cutouts = False
        self.gap = 0.0
        """Hours between the first half of the science frames and the second, besides the usual step."""
        self.flip = False
        """The second half of the night is turned by half a turn about the middle of the image."""
        self.stack = 0
        """A stack of the field that begins so many pixels before the reference; 0 for none. Its stars are wider."""
        self.noise = False
        """The table of stars has the parts of the error, limits and what the run thinks of variables."""
        for name, value in options.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def write(self, folder: Path) -> Results:
        rng = np.random.default_rng(7)
        folder.mkdir(parents=True, exist_ok=True)
        self.x, self.y = rng.uniform(10, self.side - 10, (2, STARS))
        self.flux = np.sort(10 ** rng.uniform(3.3, 6.2, STARS))[::-1]
        frames = self._frames(rng)
        frames.write(folder / "frames.ecsv", format="ascii.ecsv")
        curves, stars, photometry = self._photometry(rng, frames)
        (folder / "curves").mkdir(exist_ok=True)
        paths, files = [], []
        for curve in curves:
            stem = f"curves/star {curve.meta['SOURCE']} {curve.meta['FILTER']}"
            names = [f"{stem}_{self._label(curve)}.ecsv"]
            if curve.meta["APERTURE"] == self._chosen(stars, curve.meta["FILTER"]):
                paths.append(f"{stem}.ecsv")
                names.append(paths[-1])
            for name in names:
                curve.write(folder / name, format="ascii.ecsv")
            files += names
        if self.noise:
            self._known_noise(stars)
        stars.write(folder / "stars.ecsv", format="ascii.ecsv")
        if self.cutouts:
            self._cutouts(frames).write(folder / "cutouts.fits")
        photometry.write(folder / "photometry.fits")
        fates = list(frames["fate"])
        summary = {
            "title": self.title,
            "command": "albireo run wasp12.toml night --out run",
            "started": "2026-03-01T10:00:00",
            "finished": "2026-03-01T10:00:42",
            "seconds": 42.4,
            "versions": {"albireo-core": "0.1.0", "albireo-html": "0.1.0", "numpy": "2.4.0"},
            "counts": {fate: fates.count(fate) for fate in ("used", "dropped", "failed", "unused")},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "citations": ["Broeg, Fernández & Neuhäuser 2005, AN 326, 134"],
            "masters": self._masters(rng, folder) if self.masters else [],
            "fields": self._field(rng, folder) if self.fields else [],
            "stacks": self._stack(rng, folder) if self.stack else [],
            "curves": paths,
            "files": files,
            "bands": [],
            "ensembles": list({repr(one): one for one in map(self._ensemble, curves)}.values()),
            "timing": {"index": 0.8, "masters": 3.2, "frames": 30.1, "curves": 1.2, "reports": 0.9},
        }
        (folder / "run.json").write_text(json.dumps(summary))
        (folder / "run.toml").write_text(RECIPE)
        return Results(folder)

    @staticmethod
    def _label(curve: Table) -> str:
        return f"aperture-r{curve.meta['APERTURE']:g}"

    @staticmethod
    def _chosen(stars: Table, band: str) -> float:
        """The aperture with which the comparison stars scatter least."""
        served = stars[(stars["filter"] == band) & (stars["comparison"] > 0)]
        radii = np.unique(served["aperture"])
        return float(min(radii, key=lambda radius: np.median(served["scatter"][served["aperture"] == radius])))

    @classmethod
    def _ensemble(cls, curve: Table) -> dict[str, Any]:
        """What the engine keeps of the step that made a curve: here a sky that loses a tenth in five hours."""
        hours = (np.asarray(curve["time"]) - 2400000.5 - MJD0) * 24
        return {
            "field": "WASP-12",
            **{key.lower(): curve.meta[key] for key in ("FILTER", "DETECTOR", "METHOD", "APERTURE")},
            "frames": list(curve["frame"]),
            "label": cls._label(curve),
            "comparisons": {str(star): weight for star, weight in curve.meta["COMPARISONS"].items()},
            "steps": {"differential": {"transparency": [float(v) for v in 1 - 0.1 * hours / 5]}},
        }

    @staticmethod
    def _known_noise(stars: Table) -> None:
        """Parts that add up to the expected error, and star 9 as the only variable."""
        flux, total = np.asarray(stars["flux"], dtype=float), np.asarray(stars["expected"], dtype=float)
        stars["noise_source"] = np.sqrt(1 / flux)
        stars["noise_read"] = np.sqrt(np.clip(total**2 - 1 / flux, 0, None))
        stars["noise_scintillation"] = np.zeros(len(stars))
        stars["limit"], stars["mag"] = total, -2.5 * np.log10(flux / 30)
        stars["excess"] = np.where(np.asarray(stars["source"]) == 9, 12.5, 0.3)
        stars["variable"] = np.asarray(stars["source"]) == 9

    def _cutouts(self, frames: Table) -> Table:
        """The target in every used frame: a star that grows brighter from frame to frame, on a sky of 900."""
        used = frames[(frames["kind"] == "science") & (frames["fate"] == "used")]
        y, x = np.indices((33, 33)) - 16.0
        star = np.exp(-(x**2 + y**2) / 8)
        rng = np.random.default_rng(5)
        pixels = 900 + (1000 + 100 * np.arange(len(used)))[:, None, None] * star + rng.normal(0, 5, (len(used), 33, 33))
        return Table(
            {
                "field": ["WASP-12"] * len(used),
                "source": np.zeros(len(used), dtype=np.int32),
                "frame": list(used["name"]),
                "x0": np.full(len(used), 100, dtype=np.int32),
                "y0": np.full(len(used), 200, dtype=np.int32),
                "pixels": pixels.astype(np.float32),
            }
        )

    def _frames(self, rng: np.random.Generator) -> Table:
        rows: list[dict[str, Any]] = []
        blank = dict.fromkeys(
            ["dx", "dy", "rotation", "scale", "align_rms", "fwhm", "elongation", "sky", "sky_rms", "airmass"],
            float("nan"),
        )
        for k, band in enumerate([band for band in self.filters for _ in range(5)]):
            over = k % 5 == 4
            rows.append(
                {
                    **blank,
                    "name": f"flat.{k:04d}.fits",
                    "kind": "flat",
                    "filter": band,
                    "mjd_mid": MJD0 - 0.2 + k / 1440,
                    "fate": "dropped" if over else "used",
                    "stage": "select level" if over else "",
                    "reason": self.reason.replace("61234", str(61234 + k)) if over else "",
                }
            )
        for k in range(self.frames):
            hours = 5 * k / max(self.frames - 1, 1) + (self.gap if k >= self.frames // 2 else 0.0)
            fate, stage, reason = "used", "", ""
            if self.failed or (self.frames > 20 and k == 11):
                fate, stage, reason = "failed", "align", "no star to align with <twilight & cloud>"
            measured = {
                "dx": 2.0 * hours + rng.normal(0, 0.3),
                "dy": -1.2 * hours + rng.normal(0, 0.3),
                "rotation": 0.01 * hours,
                "scale": 1 + rng.normal(0, 1e-5),
                "align_rms": 0.06 + rng.exponential(0.01),
                "fwhm": 4.1 + 0.4 * np.sin(hours) + rng.normal(0, 0.1),
                "elongation": 1.06 + rng.exponential(0.02),
                "sky": 900 + 80 * (hours - 2.5) ** 2,
                "sky_rms": 35.0,
            }
            if self.flip and k >= self.frames // 2:
                # About the middle of the image: pixel (0, 0) goes to the opposite corner.
                measured |= {"rotation": 180.0, "scale": 1.0}
                measured |= {name: measured[name] + self.side - 1 for name in ("dx", "dy")}
            rows.append(
                {
                    **blank,
                    **(measured if fate == "used" else {}),
                    "name": f"night/wasp12.{k:04d}.fits",
                    "kind": "science",
                    "filter": self.filters[k % len(self.filters)],
                    "mjd_mid": MJD0 + hours / 24,
                    "fate": fate,
                    "stage": stage,
                    "reason": reason,
                    "airmass": 1.1 + 0.06 * (hours - 2) ** 2,
                }
            )
        if not self.times:
            for row in rows:
                row["mjd_mid"] = float("nan")
        names = [row["name"] for row in rows]
        science = np.array([row["kind"] == "science" for row in rows])
        table = Table(rows=rows) if rows else Table(names=list(blank))
        table["path"] = [f"/data/{name}" for name in names]
        table["hdu"], table["instrument"], table["detector"] = 0, "lmi", ""
        table["variant"], table["target"] = "", np.where(science, "WASP-12", "")
        table["field"] = table["target"]
        table["exptime"], table["gain"], table["read_noise"], table["saturation"] = 30.0, 3.66, 6.6, 65535.0
        table["mid"] = [mjd_to_iso(row["mjd_mid"]) for row in rows]
        table["start"], table["setup"] = table["mid"], "2x2"
        table["masters"] = np.where(science, "flat-g", "")
        table["notes"] = "gain 3.66 from the recipe; the header says 4.95; read noise from the instrument"
        for name, value in (("matched", 31), ("sources", 44), ("saturated", 2)):
            table[name] = value
        return table

    def _photometry(self, rng: np.random.Generator, frames: Table) -> tuple[list[Table], Table, Table]:
        curves, stars, rows = [], [], []
        comparisons = {3: 0.5, 5: 0.3, 8: 0.2}
        for band in self.filters if self.curves else ():
            used = frames[(frames["kind"] == "science") & (frames["fate"] == "used") & (frames["filter"] == band)]
            hours = (np.asarray(used["mjd_mid"]) - MJD0) * 24
            if not len(used):
                continue
            for radius in (4.0, 6.0):
                error = np.sqrt(1 / self.flux + (radius * 60 / self.flux) ** 2 + 1e-7)
                spread = error * rng.normal(1.05, 0.05, STARS)
                spread[[VARIABLE, SATURATED]] = 9 * error[[VARIABLE, SATURATED]]
                relative = 1 + rng.normal(0, 1, (len(used), STARS)) * spread
                relative[:, 0] *= transit(hours)
                measured = relative * self.flux * (1 - 0.1 * hours[:, None] / 5)
                for row, frame in enumerate(used["name"]):
                    for star in (0, 3, 5, 8):
                        rows.append((frame, star, band, radius, measured[row, star], error[star] * self.flux[star]))
                named = [(self.target or "", 0)] if self.target else [("star 1", 1), ("star 2", 2)]
                for name, star in named:
                    flags = np.zeros(len(used), dtype=int)
                    flags[:1] = int(Flag.SATURATED) if len(used) > 5 else 0
                    curves.append(
                        Table(
                            {
                                "time": np.asarray(used["mjd_mid"]) + 2400000.5 + 0.003,
                                "flux": relative[:, star] if star != 2 else np.full(len(used), np.nan),
                                "flux_err": np.full(len(used), error[star]),
                                "airmass": used["airmass"],
                                "flags": flags,
                                "frame": list(used["name"]),
                            },
                            meta={
                                "OBJECT": name,
                                "SOURCE": star,
                                "FIELD": "WASP-12",
                                "FILTER": band,
                                "DETECTOR": "",
                                "METHOD": "aperture",
                                "APERTURE": radius,
                                "UNIT": "",
                                "TIMESYS": "BJD_TDB",
                                "COMPARISONS": comparisons,
                                "SCATTER": float(spread[star]),
                                "EXPECTED": float(error[star]),
                            },
                        )
                    )
                stars.append(
                    Table(
                        {
                            "field": ["WASP-12"] * STARS,
                            "sky": ["WASP-12"] * STARS,
                            "target": ["WASP-12"] * STARS,
                            "detector": [""] * STARS,
                            "filter": [band] * STARS,
                            "method": ["aperture"] * STARS,
                            "aperture": np.full(STARS, radius),
                            "source": np.arange(STARS),
                            "name": [self.target if self.target and k == 0 else "" for k in range(STARS)],
                            "flux": self.flux,
                            "scatter": spread,
                            "expected": error,
                            "points": np.full(STARS, len(used)),
                            "comparison": [comparisons.get(k, 0.0) for k in range(STARS)],
                            "flags": [int(Flag.SATURATED) if k == SATURATED else 0 for k in range(STARS)],
                        }
                    )
                )
        names = ("frame", "source", "filter", "aperture", "flux", "flux_err")
        photometry = (
            Table(rows=rows, names=names) if rows else Table(names=names, dtype=("U9", int, "U9", float, float, float))
        )
        photometry["method"] = np.full(len(photometry), "aperture")
        photometry["flags"] = np.zeros(len(photometry), dtype=np.int32)
        if len(photometry):
            # In four frames the heaviest comparison star lies on a dead pixel.
            dead = np.isin(photometry["frame"], np.unique(photometry["frame"])[4:8]) & (photometry["source"] == 3)
            photometry["flags"][dead] = int(Flag.BAD)
        every = [
            "field",
            "sky",
            "target",
            "detector",
            "filter",
            "method",
            "aperture",
            "source",
            "name",
            "flux",
            "scatter",
            "expected",
            "points",
            "comparison",
            "flags",
        ]
        return curves, _stack(stars, every), photometry

    def _masters(self, rng: np.random.Generator, folder: Path) -> list[dict[str, Any]]:
        y, x = np.indices((self.side, self.side)) / self.side - 0.5
        entries = []
        for band in self.filters:
            data = 1 - 0.2 * (x**2 + y**2) + 0.05 * y + rng.normal(0, 0.003, x.shape)
            flags = np.zeros(x.shape, dtype=np.uint16)
            flags[:, 30] = Flag.BAD
            path = f"masters/flat-{band}.fits"
            write_image(folder / path, image(data, "", variance=np.full(x.shape, 9e-6), flags=flags))
            entries.append(
                {
                    "name": f"flat-{band}",
                    "kind": "flat",
                    "path": path,
                    "frames": [f"flat.{k:04d}.fits" for k in range(4)],
                    "serves": self.frames // len(self.filters),
                    "meta": {"NCOMBINE": 4, "METHOD": "clipped mean"},
                }
            )
        return entries

    def _sky(self, variance: float, border: int = 0) -> np.ndarray:
        """The stars as Gaussians, on an image that reaches farther than the reference by a border on all sides."""
        rows, columns = np.indices((self.side + 2 * border,) * 2) - border
        stars = zip(self.x, self.y, self.flux / (6 * variance), strict=True)
        return sum(f * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * variance)) for x, y, f in stars)

    def _stack(self, rng: np.random.Generator, folder: Path) -> list[dict[str, Any]]:
        data = self._sky(12.0, self.stack)  # twice as wide as on the reference
        cards = {"LTV1": float(self.stack), "LTV2": float(self.stack)}
        write_image(folder / "stacks/WASP-12-g.fits", image(data + rng.normal(0, 5, data.shape), "electron"))
        entry = {"name": "WASP-12-g", "path": "stacks/WASP-12-g.fits", "field": "WASP-12", "filter": "g"}
        return [{**entry, "frames": [f"night/wasp12.{k:04d}.fits" for k in range(20)], "meta": cards}]

    def _field(self, rng: np.random.Generator, folder: Path) -> list[dict[str, Any]]:
        data = rng.normal(900, 30, (self.side, self.side)) + self._sky(3.0)
        write_image(folder / "fields/wasp12.fits", image(data, "electron"))
        catalogue = Table(
            {
                "id": np.arange(STARS),
                "x": self.x,
                "y": self.y,
                "flux": self.flux,
                "name": [self.target if self.target and k == 0 else "" for k in range(STARS)],
            }
        )
        (folder / "catalogues").mkdir(exist_ok=True)
        catalogue.write(folder / "catalogues/wasp12.ecsv", format="ascii.ecsv")
        return [
            {
                "name": "WASP-12",
                "target": "WASP-12",
                "detector": "",
                "reference": "night/wasp12.0000.fits",
                "image": "fields/wasp12.fits",
                "catalogue": "catalogues/wasp12.ecsv",
            }
        ]


def _stack(tables: list[Table], names: list[str]) -> Table:
    from astropy.table import vstack

    if not tables:
        texts = {"field", "sky", "target", "detector", "filter", "method", "name"}
        return Table(names=names, dtype=["U1" if name in texts else float for name in names])
    return vstack(tables)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Results]:
    """Write a run folder, once for the same options; keywords are attributes of `Night`."""

    @cache
    def write(**options: Any) -> Results:
        return Night(**options).write(tmp_path_factory.mktemp("night") / "run")

    return write
