"""What is tuned: an operator without regard to its structure, as a request on the command line names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.operations import Operation, Request, find_operation

Json = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """An operator, whatever its structure: combinational, or with the registers that it must have, and without DSPs.

    Parameters
    ----------
    op : str
        Name of the operation.
    options : tuple of (str, value)
        Further attributes of its :class:`synth.operations.Request`.
    """

    op: str
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, op: str, **options: Any) -> Subject:
        """Return the subject of a request; options that are None are left out."""
        return cls(op, tuple((name, value) for name, value in options.items() if value is not None))

    def operation(self, structure: str | None = None) -> Operation:
        """Return the operation, in a structure of this name, or in none in particular.

        Raises
        ------
        UsageError
            If there is no such operation.
        """
        return Request(op=self.op, structure=structure, **dict(self.options)).operation(find_operation(self.op))

    def to_json(self) -> Json:
        """Return the request, ready for JSON."""
        return {"op": self.op, **dict(self.options)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Subject:
        """Return the subject that :meth:`to_json` described."""
        options = dict(document)
        return cls.of(options.pop("op"), **options)

    def __str__(self) -> str:
        return " ".join([self.op, *(f"{name}={value}" for name, value in self.options)])
