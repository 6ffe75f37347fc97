"""Which structure is the best one for an operator on a device family: what ``python -m synth tune`` has measured.

The table ``recorded.json`` lies beside this module. For each exact reference, whose pipeline and clock do not matter,
and each family it has the LUTs of every structure that the component can have; a structure whose netlist was wrong, or
for which a tool gave up, has the reason there in place of a count, and is never taken. Of structures about as small as
the smallest one it also has the clock in MHz, where the family's placements can be timed.

The winner is taken by one rule, :func:`winner`: of the structures whose LUTs are within 20 % of the fewest, the one
with the least product of LUTs and clock period; where their clocks are not all known, the one with the fewest LUTs.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from sw.formats import BlockFormat, ScalarFormat

__all__ = [
    "MARGIN_PERCENT",
    "NOISE_PERCENT",
    "RECORDS",
    "SCHEMA",
    "Figures",
    "RecordError",
    "by_rule",
    "choose_structure",
    "contenders",
    "family_of",
    "model_key",
    "overall_winner",
    "read_records",
    "recorded_structure",
    "winner",
]

SCHEMA = 2
"""Version of the file's form; one of another version is refused rather than misread."""

RECORDS = Path(__file__).with_name("recorded.json")
"""The table of the package. Where it is missing, nothing is recorded."""

MARGIN_PERCENT = 20
"""By how much more LUTs than the fewest a structure may take and still win by its clock."""

NOISE_PERCENT = 2
"""By how much products of LUTs and period have to differ for the larger one to lose: placements scatter as much."""

_MEND = "remove it, and 'python -m synth tune' makes one anew"


class RecordError(ValueError):
    """A table of recorded structures that does not belong to this code, or is damaged."""


@dataclass(frozen=True)
class Figures:
    """What is recorded of a reference on a family.

    Parameters
    ----------
    luts : mapping of str to int or str
        LUTs by structure, in the order in which they are preferred where several are as good; the reason where a
        structure failed.
    mhz : mapping of str to float or str
        Clock by structure, where it was measured; the reason where that failed.
    """

    luts: Mapping[str, int | str]
    mhz: Mapping[str, float | str] = field(default_factory=dict)


def family_of(platform):
    """Return the device family that a platform says it elaborates for, None if it says none."""
    return getattr(platform, "narrowgauge_family", None)


def by_rule(suitable, family):
    """Return structures that suit a reference, the one first that is taken on a family where nothing is recorded.

    A kind of structures whose order depends on the family has a function ``ordered(suitable, family)``.

    Parameters
    ----------
    suitable : sequence of Enum
        Of one kind, in the order for no family in particular.
    family : str or None
    """
    ordered = getattr(type(suitable[0]), "ordered", None)
    return tuple(suitable) if ordered is None else ordered(suitable, family)


def choose_structure(asked, suitable, model, platform, *, recorded=True):
    """Return the structure to build: the one asked for, else the recorded one, else that of the component's own rule.

    Parameters
    ----------
    asked : Enum or None
    suitable : sequence of Enum
        Structures that suit the reference, in the order of :func:`by_rule` for no family in particular.
    model : sw.reference.model.Function or Stream
        The exact reference.
    platform : object
        For its family, see :func:`family_of`.
    recorded : bool
        Whether what is measured without hard multipliers applies; otherwise the first of the suitable ones is taken.

    Raises
    ------
    RecordError
        If a structure is recorded that this component does not have.
    """
    if asked is not None:
        return asked
    if not recorded or len(suitable) == 1:
        return suitable[0]
    name = recorded_structure(model, family_of(platform))
    if name is None:
        return by_rule(suitable, family_of(platform))[0]
    found = next((structure for structure in suitable if structure.value == name), None)
    if found is None:
        raise RecordError(f"Recorded structure must be one of {', '.join(item.value for item in suitable)}, not "
                          f"{name!r}, as {RECORDS.name} has for {model_key(model)}; 'python -m synth tune' measures "
                          "it anew")
    return found


def recorded_structure(model, family):
    """Return the name of the structure that won for a reference, None if none is recorded.

    Parameters
    ----------
    model : sw.reference.model.Function or Stream
    family : str or None
        Name of a device family: see :func:`winner`. For None, and for a family of which nothing is recorded, the one
        with the least geometric mean of LUTs over all families that are.

    Raises
    ------
    RecordError
        If the table is damaged, or one of another version.
    """
    families = _records().get(model_key(model), {})
    figures = families.get(family)
    name = None if figures is None else winner(figures.luts, figures.mhz)
    return overall_winner({known: each.luts for known, each in families.items()}) if name is None else name


@cache
def _records():
    return read_records(RECORDS) if RECORDS.exists() else {}


def read_records(path):
    """Return what a table's file has: :class:`Figures` by reference (:func:`model_key`) and family.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RecordError
        If it is no such file, or one of another version.
    OSError
        If it cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
        version = document.get("schema") if isinstance(document, dict) else None
        if version != SCHEMA:
            raise RecordError(f"Recorded structures must have schema {SCHEMA}, not {version!r}, as {str(path)!r} has; "
                              + _MEND)
        return {key: _figures(record) for key, record in document["models"].items()}
    except (UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"Recorded structures must be a file that 'python -m synth tune' wrote, not {str(path)!r} "
                          f"({error}); {_MEND}") from error


def _figures(record):
    """Return what a reference's entry has, by family; raise TypeError, LookupError or AttributeError for no entry."""
    clocks = record.get("mhz", {})
    found = {family: Figures(luts, clocks.get(family, {})) for family, luts in record["luts"].items()}
    if not all(type(count) is str or (type(count) is int and count >= 0)
               for figures in found.values() for count in figures.luts.values()):
        raise TypeError("a count of LUTs is neither a whole number nor a reason")
    if not all(type(clock) is str or (type(clock) is float and 0 < clock < math.inf)
               for figures in found.values() for clock in figures.mhz.values()):
        raise TypeError("a clock is neither a number of MHz nor a reason")
    if not (clocks.keys() <= found.keys()
            and all(figures.mhz.keys() <= figures.luts.keys() for figures in found.values())):
        raise TypeError("a clock is that of a structure without LUTs")
    return found


def contenders(luts):
    """Return the names of the structures that are about as small as the smallest one: those that clocks decide between.

    Their LUTs are within :data:`MARGIN_PERCENT` of the fewest. They come in their order; none if every one has failed.

    Parameters
    ----------
    luts : mapping of str to int or str
        LUTs by structure; the reason where it failed.
    """
    counted = {name: count for name, count in luts.items() if isinstance(count, int)}
    most = (100 + MARGIN_PERCENT) * min(counted.values(), default=0)
    return [name for name, count in counted.items() if 100 * count <= most]


def winner(luts, mhz):
    """Return the name of the structure to take, None if every one has failed.

    Of the :func:`contenders` it is the one with the least product of LUTs and clock period. Of those whose products are
    within :data:`NOISE_PERCENT` of the least, it is the one with the fewest LUTs, the first of several; and so it is
    of all of them, unless the clock of each is known.

    Parameters
    ----------
    luts : mapping of str to int or str
        LUTs by structure; the reason where it failed.
    mhz : mapping of str to float or str
        Clock by structure; the reason where it could not be measured.
    """
    names = contenders(luts)
    if all(isinstance(mhz.get(name), float) for name in names):
        products = {name: luts[name] / mhz[name] for name in names}
        most = (1 + NOISE_PERCENT / 100) * min(products.values(), default=0.0)
        names = [name for name in names if products[name] <= most]
    return min(names, key=luts.__getitem__, default=None)


def overall_winner(families):
    """Return the name of the structure with the least geometric mean of LUTs over families, the first of several.

    Only one that was counted in every family can be it; None if there is none.

    Parameters
    ----------
    families : mapping of str to mapping of str to int or str
        LUTs by structure, by family.
    """
    rows = list(families.values())
    names = [name for name in rows[0] if all(isinstance(row.get(name), int) for row in rows)] if rows else []
    # Wires alone take no LUT, and one LUT more than that is no reason for a structure.
    means = {name: math.fsum(math.log(max(1, row[name])) for row in rows) for name in names}
    return min(means, key=means.__getitem__, default=None)


def model_key(model):
    """Return the text by which the table knows a reference: its class and every field, formats by canonical name."""
    return " ".join([type(model).__name__, *(f"{field.name}={_text(getattr(model, field.name))}"
                                             for field in dataclasses.fields(model))])


def _text(value):
    if isinstance(value, (ScalarFormat, BlockFormat)):
        return value.name
    if isinstance(value, Enum):
        return str(value.value)
    return f"({model_key(value)})" if dataclasses.is_dataclass(value) else str(value)
