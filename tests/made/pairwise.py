"""Few cases out of a product of many, so few that every two values still meet.

What breaks mostly depends on one value or on two together (Kuhn, Wallace and Gallo 2004). Where more than two decide
together, as the options of a kernel do, they are given as one factor, whose values are their combinations.
"""

from itertools import combinations, product


def cross(**factors):
    """Give every combination of the factors' values, as {factor: value}."""
    return [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]


def pairwise(cases):
    """Choose from cases, {factor: value} each, so few that any two values that meet in one of them still meet."""
    return _covering(cases, together=2)


def singly(cases):
    """Choose from cases, {factor: value} each, so few that every value that is in one of them still is."""
    return _covering(cases, together=1)


def _covering(cases, together):
    """Choose next, again and again, the case with the most combinations of so many values that are still missing."""
    combined = [set(combinations(case.items(), together)) for case in cases]
    missing = set().union(*combined)
    chosen = []
    while missing:
        best = max(range(len(cases)), key=lambda i: len(combined[i] & missing))
        missing -= combined[best]
        chosen.append(best)
    return [cases[i] for i in sorted(chosen)]


def label(case):
    """Name a case by its values."""
    return "-".join(map(str, case.values()))
