"""The page of the report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, log10

import numpy as np
from numpy.typing import NDArray

from albireo import SECONDS_PER_DAY
from albireo_timing.analysis import CERTAIN, Analysis, Band
from albireo_timing.chart import HUES, Panel, Series, draw, number

__all__ = ["render"]

KNOWN_HUES = {
    **dict.fromkeys(("u", "U", "u'", "up"), "violet"),
    **dict.fromkeys(("B", "g", "g'", "gp"), "blue"),
    **dict.fromkeys(("V", "G"), "green"),
    **dict.fromkeys(("r", "R", "r'", "rp", "Rc"), "red"),
    **dict.fromkeys(("i", "I", "i'", "ip", "Ic"), "gold"),
    **dict.fromkeys(("z", "Z", "z'", "zs", "zp"), "pink"),
    **dict.fromkeys(("Y", "J", "H", "K", "Ks"), "teal"),
}

STYLE = """\
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1c2430;--soft:#566273;--line:#dfe2e6;--grid:#e9ebee;
--span:#f1f4f8;--blue:#2b6cb8;--gold:#b97a0a;--green:#2c8553;--red:#c0392f;--violet:#7a52b3;--teal:#12808c;
--pink:#b8457f;--olive:#6f7a1c;--ink-line:#1c2430}
@media (prefers-color-scheme:dark){:root{--paper:#0e141d;--card:#151d29;--ink:#e6eaf0;--soft:#9fabba;--line:#2a3544;
--grid:#212b39;--span:#1b2534;--blue:#69a8ea;--gold:#e5ac48;--green:#5fbf8a;--red:#ef7a6d;--violet:#b292e6;
--teal:#4dbdc9;--pink:#e784b5;--olive:#b5c04f;--ink-line:#e6eaf0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:66rem;margin:0 auto;padding:1.75rem 1.25rem 4rem}
h1{font-size:clamp(1.6rem,4.5vw,2.3rem);line-height:1.2;margin:.2rem 0 1rem}
h2{font-size:1.35rem;margin:2.2rem 0 .6rem}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:.5rem 0;max-width:52rem}
.soft{color:var(--soft);font-size:.9rem}
.table{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;white-space:nowrap}
th,td{text-align:right;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}
th:first-child,td:first-child{text-align:left}
.chart{margin:.4rem 0 1rem;background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:.7rem 1.3rem .8rem 4.3rem}
.head{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;justify-content:space-between;font-size:.82rem;
margin:.6rem 0 .3rem -3.4rem;color:var(--soft)}
.head b{color:var(--ink)}
.key{white-space:nowrap;margin-left:1rem}
.key i{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:.4rem;background:var(--c)}
.key i.line,.key i.dashed{height:2px;width:16px;border-radius:0;vertical-align:middle}
.key i.dashed{background:repeating-linear-gradient(90deg,var(--c) 0 5px,transparent 5px 8px)}
.panel{position:relative}
svg{position:absolute;inset:0;width:100%;height:100%;border-bottom:1px solid var(--soft);overflow:hidden}
path{fill:none;vector-effect:non-scaling-stroke;stroke:var(--c)}
path.grid{stroke:var(--grid)}
path.span{fill:var(--span);stroke:none}
path.dot{stroke-width:4.5px;stroke-linecap:round}
path.bar{opacity:.5}
path.line{stroke-width:1.4px;stroke-linejoin:round}
path.dashed{stroke-width:1.2px;stroke-dasharray:5 4}
.c-blue{--c:var(--blue)}.c-gold{--c:var(--gold)}.c-green{--c:var(--green)}.c-red{--c:var(--red)}
.c-violet{--c:var(--violet)}.c-teal{--c:var(--teal)}.c-pink{--c:var(--pink)}.c-olive{--c:var(--olive)}
.c-ink{--c:var(--ink-line)}.c-grey{--c:var(--soft)}
.yt,.xt{position:absolute;font-size:.74rem;line-height:1;color:var(--soft);white-space:nowrap}
.yt{right:calc(100% + .5rem);transform:translateY(-50%)}
.xt{top:calc(100% + .4rem);transform:translateX(-50%)}
.xl{font-size:.82rem;color:var(--soft);text-align:center;margin-top:1.4rem}
@media (max-width:34rem){.odd{display:none}main{padding:1.2rem .8rem 3rem}.chart{padding-right:.9rem}}
"""


def render(title: str, found: Sequence[Analysis], tables: Sequence[str]) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
        Of the run.
    found : sequence of Analysis
        A part of the page each.
    tables : sequence of str
        Names of the files in ``timing/``.
    """
    body = "".join(map(_target, found)) or "<p>The run has no light curves.</p>"
    links = ", ".join(f'<a href="timing/{escape(name)}">{escape(name)}</a>' for name in tables)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Time series: {escape(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f'<div class="soft">Albireo, time series</div><h1>{escape(title)}</h1>{body}'
        + (f'<h2>Tables</h2><p class="soft">{links}</p>' if links else "")
        + "</main></body></html>\n"
    )


def _target(one: Analysis) -> str:
    hues = _hues([band.label for band in one.bands])
    parts = [
        f"<h2>{escape(one.target)}</h2>",
        _bands(one),
        _curves(one, hues),
        _periodogram(one, hues),
        _folded(one, hues),
        _spectra(one, hues),
        _lags(one),
    ]
    if one.notes:
        parts.append("<h3>Left out</h3><ul>" + "".join(f"<li>{escape(note)}</li>" for note in one.notes) + "</ul>")
    return "".join(parts)


def _hues(labels: Sequence[str]) -> dict[str, str]:
    """Give each band a colour: the customary one where it is free."""
    given: dict[str, str] = {}
    for label in labels:
        free = [hue for hue in HUES if hue not in given.values()] or list(HUES)
        wish = KNOWN_HUES.get(label.split(" ")[0], "")
        given[label] = wish if wish in free else free[0]
    return given


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><tr>{first}</tr>{body}</table></div>'


def _bands(one: Analysis) -> str:
    rows = []
    for band in one.bands:
        steps = np.diff(band.time) * SECONDS_PER_DAY
        length = float(np.ptp(band.time)) * 24.0 if len(band.time) else float("nan")
        rows.append(
            [
                band.label,
                str(len(band.time)),
                str(band.dropped),
                str(len(one.intervals[band.label])),
                number(length),
                number(float(np.median(steps)) if steps.size else float("nan")),
            ]
        )
    return _table(["band", "points", "left out", "intervals", "length / h", "cadence / s"], rows)


def _span(one: Analysis) -> tuple[float, str]:
    """Unit for times since the first: how many make a day, and its name."""
    length = max((float(np.ptp(band.time)) for band in one.bands if len(band.time)), default=0.0)
    for least, unit, name in ((3.0, 1.0, "d"), (0.2, 24.0, "h"), (0.02, 1440.0, "min")):
        if length >= least:
            return unit, name
    return SECONDS_PER_DAY, "s"


def _curves(one: Analysis, hues: dict[str, str]) -> str:
    shown = [band for band in one.bands if len(band.time)]
    if not shown:
        return ""
    per_day, unit = _span(one)
    ends = [(band.time.min(), band.time.max()) for band in shown]
    high = (max(stop for _, stop in ends) - one.start) * per_day
    bounds = (-0.02 * high, 1.02 * high) if high > 0 else None
    panels = []
    for k, band in enumerate(shown):
        spans = (one.intervals[band.label] - one.start) * per_day
        series = [
            Series(spans[:, 0], spans[:, 1], style="band"),
            Series((band.time - one.start) * per_day, band.flux, band.label, hues[band.label], band.flux_err),
        ]
        last = k == len(shown) - 1
        scale = f"{one.bands[0].meta['TIMESYS'].replace('_', ' ')} − {one.start:.5f}, {unit}" if last else ""
        panels.append(Panel(_flux(band), series, scale, 130, bounds=bounds))
    names = ", ".join(band.label for band in shown)
    return "<h3>Light curves and good-time intervals</h3>" + draw(
        panels, f"Flux of {one.target} against time in {names}; good-time intervals are shaded."
    )


def _flux(band: Band) -> str:
    return f"flux, {band.meta['UNIT']}" if band.meta["UNIT"] else "relative flux"


def _periodogram(one: Analysis, hues: dict[str, str]) -> str:
    p = one.periodogram
    if p is None:
        return ""
    series = [
        Series(p.frequency, power, label, hues[label], style="line")
        for label, power in zip(one.searched, p.bands, strict=True)
    ]
    if len(p.bands) > 1:
        series.append(Series(p.frequency, p.power, "all bands", "ink", style="line"))
    ends = p.frequency[[0, -1]]
    for level, power in p.levels.items():
        series.append(
            Series(
                ends, np.full(2, power), f"false alarm {level:g}" if level == CERTAIN else "", "grey", style="dashed"
            )
        )
    seconds = p.period * SECONDS_PER_DAY
    verdict = "is significant" if p.false_alarm < CERTAIN else "is not significant"
    chance = f"{number(p.false_alarm, 2)}" if p.false_alarm > 1e-99 else "less than 10⁻⁹⁹"
    amplitudes = ", ".join(
        f"{escape(label)}: {with_error(sine.amplitude, sine.amplitude_err)}"
        for label, sine in zip(one.searched, p.sines, strict=True)
    )
    text = (
        f"<p>Highest peak: period {with_error(p.period, p.period_err)} d, that is "
        f"{with_error(seconds, p.period_err * SECONDS_PER_DAY)} s. It {verdict}: white noise makes a peak as high with "
        f"a probability of {chance}. Amplitudes: {amplitudes}.</p>"
    )
    panel = Panel("power (share of the variance)", series, "frequency, 1/d")
    return "<h3>Periodogram</h3>" + text + draw([panel], f"Lomb-Scargle periodogram of {one.target}.")


def with_error(value: float, error: float) -> str:
    """Write a value to the second digit of its error."""
    if not (np.isfinite(error) and error > 0 and np.isfinite(value)):
        return number(value, 6)
    digits = min(12, max(0, 1 - ceil(log10(error) - 1e-9) + 1))
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "\u2212")


def _folded(one: Analysis, hues: dict[str, str]) -> str:
    if not one.phased or one.period is None:
        return ""
    panels = []
    twice: NDArray[np.float64] = np.array([0.0, 1.0])
    shown = [band for band in one.bands if band.label in one.phased]
    for k, band in enumerate(shown):
        f = one.phased[band.label]
        x = (f.phase[None, :] + twice[:, None]).ravel()
        series = [Series(x, np.tile(f.flux, 2), band.label, hues[band.label], np.tile(f.flux_err, 2))]
        panels.append(Panel(_flux(band), series, "phase" if k == len(shown) - 1 else "", 130, bounds=(0.0, 2.0)))
    source = "the recipe" if one.given else "the periodogram"
    text = f'<p class="soft">Period {number(one.period, 9)} d, from {source}; phase zero at {one.t0:.6f}.</p>'
    return "<h3>Folded</h3>" + text + draw(panels, f"Mean flux of {one.target} against phase, shown twice.")


def _spectra(one: Analysis, hues: dict[str, str]) -> str:
    if not one.spectra:
        return ""
    series, facts = [], []
    for label, s in one.spectra.items():
        ends = s.frequency[[0, -1]]
        series.append(Series(s.frequency, s.power, label, hues[label], s.power_err))
        series.append(Series(ends, np.full(2, s.noise), "", hues[label], style="dashed"))
        facts.append(f"{escape(label)}: {s.segments} × {s.points} points")
    text = f'<p class="soft">Segments: {"; ".join(facts)}. Dashed: the noise that the errors of the points make.</p>'
    panel = Panel("power, squared relative rms per Hz", series, "frequency, Hz", 220, log=True)
    return "<h3>Power spectrum</h3>" + text + draw([panel], f"Power spectrum of {one.target} with noise levels.")


def _lags(one: Analysis) -> str:
    if not one.pairs:
        return ""
    rows, series = [], []
    for k, pair in enumerate(one.pairs):
        name = f"{pair.second} behind {pair.first}"
        phase = "–" if pair.phase is None else with_error(pair.phase.phase, pair.phase.phase_err)
        lag, interval = "–", "–"
        if pair.lag is not None:
            lag, interval = number(pair.lag.lag), f"{number(pair.lag.low)} to {number(pair.lag.high)}"
        rows.append([name, lag, interval, number(pair.correlation.peak[1], 3), phase])
        series.append(
            Series(pair.correlation.lag, pair.correlation.correlation, name, HUES[k % len(HUES)], style="line")
        )
    head = ["band behind band", "lag / s", "68 % of trials", "correlation", "phase lag / rad"]
    text = '<p class="soft">A positive lag means that the band named first comes later.</p>'
    panel = Panel("correlation", series, "lag, s")
    return "<h3>Lags</h3>" + _table(head, rows) + text + draw([panel], f"Correlation of bands of {one.target} by lag.")
