"""Operands side by side in one factor, and the sums of their products taken apart again."""

from amaranth.hdl import *

from hw.convert.number import named
from sw.reference.packing import MAX_OPERAND_WIDTH, MIN_OPERAND_WIDTH, Packing

__all__ = ["borrow_lanes", "fit_packing", "join_lanes", "take_lanes_apart"]


def fit_packing(platform, *, packed_width, shared_width, lanes, terms):
    """Return the packing of most lanes, up to ``lanes``, whose factors a DSP block of the platform multiplies.

    Of the spacings that fit, the least one is chosen in which the sums are signed numbers, so that what tells the lanes
    apart is the inversion of a bit of each; otherwise the least one at all.

    Parameters
    ----------
    platform : object
        With ``fits(a_width, b_width)`` and ``sum_width``, as those of ``synth.primitives`` have. Any other is taken
        to have blocks that hold no more than one lane.
    packed_width, shared_width : int, bits
        Of the signed operands.
    lanes : int
    terms : int
        Products of a sum.

    Returns
    -------
    sw.reference.packing.Packing, or None
        None where no more than one lane fits, or the operands are none that a packing takes.
    """
    if not all(MIN_OPERAND_WIDTH <= width <= MAX_OPERAND_WIDTH for width in (packed_width, shared_width)):
        return None
    fits, sum_width = getattr(platform, "fits", None), getattr(platform, "sum_width", 0)
    for count in range(lanes if fits else 1, 1, -1):
        least = Packing(packed_width=packed_width, shared_width=shared_width, lanes=count, terms=terms)
        one_more = Packing(packed_width=packed_width, shared_width=shared_width, lanes=count, terms=terms,
                           spacing=least.spacing + 1)
        packings = [packing for packing in (least, one_more)
                    if fits(packing.operand_width, shared_width) and packing.result_width <= sum_width]
        if packings:
            return next((packing for packing in packings if terms <= packing.max_signed_terms), packings[0])
    return None


def borrow_lanes(m, operands, *, name):
    """Return the operands of the lanes, each less one where the lane below it is negative.

    Returns
    -------
    list of Value, signed
        The lowest lane is as it was, each other one a bit wider.
    """
    lanes = [operands[0]]
    for lane, operand in enumerate(operands[1:], start=1):
        lanes.append(Signal(signed(len(operand) + 1), name=f"{name}_{lane}"))
        m.d.comb += lanes[-1].eq(operand - lanes[-2][-1])
    return lanes


def join_lanes(packing, lanes):
    """Return the packed factor of what :func:`borrow_lanes` made of one operand a lane.

    Returns
    -------
    Value, signed, of ``packing.operand_width`` bits
    """
    fields = [Cat(lane, lane[-1].replicate(packing.spacing))[:packing.spacing] for lane in lanes[:-1]]
    top = lanes[-1]
    joined = Cat(*fields, top, top[-1].replicate(packing.operand_width))
    return joined[:packing.operand_width].as_signed()


def take_lanes_apart(m, packing, total, *, name):
    """Return the sum of each lane.

    Parameters
    ----------
    m : Module
    packing : Packing
    total : Value, unsigned
        A sum of packed products that began with ``packing.packed_bias``, of ``packing.result_width`` bits.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    list of Value, signed
    """
    sums = []
    for lane in range(packing.lanes):
        field = total[lane * packing.spacing:(lane + 1) * packing.spacing]
        if packing.bias == 1 << packing.spacing - 1:  # the bias inverted the sign
            value = Cat(field[:-1], ~field[-1])
        else:
            value = field - packing.bias
        sums.append(named(m, value, f"{name}_{lane}").as_signed())
    return sums
