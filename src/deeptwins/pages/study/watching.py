"""The page of a study while it is trained: that of its finished runs, and how far the others are, as records come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins.findings import frames
from deeptwins.findings.comparisons import CELL
from deeptwins.findings.frames import FINISHED, Frames
from deeptwins.pages import page as pages
from deeptwins.pages.listing import write_index
from deeptwins.pages.page import Page, Section
from deeptwins.pages.study import commands, facts, figures
from deeptwins.pages.study.page import PAGE
from deeptwins.pages.tables import Column, Table, shorten
from deeptwins.pages.wording import count, percent
from deeptwins.study import Study

REFRESH_SECONDS = 5  # after which a browser reads the page again
TITLE = "In training"


class Renewed:
    """A study's page, written anew when records have come. Figures of finished runs are drawn when one more has."""

    def __init__(self, results: Path, reports: Path) -> None:
        self._results, self._reports = results, reports
        self._study: Study | None = None
        self._finished: set[tuple[str, str]] = set()
        self._page: Page | None = None
        """Of the finished runs, or, where there is none, of how far they are; None: nothing is measured yet."""

    def renew(self, study: Study, _changed: Sequence[Path] = ()) -> None:
        """Write the page as the study and its records are now, in a form that browsers read again and again.

        Raises:
            InputError: a record is damaged, or the folder of pages cannot be written.
        """
        found = frames.load(study, self._results, unfinished=True)
        over = found.runs[found.runs["status"].isin(FINISHED)]
        finished = {*zip(over["run"], over["started"].astype(str), strict=True)}  # one may have been trained anew
        if finished and (finished, study) != (self._finished, self._study):
            self._page = pages.compose(PAGE, facts.load(study, self._results))
        self._finished, self._study = finished, study
        training = _training(found)
        if not finished:
            self._page = _begun(study, found, training) if len(training) else None
        if self._page is None:
            return
        page = self._page
        if finished and len(training):
            page = replace(page, sections=[_section(training), *page.sections])
        self._write(page, REFRESH_SECONDS)

    def settle(self) -> None:
        """Write the page of the finished runs as `report` does; where no run has finished, keep the page as it is."""
        if self._page is not None:
            self._write(self._page, None)

    def _write(self, page: Page, refresh: int | None) -> None:
        pages.publish(page, self._reports, refresh=refresh)
        write_index(self._reports)


def _training(found: Frames) -> pd.DataFrame:
    """The last evaluation of each net whose run is under way, with the iterations that it will have."""
    asked = found.runs.loc[found.runs["status"] == "unfinished", ["run", "twin", "iterations"]]
    last = found.epochs.groupby(["run", "twin"], sort=False).tail(1)
    return last.merge(asked, on=["run", "twin"])


def _section(training: pd.DataFrame) -> Section:
    """Tabulate how far nets are."""

    def reached(row: Mapping[Any, Any]) -> str:
        return f"{row['iteration']:,} of {row['iterations']:,}"

    words = [Column("family", "group"), *(Column(head, head) for head in ("depth", "seed", "twin"))]
    numbers = [
        Column("iteration", reached),
        Column("training error", "train_error_pct", percent),
        Column("test error", "test_error_pct", percent),
    ]
    table = Table.of(training, "How far the runs are that have not finished", words, numbers)
    return Section(TITLE, tables=(shorten(table),))


def _begun(study: Study, found: Frames, training: pd.DataFrame) -> Page:
    """Make the page of a study of which no run has finished: learning curves, and no answer."""
    # No curve of a run goes on beyond its last evaluation, as one that diverged would.
    errors = found.epochs.groupby([*CELL, "iteration"], sort=False)[["train_error_pct", "test_error_pct"]]
    curves = errors.mean().reset_index()
    return Page(
        name=commands.folder(study),
        question=study.question,
        source=study.source,
        group=study.group,
        answer="",
        numbers=(),
        verdict=(),
        cautions=(f"No run has finished yet: {count(training['run'].nunique(), 'run')} of {found.asked} in training.",),
        remarks=(),
        figure=figures.learning_curves(curves),
        sections=[_section(training)],
        runs=f"0 of {count(found.asked, 'run')} finished",
        data={"curves": curves},
        cost="",
        date="",
    )
