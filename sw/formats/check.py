"""Checks of argument types that the formats share."""

from enum import Enum


def check_integer(noun: str, value: object) -> None:
    """Raise TypeError unless ``value`` is an int (a bool is not one)."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{noun} must be an integer, not {value!r}")


def check_boolean(noun: str, value: object) -> None:
    """Raise TypeError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{noun} must be True or False, not {value!r}")


def check_member(noun: str, value: object, kind: type[Enum]) -> None:
    """Raise TypeError unless ``value`` is a member of ``kind``."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{noun} must be {article} {kind.__name__}, not {value!r}")
