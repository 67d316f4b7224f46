"""How numbers and names are written: plain text, which the templates escape."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

PUBLISHED = 2  # decimals of published errors
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def published(value: object) -> str:
    """Return a published value as text."""
    return f"{value:.{PUBLISHED}f}" if isinstance(value, float) else str(value)


def code(part: Mapping[Any, Any]) -> str:
    """Say which code a part of one's own was, by the fields of `PartCode`; empty where nothing is known."""
    keys = {"version": "version", "sha256": "source", "commit": "commit"}
    return ", ".join(f"{word} {part[key][:12]}" for key, word in keys.items() if part[key])


def percent(value: float, decimals: int = 1) -> str:
    """Return an error in percent as text."""
    return f"{value:.{decimals}f} %"


def decimals_apart(value: float, other: float) -> int:
    """Return the least number of decimals, one or more, with which two different numbers are written differently."""
    return next((n for n in range(1, 9) if round(value, n) != round(other, n)), 1)


def decimals_adding(value: float, other: float, least: int = 1) -> int:
    """Return the number of decimals for two errors that stand beside their difference: `least`, or one more.

    With these, the `difference` of the errors as written equals the true difference, rounded to `least` decimals,
    wherever one more decimal can bring that about.
    """
    return least if difference(value, other, least) == points(value - other, least) else least + 1


def difference(value: float, other: float, decimals: int = 1) -> str:
    """Return the difference of two errors as text, computed from the errors as they are written."""
    return points(round(value, decimals) - round(other, decimals), decimals)


def points(value: float, decimals: int = 1) -> str:
    """Return a difference of errors as text, with its sign; 0 has no sign."""
    text = number(value, decimals)
    return f"+{text}" if round(value, decimals) > 0 else text


def share(value: float) -> str:
    """Return a part of a whole as text: in percent, or as a power of ten where that would be less than 0.01 %."""
    if 0 < value < 1e-4:  # noqa: PLR2004
        return power(value, 0)
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"  # noqa: PLR2004


def of_roofline(share: float) -> str:
    """Return a share of the roofline as text, in whole percent.

    More than all of it is no finding, and so gets no number: the data came from a cache, or the roofline was measured
    too low, on a busy machine.
    """
    if not share > 0:
        return "-"
    return "> 100 %" if share > 1 else f"{100 * share:,.0f} %" if share >= 0.01 else "<1 %"  # noqa: PLR2004


def interval(low: float, high: float, decimals: int = 1) -> str:
    """Return an interval as text."""
    return f"{number(low, decimals)} to {number(high, decimals)}" if math.isfinite(low) else "-"


def apart(low: float, high: float, decimals: int = 1) -> str:
    """Return an interval of a difference as text, with more decimals where rounding would make an end 0 that is not.

    Args:
        low: its lower end, in points.
        high: its upper end.
        decimals: the fewest.
    """
    while low * high > 0 and 0 in {round(low, decimals), round(high, decimals)}:
        decimals += 1
    return interval(low, high, decimals)


def count(n: float, unit: str) -> str:
    """Return a number of things as text."""
    return f"{n:g} {unit}" if n == 1 else f"{n:g} {unit}s"


def cannot_tell(seeds: float) -> str:
    """Say that so many seeds leave something undecided, as in "five seeds cannot tell" whether an error rises."""
    number = _NUMBERS[int(seeds)] if 0 < seeds < len(_NUMBERS) else f"{seeds:.0f}"
    return f"{number} seed{'' if seeds == 1 else 's'} cannot tell"


def capital(text: str) -> str:
    """Return text that begins a sentence."""
    return text[:1].upper() + text[1:]


def place_of(group: object, groups: Iterable[object]) -> str:
    """Name a family or setting by the parts that differ from the others; empty where there is only one.

    Of `cifar, warmup 0` beside `cifar, warmup 45` that is `warmup 0`; of `cifar` beside `imagenet`, `cifar family`.
    """
    names = [str(name) for name in dict.fromkeys(groups)]
    family, _, label = str(group).partition(", ")
    if len(names) == 1:
        return ""
    if label and all(name.startswith(f"{family}, ") for name in names):
        return label
    return f"{family} family, {label}" if label else f"{family} family"


def within(group: object, groups: Iterable[object]) -> str:
    """Name a family or setting in brackets, to be put behind a statement about it; empty where there is only one."""
    return f" ({where})" if (where := place_of(group, groups)) else ""


def of_group(group: object, groups: Iterable[object], sentence: str) -> str:
    """Begin a sentence with the family or setting that it is about, where there are several."""
    where = place_of(group, groups)
    if not where:
        return capital(sentence)
    return f"In the {where}, {sentence}" if " family" in where else f"{capital(where)}: {sentence}"


def listed(names: Iterable[str]) -> str:
    """Name several things in a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def minus(text: str) -> str:
    """Give numbers and differences in a text of a page or figure a true minus; names and ranges keep their hyphens."""
    return re.sub(r"(?<![\w-])-(?=\d)|(?<=\S )-(?= \S)", "\N{MINUS SIGN}", text)


def number(value: float, decimals: int = 1) -> str:
    """Return a number as text, without a minus before a zero; a dash for what is not finite."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}" if math.isfinite(value) else "-"


def digits(value: float) -> str:
    """Return a number as text, with three digits or all of its whole ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


def spread(least: float, most: float, rounds: int) -> str:
    """Return the range of several rounds as text; a single one has none."""
    return f"{digits(least)} to {digits(most)}" if rounds > 1 else "one round"


def power(value: float, decimals: int = 1) -> str:
    """Return a number as text like 2.1e-7, whatever its size."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def p_value(p: float) -> str:
    """Return a p value as text."""
    return "< 0.001" if p < 0.001 else number(p, 3)  # noqa: PLR2004
