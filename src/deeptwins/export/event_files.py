"""TensorBoard: an event file per unit, `OUT/STUDY/RUN/TWIN/`, whose bytes follow from the records."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from deeptwins.errors import naming
from deeptwins.export import units
from deeptwins.export.trackers import client
from deeptwins.export.units import Point, Unit, safe

OURS = "events.out.tfevents.*.deeptwins"


class EventFiles:
    """TensorBoard's files. Records have no times, so every event has that of the run's start."""

    def __init__(self, out: Path) -> None:
        self._out = out
        modules = ("compat.proto.event_pb2", "compat.proto.summary_pb2", "summary.writer.record_writer")
        self._events, self._summaries, self._records = (_module(name) for name in modules)
        self._hparams, self._data, self._api = (
            _module(f"plugins.hparams.{name}") for name in ("metadata", "plugin_data_pb2", "api_pb2")
        )

    def left(self, unit: Unit) -> str | None:
        """Return the mark of the unit's file: empty if it is torn or of other training, None if there is no file."""
        files = [*self._folder(unit).glob(OURS)]
        if not files:
            return None
        parts = self._parts(unit)
        content, whole = files[0].read_bytes(), b"".join(parts)
        if files != [self._file(unit)]:
            return ""
        if content.startswith(whole):
            return units.mark(unit) if content == whole or not unit.over else ""
        ends = [*accumulate(map(len, parts))]
        if whole.startswith(content) and len(content) in ends:
            return units.mark(unit, ends.index(len(content)))
        return ""

    def begin(self, unit: Unit) -> None:
        """Write a file that has the settings."""
        folder = self._folder(unit)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(OURS):
            old.unlink()
        with naming(self._file(unit)):
            self._file(unit).write_bytes(self._parts(unit)[0])

    def add(self, unit: Unit, points: Sequence[Point]) -> None:
        """Append to the file: TensorBoard reads on in a file that grows."""
        parts = self._parts(unit)
        with naming(self._file(unit)), self._file(unit).open("ab") as file:
            file.write(b"".join(parts[len(parts) - len(points) :]))

    def close(self) -> None:
        """Do nothing: what is written is written."""

    def _folder(self, unit: Unit) -> Path:
        return self._out / unit.study / safe(unit.run) / safe(unit.twin)

    def _file(self, unit: Unit) -> Path:
        """Where the unit's events lie: training that was begun anew has another file, so that TensorBoard sees it."""
        return self._folder(unit) / OURS.replace("*", f"{int(unit.started)}.{unit.header}")

    def _parts(self, unit: Unit) -> list[bytes]:
        """Write the events: those of the beginning, then those of each point, and with the last those of the end."""
        start = self._data.SessionStartInfo(start_time_secs=unit.started, group_name=unit.run)
        for key, value in {**unit.settings, "twin": unit.twin}.items():
            kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
            setattr(start.hparams[key], f"{kind}_value", value)
        tag = self._hparams.SESSION_START_INFO_TAG
        begun = self._value(tag, self._data.HParamsPluginData(session_start_info=start))
        parts = [
            self._encoded(
                [{"file_version": "brain.Event:2"}, {"summary": self._summaries.Summary(value=[begun])}], unit
            )
        ]
        for point in unit.points:
            values = [
                self._summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in point.metrics.items()
            ]
            parts.append(
                self._encoded([{"step": point.iteration, "summary": self._summaries.Summary(value=values)}], unit)
            )
        if unit.over:
            status = self._api.STATUS_FAILURE if unit.status == "failed" else self._api.STATUS_SUCCESS
            end = self._data.SessionEndInfo(status=status, end_time_secs=unit.started + (unit.seconds or 0))
            value = self._value(self._hparams.SESSION_END_INFO_TAG, self._data.HParamsPluginData(session_end_info=end))
            parts[-1] += self._encoded([{"summary": self._summaries.Summary(value=[value])}], unit)
        return parts

    def _value(self, tag: str, content: Any) -> Any:  # noqa: ANN401  messages of TensorBoard
        """Make a summary of what the page of hyperparameters shows."""
        metadata = self._hparams.create_summary_metadata(content)
        content.version = self._hparams.PLUGIN_DATA_VERSION
        metadata.plugin_data.content = content.SerializeToString(deterministic=True)  # same settings, same bytes
        return self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=self._hparams.NULL_TENSOR)

    def _encoded(self, events: Sequence[dict[str, Any]], unit: Unit) -> bytes:
        """Write events as a file has them."""
        file = io.BytesIO()
        writer = self._records.RecordWriter(file)
        for event in events:
            message = self._events.Event(wall_time=unit.started, **event)
            writer.write(message.SerializeToString(deterministic=True))
        return file.getvalue()


def _module(name: str) -> Any:  # noqa: ANN401  it ships no types
    return client(f"tensorboard.{name}", "tensorboard")
