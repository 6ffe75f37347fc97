"""Words of narrow weight codes to int8: the unpacking of every width, less the zero point."""

from enum import Enum

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.convert.integer import encode_integer
from hw.convert.number import named
from hw.function import function_members
from hw.pipeline import delay, distribute, require_pipeline
from sw.formats import OverflowPolicy
from sw.reference.dequantize import INT8, Dequantization

__all__ = ["Dequantizer", "DequantizerStructure"]


class DequantizerStructure(Enum):
    """How a zero point is taken off a code."""

    SUBTRACT = "subtract"
    """The code less the zero point."""
    ADD_INVERTED = "add-inverted"
    """The zero point and the inverted code, the sum inverted again: the same number. Where the adder's LUTs have inputs
    to spare, the choice among the widths goes into them."""


class Dequantizer(wiring.Component):
    """Codes of a word, each less its zero point, as int8 codes.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one word, of ``lanes`` codes, per cycle. The
    output is what ``sw.reference.dequantize.Dequantization`` computes. Registers have no reset: the first ``latency``
    outputs after power-up mean nothing.

    Parameters
    ----------
    code_widths : tuple of int, bits
        Widths of the unsigned codes, rising, each 1 to 8. A single one makes the unpacking wires.
    lanes : int
        Codes of a word: 1 to 64.
    zero_point_per_lane : bool
        Every lane has a zero point of its own; otherwise all lanes share one.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first goes after the subtraction, the second after
        the unpacking; any further ones stand at the output, for a tool that retimes.
    structure : DequantizerStructure, optional
        By default, the smaller one over the families measured: see :func:`default_structure`.

    Members
    -------
    word : In(lanes * code_widths[-1])
        One code a lane, without gaps, the first one in the lowest bits.
    zero_point : In(code_widths[-1]), or In(ArrayLayout(code_widths[-1], lanes))
    width : In(...)
        Index into ``code_widths`` of the word's width; only where there are several. Beyond the last one the output
        means nothing.
    o : Out(ArrayLayout(8, lanes))
        int8 codes.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Source: FlightLLM (arXiv 2401.03868): weights of 2, 3, 4 and 8 bits become int8 before the one int8 array.
    """

    def __init__(self, *, code_widths=(2, 3, 4, 8), lanes=16, zero_point_per_lane=False, pipeline=0,
                 structure=None):
        self._model = Dequantization(code_widths=code_widths, lanes=lanes, zero_point_per_lane=zero_point_per_lane)
        self._pipeline = require_pipeline(pipeline)
        self._structure = default_structure(code_widths) if structure is None else structure
        if not isinstance(self._structure, DequantizerStructure):
            raise TypeError(f"Structure must be a DequantizerStructure, not {structure!r}")
        super().__init__(function_members(self._model))

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def structure(self):
        """How a zero point is taken off a code."""
        return self._structure

    @property
    def latency(self):
        """Cycles from a word to its int8 codes."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        cycles = distribute(self._pipeline, ("difference", "unpacked"))
        for lane in range(self._model.lanes):
            code = delay(m, self._unpacked(m, lane), cycles["unpacked"], name=f"code_{lane}")
            point = self.zero_point[lane] if self._model.zero_point_per_lane else self.zero_point
            point = delay(m, point, cycles["unpacked"], name=f"zero_point_{lane}")
            difference = delay(m, self._difference(m, code, point, lane), cycles["difference"],
                               name=f"difference_{lane}")
            o = encode_integer(m, difference, INT8, OverflowPolicy.SATURATE)
            m.d.comb += self.o[lane].eq(delay(m, o, cycles["output"], name=f"o_{lane}"))
        return m

    def _unpacked(self, m, lane):
        """Return the code of a lane: bit by bit one of as many bits of the word as there are widths with that bit."""
        widths = self._model.code_widths
        bits = [self._chosen([lane * width + bit if bit < width else None for width in widths])
                for bit in range(widths[-1])]
        return named(m, Cat(*bits), f"unpacked_{lane}")

    def _difference(self, m, code, point, lane):
        """Return ``code - point``, signed and one bit wider."""
        if self._structure is DequantizerStructure.SUBTRACT:
            return named(m, code - point, f"code_less_point_{lane}")
        inverted = ~Cat(code, C(0, 1))  # -1 - code, in two's complement
        total = named(m, (point + inverted)[:len(inverted)].as_signed(), f"point_less_code_{lane}")
        return ~total

    def _chosen(self, places):
        """Return the bit of the word at the place that ``width`` chooses, zero at None; equal places need no choice."""
        if len(set(places)) == 1:
            return C(0, 1) if places[0] is None else self.word[places[0]]
        level = (len(places) - 1).bit_length() - 1
        return Mux(self.width[level], self._chosen(places[1 << level:]), self._chosen(places[:1 << level]))


def default_structure(code_widths):
    """Return the structure that is used where none is given: the smaller one over the families measured.

    LUTs of 16 lanes with yosys 0.70 on iCE40 / ECP5 / Nexus / Gowin / Xilinx 7 / UltraScale+, as Yosys counts,
    ``*`` the choice:

    ======================  ===================================  ===================================
    widths; zero points     subtract                             add inverted
    ======================  ===================================  ===================================
    2, 3, 4, 8; shared      466 / 474 / 602 / 458 / 397 / 397    444 / 492 / 601 / 477 / 270 / 270 *
    2, 3, 4, 8; one a lane  587 / 474 / 600 / 459 / 397 / 397    445 / 492 / 600 / 477 / 270 / 270 *
    2, 3, 4; shared         176 / 188 / 218 / 172 / 142 / 142    158 / 270 / 218 / 254 / 65 / 65 *
    2, 3, 4; one a lane     236 / 188 / 218 / 172 / 142 / 142    158 / 270 / 218 / 254 / 65 / 65 *
    4; shared               84 / 96 / 112 / 80 / 80 / 80 *       128 / 240 / 112 / 224 / 80 / 80
    4; one a lane           144 / 96 / 112 / 80 / 80 / 80 *      128 / 240 / 112 / 224 / 80 / 80
    3; shared               67 / 80 / 80 / 64 / 64 / 64 *        96 / 80 / 80 / 176 / 64 / 64
    3; one a lane           112 / 80 / 80 / 64 / 64 / 64 *       96 / 80 / 80 / 176 / 64 / 64
    2; shared               50 / 48 / 48 / 48 / 48 / 48 *        64 / 48 / 48 / 128 / 48 / 48
    2; one a lane           80 / 48 / 48 / 48 / 48 / 48 *        64 / 48 / 48 / 128 / 48 / 48
    8; shared               264 / 272 / 464 / 256 / 240 / 240 *  368 / 416 / 464 / 400 / 240 / 240
    8; one a lane           384 / 272 / 432 / 256 / 240 / 240 *  368 / 416 / 432 / 400 / 240 / 240
    ======================  ===================================  ===================================
    """
    return DequantizerStructure.ADD_INVERTED if len(code_widths) > 1 else DequantizerStructure.SUBTRACT
