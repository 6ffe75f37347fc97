"""How long the paths of a circuit are, counted from its formats: the clock's period follows from these."""

import math

from synth.cost.structure import decoded
from synth.cost.terms import Terms
from synth.operations import Operation

DELAY_TERMS = {
    "path": "one path between registers",
    "carry": "bits of the longest carry chain",
    "product_depth": "rows of the product",
    "shift_depth": "levels of shifts by exponents and leading zeros",
    "regime_depth": "levels that unpack a posit",
    "tree_depth": "levels of the tree that sums lanes",
    "rounding_depth": "levels that find a sum's leading bit",
    "distance": "square root of all the work: so far apart do its parts lie",
}
"""Every term of a period, and what is counted."""


def delay_terms(operation: Operation, *, carry: int, work: float) -> Terms:
    """Return what a circuit's longest path is made of.

    Parameters
    ----------
    operation : Operation
    carry : int
        Bits of its longest carry chain, such as its sum.
    work : float
        All that its lookup tables do.
    """
    model = operation.model
    x, y = decoded(model.a), decoded(model.b)
    stages = 1 + operation.pipeline
    result = getattr(model, "result", None)
    span = x.max_exponent + y.max_exponent - x.min_exponent - y.min_exponent
    terms = {
        "path": 1, "carry": carry, "product_depth": min(x.magnitude_bits, y.magnitude_bits),
        "shift_depth": span.bit_length(), "regime_depth": sum(part.regime_muxes > 0 for part in (x, y)) * math.log2(
            max(model.a.width, model.b.width)),
        "tree_depth": math.log2(getattr(model, "lanes", None) or 1),
        "rounding_depth": 0 if result is None or operation.name == "multiply" else math.log2(carry),
        "distance": math.sqrt(work)}
    if operation.name in ("multiply", "dot"):  # whole paths lie between the registers, in equal parts at best
        terms = {name: value / stages for name, value in terms.items()} | {"path": 1}
    return {name: value for name, value in terms.items() if value}
