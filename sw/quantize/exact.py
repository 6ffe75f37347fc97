"""Rounding to any format in any mode, exactly, on the bits of float64 tensors.

Everything here is integer arithmetic on whole tensors: no table, no branch on the data, so that it runs alike on
CPU and GPU, eager or compiled. float16, bfloat16 and float32 are exactly float64 numbers, and come in as such.
"""

import torch
from torch import Tensor

from sw.formats import OverflowPolicy, RoundingMode
from sw.quantize.plan import FixedPlan, FloatPlan, PositPlan, ScalarPlan, Settings

_FRACTION_BITS = 52
_HIDDEN = 1 << _FRACTION_BITS
_BIAS = 1023
_MAGNITUDE = (1 << 63) - 1
_INFINITY = 0x7FF << _FRACTION_BITS

# A significand has 53 bits, so that a shift by 62 leaves nothing but a nonzero remainder below one half, and no sum
# of a significand and a rounding increment leaves 63 bits.
_MAX_SHIFT = 62


def encode(x: Tensor, settings: Settings, random: Tensor | None) -> Tensor:
    """Return the codes, int64, of a float64 tensor; ``random`` is an int64 tensor that broadcasts with it."""
    plan = settings.plan
    bits = x.view(torch.int64)
    if isinstance(plan, FixedPlan):
        return _encode_fixed(x, bits, plan, settings, random)
    if isinstance(plan, PositPlan):
        return _encode_posit(bits, plan, settings, random)
    return _encode_float(bits, plan, settings, random)


def decode(codes: Tensor, plan: ScalarPlan) -> Tensor:
    """Return the values, float64, of an int64 tensor of codes."""
    if isinstance(plan, PositPlan):
        return _decode_posit(codes, plan)
    return _decode_fixed(codes, plan) if isinstance(plan, FixedPlan) else _decode_float(codes, plan)


# Rounding

def _upward(mode: RoundingMode, negative: Tensor, *, magnitude: bool) -> Tensor | int:
    """Whether a directed mode takes the upper neighbour, or a nearest mode does in the middle: 0 or 1.

    Neighbours are those of the magnitude, or of the signed value.
    """
    match mode:
        case RoundingMode.NEAREST_AWAY:
            return 1 if magnitude else 1 - negative.to(torch.int64)
        case RoundingMode.NEAREST_ZERO | RoundingMode.TOWARD_ZERO:
            return 0 if magnitude else negative.to(torch.int64)
        case RoundingMode.NEAREST_UP | RoundingMode.UP:
            return 1 - negative.to(torch.int64) if magnitude else 1
        case _:
            return negative.to(torch.int64) if magnitude else 0


def _increment(settings: Settings, shift: Tensor, odd: Tensor, upward: Tensor | int,
               random: Tensor | None) -> Tensor:
    """What to add before ``shift`` bits are cut off, so that the cut rounds. 0 where ``shift`` is 0.

    ``odd`` is the lowest bit of the code after a plain cut.
    """
    unit = torch.ones_like(shift) << shift
    mode = settings.rounding
    if mode is RoundingMode.STOCHASTIC:
        assert random is not None  # fake_quantize and to_codes refuse its absence
        # floor(fraction * 2**N) + R >= 2**N, in units of the last discarded bit.
        count = settings.random_bits
        return (random << (shift - count).clamp(min=0)) >> (count - shift).clamp(min=0)
    if mode is RoundingMode.TO_ODD:
        return (unit - 1) * (1 - odd)
    if mode is RoundingMode.NEAREST_EVEN:
        return ((unit >> 1) - 1 + odd).clamp(min=0)
    if mode.is_nearest:
        return ((unit >> 1) - 1 + upward).clamp(min=0)
    return (unit - 1) * upward


def _cut(source: Tensor, shift: Tensor, base: Tensor | int, settings: Settings, upward: Tensor | int,
         random: Tensor | None) -> Tensor:
    """Round ``source / 2**shift`` to an integer and add ``base``; the even code is the even sum."""
    if settings.rounding is RoundingMode.STOCHASTIC:
        # Far below the last place, the bits that the random number can reach are still wanted.
        source = source >> (shift - _MAX_SHIFT).clamp(min=0, max=63)
    shift = shift.clamp(max=_MAX_SHIFT)
    odd = ((source >> shift) + base) & 1
    return ((source + _increment(settings, shift, odd, upward, random)) >> shift) + base


# Floating point

def _encode_float(bits: Tensor, plan: FloatPlan, settings: Settings, random: Tensor | None) -> Tensor:
    negative = bits < 0
    magnitude = bits & _MAGNITUDE
    upward = _upward(settings.rounding, negative, magnitude=True)
    if plan.radix == 4:
        code = _round_radix_4(magnitude, plan, settings, upward, random)
    elif plan.gradual:
        code = _round_gradual(magnitude, plan, settings, upward, random)
    else:
        shift = torch.full_like(magnitude, _FRACTION_BITS - plan.fraction_bits)
        base = -((_BIAS + plan.exponent_offset) << plan.fraction_bits)
        code = _cut(magnitude, shift, base, settings, upward, random)
    return _finish_float(code, magnitude, negative, plan, settings, upward)


def _round_gradual(magnitude: Tensor, plan: FloatPlan, settings: Settings, upward: Tensor | int,
                   random: Tensor | None) -> Tensor:
    """Round where the subnormal numbers have one spacing, that of the lowest binade."""
    field = (magnitude >> _FRACTION_BITS).clamp(min=1)
    significand = magnitude - ((field - 1) << _FRACTION_BITS)
    above = field - (_BIAS + plan.min_exponent)
    shift = (_FRACTION_BITS - plan.fraction_bits) - above.clamp(max=0)
    return _cut(significand, shift, above.clamp(min=0) << plan.fraction_bits, settings, upward, random)


def _round_radix_4(magnitude: Tensor, plan: FloatPlan, settings: Settings, upward: Tensor | int,
                   random: Tensor | None) -> Tensor:
    """Round between powers of four, which lie three times the lower one apart."""
    exponent = (magnitude >> _FRACTION_BITS) - (_BIAS + plan.exponent_offset)
    lower = exponent >> 1
    # The distance to the lower power, in units of it times 2**-52.
    distance = (((magnitude & (_HIDDEN - 1)) | _HIDDEN) << (exponent & 1)) - _HIDDEN
    mode = settings.rounding
    if mode is RoundingMode.STOCHASTIC:
        assert random is not None  # fake_quantize and to_codes refuse its absence
        return lower + _stochastic_third(distance, settings.random_bits, random)
    if mode is RoundingMode.TO_ODD:
        return lower + (distance > 0) * (1 - (lower & 1))
    if not mode.is_nearest:
        return lower + (distance > 0) * upward
    tie = (lower & 1) if mode is RoundingMode.NEAREST_EVEN else upward
    return lower + (2 * distance + tie > 3 * _HIDDEN)


def _stochastic_third(distance: Tensor, count: int, random: Tensor) -> Tensor:
    """Whether ``floor(distance / (3 * 2**52) * 2**count) + random >= 2**count``, without leaving 63 bits."""
    missing = (1 << count) - random  # at least 1
    if count <= _FRACTION_BITS:
        return (distance >> (_FRACTION_BITS - count)) >= 3 * missing
    # distance * 2**k >= 3 * missing, k > 0: compare with the quotient, rounded up.
    k = count - _FRACTION_BITS
    rest = 3 * (missing & ((1 << k) - 1))
    return distance >= 3 * (missing >> k) + ((rest + (1 << k) - 1) >> k)


def _finish_float(code: Tensor, magnitude: Tensor, negative: Tensor, plan: FloatPlan, settings: Settings,
                  upward: Tensor | int) -> Tensor:
    """Bring a magnitude's number into the format's range, and put the sign and the special codes in."""
    lowest = 0 if plan.has_zero else plan.min_code
    below = beyond = plan.max_code
    if settings.overflow is OverflowPolicy.INFINITY:
        assert plan.nan_code is not None  # check_overflow refused the policy
        beyond = plan.nan_code if plan.infinity_code is None else plan.infinity_code
        below = plan.nan_code
    else:
        below = lowest
    code = torch.where(code > plan.max_code, _overflow_code(magnitude, plan, settings, upward, beyond), code)
    code = torch.where(code < plan.min_code, lowest if plan.has_zero else below, code)
    if plan.signed:
        signed = negative if plan.has_negative_zero else negative & (code != 0)
        if plan.nan_code is not None:
            signed = signed & (code != plan.nan_code)
        code = code | (signed.to(torch.int64) * plan.sign_bit)
    else:
        code = torch.where(negative & (magnitude > 0), below, code)
    return torch.where(magnitude > _INFINITY, lowest if plan.nan_code is None else plan.nan_code, code)


def _overflow_code(magnitude: Tensor, plan: FloatPlan, settings: Settings, upward: Tensor | int,
                   beyond: int) -> Tensor | int:
    """Code of a magnitude beyond the largest: a mode that never rounds away stops there, but for an infinity."""
    mode = settings.rounding
    if mode.is_nearest or mode is RoundingMode.STOCHASTIC or settings.overflow is not OverflowPolicy.INFINITY:
        return beyond
    away = magnitude == _INFINITY
    if mode is not RoundingMode.TO_ODD:
        away = away | (torch.zeros_like(magnitude) + upward > 0)
    return torch.where(away, beyond, plan.max_code)


def _decode_float(codes: Tensor, plan: FloatPlan) -> Tensor:
    magnitude = codes & (plan.sign_bit - 1)
    if plan.radix == 4:
        field = 2 * magnitude + (_BIAS + plan.exponent_offset)
        value = (field << _FRACTION_BITS).view(torch.float64)
    else:
        field = magnitude + ((_BIAS + plan.exponent_offset) << plan.fraction_bits)
        value = (field << (_FRACTION_BITS - plan.fraction_bits)).view(torch.float64)
    if plan.gradual:
        quantum = 2.0 ** plan.quantum_exponent
        value = torch.where(magnitude >> plan.fraction_bits < 1, magnitude.to(torch.float64) * quantum, value)
    elif plan.has_zero:
        value = torch.where(magnitude < plan.min_code, 0.0, value)
    value = torch.where(magnitude > plan.max_code, torch.nan, value)
    if plan.infinity_code is not None:
        value = torch.where(magnitude == plan.infinity_code, torch.inf, value)
    if plan.signed:
        value = torch.where(codes & plan.sign_bit > 0, -value, value)
    if plan.nan_is_negative_zero:
        value = torch.where(codes == plan.sign_bit, torch.nan, value)
    return value


# Fixed point

def _encode_fixed(x: Tensor, bits: Tensor, plan: FixedPlan, settings: Settings, random: Tensor | None) -> Tensor:
    overflow = settings.overflow
    negative = bits < 0
    magnitude = bits & _MAGNITUDE
    field = (magnitude >> _FRACTION_BITS).clamp(min=1)
    significand = magnitude - ((field - 1) << _FRACTION_BITS)
    significand = torch.where(negative, -significand, significand)
    shift = (_FRACTION_BITS + _BIAS - plan.fraction_bits) - field
    upward = _upward(settings.rounding, negative, magnitude=False)
    integer = _cut(significand, shift.clamp(min=0), 0, settings, upward, random)
    # Large numbers are integers. Nine places more put any of them beyond 32 bits without leaving 63.
    integer = integer << (-shift).clamp(min=0, max=63 if overflow.wraps else 9)
    if overflow.wraps:
        integer = torch.where(torch.isinf(x), 0, integer)
        if overflow is OverflowPolicy.WRAP_SIGN_MAGNITUDE:
            integer = integer ^ -((integer >> plan.width ^ integer >> (plan.width - 1)) & 1)
    elif overflow is OverflowPolicy.SATURATE_ZERO:
        integer = torch.where((integer < plan.min_integer) | (integer > plan.max_integer), 0, integer)
    else:
        symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and plan.signed
        integer = integer.clamp(-plan.max_integer if symmetric else plan.min_integer, plan.max_integer)
    integer = torch.where(torch.isnan(x), 0, integer)
    return integer & ((1 << plan.width) - 1)


def _decode_fixed(codes: Tensor, plan: FixedPlan) -> Tensor:
    if plan.signed:
        codes = codes - ((codes >> (plan.width - 1)) << plan.width)
    return codes.to(torch.float64) * 2.0 ** -plan.fraction_bits


# Posits

def _encode_posit(bits: Tensor, plan: PositPlan, settings: Settings, random: Tensor | None) -> Tensor:
    """Round the string of regime, exponent and fraction where the width cuts it."""
    negative, source = bits < 0, bits & _MAGNITUDE
    largest = plan.max_exponent  # and the smallest magnitude is two to minus this
    magnitude = source.clamp(_BIAS - largest << _FRACTION_BITS, _BIAS + largest << _FRACTION_BITS)
    exponent = (magnitude >> _FRACTION_BITS) - _BIAS
    regime = exponent >> plan.exponent_size
    # The end of the regime, which is 10 or 01, the exponent and the fraction; before them the regime's bit repeats.
    tail_bits = plan.exponent_size + _FRACTION_BITS
    tail = magnitude - ((regime << plan.exponent_size) + _BIAS << _FRACTION_BITS)
    upper = (regime >= 0).to(torch.int64)
    repeats = torch.where(regime >= 0, regime, ~regime)
    string = (upper + 1 << tail_bits) + tail
    room = plan.width - 1 - repeats  # bits left for `string`: at least 1
    filled = (1 << plan.width - 1) - (torch.ones_like(room) << room)
    upward = _upward(settings.rounding, negative, magnitude=True)
    code = _cut(string, tail_bits + 2 - room, filled * upper, settings, upward, random)
    code = torch.where(negative, (1 << plan.width) - code, code)
    code = torch.where(source == 0, 0, code)
    return torch.where(source >= _INFINITY, 1 << plan.width - 1, code)


def _decode_posit(codes: Tensor, plan: PositPlan) -> Tensor:
    bits = plan.width - 1
    negative = codes >> bits > 0
    body = torch.where(negative, (1 << plan.width) - codes, codes)
    upper = body >> bits - 1
    # What follows the run of equal bits, the bit that ends it included: its length is a binary logarithm, which the
    # exponent of a float64 is. One bit more in front spares the case of an empty rest.
    rest = body ^ upper * ((1 << bits) - 1)
    length = ((2 * rest + 1).to(torch.float64).view(torch.int64) >> _FRACTION_BITS) - _BIAS
    regime = torch.where(upper > 0, bits - 1 - length, length - bits)
    # Below the end of the run: exponent and fraction, side by side in a float64 as they are here.
    places = (length - 1).clamp(min=0)
    tail = (body & (1 << places) - 1) << plan.exponent_size + _FRACTION_BITS - places
    value = (((regime << plan.exponent_size) + _BIAS << _FRACTION_BITS) + tail).view(torch.float64)
    value = torch.where(negative, -value, value)
    value = torch.where(codes == 0, 0.0, value)
    return torch.where(codes == 1 << bits, torch.nan, value)
