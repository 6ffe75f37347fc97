"""Which structure is the smallest one for an operator on a device family: what ``python -m synth tune`` has measured.

The table ``recorded.json`` lies beside this module. For each exact reference, whose pipeline and clock do not matter,
and each family it has the LUTs of every structure that the component can have; a structure whose netlist was wrong, or
for which a tool gave up, has the reason there in place of a count, and is never taken.
"""

import dataclasses
import json
import math
from enum import Enum
from functools import cache
from pathlib import Path

from sw.formats import BlockFormat, ScalarFormat

__all__ = ["RECORDS", "SCHEMA", "RecordError", "choose_structure", "family_of", "model_key", "overall_winner",
           "read_records", "recorded_structure", "winner"]

SCHEMA = 1
"""Version of the file's form; one of another version is refused rather than misread."""

RECORDS = Path(__file__).with_name("recorded.json")
"""The table of the package. Where it is missing, nothing is recorded."""

_MEND = "remove it, and 'python -m synth tune' makes one anew"


class RecordError(ValueError):
    """A table of recorded structures that does not belong to this code, or is damaged."""


def family_of(platform):
    """Return the device family that a platform says it elaborates for, None if it says none."""
    return getattr(platform, "narrowgauge_family", None)


def choose_structure(asked, suitable, model, platform, *, recorded=True):
    """Return the structure to build: the one asked for, else the recorded one, else the first of the suitable ones.

    Parameters
    ----------
    asked : Enum or None
    suitable : sequence of Enum
        Structures that suit the reference, the one to take where none is recorded first.
    model : sw.reference.model.Function or Stream
        The exact reference.
    platform : object
        For its family, see :func:`family_of`.
    recorded : bool
        Whether what is recorded applies: it was measured without hard multipliers.

    Raises
    ------
    RecordError
        If a structure is recorded that this component does not have.
    """
    if asked is not None:
        return asked
    name = recorded_structure(model, family_of(platform)) if recorded and len(suitable) > 1 else None
    if name is None:
        return suitable[0]
    found = next((structure for structure in suitable if structure.value == name), None)
    if found is None:
        raise RecordError(f"Recorded structure must be one of {', '.join(item.value for item in suitable)}, not "
                          f"{name!r}, as {RECORDS.name} has for {model_key(model)}; 'python -m synth tune' measures "
                          "it anew")
    return found


def recorded_structure(model, family):
    """Return the name of the structure that was the smallest for a reference, None if none is recorded.

    Parameters
    ----------
    model : sw.reference.model.Function or Stream
    family : str or None
        Name of a device family. For None, and for a family of which nothing is recorded, the one with the least
        geometric mean of LUTs over all families that are.

    Raises
    ------
    RecordError
        If the table is damaged, or one of another version.
    """
    families = _records().get(model_key(model), {})
    name = winner(families.get(family, {}))
    return overall_winner(families) if name is None else name


@cache
def _records():
    return read_records(RECORDS) if RECORDS.exists() else {}


def read_records(path):
    """Return what a table's file has of the LUTs: by reference (:func:`model_key`), family, and name of the structure.

    A structure that failed has the reason in place of its LUTs. The structures stand in the order in which they are
    preferred where several take as few LUTs.

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
        records = {key: record["luts"] for key, record in document["models"].items()}
        counts = [count for families in records.values() for luts in families.values() for count in luts.values()]
        if not all(type(count) is str or (type(count) is int and count >= 0) for count in counts):
            raise TypeError("a count of LUTs is neither a whole number nor a reason")
    except (UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"Recorded structures must be a file that 'python -m synth tune' wrote, not {str(path)!r} "
                          f"({error}); {_MEND}") from error
    return records


def winner(luts):
    """Return the name of the structure with the fewest LUTs, the first of several; None if there is none.

    Parameters
    ----------
    luts : mapping of str to int or str
        LUTs by structure; the reason where it failed.
    """
    counted = {name: count for name, count in luts.items() if isinstance(count, int)}
    return min(counted, key=counted.__getitem__, default=None)


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
