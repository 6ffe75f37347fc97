"""What a number is: one frozen, exact description for each family of formats."""

from sw.formats.block import BlockFormat, ScaleRule
from sw.formats.block_facts import block_facts
from sw.formats.block_names import (
    BLOCK_CATALOG,
    BlockCatalogEntry,
    BlockResolution,
    parse_any,
    parse_block,
    resolve_any,
    resolve_block,
)
from sw.formats.catalog import CATALOG, CatalogEntry
from sw.formats.facts import ValueRow, edges, facts, value_row, value_table
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Specials, Subnormals
from sw.formats.names import Resolution, ScalarFormat, number, parse, resolve
from sw.formats.posit import PositFormat
from sw.formats.rounding import OverflowPolicy, RandomBits, RoundingMode, rounds_up
from sw.formats.special import Special, Value, as_float, exact_value, is_negative, is_zero

__all__ = [
    "BLOCK_CATALOG", "CATALOG", "BlockCatalogEntry", "BlockFormat", "BlockResolution", "CatalogEntry",
    "FixedPointFormat", "FloatingPointFormat", "OverflowPolicy", "PositFormat", "RandomBits", "Resolution",
    "RoundingMode", "ScalarFormat", "ScaleRule", "Special", "Specials", "Subnormals", "Value", "ValueRow", "as_float",
    "block_facts", "edges", "exact_value", "facts", "is_negative", "is_zero", "number", "parse", "parse_any",
    "parse_block", "resolve", "resolve_any", "resolve_block", "rounds_up", "value_row", "value_table",
]
