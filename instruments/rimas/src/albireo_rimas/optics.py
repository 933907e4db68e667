"""Which filter a frame was taken through, from the wheels in the beam.

Each arm has a wheel of its own (FILTER1 for YJ, FILTER2 for HK) behind a common auxiliary one (FILTER3). The name of
the combination is that of the only filter in the beam, ``AUX+main`` where there are two, ``open`` where there is none
and ``blank`` where one of the wheels closes the beam.
"""

from __future__ import annotations

__all__ = ["WHEELS", "compose", "split"]

WHEELS = {"YJ": "FILTER1", "HK": "FILTER2"}
"""The wheel of each arm; FILTER3 is common to both."""

OPEN, BLANK = "open", "blank"
BANDS = {name.lower(): name for name in ("Y", "J", "H", "K", "Ks")}
"""Names of bands, which match without regard to case; other names keep theirs."""


def compose(auxiliary: str, main: str) -> str:
    """Name what two wheels put into the beam; an empty text stands for a wheel of which nothing is known."""
    names = [_name(auxiliary), _name(main)]
    if BLANK in names:
        return BLANK
    filters = [name for name in names if name and name != OPEN]
    return "+".join(filters) or (OPEN if OPEN in names else "")


def split(name: str) -> tuple[str, str]:
    """Give the names of the auxiliary and the main filter, of which `compose` makes ``name``."""
    if name == BLANK:
        return BLANK, OPEN
    auxiliary, _, main = name.rpartition("+")
    return auxiliary or OPEN, main or OPEN


def _name(text: str) -> str:
    bare = text.strip()
    return bare.lower() if bare.lower() in (OPEN, BLANK) else BANDS.get(bare.lower(), bare)
