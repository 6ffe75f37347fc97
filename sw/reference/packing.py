"""Several products on one multiplier: operands side by side in one factor, products side by side in the result."""

from dataclasses import dataclass
from functools import cached_property

from sw.formats.check import check_boolean, check_integer

MAX_LANES = 8
"""Most operands on one multiplier: beyond what any family's block holds."""

MIN_OPERAND_WIDTH, MAX_OPERAND_WIDTH = 2, 32
"""Bits of an operand: a number with a sign, and no more than half of what fits a machine word."""

MAX_SPACING = 128
"""Most bits from one lane to the next."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """``lanes`` packed operands, ``spacing`` bits apart, times one operand that all of them share.

    The factor ``a[0] + a[1] * 2^spacing + ...`` times the shared ``b`` is ``a[0] * b + a[1] * b * 2^spacing + ...``:
    exact for every input, but a negative lane borrows from the one above it. With ``bias`` added once to every lane,
    no lane is ever negative, and the lanes of a sum are fields of its bits: subtract ``bias`` again from each. Where
    ``bias`` is half a lane, that is the inversion of each field's highest bit, its sign.

    Parameters
    ----------
    packed_width, shared_width : int, bits
        Of the signed operands: 2 to 32.
    lanes : int
        Packed operands: 1 to 8.
    terms : int
        Products that are summed before the lanes are taken apart.
    spacing : int, bits, optional
        From one lane to the next, up to 128; by default (0) the least in which the sums of a lane are told apart.
    packed_symmetric, shared_symmetric : bool
        The operand's most negative value does not occur.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or out of range, or the sums of a lane are more than ``spacing`` bits tell apart.

    Source: Xilinx WP486 (two int8 products on one DSP48E2); FlightLLM (arXiv 2401.03868), section 3.
    """

    packed_width: int
    shared_width: int
    lanes: int = 2
    terms: int = 1
    spacing: int = 0
    packed_symmetric: bool = False
    shared_symmetric: bool = False

    def __post_init__(self) -> None:
        for noun, width in (("Packed width", self.packed_width), ("Shared width", self.shared_width)):
            check_integer(noun, width)
            if not MIN_OPERAND_WIDTH <= width <= MAX_OPERAND_WIDTH:
                raise ValueError(f"{noun} must be between {MIN_OPERAND_WIDTH} and {MAX_OPERAND_WIDTH} bits, "
                                 f"not {width!r}")
        for noun, number, limit in (("Lanes", self.lanes, MAX_LANES), ("Terms", self.terms, 1 << 16)):
            check_integer(noun, number)
            if not 1 <= number <= limit:
                raise ValueError(f"{noun} must be between 1 and {limit}, not {number!r}")
        check_boolean("Packed symmetry", self.packed_symmetric)
        check_boolean("Shared symmetry", self.shared_symmetric)
        check_integer("Spacing", self.spacing)
        if not 0 <= self.spacing <= MAX_SPACING:
            raise ValueError(f"Spacing must be between 1 and {MAX_SPACING} bits, or 0 for the least, "
                             f"not {self.spacing!r}")
        least = (self.highest - self.lowest).bit_length()
        if self.spacing == 0:
            object.__setattr__(self, "spacing", least)
        if self.spacing < least:
            raise ValueError(f"Spacing must be at least {least} bits for {self.terms} products of {self.packed_width} "
                             f"x {self.shared_width} bits, not {self.spacing!r}; at most {self.max_terms} products "
                             "may be summed in that")

    @staticmethod
    def _range(width: int, symmetric: bool) -> tuple[int, int]:
        return -(1 << (width - 1)) + symmetric, (1 << (width - 1)) - 1

    @cached_property
    def product_range(self) -> tuple[int, int]:
        """Least and greatest product of a lane."""
        corners = [a * b for a in self._range(self.packed_width, self.packed_symmetric)
                   for b in self._range(self.shared_width, self.shared_symmetric)]
        return min(corners), max(corners)

    @property
    def lowest(self) -> int:
        """Least sum of a lane."""
        return self.terms * self.product_range[0]

    @property
    def highest(self) -> int:
        """Greatest sum of a lane."""
        return self.terms * self.product_range[1]

    @property
    def max_terms(self) -> int:
        """How many products may be summed in a lane of ``spacing`` bits that ``bias`` keeps from being negative."""
        low, high = self.product_range
        return ((1 << self.spacing) - 1) // (high - low)

    @property
    def max_signed_terms(self) -> int:
        """How many products may be summed in a lane that is read as a signed number of ``spacing`` bits."""
        low, high = self.product_range
        half = 1 << (self.spacing - 1)
        return min((half - 1) // high, half // -low)

    @property
    def bias(self) -> int:
        """What is added to every lane once: half a lane where the sums fit a signed one, else the least that does."""
        return 1 << (self.spacing - 1) if self.terms <= self.max_signed_terms else -self.lowest

    @property
    def packed_bias(self) -> int:
        """``bias`` in every lane: the integer that a sum starts from."""
        return sum(self.bias << (self.spacing * lane) for lane in range(self.lanes))

    @property
    def operand_width(self) -> int:
        """Bits of the packed factor, signed; one more than its lanes take where the lower ones may borrow."""
        low, high = self._range(self.packed_width, self.packed_symmetric)
        places = [1 << (self.spacing * lane) for lane in range(self.lanes)]
        return max((-low * sum(places) - 1).bit_length(), (high * sum(places)).bit_length()) + 1

    @property
    def result_width(self) -> int:
        """Bits of a sum with its bias: no lane is negative, so it is unsigned."""
        return self.spacing * self.lanes

    def pack(self, operands: tuple[int, ...]) -> int:
        """Return the packed factor of one operand a lane.

        Raises
        ------
        TypeError, ValueError
            If there is not one for each lane, or one is no integer or out of range.
        """
        for operand in operands:
            check_integer("Operand", operand)
        low, high = self._range(self.packed_width, self.packed_symmetric)
        if len(operands) != self.lanes or not all(low <= operand <= high for operand in operands):
            raise ValueError(f"Operands must be {self.lanes} integers between {low} and {high}, not {operands!r}")
        return sum(operand << (self.spacing * lane) for lane, operand in enumerate(operands))

    def unpack(self, total: int) -> tuple[int, ...]:
        """Return the lanes of a sum to which ``packed_bias`` was added."""
        mask = (1 << self.spacing) - 1
        return tuple(((total >> (self.spacing * lane)) & mask) - self.bias for lane in range(self.lanes))
