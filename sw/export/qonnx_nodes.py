"""The quantization nodes of QONNX: which format each attribute stands for, in both directions.

Source: qonnx 1.0, ``qonnx.custom_op.general`` (IntQuant, formerly Quant, and FloatQuant) and their documentation.
"""

from collections.abc import Mapping
from typing import Any

from sw.formats import (
    FixedPointFormat,
    FloatingPointFormat,
    OverflowPolicy,
    RoundingMode,
    ScalarFormat,
    Specials,
    Subnormals,
)

DOMAIN = "qonnx.custom_op.general"

DOMAIN_VERSION = 2

# Where Brevitas and FINN put these nodes before there was a QONNX.
DOMAINS = (DOMAIN, "onnx.brevitas", "finn.custom_op.general")

INTEGER_OPERATORS = ("Quant", "IntQuant")

FLOAT_OPERATOR = "FloatQuant"

# UP, away from zero, has no counterpart here.
_INTEGER_ROUNDING = {
    "ROUND": RoundingMode.NEAREST_EVEN, "HALF_EVEN": RoundingMode.NEAREST_EVEN, "CEIL": RoundingMode.UP,
    "FLOOR": RoundingMode.DOWN, "DOWN": RoundingMode.TOWARD_ZERO, "HALF_UP": RoundingMode.NEAREST_AWAY,
    "HALF_DOWN": RoundingMode.NEAREST_ZERO,
}


def check_expressible(fmt: ScalarFormat) -> None:
    """Refuse a format that QONNX has no node for; the message goes on after the name of a layer.

    Raises
    ------
    ValueError
        For posits, and for formats whose values are not those of IntQuant or FloatQuant.
    """
    if isinstance(fmt, FixedPointFormat):
        if fmt.signed and fmt.width == 1:
            raise ValueError(f"Format must be of at least 2 bits, as one signed bit means -1 and 1 in QONNX, "
                             f"not {fmt.name!r}")
        return
    if not isinstance(fmt, FloatingPointFormat):
        raise ValueError(f"Format must be an integer, fixed point or a minifloat in QONNX, not {fmt.name!r}")
    if not fmt.signed or fmt.radix != 2 or fmt.subnormals is not Subnormals.SUPPORTED:
        raise ValueError("Format must be signed, of radix 2, and with subnormals in QONNX, whose FloatQuant knows no "
                         f"others, not {fmt.name!r}")


def integer_attributes(fmt: FixedPointFormat) -> dict[str, int | str]:
    """Return the attributes of IntQuant; the width is an input, the weight of the last place is part of the scale."""
    return {"signed": int(fmt.signed), "narrow": int(fmt.narrow_range), "rounding_mode": "ROUND"}


def float_attributes(fmt: FloatingPointFormat) -> dict[str, int | str]:
    """Return the attributes of FloatQuant; the widths, the bias and the maximum are inputs."""
    return {"has_inf": int(fmt.has_infinity), "has_nan": int(fmt.nan_code is not None), "has_subnormal": 1,
            "saturation": 1, "rounding_mode": "ROUND"}


def rounding_of(attributes: Mapping[str, Any]) -> RoundingMode:
    """Return the rounding mode of a node.

    Raises
    ------
    ValueError
        If there is no such mode here.
    """
    name = str(attributes.get("rounding_mode", "ROUND")).upper()
    if name not in _INTEGER_ROUNDING:
        raise ValueError(f"Rounding mode must be one of {', '.join(_INTEGER_ROUNDING)}, not {name!r}")
    return _INTEGER_ROUNDING[name]


def integer_format(bit_width: float, attributes: Mapping[str, Any]) -> FixedPointFormat:
    """Return the format of an IntQuant node.

    Raises
    ------
    ValueError
        If the width is no integer or that of a bipolar node, or an unsigned range is narrow.
    """
    signed, narrow = bool(attributes.get("signed", 1)), bool(attributes.get("narrow", 0))
    if bit_width != int(bit_width) or not 1 + signed <= bit_width <= 32:
        raise ValueError(f"Bit width must be an integer between {1 + signed} and 32, not {bit_width!r}")
    if narrow and not signed:
        raise ValueError("Narrow range must be false for an unsigned IntQuant, not True: no format here leaves out the "
                         "largest code")
    return FixedPointFormat(width=int(bit_width), signed=signed, narrow_range=narrow)


def float_format(exponent_bits: float, fraction_bits: float, bias: float, largest: float,
                 attributes: Mapping[str, Any]) -> FloatingPointFormat:
    """Return the format of a FloatQuant node: the convention of special codes whose largest value is the node's.

    ``has_subnormal`` is not looked at: the operator's definition has subnormals in any case.

    Raises
    ------
    ValueError
        If a field is no integer, or no convention has this largest value.
    """
    for noun, value in (("Exponent width", exponent_bits), ("Mantissa width", fraction_bits), ("Bias", bias)):
        if value != int(value):
            raise ValueError(f"{noun} must be an integer, not {value!r}")
    found = {}
    for specials in Specials:
        try:
            fmt = FloatingPointFormat(exponent_bits=int(exponent_bits), fraction_bits=int(fraction_bits),
                                      bias=int(bias), specials=specials)
        except ValueError:
            continue  # this split leaves no room for such special codes
        if float(fmt.max_finite) == largest or (specials is Specials.NONE and largest > fmt.max_finite):
            found[specials] = fmt
    infinity, nan = bool(attributes.get("has_inf", 0)), bool(attributes.get("has_nan", 0))
    for fmt in found.values():
        if fmt.has_infinity == infinity and (fmt.nan_code is not None) == nan:
            return fmt
    if found:
        return found.get(Specials.NONE) or next(iter(found.values()))
    raise ValueError(f"Largest value must be that of e{exponent_bits:g}m{fraction_bits:g} with bias {bias:g} under one "
                     f"of the conventions {', '.join(each.value for each in Specials)}, not {largest!r}")


def overflow_of(fmt: FloatingPointFormat, attributes: Mapping[str, Any]) -> OverflowPolicy:
    """Return what a FloatQuant node does beyond its largest value.

    Raises
    ------
    ValueError
        If it neither saturates nor has a special code.
    """
    if attributes.get("saturation", 1):
        return OverflowPolicy.SATURATE
    fmt.check_overflow(OverflowPolicy.INFINITY)
    return OverflowPolicy.INFINITY
