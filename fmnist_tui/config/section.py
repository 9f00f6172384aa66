"""What every section of a configuration is made of: the base class, units, and types several sections use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fmnist_tui.characters import unfit


def unit(text: str) -> dict[str, Any]:
    """A field's `json_schema_extra` with the unit of its value; `fields.FieldSpec` reads it."""
    return {"unit": text}


def _printable(text: str) -> str:
    if found := unfit(text):  # a terminal would obey control characters
        raise ValueError(f"must be printable text on one line, without {found}")
    return text


Text = Annotated[str, AfterValidator(_printable)]
Sizes = Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=4096)], ...], Field(strict=False)]


class Section(BaseModel):
    """A part of a RunConfig: immutable, strict about types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
