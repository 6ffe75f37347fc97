"""What came of a proof, as a record and as a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from synth.prove.equivalence import Status

__all__ = ["Proof"]

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What came of a proof that a netlist is an operation.

    Parameters
    ----------
    status : Status
    solver, version : str
    seconds : float
        Wall-clock time of all questions that the solver was asked.
    method : str
        What was shown, in whose terms.
    assumptions : tuple of str
        What the method takes as given.
    counterexample : mapping or None
        ``inputs``, ``got`` and ``want``, by port, where the netlist was run and found wrong.
    left : str
        What was not shown, where it was not.
    cached : bool
        Whether it is what an earlier command found.
    """

    status: Status
    solver: str
    version: str
    seconds: float
    method: str
    assumptions: tuple[str, ...] = ()
    counterexample: Mapping[str, Any] | None = None
    left: str = ""
    cached: bool = False

    def record(self) -> Json:
        """Return the proof ready for JSON."""
        return {"solver": self.solver, "version": self.version, "seconds": round(self.seconds, 3),
                "status": self.status.value, "method": self.method, "assumptions": list(self.assumptions),
                "counterexample": None if self.counterexample is None else dict(self.counterexample),
                "left": self.left, "cached": self.cached}

    @classmethod
    def of(cls, record: Json) -> Proof:
        """Return the proof of a record that was kept."""
        fields = {**record, "status": Status(record["status"]), "assumptions": tuple(record["assumptions"])}
        return replace(cls(**fields), cached=True)

    def line(self) -> str:
        """Say what came out, but for the counterexample, whose codes only the operation can name."""
        who = f"{self.solver} {self.version}, {self.seconds:.1f} s{' (from store)' if self.cached else ''}"
        match self.status:
            case Status.PROVED:
                return f"proved: {self.method} ({who})"
            case Status.REFUTED:
                return f"refuted: not {self.method} ({who})"
            case Status.TIMED_OUT:
                return f"timed out, not proved: {self.left} ({who})"
            case _:
                return f"not proved: {self.left} ({who})"
