"""What a number is: one frozen, exact description for each family of formats."""

from sw.formats.catalog import CATALOG, CatalogEntry
from sw.formats.facts import ValueRow, edges, facts, value_row, value_table
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Specials, Subnormals
from sw.formats.names import Resolution, ScalarFormat, number, parse, resolve
from sw.formats.rounding import OverflowPolicy, RandomBits, RoundingMode, rounds_up
from sw.formats.special import Special, Value, as_float, exact_value, is_negative, is_zero

__all__ = [
    "CATALOG", "CatalogEntry", "FixedPointFormat", "FloatingPointFormat", "OverflowPolicy", "RandomBits",
    "Resolution", "RoundingMode", "ScalarFormat", "Special", "Specials", "Subnormals", "Value", "ValueRow", "as_float",
    "edges", "exact_value", "facts", "is_negative", "is_zero", "number", "parse", "resolve", "rounds_up", "value_row",
    "value_table",
]
