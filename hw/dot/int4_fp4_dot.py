"""Dot product of 4-bit integers and radix-4 floats without fraction bits: shifters, an adder tree, one rounding."""

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.arith.exact_product import Flags
from hw.arith.integer_sum import sum_addends
from hw.convert.from_integer import round_sum
from hw.convert.grid import Addend
from hw.convert.number import named
from hw.function import function_members
from hw.pipeline import delay, distribute, require_pipeline
from hw.shape import require_format
from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode
from sw.reference.int4_fp4 import DLFLOAT16, Int4Fp4Dot

__all__ = ["Int4Fp4DotProduct"]


class Int4Fp4DotProduct(wiring.Component):
    """Dot product of INT4 and radix-4 FP4 codes, exact and then rounded once.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one dot product per cycle. The output is what
    ``sw.reference.int4_fp4.Int4Fp4Dot`` computes. Registers have no reset: the first ``latency`` outputs after
    power-up mean nothing.

    A radix-4 code without fraction bits shifts the magnitude of its integer by twice its exponent, to a term of 17
    bits; terms add up without being aligned to each other. The odd phase, half of the even one, takes one off the
    exponent of the result.

    Parameters
    ----------
    lanes : int
        1 to 4096.
    result : FloatingPointFormat, FixedPointFormat or PositFormat
        By default 1-6-9 as DLFloat reads it.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first three go after the sum, after the terms and
        after the rounding, in that order of priority; any further ones stand at the output, for a tool that retimes.

    Members
    -------
    a : In(ArrayLayout(4, lanes))
        INT4 codes: weights or activations.
    b : In(ArrayLayout(4, lanes))
        FP4 codes: gradients.
    odd : In(1)
        Whether the codes of ``b`` are of the odd phase.
    random : In(random_bits)
        Random bits of that dot product; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the result.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If the lanes or ``pipeline`` are out of range, the overflow policy does not apply to the result format, or the
        random bits do not suit the rounding mode.

    Source: Sun et al. 2020, Ultra-Low Precision 4-bit Training of Deep Neural Networks.
    """

    def __init__(self, lanes=4, result=DLFLOAT16, *, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0):
        require_format("Result format", result)
        self._model = Int4Fp4Dot(lanes=lanes, result=result, rounding=rounding, overflow=overflow,
                                 random_bits=random_bits)
        self._pipeline = require_pipeline(pipeline)
        super().__init__(function_members(self._model))

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from two vectors to their dot product."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model, cycles = self._model, distribute(self._pipeline, ("sum", "terms", "round"))
        turned = self._exponent_has_room() and model.rounding.mirrored is model.rounding
        signs = [named(m, a[-1] ^ b[-1], f"lane_{lane}_sign") for lane, (a, b) in enumerate(
            zip(self.a, self.b, strict=True))]
        terms = [self._term(m, lane, signs[lane], turned=signs[0] if turned else None).delayed(m, cycles["terms"])
                 for lane in range(model.lanes)]
        width, point = model.sum_format.width, model.sum_format.fraction_bits
        total = sum_addends(m, terms, platform=platform, name="sum").value[:width].as_signed()
        total = delay(m, total, cycles["sum"], name="total")
        before = cycles["terms"] + cycles["sum"]
        odd, random = delay(m, self.odd, before, name="odd"), None
        if model.random_bits:
            random = delay(m, self.random, before, name="random")
        if not self._exponent_has_room():
            total, point = named(m, Mux(odd, total, total << 1), "in_phase").as_signed(), point + 1
        code = round_sum(m, total, -point, model.cast, random=random, cycles=cycles["round"],
                         flags=Flags(nan=C(0, 1), above=C(0, 1), below=C(0, 1)))
        if self._exponent_has_room():
            odd = delay(m, odd, cycles["round"], name="odd_rounded")
            sign = delay(m, signs[0], before + cycles["round"], name="sign") if turned else C(0, 1)
            code = self._finished(m, code, odd, sign)
        m.d.comb += self.o.eq(delay(m, code, cycles["output"], name="code"))
        return m

    def _term(self, m, lane, sign, *, turned):
        """Return the product of a lane in units of 2**-6: the integer shifted by twice the exponent, with its sign.

        An adder of the tree takes the carry of a negative term along. There is one adder less than lanes: lane 0 either
        has no sign (with ``turned``, its sign turns the whole sum over) or negates its integer before the shift.
        """
        integer, code, name = self.a[lane].as_signed(), self.b[lane], f"lane_{lane}"
        factor, fill = named(m, Mux(integer[-1], -integer, integer)[:4], f"{name}_magnitude"), C(0, 1)
        invert = sign if turned is None else sign ^ turned
        if not lane:
            invert = C(0, 1)
            if turned is None:
                factor = named(m, Mux(code[-1], -integer, integer)[:5], f"{name}_signed")
                fill = factor[-1]
        # The field of zero, one below the smallest exponent, leaves the two lowest bits below the grid; the others are
        # masked.
        present = named(m, code[:3].any(), f"{name}_present")
        bits, fill = [*factor[:2], *(factor[2:] & present.replicate(len(factor) - 2))], fill & present
        for level, step in enumerate((2, 4, 8)):
            moved, kept = [C(0, 1)] * step + bits, bits + [fill] * step
            bits = list(named(m, Cat(*(Mux(code[level], x, y) for x, y in zip(moved, kept, strict=True))),
                              f"{name}_by_{step}"))
        value = Cat(*bits[2:], fill)[:17]
        if isinstance(invert, Const):
            return Addend(value=value.as_signed(), carry=invert)
        invert = named(m, invert, f"{name}_invert")
        return Addend(value=named(m, value ^ invert.replicate(17), f"{name}_term").as_signed(), carry=invert)

    def _exponent_has_room(self):
        """Whether the results of both phases are of full precision and in range: half of one is an exponent less."""
        fmt, model = self._model.result, self._model
        return (isinstance(fmt, FloatingPointFormat) and fmt.radix == 2 and fmt.signed and fmt.fraction_bits > 0
                and 2 * fmt.smallest_normal <= model.sum_format.quantum and fmt.max_finite >= 512 * model.lanes)

    def _finished(self, m, code, odd, sign):
        """Halve a result of the odd phase, and turn the sign of one that was turned over; zero stays as it is."""
        fmt = self._model.result
        top = fmt.exponent_bits + fmt.fraction_bits
        field = code[fmt.fraction_bits:top]
        nonzero = named(m, field.any(), "nonzero")
        field = named(m, (field - (odd & nonzero))[:fmt.exponent_bits], "exponent")
        return Cat(code[:fmt.fraction_bits], field, code[top] ^ (sign & nonzero))
