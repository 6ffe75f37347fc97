"""The named formats: facts only, each with its source. ``parse`` in ``sw.formats.names`` reads the names."""

from dataclasses import dataclass, fields
from enum import Enum
from fractions import Fraction
from functools import cache

from sw.formats.fixed_point import FixedPointFormat
from sw.formats.floating_point import FloatingPointFormat, Specials, Subnormals
from sw.formats.posit import PositFormat

OCP_OFP8 = "OCP 8-bit Floating Point Specification (OFP8) 1.0"
OCP_MX = "OCP Microscaling Formats (MX) Specification 1.0"
IEEE_754 = "IEEE 754-2019"
P3109 = "IEEE P3109 interim report 4.0 (draft, June 2026)"
FNUZ = "Noune et al. 2022, 8-bit Numerical Formats for Deep Neural Networks; ml_dtypes"
DLFLOAT = "Agrawal et al. 2019, DLFloat; IBM fms-model-optimizer"
HFP8 = "Sun et al. 2019, Hybrid 8-bit Floating Point (HFP8)"
FP4 = "Sun et al. 2020, Ultra-Low Precision 4-bit Training"
POSIT = "Gustafson & Yonemoto 2017, Beating Floating Point at its Own Game"
POSIT_STANDARD = "Standard for Posit Arithmetic (2022)"


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A named format.

    Parameters
    ----------
    name : str
        Canonical name.
    format : FloatingPointFormat, FixedPointFormat or PositFormat
    source : str
        Document that defines it.
    aliases : tuple of str
        Other names of the very same format.
    """

    name: str
    format: FloatingPointFormat | FixedPointFormat | PositFormat
    source: str
    aliases: tuple[str, ...] = ()


def _float(name: str, exponent_bits: int, fraction_bits: int, source: str, *aliases: str,
           bias: int | Fraction | None = None, specials: Specials = Specials.IEEE,
           subnormals: Subnormals = Subnormals.SUPPORTED, signed: bool = True, radix: int = 2,
           has_zero: bool = True) -> CatalogEntry:
    return CatalogEntry(name=name, source=source, aliases=aliases, format=FloatingPointFormat(
        exponent_bits=exponent_bits, fraction_bits=fraction_bits, bias=bias, specials=specials,
        subnormals=subnormals, signed=signed, radix=radix, has_zero=has_zero))


def p3109(width: int, precision: int, *, extended: bool, signed: bool = True) -> FloatingPointFormat:
    """Return the P3109 format Binary{K}p{P}, K = ``width`` and P = ``precision`` in bits.

    Source: IEEE P3109 interim report 4.0: bias 2^(K-P-1) and NaN at the code of the negative zero if signed, bias
    2^(K-P) and NaN in the top code if not.

    Raises
    ------
    ValueError
        If the format is unsigned and extended, which no :class:`Specials` describes.
    """
    if not signed:
        if extended:
            raise ValueError("P3109 format must be finite (suffix uf) if it is unsigned, not extended (suffix ue)")
        return FloatingPointFormat(exponent_bits=width - precision + 1, fraction_bits=precision - 1,
                                   bias=1 << (width - precision), specials=Specials.FN, signed=False)
    return FloatingPointFormat(exponent_bits=width - precision, fraction_bits=precision - 1,
                               bias=1 << (width - precision - 1),
                               specials=Specials.P3109 if extended else Specials.FNUZ)


def _p3109(width: int, precision: int, suffix: str) -> CatalogEntry:
    return CatalogEntry(name=f"p3109_k{width}p{precision}{suffix}", source=P3109,
                        format=p3109(width, precision, extended=suffix[1] == "e", signed=suffix[0] == "s"))


CATALOG: tuple[CatalogEntry, ...] = (
    _float("float4_e2m1fn", 2, 1, OCP_MX, "e2m1", "fp4_e2m1", specials=Specials.NONE),
    _float("float6_e2m3fn", 2, 3, OCP_MX, "e2m3", "fp6_e2m3", specials=Specials.NONE),
    _float("float6_e3m2fn", 3, 2, OCP_MX, "e3m2", "fp6_e3m2", specials=Specials.NONE),
    _float("float8_e4m3fn", 4, 3, OCP_OFP8, "e4m3", "e4m3fn", "fp8_e4m3", specials=Specials.FN),
    _float("float8_e5m2", 5, 2, OCP_OFP8, "e5m2", "fp8_e5m2"),
    _float("float8_e4m3", 4, 3, "LLVM APFloat Float8E4M3; ml_dtypes"),
    _float("float8_e3m4", 3, 4, "LLVM APFloat Float8E3M4; ml_dtypes", "e3m4"),
    _float("float8_e4m3fnuz", 4, 3, FNUZ, "e4m3fnuz", bias=8, specials=Specials.FNUZ),
    _float("float8_e5m2fnuz", 5, 2, FNUZ, "e5m2fnuz", bias=16, specials=Specials.FNUZ),
    _float("float8_e4m3b11fnuz", 4, 3, HFP8 + "; ml_dtypes", "e4m3b11fnuz", bias=11, specials=Specials.FNUZ),
    _float("float8_e8m0fnu", 8, 0, OCP_MX, "e8m0", "e8m0fnu", specials=Specials.FN, subnormals=Subnormals.ABSENT,
           signed=False, has_zero=False),
    _float("float16", 5, 10, IEEE_754, "fp16", "half", "binary16", "e5m10"),
    _float("bfloat16", 8, 7, "Google bfloat16", "bf16", "e8m7"),
    _float("tf32", 8, 10, "NVIDIA A100 whitepaper (TensorFloat-32)", "tensorfloat32", "e8m10"),
    _float("hfp8_1_4_3", 4, 3, HFP8, bias=11, specials=Specials.NONE),
    _float("hfp8_1_4_3_reserved", 4, 3, HFP8, bias=11, specials=Specials.FN, subnormals=Subnormals.ABSENT),
    _float("hfp8_1_4_3_bias4", 4, 3, HFP8, bias=4, specials=Specials.NONE),
    _float("fp9_e5m3", 5, 3, "Luo et al. 2024, HiFloat8 (the union of 1-4-3 and 1-5-2)", "float9_e5m3"),
    _float("dlfloat8", 5, 2, DLFLOAT, "dl8", specials=Specials.FN, subnormals=Subnormals.ABSENT),
    _float("dlfloat16", 6, 9, DLFLOAT, "dl16", specials=Specials.FN, subnormals=Subnormals.ABSENT),
    _float("float16_e6m9", 6, 9, "Wang et al. 2018, 1-6-9 read as IEEE 754", "e6m9"),
    _float("radix4_fp4_even", 3, 0, FP4, bias=4, specials=Specials.NONE, subnormals=Subnormals.ABSENT, radix=4),
    _float("radix4_fp4_odd", 3, 0, FP4, bias=Fraction(9, 2), specials=Specials.NONE, subnormals=Subnormals.ABSENT,
           radix=4),
    *(_p3109(width, precision, suffix)
      for width, precision in ((4, 2), (6, 3), (6, 4), (8, 3), (8, 4), (8, 5)) for suffix in ("se", "sf")
      # The finite twins of k8p4 and k8p3 are float8_e4m3fnuz and float8_e5m2fnuz.
      if (width, precision, suffix) not in ((8, 4, "sf"), (8, 3, "sf"))),
    _p3109(8, 1, "uf"),  # the draft's power-of-two scale format: unlike E8M0 it has a zero, and it ends at 2**126
    *(CatalogEntry(name=f"{'' if signed else 'u'}int{width}", source="two's complement" if signed else "binary",
                   format=FixedPointFormat(width=width, signed=signed))
      for signed in (True, False) for width in range(2, 17)),
    CatalogEntry(name="fixed<8,4>", source="AMD UG1399", aliases=("ap_fixed<8,4>",),
                 format=FixedPointFormat(width=8, fraction_bits=4)),
    CatalogEntry(name="fixed<16,8>", source="AMD UG1399", aliases=("ap_fixed<16,8>",),
                 format=FixedPointFormat(width=16, fraction_bits=8)),
    *(CatalogEntry(name=f"posit<{width},{exponent_size}>", source=POSIT_STANDARD if exponent_size == 2 else POSIT,
                   aliases=(f"posit{width}_{exponent_size}",),
                   format=PositFormat(width=width, exponent_size=exponent_size))
      for width, exponent_size in ((8, 0), (8, 1), (8, 2), (16, 1), (16, 2))),
)


@cache
def by_name() -> dict[str, CatalogEntry]:
    """Map each canonical name and alias to its entry."""
    return {name: entry for entry in CATALOG for name in (entry.name, *entry.aliases)}


@cache
def _canonical() -> dict[FloatingPointFormat | FixedPointFormat | PositFormat, str]:
    return {entry.format: entry.name for entry in reversed(CATALOG)}


def name_of(fmt: FloatingPointFormat | FixedPointFormat | PositFormat) -> str:
    """Return the name of a format: the catalog's, a systematic one, or a systematic one with its changed fields."""
    known = _canonical().get(fmt)
    if known is not None or isinstance(fmt, (FixedPointFormat, PositFormat)):
        return known or fmt.name
    name, base = systematic(fmt)
    changed = [f"{field.name}={_text(getattr(fmt, field.name))}" for field in fields(fmt)
               if getattr(fmt, field.name) != getattr(base, field.name)]
    return name + (":" + ",".join(changed) if changed else "")


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def systematic(fmt: FloatingPointFormat) -> tuple[str, FloatingPointFormat]:
    """Return the systematic name closest to ``fmt``, and the format that it names."""
    exponent_bits, fraction_bits = fmt.exponent_bits, fmt.fraction_bits
    for suffix in ("", "fn", "fnuz", "minifloat"):
        try:
            named = split(exponent_bits, fraction_bits, suffix)
        except ValueError:
            continue  # IEEE specials need two exponent bits and one fraction bit: that name does not exist
        if named.specials is fmt.specials:
            break
    else:
        suffix, named = "minifloat", split(exponent_bits, fraction_bits, "minifloat")
    stem = f"e{exponent_bits}m{fraction_bits}"
    width = 1 + exponent_bits + fraction_bits
    return f"minifloat_{stem}" if suffix == "minifloat" else f"float{width}_{stem}{suffix}", named


def split(exponent_bits: int, fraction_bits: int, suffix: str) -> FloatingPointFormat:
    """Return the signed format with this split and ml_dtypes suffix.

    The suffix is empty for IEEE specials, ``fn`` for a NaN in the top code (from 8 bits up) or no special codes
    (below 8 bits, as in OCP MX), ``fnuz`` for a single NaN in place of the negative zero and a bias one higher,
    ``minifloat`` for no special codes at any width.
    """
    specials = {"": Specials.IEEE, "fnuz": Specials.FNUZ, "minifloat": Specials.NONE,
                "fn": Specials.FN if exponent_bits + fraction_bits >= 7 else Specials.NONE}[suffix]
    bias = (1 << max(0, exponent_bits - 1)) - (suffix != "fnuz")
    return FloatingPointFormat(exponent_bits=exponent_bits, fraction_bits=fraction_bits, bias=bias, specials=specials)
