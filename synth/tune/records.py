"""The table of recorded structures: what :mod:`hw.recorded` reads, with how it was measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hw.recorded import SCHEMA, RecordError, contenders, model_key, read_records, winner
from synth.cost.table import Conditions
from synth.errors import StorageError, UsageError
from synth.folder import save_whole
from synth.store import digest_of
from synth.targets import TARGETS
from synth.tune.subject import Subject

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How structures were measured on a target.

    Parameters
    ----------
    recipe : str
        Name of the target's recipe.
    recipe_sha256 : str
        Of its script.
    tools : tuple of (name, version, digest)
        With nextpnr where structures were placed.
    samples, vector_seed : int
        Of the check, where not every combination was run.
    device : str or None
        That structures were placed on; None where none was.
    seeds : tuple of int
        Of placement; a clock is their median.
    """

    recipe: str
    recipe_sha256: str
    tools: tuple[tuple[str, str, str], ...]
    samples: int
    vector_seed: int
    device: str | None = None
    seeds: tuple[int, ...] = ()

    @classmethod
    def of(cls, target: str, conditions: Conditions) -> Way:
        """Return the part of a measurement's conditions that does not change with every edit of the code."""
        return cls(recipe=TARGETS[target].recipe, recipe_sha256=digest_of(conditions.recipe), tools=conditions.tools,
                   samples=conditions.samples, vector_seed=conditions.vector_seed)

    def timed(self, conditions: Conditions) -> Way:
        """Return this way with the part of a placement's conditions that it has not yet."""
        return dataclasses.replace(self, tools=conditions.tools, device=conditions.device, seeds=conditions.seeds)


class Basis(Enum):
    """By what a winner was taken."""

    LUTS = "LUTs"
    """It has the fewest LUTs, and no other structure comes near."""
    CLOCK = "LUTs x period"
    """It has the least product of LUTs and period among those with about as few LUTs."""
    UNTIMED = "LUTs, not timed"
    """It has the fewest LUTs of several that have about as few: their clocks were not measured."""
    UNPLACED = "LUTs, not placed"
    """It has the fewest LUTs of several that have about as few: not all of them could be placed."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is recorded of a subject on a target.

    Parameters
    ----------
    subject : Subject
    target : str
    luts : mapping of str to int or str
        LUTs by structure, that of the component's own rule first; the reason where one has failed.
    way : Way
    mhz : mapping of str to float or str
        Clocks of the structures that they decide between; the reason where one has none.
    """

    subject: Subject
    target: str
    luts: Mapping[str, int | str]
    way: Way
    mhz: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """The structure that the component's own rule takes."""
        return next(iter(self.luts))

    @property
    def winner(self) -> str | None:
        """The structure to take, see :func:`hw.recorded.winner`; None if every one has failed."""
        found: str | None = winner(self.luts, self.mhz)
        return found

    @property
    def fewest(self) -> str | None:
        """The structure with the fewest LUTs; None if every one has failed."""
        found: str | None = winner(self.luts, {})
        return found

    @property
    def basis(self) -> Basis | None:
        """By what the winner was taken; None if there is none."""
        names = contenders(self.luts)
        if len(names) < 2:
            return Basis.LUTS if names else None
        clocks = [self.mhz.get(name) for name in names]
        if all(isinstance(clock, float) for clock in clocks):
            return Basis.CLOCK
        return Basis.UNPLACED if any(isinstance(clock, str) for clock in clocks) else Basis.UNTIMED

    @property
    def gain(self) -> float | None:
        """LUTs of the winner over those of the rule's structure; None where one of them has none."""
        least, base = self.luts.get(self.winner or ""), self.luts[self.rule]
        return least / base if isinstance(least, int) and isinstance(base, int) and base else None

    def to_json(self) -> Json:
        """Return the choice, ready for JSON."""
        return {"request": self.subject.to_json(), "target": self.target, "winner": self.winner, "rule": self.rule,
                "fewest": self.fewest, "basis": None if self.basis is None else self.basis.value,
                "luts": dict(self.luts), "mhz": dict(self.mhz)}


class Records:
    """Choices by reference and target, in a fixed order.

    Parameters
    ----------
    choices : iterable of Choice
        Of several for the same reference and target, the last counts.
    """

    def __init__(self, choices: Iterable[Choice] = ()) -> None:
        self._models: dict[str, dict[str, Choice]] = {}
        for choice in choices:
            families = self._models.setdefault(model_key(choice.subject.operation().model), {})
            families[choice.target] = choice

    def __iter__(self) -> Iterator[Choice]:
        for _, families in sorted(self._models.items()):
            yield from (families[target] for target in TARGETS if target in families)

    def __len__(self) -> int:
        return sum(map(len, self._models.values()))

    def overlaid(self, other: Records) -> Records:
        """Return this table with another one's choices in place of its own, where both have one."""
        return Records([*self, *other])

    def to_bytes(self) -> bytes:
        """Return the table's file: JSON, a reference a line; the same bytes for the same choices."""
        ways = {way: index for index, way in enumerate(dict.fromkeys(choice.way for choice in self))}
        lines = []
        for key, families in sorted(self._models.items()):
            ordered = [families[target] for target in TARGETS if target in families]
            record = {"request": ordered[-1].subject.to_json(),
                      "luts": {choice.target: dict(choice.luts) for choice in ordered},
                      **({"mhz": clocks} if (clocks := {choice.target: dict(choice.mhz)
                                                       for choice in ordered if choice.mhz}) else {}),
                      "conditions": {choice.target: ways[choice.way] for choice in ordered}}
            lines.append(f"{json.dumps(key)}: {json.dumps(record)}")
        conditions = [json.dumps(dataclasses.asdict(way)) for way in ways]
        return (f'{{"schema": {SCHEMA},\n"conditions": [{_lines(conditions)}],\n'
                f'"models": {{{_lines(lines)}}}}}\n').encode()

    @classmethod
    def read(cls, path: Path) -> Records:
        """Return the table that a file holds.

        Raises
        ------
        StorageError
            If it cannot be read, is no such file, or one of another version.
        """
        try:
            figures = read_records(path)
            document = json.loads(path.read_bytes())
            ways = [_way(values) for values in document["conditions"]]
            return cls(Choice(subject=Subject.from_json(record["request"]), target=target, way=ways[index],
                              luts=figures[key][target].luts, mhz=figures[key][target].mhz)
                       for key, record in document["models"].items()
                       for target, index in record["conditions"].items())
        except OSError as error:
            raise StorageError(f"Table must be readable, not {str(path)!r} ({error.strerror})") from error
        except RecordError as error:
            raise StorageError(str(error)) from error
        except (LookupError, TypeError, ValueError, UsageError) as error:
            raise StorageError(f"Recorded structures must be a file that 'python -m synth tune' wrote, not "
                               f"{str(path)!r} ({error}); remove it, and 'python -m synth tune' makes one anew"
                               ) from error

    def save(self, path: Path) -> None:
        """Write the table's file, whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        save_whole(path, self.to_bytes())


def _way(values: Json) -> Way:
    return Way(**{**values, "tools": tuple((name, version, digest) for name, version, digest in values["tools"]),
                  "seeds": tuple(values["seeds"])})


def _lines(items: Iterable[str]) -> str:
    return ",".join(f"\n{item}" for item in items)
