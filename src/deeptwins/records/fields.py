"""What files of records are made of: types of fields, the base of all their parts, and how a first fault is worded.

Units are said by each field. No number is infinite or NaN: `Strict` refuses both.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FromZero = Annotated[int, Field(ge=0)]
FromOne = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Measurement = Annotated[float, Field(ge=1e-9, le=1e18)]
"""Of a bench: seconds, bytes or a ratio, none so small or large that it must be a mistake."""
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """A part of a file: no value is converted, no number is infinite; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Row(Strict):
    """A part of a file that deeptwins itself writes: unknown keys are refused, too."""

    model_config = ConfigDict(extra="forbid")


def complaint(error: ValidationError) -> str:
    """Word the first thing that is wrong, and where: `nets.0.depth: input should be a valid integer`."""
    fault = error.errors(include_url=False)[0]
    return f"{place(error) or 'content'}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def place(error: ValidationError) -> str:
    """Name the first key that is wrong, with those around it: `recipe.depth`; empty for the whole content."""
    return ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
