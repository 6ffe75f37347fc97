"""The scales and biases of a requantization, from the steps and zero points on both sides."""

import torch
from torch import Tensor, nn

from sw.nn.activation_quantizer import ActivationQuantizer
from sw.nn.requantize import MAX_BIAS, MAX_SCALE, MIN_BIAS, OFFSET, SHIFT, Requantize, check_offset, check_shift
from sw.nn.rounding import round_half_up


def check_codes(noun: str, quantizer: nn.Module) -> None:
    """Raise unless ``quantizer`` is an :class:`ActivationQuantizer` to 8 bits."""
    if not isinstance(quantizer, ActivationQuantizer):
        raise TypeError(f"{noun} quantizer must be an ActivationQuantizer, not {type(quantizer).__name__!r}")
    if quantizer.bits != 8:
        raise ValueError(f"{noun} quantizer must be of 8 bits, not {quantizer.bits}")


def channel_scales(weight_scale: Tensor, source: ActivationQuantizer, target: ActivationQuantizer,
                   shift: int) -> Tensor:
    """Return ``source.step * weight_scale / target.step`` in units of ``2**-shift``, not rounded, float64."""
    return source.step * weight_scale.detach().double() / target.step * 2.0 ** shift


def folded_bias(bias: Tensor | None, weight_sums: Tensor, scale: Tensor, source: ActivationQuantizer,
                target: ActivationQuantizer, shift: int) -> Tensor:
    """Return ``bias`` in steps of the target, less what the source's zero point adds to the products; not rounded.

    Parameters
    ----------
    bias : floating-point tensor, (K,), optional
    weight_sums : tensor, (K,)
        Of each channel's weights, as integers.
    scale : tensor, (K,)
        Integers, in units of ``2**-shift``.
    """
    correction = scale * 2.0 ** -shift * source.zero_point * weight_sums
    return -correction if bias is None else bias.double() / target.step - correction


def integer_requantization(weight: Tensor, weight_scale: Tensor, bias: Tensor | None, source: ActivationQuantizer,
                           target: ActivationQuantizer, *, relu: bool = False, shift: int = SHIFT,
                           offset: int = OFFSET) -> Requantize:
    """Return what turns sums of products of codes into the codes of the next layer.

    With ``S = scale / 2**shift`` for the quotient ``source.step * weight_scale / target.step``, the bias is
    ``round(bias / target.step - S * source.zero_point * sum(weight) + target.zero_point - offset)``. Where there is a
    ReLU, which cuts at the offset, the offset is the target's zero point; elsewhere it may be any.

    Product and bias are rounded each by itself, which moves the result by one code at most together, and rounding the
    scale moves a product of p codes by at most ``p / (2 * scale)``. So the result is that of rounding the real sum
    once, or one code beside it, wherever the real product is of no more codes than the scale is large.

    Parameters
    ----------
    weight : integer tensor, (K, ...)
    weight_scale : floating-point tensor, (K,)
    bias : floating-point tensor, (K,), optional
        Real, batch normalization folded in.
    source, target : ActivationQuantizer
        Of 8 bits: of the activations that are summed, and of the result.
    relu : bool
    shift : int, bits
    offset : int
        Where there is no ReLU; -128 to 127.

    Raises
    ------
    TypeError, ValueError
        If a quantizer is of another type or width, or has no range; if a scale or a bias does not fit 16 bits.
    """
    check_shift(shift)
    check_offset(offset)
    check_codes("Source", source)
    check_codes("Target", target)
    exact = channel_scales(weight_scale, source, target, shift)
    scale = round_half_up(exact)
    if bool((scale > MAX_SCALE).any()):
        raise ValueError(f"Scale must be at most {MAX_SCALE} in units of 2**-{shift}, not {float(exact.max()):.6g}; "
                         "give a smaller shift, or the result a wider range")
    if bool((scale == 0).any()):
        raise ValueError(f"Scale must be at least 1 in units of 2**-{shift}, not {float(exact.min()):.3g}; give a "
                         "greater shift, or the result a narrower range")
    offset = target.zero_point if relu else offset
    sums = weight.flatten(1).sum(1, dtype=torch.int64)
    bias = None if bias is None else bias.detach()
    folded = round_half_up(folded_bias(bias, sums, scale, source, target, shift)) + (target.zero_point - offset)
    if bool(((folded < MIN_BIAS) | (folded > MAX_BIAS)).any()):
        raise ValueError(f"Bias must be between {MIN_BIAS} and {MAX_BIAS} in steps of the result, not "
                         f"{int(folded.min())} to {int(folded.max())}; give the result a wider range")
    return Requantize(scale.to(torch.int64), folded.to(torch.int64), relu=relu, shift=shift, offset=offset)
