"""What each sample is: by a card, by its file name, by its folder; else by what its pixels and its exposure time tell.

A card tells the kinds if its values are words of the field in every file. The words of the card that is chosen go into
the rules as they stand. Where nothing in a header or a name tells, rules name the single files, so that at least these
samples are understood.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from albireo.headers import as_float
from albireo.survey.findings import GIVE, Certainty, Finding, plural
from albireo.survey.looks import Look, Looks
from albireo.survey.samples import Sample, Samples

__all__ = ["Kind", "Sorted", "kind_of_words", "sort_kinds"]

TYPE_CARDS = ("OBSTYPE", "IMAGETYP", "IMGTYPE", "EXPTYPE", "FRAMETYP", "FRAME", "OBJTYPE", "IMTYPE", "DATATYPE", "TYPE")
"""Cards that tell the kind of a frame at many telescopes, the most usual first."""

EXPOSURE_CARDS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "ITIME", "INTTIME", "EXPOSED", "TEXP")

SHORTEST = 0.01
"""Exposures shorter than this, in s, are bias frames whatever they are called."""

_WORDS: tuple[tuple[str, str, str], ...] = (
    # What stands first counts: a dark for flats is a dark, a sky flat is a flat.
    (r"flat[ _-]?darks?|dark[ _-]?flats?|darks?|darkframes?", "dark", ""),
    (r"bias(es)?|zeros?|biasframes?|zeroframes?", "bias", ""),
    (
        r"sky[ _-]?flats?|twi(light|l)?[ _-]?flats?|evening flats?|morning flats?|dusk[ _-]?flats?|dawn[ _-]?flats?",
        "flat",
        "sky",
    ),
    (r"dome[ _-]?flats?", "flat", "dome"),
    (r"flats?|flat[ _-]?fields?|flatframes?|lampflats?|internalflats?", "flat", ""),
    (r"focus|pointing|test|acquisition|acquire|arcs?|comp(arison)?|lamps?|guide", "other", ""),
    (r"objects?|science|sci|lights?|lightframes?|expose|exposure|target|obj", "science", ""),
    (r"sky|skies", "sky", ""),
)
_PATTERNS = tuple((re.compile(rf"(?<![a-z])({words})(?![a-z])"), kind, variant) for words, kind, variant in _WORDS)

_LETTERS = {"b": "bias", "z": "bias", "d": "dark", "f": "flat", "o": "science", "s": "science"}
"""Last letter of the name of a file, at observatories that tell the kind so."""


@dataclass(frozen=True)
class Kind:
    """Kind and variant of a frame, as `albireo.Frame` has them."""

    kind: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.variant})" if self.variant else self.kind


@dataclass(frozen=True, eq=False)
class Sorted:
    """The samples by kind.

    Attributes
    ----------
    finding : Finding
        Its rule is the list of rules of a definition.
    kinds : dict
        Name of a sample to its kind.
    by_name : bool
        Whether names of files tell the kinds.
    """

    finding: Finding
    kinds: Mapping[str, str]
    by_name: bool = False

    def of(self, samples: Samples, kind: str) -> list[Sample]:
        """Give the samples of a kind."""
        return [sample for sample in samples if self.kinds.get(sample.name) == kind]


def kind_of_words(text: str) -> Kind | None:
    """Give the kind that a text speaks of; None if it names none."""
    small = text.lower().replace("_", " ")
    return next((Kind(kind, variant) for pattern, kind, variant in _PATTERNS if pattern.search(small)), None)


@dataclass(frozen=True, eq=False)
class _Way:
    """One way to tell the kinds, with what it says of each file and the rule for each kind."""

    name: str
    said: list[Kind | None]
    rules: list[dict[str, Any]]

    @property
    def coverage(self) -> float:
        return sum(kind is not None for kind in self.said) / len(self.said)

    @property
    def classes(self) -> set[str]:
        return {kind.kind for kind in self.said if kind is not None}


def sort_kinds(samples: Samples, looks: Looks) -> Sorted:
    """Say what each sample is.

    Parameters
    ----------
    samples : Samples
    looks : Looks
        Used where words do not suffice, and to see whether what is called a bias looks like one.
    """
    cards, names = _card_ways(samples), _name_ways(samples)
    complete = [way for way in (*cards, *names) if way.coverage == 1.0 and (way in cards or len(way.classes) > 1)]
    # A field is named by its object; where OBJECT says "flat" for flats, it seldom tells what the rest is.
    partial = [way for way in (*cards, *names) if way not in complete and way.classes]
    others = tuple(
        _not_chosen(way, complete[0] if complete else None, samples)
        for way in (*complete[1:], *partial)
        if way in cards or len(way.classes) > 1
    )
    if complete:
        best = complete[0]
        kinds = {s.name: k.kind for s, k in zip(samples, best.said, strict=True) if k is not None}
        doubts = _doubts(samples, kinds, looks)
        value = _counted(kinds.values())
        how = f"by {best.name}" + (f"; but {'; '.join(doubts)}" if doubts else "")
        certainty: Certainty = "unverified" if doubts else "header" if best in cards else "inferred"
        return Sorted(Finding("kind", value, how, certainty, best.rules, others), kinds, best in names)
    return _by_pixels(samples, looks, partial, others)


def _card_ways(samples: Samples) -> list[_Way]:
    """Cards whose values are words for kinds, the best first."""
    found: list[tuple[tuple[float, ...], _Way]] = []
    for key in samples.keys:
        known = key in TYPE_CARDS
        values = samples.distinct(key)
        if not all(isinstance(value, str) for value in values) or len(values) > max(8, len(samples) // 2):
            continue
        said = [kind_of_words(text) if text else None for text in samples.texts(key)]
        way = _Way(key, said, [])
        # A card of unknown name must tell several kinds apart to be believed.
        if not (way.classes and (known or len(way.classes) > 1)):
            continue
        rules: dict[Kind, list[str]] = {}
        for value in values:
            kind = kind_of_words(value)
            if kind is not None:
                rules.setdefault(kind, []).append(value)
        listed = [_rule(kind, when={key: words[0] if len(words) == 1 else words}) for kind, words in _ordered(rules)]
        rank = (way.coverage, known, len(way.classes), -TYPE_CARDS.index(key) if known else -99.0, -len(values))
        found.append((rank, _Way(key, said, listed)))
    return [way for _, way in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _name_ways(samples: Samples) -> list[_Way]:
    """Ways to tell kinds by names: a word in it, its last letter, the folder."""
    paths = [PurePosixPath(sample.name) for sample in samples]
    stems = [re.sub(r"(\.(fits?|fts|fz|gz))+$", "", path.name.lower()) for path in paths]
    ways = []

    def way(name: str, tell: Callable[[int], tuple[Kind, str] | None]) -> None:
        told = [tell(index) for index in range(len(paths))]
        rules: dict[Kind, list[str]] = {}
        for answer in told:
            if answer is not None and answer[1] not in rules.setdefault(answer[0], []):
                rules[answer[0]].append(answer[1])
        listed = [_rule(kind, file=pattern) for kind, patterns in _ordered(rules) for pattern in patterns]
        ways.append(_Way(name, [answer[0] if answer else None for answer in told], listed))

    def by_word(index: int) -> tuple[Kind, str] | None:
        for word in re.findall(r"[a-z]+", stems[index]):
            kind = kind_of_words(word)
            if kind is not None:
                return kind, f"*{word}*"
        return None

    def by_letter(index: int) -> tuple[Kind, str] | None:
        match = re.search(r"\d[a-z]*([bzdfos])$|[^a-z]([bzdfos])$", stems[index])
        if match is None:
            return None
        letter = match[1] or match[2]
        ending = paths[index].name.lower()[len(stems[index]) :][:4]  # .fit also fits .fits.fz
        return Kind(_LETTERS[letter]), f"*{letter}{ending}*"

    def by_folder(index: int) -> tuple[Kind, str] | None:
        for folder in reversed(paths[index].parts[:-1]):
            kind = kind_of_words(folder)
            if kind is not None:
                return kind, f"*/{folder.lower()}/*"
        return None

    way("a word in the name of the file", by_word)
    way("the last letter of the name of the file", by_letter)
    way("the folder of the file", by_folder)
    return ways


def _rule(kind: Kind, **condition: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"kind": kind.kind}
    if kind.variant:
        rule["variant"] = kind.variant
    return rule | condition


def _ordered(rules: Mapping[Kind, list[str]]) -> list[tuple[Kind, list[str]]]:
    order = ("bias", "dark", "flat", "other", "sky", "science")
    return sorted(rules.items(), key=lambda item: (order.index(item[0].kind), item[0].variant))


def _not_chosen(way: _Way, best: _Way | None, samples: Samples) -> str:
    if way.coverage < 1.0:
        silent = plural(round((1 - way.coverage) * len(samples)), "file")
        return f"{way.name}: tells {', '.join(sorted(way.classes))}, and nothing of {silent}"
    if best is not None and [k and k.kind for k in way.said] == [k and k.kind for k in best.said]:
        return f"{way.name}: says the same"
    return f"{way.name}: says something else ({_counted([k.kind for k in way.said if k])})"


def _counted(kinds: Any) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in Counter(kinds).most_common())


def exposures_of(samples: Samples) -> list[float | None]:
    """Exposure times by the first usual card that all files have."""
    for key in EXPOSURE_CARDS:
        numbers = samples.numbers(key)
        if all(number is not None for number in numbers):
            return numbers
    return [None] * len(samples)


def _doubts(samples: Samples, kinds: Mapping[str, str], looks: Looks) -> list[str]:
    """Say where names of kinds contradict physics."""
    doubts = []
    times = dict(zip((s.name for s in samples), exposures_of(samples), strict=True))
    long = [name for name, kind in kinds.items() if kind == "bias" and (times[name] or 0.0) > 1.0]
    if long:
        doubts.append(f"{plural(len(long), 'bias')} exposed for more than 1 s ({long[0]})")
    sizes = samples.sizes()[0][0]
    own = [sample for sample in samples if sample.size == sizes]
    bias = [look.level for _, look in looks.of([s for s in own if kinds.get(s.name) == "bias"][:5])]
    flats = looks.of([s for s in own if kinds.get(s.name) == "flat"][:5])
    if bias and flats:
        dark = [sample.name for sample, look in flats if look.level < np.median(bias) + 5.0 * max(look.noise, 1.0)]
        if dark:
            doubts.append(f"{plural(len(dark), 'flat')} without light ({dark[0]})")
    return doubts


def _by_pixels(samples: Samples, looks: Looks, partial: list[_Way], others: tuple[str, ...]) -> Sorted:
    """Tell kinds where no words do: what a partial way says, exposures of no time, frames without stars."""
    hints: dict[str, Kind] = {}
    rules: list[dict[str, Any]] = []
    how = []
    if partial and partial[0].coverage > 0:
        hints = {s.name: kind for s, kind in zip(samples, partial[0].said, strict=True) if kind is not None}
        rules += partial[0].rules
        how.append(f"{partial[0].name} as far as it tells")
    key = next((k for k in EXPOSURE_CARDS if samples.coverage(k) == 1.0), "")
    kinds = {name: kind.kind for name, kind in hints.items()}
    for sample in samples:
        time = as_float(sample.cards.get(key))
        if sample.name not in kinds and time is not None and time < SHORTEST and key:
            kinds[sample.name] = "bias"
    if any(kind == "bias" and name not in hints for name, kind in kinds.items()):
        rules.append({"kind": "bias", "when": {key: 0}})
        how.append(f"{key} = 0 for bias")
    rest = [sample for sample in samples if sample.name not in kinds]
    seen = looks.of(rest)
    if len(seen) > 1:
        floor = min(look.level for _, look in seen)
        zero = [look.level for s, look in looks.of(s for s in samples if kinds.get(s.name) == "bias")]
        floor = min([floor, *zero])
        for sample, look in seen:
            guess = _guess(look, floor, sample.converter)
            if guess:
                kinds[sample.name] = guess
                rules.append({"kind": guess, "file": PurePosixPath(sample.name).name})
        if any(rule.get("file") and rule["kind"] == "flat" for rule in rules):
            how.append("even, bright frames for flats, each by its name")
    rules.append({"kind": "science"})
    for sample in samples:
        kinds.setdefault(sample.name, "science")
    said = f"{'; '.join(how)}; all else" if how else "no card, name or look tells them apart; all"
    return Sorted(
        Finding(
            "kind",
            f"{_counted(kinds.values())}; how bias, dark and flat are told is {GIVE}",
            f"{said} taken as science",
            "unverified",
            rules,
            others,
        ),
        kinds,
    )


def _guess(look: Look, floor: float, converter: float) -> str:
    """Tell a flat by its level and its evenness: of a sky, photon noise is small against such a level."""
    if look.level - floor > 0.05 * min(converter, 65535.0) and look.noise < 0.05 * (look.level - floor):
        return "flat"
    return ""
