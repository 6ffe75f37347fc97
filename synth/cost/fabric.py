"""What the logic cells of a family can do, as far as the work in a circuit depends on it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """The lookup tables, carry cells and DSP blocks of a family.

    Parameters
    ----------
    lut_inputs : int
        Of its lookup tables, 4 or 6.
    gated_from : int or None
        Bits of the narrower operand from which an unsigned product comes as adders that take a row or leave it at no
        cost (``hw.arith.gated_rows``), as every signed one does then; None where carry cells have no room for that.
    sum_in_block : bool
        Whether synthesis puts the register of a multiply-accumulator's sum into the DSP block of its product.
    """

    lut_inputs: int
    gated_from: int | None = None
    sum_in_block: bool = False


FABRICS: Mapping[str, Fabric] = {
    "ice40": Fabric(lut_inputs=4, gated_from=3),
    "ecp5": Fabric(lut_inputs=4, gated_from=1),
    "nexus": Fabric(lut_inputs=4),
    "gowin": Fabric(lut_inputs=4, gated_from=3),
    "xc7": Fabric(lut_inputs=6, sum_in_block=True),
    "xcup": Fabric(lut_inputs=6),
}
"""By target."""
