"""Where the registers of an exact sum stand: rules from its formats, by what takes how long."""

from hw.convert.grid import shift_levels
from hw.pipeline import distribute
from hw.recorded import family_of
from sw.formats import FixedPointFormat, PositFormat

__all__ = ["decoding_levels", "rounder_registers", "shifts_before_register", "sum_registers"]

_CARRIES, _SLOW_CARRIES = {"ecp5": 28}, 9
"""Bits of a carry chain that take as long as a lookup table and the way to it, on ECP5 and on iCE40."""


def sum_registers(model, pipeline, cuts):
    """Return how many of ``pipeline`` registers stand at which place.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate or sw.reference.block_accumulate.BlockMultiplyAccumulate
    pipeline : int
    cuts : tuple of str
        Places for one register in front of the sum, the best one first.

    Returns
    -------
    dict of str to int
        At the cuts, within the ``"rounder"``, and at the ``"output"``.
    """
    places = _rounder_places(model)
    cycles = distribute(pipeline, (*places[:1], *cuts, *places[1:]))
    return cycles | {"rounder": sum(cycles[place] for place in places)}


def rounder_registers(model, registers):
    """Return how many of ``registers`` stand at which place of the rounding of a sum.

    Parameters
    ----------
    model : sw.reference.emac.ExactMultiplyAccumulate or sw.reference.block_accumulate.BlockMultiplyAccumulate
    registers : int

    Returns
    -------
    dict of str to int
        Behind the shift to the ``"leading"`` bit, behind the rounding (``"round"``), and at the ``"output"``.
    """
    return {"leading": 0, "round": 0, **distribute(registers, _rounder_places(model))}


def _rounder_places(model):
    """Return the places for one register behind the sum, the best one first.

    To find the leading bit takes most of the time, and fixed point does not look for it.
    """
    if model.result is None:
        return ()
    return ("round",) if isinstance(model.result, FixedPointFormat) else ("leading", "round")


def shifts_before_register(number, *, exponent, width, decoding, grid_registers, platform):
    """Return how many of the shifts that place a product on a grid stand in front of the register behind the product.

    What comes before it and what comes after it are to take equally long, in lookup tables one after the other.
    MHz on iCE40 / ECP5 of the register of a sum of 256 products, and in brackets with no shift in front:
    minifloat_e4m3, 88 / 129 (71 / 111); minifloat_e5m2, 63 / 119 (53 / 100); float6_e3m2fn, 128 / 141 (98 / 136).

    Parameters
    ----------
    number : Number
        The product.
    exponent : int
        The grid is that of whole multiples of 2 to this power.
    width : int, bits
        Of the sum.
    decoding : int
        Lookup tables in front of the product.
    grid_registers : int
        Registers behind the shift; without one, the sum's carry chain follows.
    platform : object
        For the time that a carry takes.
    """
    levels = shift_levels(number, exponent)
    before = decoding + max(-(-number.magnitude_bits // 2), levels - 2)
    after = levels + (0 if grid_registers else 1 + width / _CARRIES.get(family_of(platform), _SLOW_CARRIES))
    return min(reversed(range(max(1, levels))), key=lambda shifts: max(before + shifts, after - shifts))


def decoding_levels(model, operand_registers):
    """Return about how many lookup tables a transfer's codes pass in front of a product, and behind any registers.

    Only posits are decoded before they are registered: see :func:`hw.arith.exact_product.decode_registered`.
    """
    return max(fmt.width - 2 if isinstance(fmt, PositFormat) and not operand_registers else 0
               for fmt in (model.a, model.b))
