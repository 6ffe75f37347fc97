"""What the logic cells of a family can do, as far as the work in a circuit depends on it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """The lookup tables and carry cells of a family.

    Parameters
    ----------
    lut_inputs : int
        Of its lookup tables, 4 or 6.
    gated_from : int or None
        Bits of the narrower operand from which an unsigned product comes as adders that take a row or leave it at no
        cost (``hw.arith.gated_rows``), as every signed one does then; None where carry cells have no room for that.
    """

    lut_inputs: int
    gated_from: int | None = None


FABRICS: Mapping[str, Fabric] = {
    "ice40": Fabric(lut_inputs=4, gated_from=3),
    "ecp5": Fabric(lut_inputs=4, gated_from=1),
    "nexus": Fabric(lut_inputs=4),
    "gowin": Fabric(lut_inputs=4, gated_from=3),
    "xc7": Fabric(lut_inputs=6),
    "xcup": Fabric(lut_inputs=6),
}
"""By target."""
