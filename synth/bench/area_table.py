"""Which operator of ours computes the same as which recorded circuit, and why some circuits have no equal."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from synth.bench.area_circuits import Circuit

__all__ = ["EQUALS", "NO_EQUAL", "Equal", "Judgement"]


class Judgement(Enum):
    """What our LUTs are held against: at most this part of the other circuit's."""

    KEPT = ("multiply and add, subnormals kept", 0.70)
    """Products and sums of floats with subnormal numbers, rounded."""
    ELSEWHERE = ("elsewhere", 0.85)
    """Flushed products, exact ones to fixed point, exact sums, fused multiply-add, integers, posits."""
    REFERENCE = ("our own reference points", 1.0)
    """Hand work of ours that shows what is possible."""
    NAIVE = ("our own naive circuits", 1.0)
    """What a straightforward description takes."""
    BESIDE = ("beside, not judged", None)
    """Circuits that compute something else on some inputs: see the note."""

    def __init__(self, title: str, limit: float | None) -> None:
        self.title, self.limit = title, limit


@dataclass(frozen=True, kw_only=True)
class Equal:
    """A recorded circuit and what it is compared with.

    Parameters
    ----------
    circuit : Circuit
        Ours.
    judgement : Judgement
    note : str
        What there is to say about the comparison.
    """

    circuit: Circuit
    judgement: Judgement
    note: str = ""


KEPT, ELSEWHERE, REFERENCE, NAIVE, BESIDE = Judgement
FLUSHED, ABSENT = ":subnormals=flushed", ":subnormals=absent"
FLOATS = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e3m2": "float6_e3m2fn", "e2m3": "float6_e2m3fn",
          "e2m1": "float4_e2m1fn"}
FINITE = {**FLOATS, "e4m3": "minifloat_e4m3", "e5m2": "minifloat_e5m2"}
"""The same without special codes, which is what exact sums of others take them for."""


def _function(op: str, fmt: str, **options: Any) -> Circuit:
    """Return an operator whose results beyond the range are infinite where the format has infinities."""
    ieee = fmt.partition(":")[0] in ("float8_e4m3", "float8_e5m2", "float16")
    return Circuit.of(op, fmt=fmt, **options | ({"overflow": "infinity"} if ieee else {}))


def _exact(fmt: str, lanes: int) -> Circuit:
    return Circuit.of("dot", fmt=fmt, lanes=lanes, out_fmt="exact")


def _sum(fmt: str, *, terms: int, **options: Any) -> Circuit:
    return Circuit.of("emac", streamed=False, fmt=fmt, terms=terms, **options)


def _kulisch(fmt: str) -> Circuit:
    return _sum(fmt, terms=256, out_fmt="exact")  # eight bits above one product


def _integers(fmt: str, accumulator: str, pipeline: int) -> Circuit:
    return Circuit.of("mac", streamed=False, fmt=fmt, accumulator=accumulator, out_fmt=accumulator, pipeline=pipeline)


_TWO = "theirs has registers behind product and sum, and so has ours"
_LATER = "ours has one register more, behind the product: the sum is there a cycle later"
_FLAGS = "theirs has flags of overflow, underflow and invalid beside the result"
_BIAS = "both start a sum from a bias"
_STAGES = "theirs has registers behind input, decoding, product, sum and code; ours has as many"
_CORNERS = "theirs is wrong on corner pairs"
_NOT_RECORDED = "what theirs does with zeros, subnormals and results beyond the range is not recorded"

_ENTRIES: tuple[tuple[Judgement, str, Circuit, str], ...] = (
    # Floats with subnormal numbers.
    (KEPT, "raphael_e4m3i_mul hardfloat_e4m3i_mul fpnew_e4m3i_mul", _function("multiply", "float8_e4m3"), ""),
    (KEPT, "raphael_e4m3i_add hardfloat_e4m3i_add fpnew_e4m3i_add", _function("add", "float8_e4m3"), ""),
    (KEPT, "hardfloat_e5m2_mul fpnew_e5m2_mul", _function("multiply", "float8_e5m2"), ""),
    (KEPT, "hardfloat_e5m2_add fpnew_e5m2_add", _function("add", "float8_e5m2"), ""),
    (KEPT, "hardfloat_fp16_mul fpnew_fp16_mul", _function("multiply", "float16"), ""),
    (KEPT, "hardfloat_fp16_add", _function("add", "float16"), ""),
    (ELSEWHERE, "hardfloat_e4m3i_fma fpnew_e4m3i_fma", _function("fma", "float8_e4m3"), ""),
    (ELSEWHERE, "fpnew_e5m2_fma", _function("fma", "float8_e5m2"), ""),
    (ELSEWHERE, "fpnew_fp16_fma", _function("fma", "float16"), ""),
    # Floats whose subnormals are zeros.
    (ELSEWHERE, "sherpa_e4m3_mul", _function("multiply", "float8_e4m3fn" + FLUSHED), _FLAGS),
    (ELSEWHERE, "sherpa_e5m2_mul", _function("multiply", "float8_e5m2" + FLUSHED), _FLAGS),
    (ELSEWHERE, "sherpa_fp16_mul", _function("multiply", "float16" + FLUSHED), _FLAGS),
    (ELSEWHERE, "sherpa_e4m3_add", _function("add", "float8_e4m3fn" + FLUSHED),
     _FLAGS + "; it is wrong on 468 of 65,536 pairs"),
    (ELSEWHERE, "sherpa_e5m2_add", _function("add", "float8_e5m2" + FLUSHED), _FLAGS),
    (ELSEWHERE, "sherpa_fp16_add", _function("add", "float16" + FLUSHED), _FLAGS),
    (BESIDE, "sherpa_e4m3_fma", _function("fma", "float8_e4m3fn" + FLUSHED),
     "theirs truncates the product where the addend is zero, and drops bits shifted out of 16"),
    (BESIDE, "sherpa_e5m2_fma", _function("fma", "float8_e5m2" + FLUSHED), "as sherpa_e4m3_fma"),
    (BESIDE, "cchan_e4m3_mul", _function("multiply", "float8_e4m3fn" + FLUSHED),
     "another bias, and wrong on 1,216 of 65,536 pairs"),
    *((BESIDE, f"v0x_{fmt}_{name}", _function(op, full + FLUSHED), _CORNERS + ", of e4m3 products on 9,536")
      for fmt, full in (FLOATS | {"fp16": "float16"}).items() for name, op in (("mul", "multiply"), ("add", "add"))),
    *((BESIDE, f"toni_{fmt}_{name}", _function(op, full + FLUSHED, pipeline=stages), _CORNERS)
      for fmt, full in (("e4m3", "float8_e4m3fn"), ("e5m2", "float8_e5m2"), ("fp16", "float16"))
      for name, op, stages in (("mul", "multiply", 2), ("add", "add", 4))),
    # Floats without special codes, whose lowest exponent is one more binade of normal numbers.
    (ELSEWHERE, "justin_e4m3_mul_bf16", _function("multiply", "minifloat_e4m3" + ABSENT, out_fmt="bfloat16"),
     "ours has signed zeros"),
    (ELSEWHERE, "justin_e4m3_add", _function("add", "minifloat_e4m3" + ABSENT), "ours has signed zeros"),
    *((BESIDE, f"flexi_{fmt}_mul", _function("multiply", f"minifloat_{fmt}{FLUSHED}", pipeline=1,
                                             out_fmt=f"minifloat_{wide}{FLUSHED}"), _NOT_RECORDED)
      for fmt, wide in (("e4m3", "e4m7"), ("e2m1", "e2m3"))),
    # Exact products and sums.
    *((ELSEWHERE, f"mxfpga_{fmt}_mulfix amd_{fmt}_mulfix", _exact(full, 1), "") for fmt, full in FINITE.items()),
    *((ELSEWHERE, f"mxfpga_{fmt}_dot8 amd_{fmt}_dot8", _exact(full, 8), "") for fmt, full in FINITE.items()),
    *((ELSEWHERE, f"amd_{fmt}_kmac", _kulisch(full), _LATER) for fmt, full in FINITE.items()),
    *((ELSEWHERE, f"lpemac_{fmt}", _sum(full, terms=16, fmt_c=full),
       f"{_BIAS}; ours has NaNs and infinities as well; {_TWO}")
      for fmt, full in (("e4m3", "float8_e4m3"), ("e5m2", "float8_e5m2"))),
    (ELSEWHERE, "lpemac_fix8", Circuit.of("mac", streamed=False, fmt="fixed<8,4>", fmt_c="fixed<8,4>", terms=16,
                                          rounding="down", pipeline=1), _BIAS),
    # Posits.
    *((ELSEWHERE, f"pacogen_{fmt}_{name}", Circuit.of(op, fmt=full), "")
      for fmt, full in (("p8_1", "posit<8,1>"), ("p8_2", "posit<8,2>"), ("p16_1", "posit<16,1>"))
      for name, op in (("mul", "multiply"), ("add", "add"))),
    *((BESIDE, f"hpc_p8_{size}_fma", Circuit.of("fma", fmt=f"posit<8,{size}>", pipeline=5),
       "theirs adds magnitudes whatever the signs and shifts the operand that it does not align: wrong on a fifth of "
       "random triples and more; " + _STAGES) for size in (0, 1, 2)),
    *((ELSEWHERE, f"hpc_p8_{size}_mac", _sum(f"posit<8,{size}>", terms=128, fmt_c=f"posit<8,{size}>", pipeline=4),
       f"{_BIAS}; theirs subtracts as well; {_STAGES}") for size in (0, 1, 2)),
    *((ELSEWHERE, f"lpemac_p8_{size}", _sum(f"posit<8,{size}>", terms=16, fmt_c=f"posit<8,{size}>"),
       f"{_BIAS}; ours has NaR as well; {_TWO}") for size in (0, 1)),
    *((ELSEWHERE, f"flq_p8_{size}_qmac", _sum(f"posit<8,{size}>", terms=8192, fmt_c=f"posit<8,{size}>"),
       _BIAS + "; ours has NaR as well") for size in (0, 1)),
    # Integers.
    (ELSEWHERE, "mxfpga_int8_dot8", _exact("int8", 8), ""),
    (ELSEWHERE, "cfu_madd4", Circuit.of("dot", fmt="int8", lanes=4, out_fmt="exact", pipeline=2), ""),
    (ELSEWHERE, "cfu_madd4acc",
     _sum("int8", lanes=4, terms=1024, accumulator_width=32, out_fmt="exact", pipeline=1), ""),
    (ELSEWHERE, "nithin_dense", Circuit.of("dot", fmt="uint4", lanes=4, out_fmt="exact", pipeline=1), ""),
    # Reference points of our own.
    *(entry for fmt, full in FLOATS.items() for entry in (
        (REFERENCE, f"tuned_{fmt}_mul", _function("multiply", full), ""),
        (REFERENCE, f"tuned_{fmt}_mul_ftz", _function("multiply", full + FLUSHED), ""),
        (REFERENCE, f"tuned_{fmt}_mulfix", _exact(FINITE[fmt], 1), ""),
        (REFERENCE, f"tuned_{fmt}_kmac", _kulisch(FINITE[fmt]), _LATER),
        (REFERENCE, f"tuned_{fmt}_kmac_p", _kulisch(FINITE[fmt]), _TWO),
        (NAIVE, f"naive_{fmt}_mul", _function("multiply", full), ""),
        (NAIVE, f"naive_{fmt}_mul_ftz", _function("multiply", full + FLUSHED), ""),
        (NAIVE, f"naive_{fmt}_add", _function("add", full), ""))),
    *((REFERENCE, f"tuned2_{fmt}_mul_ftz", _function("multiply", FLOATS[fmt] + FLUSHED), "")
      for fmt in ("e4m3", "e5m2", "e3m2", "e2m3")),
    *((REFERENCE, f"rom_{fmt}_mul", _function("multiply", FLOATS[fmt]), "")
      for fmt in ("e4m3", "e3m2", "e2m3", "e2m1")),
    (REFERENCE, "tuned2_e4m3_kmac", _kulisch("minifloat_e4m3"), _LATER),
    (REFERENCE, "tuned_e2m1_tab", _exact("float4_e2m1fn", 1), ""),
    *((REFERENCE, f"tuned_p8_{size}_mul", Circuit.of("multiply", fmt=f"posit<8,{size}>"), "") for size in (0, 1, 2)),
    (REFERENCE, "int8_mul", Circuit.of("multiply", fmt="int8", out_fmt="int16"), ""),
    *((REFERENCE, name, _integers("int8", "int32", pipeline), "")
      for name, pipeline in (("int8_mac32_1", 0), ("int8_mac32", 1), ("int8_mac32_p", 2))),
    (REFERENCE, "int4_mac16", _integers("int4", "int16", 1), ""),
)
"""What it is held against, names of recorded circuits, our circuit, and what there is to say."""

EQUALS: Mapping[str, Equal] = {name: Equal(circuit=circuit, judgement=judgement, note=note)
                               for judgement, names, circuit, note in _ENTRIES for name in names.split()}
"""By the recorded circuit's name."""

_RECODED = "operands and result are in HardFloat's recoded format, which this library does not have"
_UNPACKED = "its product is not a code of a format: sign, significand and exponent, as our circuits have them inside"
_ROUNDED = "a sum in a narrow format whose rounding is not recorded"

NO_EQUAL: Mapping[str, str] = {
    **dict.fromkeys(("hardfloat_e4m3i_mulrec", "hardfloat_e5m2_mulrec", "hardfloat_fp16_mulrec"), _RECODED),
    **dict.fromkeys(("chatelao_e4m3_mulx", "chatelao_e5m2_mulx", "chatelao_e2m1_mulx",
                     *(f"tuned_{fmt}_mulx" for fmt in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1"))), _UNPACKED),
    **dict.fromkeys(("chatelao_e4m3_mac40", "chatelao_e5m2_mac40", "chatelao_e2m1_mac40"),
                    "each product is rounded to a grid coarser than the products', in a mode that it is told, and the "
                    "sum saturates"),
    "szymon_e4m3_mul": "a state machine of two or three cycles a product; ours takes one every cycle",
    "flexi_e4m3_mac2": _ROUNDED,
    "flexi_e2m1_mac4": _ROUNDED,
    "djfarr_e2m1_mul": "subnormal operands count as normal, and a product below the range becomes the largest number",
    "djfarr_e2m1_mac": "as djfarr_e2m1_mul, with a sum in e2m1",
    "fane_e4m3_mac": "approximate",
    "flopoco_e4m3_mul_e4m4": "its format has two bits beside the number for zero, infinity and NaN, and no subnormals",
    "nithin_2to4_sparse": "our sparse chain is told N of N:M at run time, in streams; no unit is for 2 of 4 alone",
    "nm_2_4_int8": "as nithin_2to4_sparse",
    "nm_1_4_int8": "as nithin_2to4_sparse",
    "dpm_addr": "its offsets have fractions, for bilinear interpolation; our offsets are whole numbers",
    "dpm_addr_conv": "as dpm_addr",
    "deform_addr_64": "as dpm_addr",
}
"""Why a recorded circuit is compared with nothing, by its name."""
