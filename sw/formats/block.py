"""Block formats: small elements that share a scale, and possibly a second scale for the whole tensor."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property

from sw.formats.check import check_boolean, check_integer, check_member
from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Specials
from sw.formats.names import ScalarFormat
from sw.formats.rounding import RandomBits, RoundingMode
from sw.formats.special import Special, Value, exact_value, is_negative, is_zero

MAX_BLOCK_SIZE = 1 << 16

_FLOAT32 = FloatingPointFormat(exponent_bits=8, fraction_bits=23, specials=Specials.IEEE)


class ScaleRule(Enum):
    """How a block's scale follows from the largest magnitude in the block, ``amax``.

    ``amax`` is taken relative to the tensor scale where there is one; ``emax`` is the exponent of the element's largest
    value. The first three rules give powers of two. Scales are raised to the smallest one of their format.
    """

    FLOOR = "floor"
    """``2**(floor(log2(amax)) - emax)`` (OCP MX 1.0 §6.3; microxcaling): a block whose largest significand exceeds
    that of the largest element saturates."""
    CEIL = "ceil"
    """``2**(ceil(log2(amax)) - emax)`` (torchao, CEIL): nothing saturates, up to a binade is left unused."""
    EVEN = "even"
    """As ``FLOOR``, after ``amax`` is rounded, ties away from zero, to as many fraction bits as an element has
    (torchao, EVEN; Modular, even-mode scales): a maximum just below a power of two counts as that power."""
    ROUND_UP = "round-up"
    """``amax`` over the largest element, rounded up to a scale: the smallest scale with which nothing saturates
    (NVIDIA cuDNN, block scale quantize; torchao, RCEIL)."""
    ABSMAX = "absmax"
    """``amax`` over the largest element, rounded to the nearest scale, ties to even, saturating (NVFP4)."""
    UNIT = "unit"
    """``amax`` rounded up to a scale: elements have magnitudes of at most one (Zhong et al. 2022, MLS)."""


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """A block format family member: ``block_size`` element codes and the code of the scale they share.

    An element stands for its own value, times the scale's, times the tensor scale. This is no scalar format: a code
    means nothing without that of its scale.

    Parameters
    ----------
    element : ScalarFormat
        Format of the elements; it has a zero and a positive value.
    scale : FloatingPointFormat
        Format of the scale, in radix 2 and without infinity. A signed one (NVFP4's E4M3) is used with sign 0.
    block_size : int
        Elements that share a scale, 1 to 65536; the last block of a tensor may be shorter.
    scale_rule : ScaleRule
    tensor_scale : bool
        Whether a float32 number, one for a tensor, multiplies everything.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, out of range, or at odds with another.

    Source: OCP Microscaling Formats (MX) Specification 1.0 §5; the documents that ``sw.formats.BLOCK_CATALOG`` names.
    """

    element: ScalarFormat
    scale: FloatingPointFormat
    block_size: int = 32
    scale_rule: ScaleRule = ScaleRule.FLOOR
    tensor_scale: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.element, ScalarFormat):
            raise TypeError(f"Element format must be a scalar one, as sw.formats.parse('e4m3') gives, "
                            f"not {self.element!r}")
        if not isinstance(self.scale, FloatingPointFormat):
            raise TypeError("Scale format must be a FloatingPointFormat, as sw.formats.parse('e8m0') gives, "
                            f"not {self.scale!r}")
        check_integer("Block size", self.block_size)
        check_member("Scale rule", self.scale_rule, ScaleRule)
        check_boolean("Tensor scale", self.tensor_scale)
        if not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise ValueError(f"Block size must be between 1 and {MAX_BLOCK_SIZE}, not {self.block_size!r}")
        if self.element.max_finite <= 0:
            raise ValueError(f"Element format must have a positive value, not {self.element.name!r}, which has none")
        if isinstance(self.element, FloatingPointFormat) and not self.element.has_zero:
            raise ValueError(f"Element format must have a zero, not {self.element.name!r}, which has none")
        if self.scale.has_infinity:
            raise ValueError(f"Scale format must have no infinity, not {self.scale.name!r}; specials=fn leaves a NaN")
        if self.scale.radix != 2:
            raise ValueError(f"Scale format must be of radix 2, not {self.scale.name!r} (radix {self.scale.radix})")
        if self.scale_rule is ScaleRule.EVEN and not isinstance(self.element, (FloatingPointFormat, FixedPointFormat)):
            raise ValueError("Scale rule must not be even for elements without a fixed number of fraction bits, as "
                             f"those of {self.element.name!r} are; take floor or ceil")

    @property
    def name(self) -> str:
        """Canonical name, which ``sw.formats.parse_block`` reads back."""
        from sw.formats.block_names import block_name_of  # the catalog is made of instances of this class
        return block_name_of(self)

    @property
    def element_bits(self) -> int:
        """Width of an element in bits."""
        return self.element.width

    @property
    def scale_bits(self) -> int:
        """Width of a scale in bits."""
        return self.scale.width

    @property
    def bits_per_element(self) -> Fraction:
        """Storage for an element of a whole block in bits, its share of the scale included."""
        return self.element.width + Fraction(self.scale.width, self.block_size)

    @cached_property
    def element_exponent(self) -> int:
        """Exponent of the element's largest value, ``emax`` in the OCP specification: 2 for E2M1, 0 for INT8."""
        return _floor_log2(self.element.max_finite)

    @property
    def max_finite(self) -> Fraction:
        """Largest finite value under a tensor scale of 1."""
        return self.element.max_finite * self.scale.max_finite

    @property
    def smallest_positive(self) -> Fraction:
        """Smallest value above zero under a tensor scale of 1."""
        return self.element.smallest_positive * self.scale.smallest_positive

    def decode(self, scale_code: int, element_code: int, tensor_scale: Fraction | int | float = 1) -> Value:
        """Return the exact value of an element under a scale. This is the definition of the format.

        The product of the element's, the scale's and the tensor scale's value. It is NaN if element or scale is, or
        for infinity times zero; the signs of zeros and infinities multiply.

        Raises
        ------
        TypeError, ValueError
            If a code is not an integer or does not fit its format, or the tensor scale is not a positive number, or
            not 1 in a format without one.
        """
        scale, element = self.scale.decode(scale_code), self.element.decode(element_code)
        return _scaled(element, scale, self._checked_tensor_scale(tensor_scale))

    def decode_block(self, scale_code: int, element_codes: Iterable[int],
                     tensor_scale: Fraction | int | float = 1) -> list[Value]:
        """Return :meth:`decode` of each element of a block.

        Raises
        ------
        TypeError, ValueError
            As :meth:`decode` does.
        """
        scale, factor = self.scale.decode(scale_code), self._checked_tensor_scale(tensor_scale)
        return [_scaled(self.element.decode(code), scale, factor) for code in element_codes]

    def tensor_scale_for(self, values: Iterable[Value | int | float]) -> Fraction:
        """Return the tensor scale for a tensor of these values: a float32 number.

        The largest finite magnitude, over the largest element and the largest scale (NVFP4: over 6 * 448), rounded to
        the nearest; with ``ScaleRule.UNIT``, that magnitude itself (MLS). At least 2**-126, the smallest normal
        number; 1 if all values are zero; 1 in a format without tensor scale.

        Raises
        ------
        TypeError
            If a value is not a number.
        """
        finite = [abs(value) for value in map(exact_value, values) if isinstance(value, Fraction)]
        largest = max(finite, default=Fraction(0))
        if not self.tensor_scale or largest == 0:
            return Fraction(1)
        rounded = _FLOAT32.decode(_FLOAT32.encode(largest / self.tensor_limit))
        assert isinstance(rounded, Fraction)
        return max(rounded, _FLOAT32.smallest_normal)

    @property
    def tensor_limit(self) -> Fraction:
        """Largest magnitude that a tensor keeps under a tensor scale of 1: what that scale brings it to."""
        return Fraction(1) if self.scale_rule is ScaleRule.UNIT else self.max_finite

    def block_scale(self, values: Iterable[Value | int | float], *,
                    tensor_scale: Fraction | int | float = 1) -> int:
        """Return the code of the scale that a block of these values gets, by the scale rule.

        A block of zeros gets code 0, the smallest scale (as with gfloat and torchao; microxcaling differs for INT8
        elements, where it gives ``2**-126``). A block with an infinity or a NaN gets the NaN scale, as with
        microxcaling and torchao; if the scale's format has no NaN, infinity gets the largest scale and NaN is passed
        over. What asks for more than the largest scale gets the NaN scale, or without one the largest; ``ABSMAX``
        always takes the largest.

        Raises
        ------
        TypeError, ValueError
            If a value is not a number, or the tensor scale is not a positive number, or not 1 in a format without
            one.
        """
        factor = self._checked_tensor_scale(tensor_scale)
        numbers = [exact_value(value) for value in values]
        beyond = self.scale.max_code if self.scale.nan_code is None else self.scale.nan_code
        if Special.NAN in numbers and self.scale.nan_code is not None:
            return self.scale.nan_code
        if any(isinstance(value, Special) and value.is_infinity for value in numbers):
            return beyond
        largest = max((abs(value) for value in numbers if isinstance(value, Fraction)), default=Fraction(0)) / factor
        if largest == 0:
            return 0
        match self.scale_rule:
            case ScaleRule.ABSMAX:
                return self.scale.encode(largest / self.element.max_finite)
            case ScaleRule.ROUND_UP:
                wanted = largest / self.element.max_finite
            case ScaleRule.UNIT:
                wanted = largest
            case _:
                wanted = Fraction(2) ** (self._exponent(largest) - self.element_exponent)
        if wanted > self.scale.max_finite:
            return beyond
        if wanted <= self.scale.smallest_positive:
            return self.scale.min_code
        return self.scale.encode(wanted, rounding=RoundingMode.UP)

    def encode(self, values: Sequence[Value | int | float], *, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
               random: Sequence[RandomBits] | None = None,
               tensor_scale: Fraction | int | float = 1) -> tuple[int, list[int]]:
        """Round a block of exact values to the code of its scale and those of its elements.

        Each value is divided by the scale and the tensor scale and rounded once; elements saturate. Under a NaN scale
        all elements have the code of zero. Under a scale of zero, which is what a tiny ``amax`` rounds to in NVFP4,
        each becomes a zero of its sign. A NaN, under a scale format without NaN, becomes what the element format
        makes of it.

        Parameters
        ----------
        values : sequence
            At most ``block_size`` of them, at least one.
        rounding : RoundingMode
            Of the elements; the scale follows its rule.
        random : sequence of RandomBits, optional
            For stochastic rounding, one for each value.
        tensor_scale : Fraction, int or float
            1 in a format without tensor scale; :meth:`tensor_scale_for` gives the usual one.

        Raises
        ------
        TypeError, ValueError
            If there are too many values or none, an argument is of the wrong type, random bits are missing or not one
            for each value, or the tensor scale is not a positive number, or not 1 in a format without one.
        """
        numbers = [exact_value(value) for value in values]
        if not 1 <= len(numbers) <= self.block_size:
            raise ValueError(f"Block must have between 1 and {self.block_size} values, not {len(numbers)}")
        if random is not None and len(random) != len(numbers):
            raise ValueError(f"Random bits must be one for each of {len(numbers)} values, not {len(random)}")
        scale_code = self.block_scale(numbers, tensor_scale=tensor_scale)
        scale = self.scale.decode(scale_code)
        if scale is Special.NAN:
            return scale_code, [self.element.encode(0)] * len(numbers)
        assert isinstance(scale, Fraction)  # no infinity, and no rule gives a negative zero
        scale *= self._checked_tensor_scale(tensor_scale)
        each: Sequence[RandomBits | None] = [None] * len(numbers) if random is None else random
        return scale_code, [self.element.encode(_quotient(value, scale), rounding=rounding, random=bits)
                            for value, bits in zip(numbers, each, strict=True)]

    def _exponent(self, largest: Fraction) -> int:
        """Exponent that the largest magnitude counts with, by the three rules that give powers of two."""
        exponent = _floor_log2(largest)
        if self.scale_rule is ScaleRule.CEIL:
            return exponent + (largest > Fraction(2) ** exponent)
        if self.scale_rule is ScaleRule.EVEN:
            # What lies within half a place of the next power of two is rounded to it.
            return exponent + (largest >= Fraction(2) ** exponent * (2 - Fraction(1, 2 << self.element_fraction_bits)))
        return exponent

    @property
    def element_fraction_bits(self) -> int:
        """Fraction bits of an element's significand in its highest binade (of an integer: all but its first bit)."""
        if isinstance(self.element, FixedPointFormat):
            return self.element.max_integer.bit_length() - 1
        assert isinstance(self.element, FloatingPointFormat)  # the others have no such number
        return self.element.fraction_bits

    def _checked_tensor_scale(self, tensor_scale: Fraction | int | float) -> Fraction:
        value = exact_value(tensor_scale)
        if not isinstance(value, Fraction) or value <= 0:
            raise ValueError(f"Tensor scale must be a positive number, not {tensor_scale!r}")
        if not self.tensor_scale and value != 1:
            raise ValueError(f"Tensor scale must be 1 for {self.name}, which has none, not {tensor_scale!r}; "
                             "tensor_scale=true gives it one")
        return value


def _floor_log2(value: Fraction) -> int:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value >= Fraction(2) ** exponent else exponent - 1


def _scaled(element: Value, scale: Value, tensor_scale: Fraction) -> Value:
    """Multiply an element by its scales; the scale is no infinity."""
    if element is Special.NAN or scale is Special.NAN:
        return Special.NAN
    negative = is_negative(element) != is_negative(scale)
    if is_zero(element) or is_zero(scale):
        if isinstance(element, Special) and element.is_infinity:
            return Special.NAN
        return Special.NEGATIVE_ZERO if negative else Fraction(0)
    if isinstance(element, Special):
        return Special.NEGATIVE_INFINITY if negative else Special.POSITIVE_INFINITY
    assert isinstance(scale, Fraction)
    return element * scale * tensor_scale


def _quotient(value: Value, scale: Fraction) -> Value:
    """Divide by a scale; by zero, to a zero of the value's sign (of a NaN, to NaN)."""
    if scale == 0 and value is not Special.NAN:
        return Special.NEGATIVE_ZERO if is_negative(value) else Fraction(0)
    return value / scale if isinstance(value, Fraction) else value
