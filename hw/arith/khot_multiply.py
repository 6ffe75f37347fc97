"""Multiplication by at most K signed powers of two: shifters and adders in place of a multiplier."""

from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.arith.exact_product import Flags
from hw.arith.integer_product import multiply_integers
from hw.arith.integer_sum import add_addend
from hw.convert.from_integer import round_sum
from hw.convert.grid import Addend
from hw.convert.number import named
from hw.function import function_members
from hw.pipeline import delay, distribute, require_pipeline
from sw.formats import OverflowPolicy, RoundingMode
from sw.reference.khot import KHotMultiplication

__all__ = ["KHotMultiplier", "KHotStructure"]


class KHotStructure(Enum):
    """How the product is put together."""

    SHIFT_AND_ADD = "shift-and-add"
    """A shifter a digit, and adders."""
    RECODE = "recode"
    """The digits add up to the weight, which a multiplier of few rows takes."""


class KHotMultiplier(wiring.Component):
    """Product of a fixed-point code and a weight of at most ``hot`` signed powers of two, rounded once.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one product per cycle. The output is what
    ``sw.reference.khot.KHotMultiplication`` computes. Registers have no reset: the first ``latency`` outputs after
    power-up mean nothing.

    Tie ``shift``, ``negative`` and ``enable`` to constants for a constant weight: the shifters become wires, and what
    is left is ``hot - 1`` adders.

    Parameters
    ----------
    x : FixedPointFormat
    hot : int
        Digits of a weight, the K of K-hot.
    max_shift : int
        Largest exponent of a digit, in units of the weight's last place.
    weight_fraction_bits : int
        The weight's last place is ``2**-weight_fraction_bits``.
    result : FloatingPointFormat, FixedPointFormat or PositFormat, optional
        By default the fixed-point format in which no product is rounded.
    rounding : RoundingMode
    overflow : OverflowPolicy
    random_bits : int, bits
        How many random bits a stochastic rounding takes; 0 for every other mode.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first goes after the product, the second after the
        rounding; any further ones stand at the output, for a tool that retimes.
    structure : KHotStructure, optional
        By default, the smallest one measured: see :func:`default_structure`.

    Members
    -------
    x : In(x.width)
    shift : In(ArrayLayout(unsigned(...), hot))
        Exponent of each digit, at most ``max_shift``. Beyond it the output means nothing.
    negative, enable : In(ArrayLayout(1, hot))
        Sign of each digit, and whether the weight has it.
    random : In(random_bits)
        Random bits of that product; only with ``RoundingMode.STOCHASTIC``.
    o : Out(result.width)
        Code of the product.

    Raises
    ------
    TypeError
        If a format, mode, policy or count is of the wrong type.
    ValueError
        If a count is out of range, the overflow policy does not apply to the result format, or the random bits do
        not suit the rounding mode.
    """

    def __init__(self, x, *, hot, max_shift, weight_fraction_bits=0, result=None, rounding=RoundingMode.NEAREST_EVEN,
                 overflow=OverflowPolicy.SATURATE, random_bits=0, pipeline=0, structure=None):
        self._model = KHotMultiplication(x=x, hot=hot, max_shift=max_shift, weight_fraction_bits=weight_fraction_bits,
                                         result=result, rounding=rounding, overflow=overflow, random_bits=random_bits)
        self._pipeline = require_pipeline(pipeline)
        self._structure = default_structure(hot) if structure is None else structure
        if not isinstance(self._structure, KHotStructure):
            raise TypeError(f"Structure must be a KHotStructure, not {structure!r}")
        super().__init__(function_members(self._model))

    @property
    def structure(self):
        """How the product is put together."""
        return self._structure

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a code and a weight to their product."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        model = self._model
        cycles = distribute(self._pipeline, ("product", "round"))
        x = self._signed_x(m)
        product = (self._shifted_sum(m, platform, x) if self._structure is KHotStructure.SHIFT_AND_ADD
                   else self._recoded(m, platform, x))
        product = delay(m, product[:model.exact.width].as_signed(), cycles["product"], name="product")
        random = delay(m, self.random, cycles["product"], name="random") if model.random_bits else None
        code = round_sum(m, product, -model.exact.fraction_bits, model.cast, random=random, cycles=cycles["round"],
                         flags=Flags(nan=C(0, 1), above=C(0, 1), below=C(0, 1)))
        m.d.comb += self.o.eq(delay(m, code, cycles["output"], name="code"))
        return m

    def _signed_x(self, m):
        """Return ``x`` with the sign of digit 0: the one negation, after which the signs of the others are free."""
        sign, width = self.negative[0], len(self.x) + 1
        top = self.x[-1] if self._model.x.signed else C(0, 1)
        flipped = named(m, Cat(self.x, top) ^ sign.replicate(width), "flipped_x")
        signed_x = Signal(signed(width), name="signed_x")
        m.d.comb += signed_x.eq(flipped + sign)
        return signed_x

    def _shifted_sum(self, m, platform, x):
        """Every digit shifts ``x``, and all but the first are added or subtracted."""
        width, total = len(x) + self._model.max_shift, None
        for digit in range(self._model.hot):
            term = self._shifted(m, x, digit)
            total = term if total is None else self._add_or_subtract(
                m, platform, total, term, digit, width + digit)
        return total

    def _shifted(self, m, value, digit):
        """Return ``value`` times the digit's power of two, or zero if the digit is off.

        Two bits of the shift at a time choose one of four, which fills a LUT of six inputs; where the upper two cannot
        both be set, they choose one of three, and the enable finds room too. The upper ones come first: the adder that
        follows then takes in part of the last choice.
        """
        shift, largest, width = self.shift[digit], self._model.max_shift, len(value) + self._model.max_shift
        enable, levels = self.enable[digit], largest.bit_length()
        while levels:
            upper, lower = 1 << levels - 1, 1 << levels - 2 if levels > 1 else 0
            reach = len(value) + min(upper + lower, width - len(value))
            value = Mux(shift[levels - 1],
                        _choose(shift, levels - 2, value, upper, lower if upper + lower <= largest else 0, reach),
                        _choose(shift, levels - 2, value, 0, lower, reach))
            value = value if enable is None else value & enable.replicate(reach)
            value, enable = named(m, value, f"shifted_{digit}_by_{upper + lower}").as_signed(), None
            levels = max(levels - 2, 0)
        return value if enable is None else named(m, value & enable.replicate(width), "gated").as_signed()

    def _add_or_subtract(self, m, platform, total, term, digit, width):
        """Return ``total`` plus ``term``, or minus, if the digit has another sign than digit 0."""
        flip = named(m, self.negative[digit] ^ self.negative[0], f"flip_{digit}")
        # As wide as the sum, so that the inversion of the sign's copies merges with the adder too.
        flipped = named(m, _extended(term, width) ^ flip.replicate(width), f"flipped_{digit}").as_signed()
        return add_addend(m, _extended(total, width).as_signed(), Addend(value=flipped, carry=flip), width=width,
                          platform=platform, name=f"sum_{digit}")

    def _recoded(self, m, platform, x):
        """The digits make a weight, up to the sign of digit 0."""
        weight, places = None, self._model.max_shift + 1
        for digit in range(self._model.hot):
            powers = [self.enable[digit] & (self.shift[digit] == place) for place in range(places)]
            power = named(m, Cat(*powers, C(0, 1)), f"power_{digit}").as_signed()
            weight = power if weight is None else self._add_or_subtract(
                m, platform, weight, power, digit, places + digit + 1)
        return multiply_integers(m, x, weight, platform=platform)


def _extended(value, width):
    """Return the low ``width`` bits of a signed value, however many it has."""
    return Cat(value, value[-1].replicate(max(0, width - len(value))))[:width]


def _choose(shift, level, value, upper, lower, width):
    """Return ``value`` shifted left by ``upper``, and by ``lower`` too if that bit of ``shift`` is set."""
    kept = _extended(Cat(C(0, upper), value), width)
    return Mux(shift[level], _extended(Cat(C(0, upper + lower), value), width), kept) if lower else kept


def default_structure(hot):
    """Return the structure that is used where none is given: the smaller one over the families measured.

    LUTs with yosys 0.70 on iCE40 / ECP5 without wide LUTs / Xilinx 7, all shifts that the width of the weight admits,
    ``*`` the choice:

    ==================  =================  ===============
    x, K of the weight  shift and add      recode
    ==================  =================  ===============
    int12, 1 of 12      100 / 101 / 57 *   198 / 205 / 132
    int12, 2 of 12      208 / 211 / 129 *  256 / 268 / 147
    int12, 3 of 12      310 / 309 / 193    296 / 309 / 174 *
    int12, 4 of 12      409 / 410 / 258    332 / 337 / 204 *
    int8, 1 of 8        57 / 62 / 40 *     97 / 102 / 72
    int8, 2 of 8        122 / 119 / 91 *   141 / 151 / 77
    int8, 3 of 8        182 / 182 / 137    174 / 184 / 88 *
    ==================  =================  ===============
    """
    return KHotStructure.SHIFT_AND_ADD if hot < 3 else KHotStructure.RECODE
