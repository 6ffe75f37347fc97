"""Changed fields in a format's name: what stands behind the colon in ``e4m3:bias=11,specials=none``."""

import dataclasses
import re
from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from typing import Any

_LONGEST_QUOTE = 60


def quoted(name: str) -> str:
    """Quote a name for a message, cut where it is absurdly long."""
    return repr(name if len(name) <= _LONGEST_QUOTE else name[:_LONGEST_QUOTE] + "…")


def changed_fields(fmt: Any, changes: str, name: str,
                   readers: dict[str, Callable[[str], object]] | None = None) -> dict[str, object]:
    """Read ``field=value,…``, each value of the type that the field has in ``fmt``, a dataclass instance.

    ``readers`` read the fields that are neither numbers, nor options, nor true or false; commas in brackets do not
    end their texts. ``name`` is the whole name, for messages.

    Raises
    ------
    ValueError
        If a change is not of this form, names no field or one twice, or its value cannot be read.
    """
    types = {field.name: type(getattr(fmt, field.name)) for field in dataclasses.fields(fmt)}
    values: dict[str, object] = {}
    for change in _split(changes):
        field, equals, text = (part.strip() for part in change.partition("="))
        if field not in types or not equals:
            raise ValueError(f"Format change must be field=value with a field of {', '.join(types)}, not "
                             f"{quoted(change)} in {quoted(name)}")
        if field in values:
            raise ValueError(f"Format change must name {field} once, not twice, in {quoted(name)}")
        reader = (readers or {}).get(field)
        values[field] = reader(text) if reader is not None else _field_value(field, text, types[field])
    return values


def _split(changes: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for character in changes:
        depth += (character in "(<") - (character in ")>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _field_value(field: str, text: str, kind: type) -> object:
    if issubclass(kind, Enum):
        choices = [member.value for member in kind]
        if text not in choices:
            raise ValueError(f"Format {field} must be one of {', '.join(choices)}, not {quoted(text)}")
        return kind(text)
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"Format {field} must be true or false, not {quoted(text)}")
        return text == "true"
    # Not everything that Fraction reads: a short text such as 1e999999999 would take all memory.
    match = re.fullmatch("([+-]?[0-9]{1,6})(?:/([1-9][0-9]{0,5}))?", text)
    if not match:
        raise ValueError(f"Format {field} must be an integer or a fraction such as 9/2, not {quoted(text)}")
    value = Fraction(int(match[1]), int(match[2] or 1))
    return int(value) if value.denominator == 1 else value
