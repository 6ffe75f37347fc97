"""Matrix products of computed tensors through a circuit: floats in, floats out, as attention and training code need."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sw.ptq import ActivationConfig, ScaleRule
from sw.ptq.tensor_quantizer import TensorQuantizer
from synth.nn import functional
from synth.nn.scales import input_rule
from synth.nn.straight_through import straight_through
from synth.nn.sums import check_numbers, values_of
from synth.nn.unit import SharedUnit, Unit, check_unit, describe


class CircuitMatmul(nn.Module):
    """``torch.matmul`` of two float tensors, each of two dimensions or more, whose sums come from a circuit.

    Each operand is rounded to the circuit's format for it, with one scale that follows it; and
    ``output = value of the sum * (scale of a * scale of b)``, as in :class:`synth.nn.CircuitLinear`, with gradients
    straight through as there. There is nothing to train. Code that takes a function for its matrix products may be
    given one of these; while its quantizers are off, as in :func:`sw.ptq.floating`, it is ``torch.matmul``.

    Parameters
    ----------
    unit : Unit
    scale : ScaleRule, optional
        Where the scales come from; by default the largest magnitude, or 1 where :func:`synth.nn.config_for` takes
        formats as they are.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or operands cannot be quantized to the circuit's formats.
    """

    def __init__(self, unit: Unit, *, scale: ScaleRule | None = None) -> None:
        check_unit(unit)
        functional.result_dtype(unit)
        rule = input_rule(unit) if scale is None else scale
        super().__init__()
        self._shared = SharedUnit(unit)
        self.a_quantizer, self.b_quantizer = (
            TensorQuantizer(ActivationConfig(format=fmt, dynamic=True, scale=rule), axis=-1,
                            label=f"operand {name} of a matrix product")
            for name, fmt in (("a", unit.a), ("b", unit.b)))

    @property
    def unit(self) -> Unit:
        """The circuit."""
        return self._shared.unit

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the products (..., M, N) of matrices (..., M, K) and (..., K, N), in the type of ``a``.

        Raises
        ------
        TypeError, ValueError
            If an operand is no floating-point tensor, is not finite, or its shape does not suit the other's, or K is
            more than the circuit can sum.
        """
        quantizers = self.a_quantizer, self.b_quantizer
        if not all(quantizer.enabled for quantizer in quantizers) or not a.numel() or not b.numel():
            return torch.matmul(self.a_quantizer(a), self.b_quantizer(b))
        for name, x, quantizer in zip("ab", (a, b), quantizers, strict=True):
            check_numbers(f"Operand {name}", x, quantizer.label)
        with torch.no_grad():
            sums = functional.matmul(self.a_quantizer.codes(a), self.b_quantizer.codes(b), self.unit)
            a_scale, b_scale = (quantizer.expanded_scale(x)[(0,) * x.ndim]
                                for quantizer, x in zip(quantizers, (a, b), strict=True))
            output = values_of(sums, self.unit, a_scale, b_scale, a.dtype, b.dtype).to(a.dtype)
        if not torch.is_grad_enabled() or not (a.requires_grad or b.requires_grad):
            return output
        return straight_through(output, torch.matmul, self.a_quantizer(a), self.b_quantizer(b))

    def extra_repr(self) -> str:
        """Say the formats of the circuit."""
        return f"circuit={describe(self.unit)}"
