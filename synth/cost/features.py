"""What a circuit's cost depends on: the work in each of its parts, counted from the fields of its formats.

Nothing here looks at a name. A format that is described in another way, but is the same, has the same features.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeGuard

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, Subnormals
from sw.reference.accumulator_width import product_grid
from synth.cost.fabric import Fabric
from synth.cost.multiplier import multiplier_terms
from synth.cost.structure import (
    Product,
    decoded,
    exact_product,
    exact_product_terms,
    grid_shift,
    normalising_shift,
    tree_bits,
    unpacking,
)
from synth.cost.terms import PRODUCT_TERMS, Terms, times, total
from synth.operations import Operation
from synth.operations.structures import built_structure


def special_flags(*formats: ScalarFormat) -> int:
    """Return how many flags a sum keeps of terms that are no finite numbers."""
    infinities = any(fmt.has_infinity for fmt in formats)
    return (infinities or any(fmt.nan_code is not None for fmt in formats)) + 2 * infinities


def _lane(a: ScalarFormat, b: ScalarFormat, *, exponent: int, width: int, fabric: Fabric) -> Terms:
    """One product, and its way onto the grid of a sum."""
    product, work = exact_product(a, b), exact_product_terms(a, b, fabric=fabric)
    if product.is_integer:
        return work
    shift = grid_shift(product, exponent=exponent, width=width)
    return total(work, unpacking(a, fabric=fabric, masks=True),
                 unpacking(b, fabric=fabric, masks=True), {
        "exponent": product.exponent_bits, "shift": sum(shift.muxes), "shift_edge": sum(shift.gates),
        "shift_pair": sum(shift.muxes[::-2]) + sum(shift.gates[::-2]), "place": width})


def _accumulator(model: Any, *, fabric: Fabric) -> Terms:
    grid = product_grid(model.a, model.b, every_code=True).refined(model.accumulator_exponent)
    width, lanes = min(grid.width, model.width), model.lanes or 1
    lane = _lane(model.a, model.b, exponent=model.accumulator_exponent, width=width, fabric=fabric)
    return total(times(lanes, lane), {
        "circuit": 1, "tree": tree_bits([width] * lanes), "sum": model.width,
        "flags": special_flags(model.a, model.b)},
        rounding_terms(model.result, width=model.width, exponent=model.accumulator_exponent))


def _fixed_accumulator(model: Any, *, fabric: Fabric) -> Terms:
    register = model.accumulator
    return total(exact_product_terms(model.a, model.b, fabric=fabric), {"circuit": 1, "sum": register.width},
                 rounding_terms(model.result, width=register.width, exponent=-register.fraction_bits))


def _dot(model: Any, *, fabric: Fabric) -> Terms:
    grid, lanes, width = product_grid(model.a, model.b, every_code=True), model.lanes, model.sum_grid.width
    lane = _lane(model.a, model.b, exponent=grid.exponent, width=grid.width, fabric=fabric)
    product = exact_product(model.a, model.b)
    return total(times(lanes, lane), {
        "tree": tree_bits([grid.width] * lanes), "last": 0 if product.is_integer else product.magnitude_bits,
        "flags": special_flags(model.a, model.b)},
        rounding_terms(model.result, width=width, exponent=model.sum_exponent))


def rounding_terms(result: ScalarFormat | None, *, width: int, exponent: int) -> Terms:
    """Return the work of ``hw.convert.from_integer.round_sum``; none where the sum is the result.

    Parameters
    ----------
    result : ScalarFormat or None
    width : int, bits
        Of the sum.
    exponent : int
        The sum counts in units of 2 to this power.
    """
    match result:
        case None:
            return {}
        case FixedPointFormat():
            places = max(0, -result.fraction_bits - exponent)
            return {"round_below": places, "round": width - places if places else 0,
                    "round_above": max(0, width - places - result.width), "saturate": result.width}
    top, bottom, levels = _leading_shift(result, width=width, exponent=exponent)
    negated = result.fraction_bits + 1 if _is_inverted(result) else width
    return {"round_leading": normalising_shift(top - bottom + 1, levels), "round_below": max(0, bottom),
            "round_above": max(0, width - 1 - top), "round_result": result.width, "round_negate": negated,
            "string": result.width * (result.width - 2).bit_length() if isinstance(result, PositFormat) else 0}


def leading_bits(result: FloatingPointFormat | PositFormat, *, width: int, exponent: int) -> int:
    """Return the bits behind the shift of a sum to its leading bit: what it left, where that bit was, sign and sticky.

    Parameters
    ----------
    result, width, exponent
        As :func:`rounding_terms` has them.
    """
    top, bottom, levels = _leading_shift(result, width=width, exponent=exponent)
    return top - bottom + 2 - (1 << levels) + levels + 2


def _leading_shift(result: FloatingPointFormat | PositFormat, *, width: int, exponent: int) -> tuple[int, int, int]:
    """Return the highest and the lowest place that are shifted to the leading bit, and the levels of that shift."""
    if _is_inverted(result):
        lowest = 1 - int(result.bias) - exponent
        fields = max(1, min((result.max_code >> result.fraction_bits) + 1, width - 1 - lowest))
        levels = (fields - 1).bit_length()
        return lowest + (1 << levels) - 1, lowest - result.fraction_bits - 1, levels
    places = result.significand_bits if isinstance(result, PositFormat) else result.fraction_bits + 1
    top = min(_exponent(result.max_finite) + 2 - exponent, width - 1)
    levels = max(1, top - (_exponent(result.smallest_positive) - 3 - exponent)).bit_length()
    return top, top - (1 << levels) + 1 - (places + 3) + 2, levels


def _is_inverted(result: FloatingPointFormat | PositFormat) -> TypeGuard[FloatingPointFormat]:
    """Whether a negative sum is inverted once it is shifted, rather than negated before."""
    return (isinstance(result, FloatingPointFormat) and result.subnormals is Subnormals.SUPPORTED
            and result.radix == 2)


def _exponent(value: Fraction) -> int:
    """Floor of the binary logarithm of a positive rational, which itself may lie beyond float64."""
    return math.floor(math.log2(value.numerator) - math.log2(value.denominator))


_TERMS: Mapping[str, Callable[..., Terms]] = {
    "multiply": multiplier_terms, "mac": _fixed_accumulator, "emac": _accumulator, "dot": _dot}

MODELLED = tuple(_TERMS)
"""Operations whose costs can be predicted."""


def structure_of(operation: Operation, target: str | None) -> str | None:
    """Return the structure that a circuit's features depend on; None where they depend on none.

    Of multipliers, and of fixed-point products that may come in pairs. Only for these does it load the components.

    Parameters
    ----------
    operation : Operation
        One of :data:`MODELLED`.
    target : str or None
        Name of a target, None for none in particular.

    Raises
    ------
    StorageError
        If the table of recorded structures is damaged, or is not this code's.
    """
    model = operation.model
    paired = (getattr(model, "lanes", None) or 1) > 1 and all(
        isinstance(fmt, FixedPointFormat) for fmt in (model.a, model.b))
    return built_structure(operation, target) if operation.name == "multiply" or paired else None


def lookup_terms(operation: Operation, *, fabric: Fabric, hard: int, structure: str | None) -> Terms:
    """Return the work that lookup tables, and the carry chains among them, do in a circuit.

    Parameters
    ----------
    operation : Operation
        One of :data:`MODELLED`.
    fabric : Fabric
        Of the target.
    hard : int
        Hard multipliers that the circuit has; their products take no lookup tables.
    structure : str or None
        As :func:`structure_of` has it.
    """
    further = {"structure": structure} if operation.name == "multiply" else {}
    terms = dict(_TERMS[operation.name](operation.model, fabric=fabric, **further))
    if hard:
        terms = {name: value for name, value in terms.items() if name not in PRODUCT_TERMS} | {"hard": hard}
    return {name: value for name, value in terms.items() if value}


def product_of(operation: Operation) -> Product:
    """Return the exact product of an operation's two formats."""
    return exact_product(operation.model.a, operation.model.b)


def operand_bits(operation: Operation) -> int:
    """Return the bits of both factors of an operation's product."""
    return sum(decoded(fmt).magnitude_bits for fmt in (operation.model.a, operation.model.b))
