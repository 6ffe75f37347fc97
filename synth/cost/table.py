"""The table of measured costs: rows that a sweep made, shipped with the package and overlaid by a user's own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from synth.cost.point import ACCUMULATORS, Point
from synth.errors import ExitCode, StorageError
from synth.folder import save_whole
from synth.store import digest_of

SCHEMA = 1
"""Version of the file's form; one of another version is refused rather than misread."""

SHIPPED = Path(__file__).with_name("data") / "table.json"
"""The table of the default design space."""


class Reason(Enum):
    """Why a point has no costs on a target."""

    DOES_NOT_FIT = "does not fit"
    TIMEOUT = "timeout"
    TOOL = "tool"
    """A tool failed."""
    MISMATCH = "mismatch"
    """The mapped netlist does not compute what its reference does."""
    REFUSED = "refused"
    """There is no such circuit."""

    @property
    def exit_code(self) -> ExitCode:
        """What a sweep with such a failure tells the shell."""
        return {Reason.DOES_NOT_FIT: ExitCode.TARGET, Reason.MISMATCH: ExitCode.MISMATCH,
                Reason.REFUSED: ExitCode.USAGE}.get(self, ExitCode.TOOL)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a row was measured.

    Parameters
    ----------
    device : str or None
        For placement; None for counts by Yosys alone.
    recipe : str
        Yosys' script, in full.
    tools : tuple of (name, version, digest)
        Amaranth, Yosys, and nextpnr where it counted; the digest is empty for Amaranth, whose result has one of its
        own, ``rtlil_sha256``.
    sources : str
        SHA-256 of the package's own code that a row depends on.
    seeds : tuple of int
        Of placement; the Fmax is their median.
    samples : int
        Random vectors, where not every combination was run; transfers of an accumulator.
    vector_seed : int
    """

    device: str | None
    recipe: str
    tools: tuple[tuple[str, str, str], ...]
    sources: str
    seeds: tuple[int, ...]
    samples: int
    vector_seed: int

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Conditions:
        """Return the conditions that :func:`dataclasses.asdict` made, after their way through JSON."""
        values = dict(document)
        values["tools"] = tuple((name, version, digest) for name, version, digest in values["tools"])
        values["seeds"] = tuple(values["seeds"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a point costs on a target; its netlist has been run against the exact reference without a mismatch.

    Parameters
    ----------
    point : Point
    target : str
        Name of the device family.
    lut, ff, carry, dsp, bram : int
        Of the operator alone.
    fmax_mhz : float or None
        Median over the seeds, between registers; None where there is no placer, or none whose delays can be trusted.
    counted_by : str
        ``nextpnr``, after packing, or ``yosys``.
    latency : int, cycles
    vectors : int
        How many results were compared.
    method : str
        How they were chosen: ``exhaustive``, ``corners+random``, or ``sequences`` for an accumulator.
    rtlil_sha256 : str
        Digest of the circuit before synthesis.
    """

    point: Point
    target: str
    lut: int
    ff: int
    carry: int
    dsp: int
    bram: int
    fmax_mhz: float | None
    counted_by: Literal["nextpnr", "yosys"]
    latency: int
    vectors: int
    method: str
    rtlil_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return every attribute, ready for JSON."""
        return {**vars(self), "point": self.point.to_json()}


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A point that has no costs on a target, and why.

    Parameters
    ----------
    point : Point
    target : str
    reason : Reason
    message : str
        One line, in the words of the tool where it is the tool's.
    """

    point: Point
    target: str
    reason: Reason
    message: str

    def to_json(self) -> dict[str, Any]:
        """Return every attribute, ready for JSON."""
        return {**vars(self), "point": self.point.to_json(), "reason": self.reason.value}


Row = Measured | Failed
Place = tuple[Point, str]
"""A point and the name of a target: what a table has one row for."""

_POINT_COLUMNS = tuple(field.name for field in dataclasses.fields(Point))
_ROW_COLUMNS = ("target", "lut", "ff", "carry", "dsp", "bram", "fmax_mhz", "counted_by", "latency", "vectors",
                "method", "rtlil_sha256")
_FAILURE_COLUMNS = ("target", "reason", "message")


class Table:
    """Rows by point and target, in a fixed order.

    Parameters
    ----------
    entries : iterable of (Measured or Failed, Conditions)
        Of several for the same point and target, the last counts.
    """

    def __init__(self, entries: Iterable[tuple[Row, Conditions]] = ()) -> None:
        chosen = {(row.point, row.target): (row, conditions) for row, conditions in entries}
        keys = {point: point.key() for point, _ in chosen}
        ordered = sorted(chosen.items(), key=lambda item: (keys[item[0][0]], item[0][1]))
        self._entries: dict[Place, tuple[Row, Conditions]] = dict(ordered)
        self.rows: tuple[Measured, ...] = tuple(row for row, _ in self if isinstance(row, Measured))
        self.failures: tuple[Failed, ...] = tuple(row for row, _ in self if isinstance(row, Failed))

    def __iter__(self) -> Iterator[tuple[Row, Conditions]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, point: Point, target: str) -> Row | None:
        """Return what is known of a point on a target, be it a failure; None if nothing is."""
        entry = self._entries.get((point, target))
        return None if entry is None else entry[0]

    def find(self, point: Point, target: str) -> Measured | None:
        """Return the measured costs of a point on a target; None if there are none.

        An accumulator that is asked for by another number of terms is found where its register is the same.
        """
        row = self.get(point, target)
        if row is None:
            alike = [other for other in self._alike.get(_stem(point), ())
                     if isinstance(self.get(other, target), Measured)]
            width = point.width() if alike else None
            row = next((self.get(other, target) for other in alike if other.width() == width), None)
        return row if isinstance(row, Measured) else None

    @cached_property
    def _alike(self) -> dict[tuple[object, ...], list[Point]]:
        """Accumulators that differ in nothing but what decides the width of their register."""
        groups: dict[tuple[object, ...], list[Point]] = {}
        for point in dict.fromkeys(row.point for row in self.rows if row.point.op in ACCUMULATORS):
            groups.setdefault(_stem(point), []).append(point)
        return groups

    def conditions(self, row: Row) -> Conditions:
        """Return how a row of this table was measured."""
        return self._entries[row.point, row.target][1]

    @property
    def tools(self) -> dict[str, tuple[Conditions, ...]]:
        """Every way in which rows were measured, by target: versions of tools, recipes, devices, seeds."""
        ways: dict[str, dict[Conditions, None]] = {}
        for row, conditions in self:
            ways.setdefault(row.target, {})[conditions] = None
        return {target: tuple(found) for target, found in sorted(ways.items())}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the table's file: what a model that was fitted on it names."""
        return digest_of(self.to_bytes())

    def overlaid(self, other: Table) -> Table:
        """Return this table with another one's rows in place of its own, where both have one.

        A row that was placed gives way to none that Yosys alone counted, and no row to a failure.
        """
        return Table(_by_trust([*self, *other]))

    def to_bytes(self) -> bytes:
        """Return the table's file: JSON, a row a line; the same bytes for the same rows."""
        points = {point: index for index, point in enumerate(dict.fromkeys(row.point for row, _ in self))}
        ways = {way: index for index, way in enumerate(dict.fromkeys(way for _, way in self))}
        parts: dict[str, list[Any]] = {
            "conditions": [dataclasses.asdict(way) for way in ways],
            "points": [[getattr(point, name) for name in _POINT_COLUMNS] for point in points],
            "rows": [[points[row.point], ways[way], *(getattr(row, name) for name in _ROW_COLUMNS)]
                     for row, way in self if isinstance(row, Measured)],
            "failures": [[points[row.point], ways[way], row.target, row.reason.value, row.message]
                         for row, way in self if isinstance(row, Failed)],
        }
        columns = {"points": _POINT_COLUMNS, "rows": ("point", "conditions", *_ROW_COLUMNS),
                   "failures": ("point", "conditions", *_FAILURE_COLUMNS)}
        lines = [f'"schema": {SCHEMA}', f'"columns": {json.dumps(columns)}']
        lines += [f'"{name}": [{"".join(chr(10) + json.dumps(item) + "," for item in items)[:-1]}]'
                  for name, items in parts.items()]
        return ("{" + ",\n".join(lines) + "}\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "given") -> Table:
        """Return the table that a file holds.

        Parameters
        ----------
        data : bytes
        name : str
            What an error calls the file.

        Raises
        ------
        StorageError
            If it is no such file, or one of another version.
        """
        try:
            document = json.loads(data)
            version = document.get("schema") if isinstance(document, dict) else None
            if version != SCHEMA:
                raise StorageError(f"Table must have schema {SCHEMA}, not {version!r}, as {name} has; "
                                   "'python -m synth sweep --out' makes one anew")
            return cls(_entries_of(document))
        except (ValueError, LookupError, TypeError) as error:
            raise StorageError(f"Table must be a file that 'python -m synth sweep --out' wrote, not {name} "
                               f"({error})") from error

    def save(self, path: Path) -> None:
        """Write the table's file, whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        save_whole(path, self.to_bytes())


def _entries_of(document: Mapping[str, Any]) -> Iterator[tuple[Row, Conditions]]:
    """Read a table's document; points are canonical in the file already."""
    columns = document["columns"]
    if tuple(columns["points"]) != _POINT_COLUMNS:  # a point would lack what it is known by
        raise ValueError(f"its points have the columns {', '.join(columns['points'])}")
    points = [Point.trusted(dict(zip(columns["points"], values, strict=True))) for values in document["points"]]
    ways = [Conditions.from_json(way) for way in document["conditions"]]
    for values in document["rows"]:
        row = dict(zip(columns["rows"], values, strict=True))
        way = ways[row.pop("conditions")]
        row["point"] = points[row["point"]]
        yield Measured(**row), way
    for values in document["failures"]:
        row = dict(zip(columns["failures"], values, strict=True))
        way = ways[row.pop("conditions")]
        yield Failed(point=points[row["point"]], target=row["target"], reason=Reason(row["reason"]),
                     message=row["message"]), way


def _stem(point: Point) -> tuple[object, ...]:
    """Return what a point is apart from what decides the width of its register."""
    return (point.op, point.fmt, point.fmt_b, point.out_fmt, point.lanes, point.pipeline, point.dsp)


def read_table(path: Path) -> Table:
    """Read a table's file.

    Raises
    ------
    StorageError
        If it cannot be read, or is no table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Table must be readable, not {str(path)!r} ({error.strerror})") from error
    return Table.from_bytes(data, name=repr(str(path)))


def load_table(path: Path | None = None) -> Table:
    """Return a file's table, or by default the shipped one under what this user has measured with this very code.

    A row that was placed is hidden by none that Yosys alone counted, and no row by a failure.

    Raises
    ------
    StorageError
        If a file cannot be read, or is no table.
    """
    if path is not None:
        return read_table(path)
    from synth.cost.journal import user_entries

    return Table(_by_trust([*read_table(SHIPPED), *user_entries()]))


def _by_trust(entries: Iterable[tuple[Row, Conditions]]) -> list[tuple[Row, Conditions]]:
    """Order rows of the same point and target, the best last: failed, counted by Yosys alone, placed; then by age."""
    def rank(entry: tuple[Row, Conditions]) -> int:
        row, _ = entry
        return 0 if isinstance(row, Failed) else 1 if row.counted_by == "yosys" else 2

    return sorted(entries, key=rank)
