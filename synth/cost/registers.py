"""The registers of a circuit, counted from its formats and its pipeline: flip-flops follow from these."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sw.formats import FixedPointFormat, PositFormat, ScalarFormat
from sw.reference.accumulator_width import product_grid
from synth.cost.features import leading_bits, product_of, special_flags
from synth.cost.multiplier import TABLES, product_bits
from synth.cost.structure import decoded, grid_shift
from synth.cost.terms import Terms
from synth.operations import Operation

REGISTER_TERMS = {
    "control": "flip-flops of the handshake",
    "stage": "pipeline stages",
    "sum_register": "bits of the sum, where it is added up and where it is held",
    "product_register": "bits behind the product; of a sum, within the shift onto its grid",
    "grid_register": "bits behind the shift onto the sum's grid",
    "operand_register": "bits in front of the product",
    "round_register": "bits behind the rounding, and behind the shift to the leading bit",
    "align_register": "bits behind the alignment to the result",
    "output_register": "bits of a result, once for each stage at the output",
}
"""Every term of flip-flops, and what is counted."""

_ALIGNED, _ROUNDED, _TABULATED = 6, 2, 2
"""What stands beside the code of an aligned product, and of a rounded one: guard and sticky bit, what is still to be
added, zero flag; and beside fractions and exponent field of one that is looked up: sign and zero flag."""

_POSIT_FLAGS = 3
"""What stands beside the exponent and the fraction of a posit: sign, zero flag, NaN flag."""

_CARRIES = 9
"""As ``hw.accumulate.register_places`` has it for no family in particular."""


def _cuts(pipeline: int, cuts: Sequence[str]) -> dict[str, int]:
    """Return the stages at each cut, and at the output: ``hw.pipeline.distribute``."""
    taken = {cut: int(index < pipeline) for index, cut in enumerate(cuts)}
    return taken | {"output": pipeline - sum(taken.values())}


def register_terms(operation: Operation, structure: str | None, *, sum_in_block: bool = False) -> Terms:
    """Return the bits of a circuit's registers, by where they stand.

    Parameters
    ----------
    operation : Operation
        One that :data:`synth.cost.features.MODELLED` names.
    structure : str or None
        As :func:`synth.cost.features.structure_of` has it.
    sum_in_block : bool
        Whether the sum of a fixed-point multiply-accumulator is held by the DSP block of its product.
    """
    counters: Mapping[str, Callable[[Operation], Terms]] = {
        "multiply": partial(_multiplier, structure=structure or ""), "dot": partial(_dot, structure=structure),
        "emac": partial(_accumulator, structure=structure), "mac": partial(_fixed_accumulator, in_block=sum_in_block)}
    terms = counters[operation.name](operation) | {"stage": operation.pipeline}
    return {name: value for name, value in terms.items() if value}


def _multiplier(operation: Operation, *, structure: str) -> Terms:
    model, result = operation.model, operation.model.result
    if all(isinstance(fmt, FixedPointFormat) for fmt in (model.a, model.b, result)):
        product = product_of(operation)
        cuts = _cuts(operation.pipeline, ("product", "round"))
        rounded = _rounded_bits(result, width=product.magnitude_bits, exponent=product.scale)
        return {"product_register": cuts["product"] * product.magnitude_bits,
                "round_register": cuts["round"] * rounded, "output_register": cuts["output"] * result.width}
    if structure == "truth-table":
        return {"output_register": operation.pipeline * result.width}
    if structure in TABLES:
        cuts = _cuts(operation.pipeline, ("product", "round", "operand"))
        fractions = model.a.fraction_bits + model.b.fraction_bits + result.fraction_bits + 1
        return {"product_register": cuts["product"] * (fractions + result.exponent_bits + _TABULATED),
                "round_register": cuts["round"] * (result.width + _ROUNDED),
                # Each operand with a bit that says that its exponent is one less.
                "operand_register": cuts["operand"] * (model.a.width + 1 + model.b.width + 1),
                "output_register": cuts["output"] * result.width}
    cuts = _cuts(operation.pipeline, ("product", "align", "round", "operand"))
    return {"product_register": cuts["product"] * product_bits(model, structure),
            "align_register": cuts["align"] * (result.width + _ALIGNED),
            "round_register": cuts["round"] * (result.width + _ROUNDED),
            "operand_register": cuts["operand"] * (model.a.width + model.b.width),
            "output_register": cuts["output"] * result.width}


def _products_bits(operation: Operation, lanes: int, structure: str | None) -> int:
    """Bits behind the products of all lanes; in pairs, behind the sums of two."""
    bits = product_of(operation).register_bits
    pairs = lanes // 2 if structure == "pairs" and not operation.dsp else 0
    return (lanes - 2 * pairs) * bits + pairs * (bits + 1)


def _dot(operation: Operation, *, structure: str | None) -> Terms:
    model, flags = operation.model, special_flags(operation.model.a, operation.model.b)
    cuts = _cuts(operation.pipeline, ("sum", "product", "round")[:2 if model.result is None else 3])
    width = model.sum_grid.width
    return {"sum_register": cuts["sum"] * (width + flags), "product_register":
            cuts["product"] * _products_bits(operation, model.lanes, structure),
            **_rounded(model.result, cuts, width=width, exponent=model.sum_exponent)}


def _accumulator(operation: Operation, *, structure: str | None) -> Terms:
    model, lanes = operation.model, operation.model.lanes or 1
    flags = special_flags(model.a, model.b)
    cuts = _cuts(operation.pipeline, ("grid", "operand") if model.result is None else
                 ("round", "grid", "operand") if isinstance(model.result, FixedPointFormat) else
                 ("leading", "grid", "operand", "round"))
    grid = product_grid(model.a, model.b, every_code=True).refined(model.accumulator_exponent)
    return {"control": 1, "sum_register": 2 * (model.width + flags),
            "product_register": flags + (
                _products_bits(operation, lanes, structure) if product_of(operation).is_integer else
                lanes * _shifted_bits(operation, cuts)),
            "grid_register": cuts["grid"] * lanes * (min(grid.width, model.width) + 1),
            "operand_register": cuts["operand"] * lanes * sum(map(_operand_bits, (model.a, model.b))),
            **_rounded(model.result, cuts, width=model.width, exponent=model.accumulator_exponent)}


def _shifted_bits(operation: Operation, cuts: Mapping[str, int]) -> int:
    """Bits of a product within its shift onto the grid of a sum: ``hw.accumulate.register_places``."""
    model, product = operation.model, product_of(operation)
    levels = grid_shift(product, exponent=model.accumulator_exponent, width=model.width).levels
    decoding = 0 if cuts["operand"] else max(
        fmt.width - 2 if isinstance(fmt, PositFormat) else 0 for fmt in (model.a, model.b))
    before = decoding + max(-(-product.magnitude_bits // 2), levels - 2)
    after = levels + (0 if cuts["grid"] else 1 + model.width / _CARRIES)
    shifts = min(reversed(range(max(1, levels))), key=lambda count: max(before + count, after - count))
    return product.register_bits + (1 << shifts) - 1


def _operand_bits(fmt: ScalarFormat) -> int:
    """Bits of an operand in front of the product: of posits, which have been decoded there, without the top bit."""
    if not isinstance(fmt, PositFormat):
        return fmt.width
    operand = decoded(fmt)
    return operand.exponent_bits + operand.magnitude_bits - 1 + _POSIT_FLAGS


def _fixed_accumulator(operation: Operation, *, in_block: bool) -> Terms:
    model, width = operation.model, operation.model.accumulator.width
    cuts = _cuts(operation.pipeline, ("product", "round", "operand"))
    return {"control": 1, "sum_register": 0 if in_block else (1 + cuts["product"]) * width,
            "product_register": 0 if in_block else cuts["product"] * product_of(operation).register_bits,
            "operand_register": cuts["operand"] * (model.a.width + model.b.width),
            **_rounded(model.result, cuts, width=width, exponent=-model.accumulator.fraction_bits)}


def _rounded(result: ScalarFormat | None, cuts: dict[str, int], *, width: int, exponent: int) -> Terms:
    if result is None:
        return {"output_register": cuts["output"] * width}
    leading = 0 if isinstance(result, FixedPointFormat) else leading_bits(result, width=width, exponent=exponent)
    return {"round_register": cuts.get("round", 0) * _rounded_bits(result, width=width, exponent=exponent)
            + cuts.get("leading", 0) * leading,
            "output_register": cuts["output"] * result.width}


def _rounded_bits(result: ScalarFormat, *, width: int, exponent: int) -> int:
    """Bits of a rounded sum before it is saturated: in fixed point, all that stand above the last place."""
    if not isinstance(result, FixedPointFormat):
        return result.width
    places = max(0, -result.fraction_bits - exponent)
    return max(width, places) - places + 2 * (places > 0)
