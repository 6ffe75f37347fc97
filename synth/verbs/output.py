"""What the ``formats`` verb prints to; no verb of its own."""

from collections.abc import Sequence
from typing import Protocol


class Output(Protocol):
    """What the verb needs of a console."""

    def print(self, text: str = "") -> None:
        """Print a line."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table."""

    def json(self, document: object) -> None:
        """Print the one JSON document."""
