"""Formats as JSON: every field spelled out, so that a reader needs no list of names."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from fractions import Fraction
from typing import Any, TypeAlias

from sw.formats import BlockFormat, FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, parse_any

Json: TypeAlias = dict[str, Any]

_FAMILIES = {family.__name__: family for family in (FloatingPointFormat, FixedPointFormat, PositFormat, BlockFormat)}


def format_to_json(fmt: ScalarFormat | BlockFormat) -> Json:
    """Return the canonical name of a format, its family, and all its fields.

    Enumerations are given by their values, a bias that is no integer as a fraction such as ``"9/2"``, the element and
    the scale of a block format as formats of their own.

    Raises
    ------
    TypeError
        If ``fmt`` is no format.
    """
    if type(fmt).__name__ not in _FAMILIES or not isinstance(fmt, ScalarFormat | BlockFormat):
        raise TypeError(f"Format must be a ScalarFormat or a BlockFormat, not {fmt!r}")
    return {"name": fmt.name, "family": type(fmt).__name__,
            **{field.name: _plain(getattr(fmt, field.name)) for field in fields(fmt)}}


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return str(value)
    return format_to_json(value) if isinstance(value, ScalarFormat | BlockFormat) else value


def format_from_json(description: Mapping[str, Any]) -> ScalarFormat | BlockFormat:
    """Return the format that :func:`format_to_json` describes.

    Raises
    ------
    TypeError
        If it is no mapping.
    ValueError
        If it has no name that is known here, or its fields are not those of the format with this name.
    """
    if not isinstance(description, Mapping):
        raise TypeError(f"Format description must be a mapping, not {description!r}")
    name = description.get("name")
    if not isinstance(name, str):
        raise ValueError(f"Format description must have a name, not {name!r}")
    fmt = parse_any(name)
    expected = format_to_json(fmt)
    different = [f"{field}={description.get(field)!r} (here {expected.get(field)!r})"
                 for field in sorted(expected.keys() | description.keys())
                 if description.get(field) != expected.get(field)]
    if different:
        raise ValueError(f"Format description must be that of {fmt.name} as this version knows it, not with "
                         f"{', '.join(different)}")
    return fmt
