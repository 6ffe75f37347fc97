"""The weights of a layer, channel by channel: their magnitudes, and their scaling in place."""

import torch
from torch import Tensor, nn

from sw.ptq.checks import FLOAT_DTYPES

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORMS = (*BATCH_NORMS, *INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, nn.MultiheadAttention)


class ScaledLayer:
    """A layer whose output or input channels can be multiplied by factors in its weights.

    All weights are seen as a tensor of shape (groups, outputs of a group, inputs of a group, taps): grouped and
    depthwise convolutions are then no special cases, nor is the other order of a transposed one. A normalization has a
    weight for each output channel and none that belongs to an input channel.

    Parameters
    ----------
    weight : torch.nn.Parameter
    bias : torch.nn.Parameter, optional
    groups : int
    transposed : bool
        Whether the weights come inputs first.
    has_inputs : bool
        Whether there are weights that belong to an input channel.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None = None, *, groups: int = 1,
                 transposed: bool = False, has_inputs: bool = True) -> None:
        self._weight = weight
        self._bias = bias
        self._groups = groups if has_inputs else 1
        self._transposed = transposed
        self._has_inputs = has_inputs

    @classmethod
    def of(cls, module: nn.Module) -> "ScaledLayer | None":
        """Return the output side of a linear layer, convolution, attention or normalization; None if it has none.

        A type derived from these is none of them: what it does with its weights is not known. Nor are weights that are
        computed from others (``torch.nn.utils.parametrize``) or not of a floating-point type.
        """
        if type(module) is nn.MultiheadAttention:
            weight, bias = module.out_proj.weight, module.out_proj.bias
            return cls(weight, bias) if _is_own(module.out_proj) else None
        if type(module) not in (*LAYERS, *NORMS) or not _is_own(module):
            return None
        bias = module._parameters.get("bias")
        if type(module) in NORMS:
            return cls(module.weight, bias, has_inputs=False) if module.weight.ndim == 1 else None
        return cls(module.weight, bias, groups=getattr(module, "groups", 1),
                   transposed=type(module) in TRANSPOSED_CONVOLUTIONS)

    @classmethod
    def of_input(cls, module: nn.Module) -> "ScaledLayer | None":
        """Return the input side, which differs for an attention: the projection of its query, key and value."""
        if type(module) is nn.MultiheadAttention:
            weight = module._parameters.get("in_proj_weight")
            return None if weight is None or weight.dtype not in FLOAT_DTYPES else cls(weight)
        layer = cls.of(module)
        return layer if layer is not None and layer._has_inputs else None

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """Weight and, where there is one, bias."""
        return (self._weight,) if self._bias is None else (self._weight, self._bias)

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias."""
        return self._bias is not None

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        return self._weight.shape[1] * self._groups if self._transposed else self._weight.shape[0]

    @property
    def inputs(self) -> int:
        """Number of input channels, 0 if no weight belongs to one."""
        if not self._has_inputs:
            return 0
        return self._weight.shape[0] if self._transposed else self._weight.shape[1] * self._groups

    def weights(self) -> Tensor:
        """Return the weights, (groups, outputs of a group, inputs of a group, taps), float32 (float64 if they are)."""
        return self._split(self._weight.detach().to(_work_dtype(self._weight)))

    def bias(self) -> Tensor | None:
        """Return the bias in float32 (float64 if it is), (outputs,)."""
        return None if self._bias is None else self._bias.detach().to(_work_dtype(self._bias))

    @torch.no_grad()
    def rescale(self, outputs: Tensor | None = None, inputs: Tensor | None = None) -> None:
        """Multiply the weights and bias of each output channel, and the weights of each input channel, by factors.

        The product of both is taken in float64 and rounded once.

        Parameters
        ----------
        outputs : tensor of shape (outputs,), optional
        inputs : tensor of shape (inputs,), optional
        """
        factor = self._weight.new_ones(1, dtype=torch.float64)
        if outputs is not None:
            factor = factor * outputs.to(factor).reshape(self._groups, -1, 1, 1)
        if inputs is not None:
            factor = factor * inputs.to(factor).reshape(self._groups, 1, -1, 1)
        scaled = self._split(self._weight.double()) * factor
        if self._transposed:
            scaled = scaled.transpose(1, 2)
        self._weight.copy_(scaled.reshape(self._weight.shape))
        if outputs is not None and self._bias is not None:
            self._bias.copy_(self._bias.double() * outputs.to(factor))

    def _split(self, weight: Tensor) -> Tensor:
        if not self._has_inputs:
            return weight.reshape(1, -1, 1, 1)
        split = weight.reshape(self._groups, weight.shape[0] // self._groups, weight.shape[1], -1)
        return split.transpose(1, 2) if self._transposed else split


def input_range(weights: Tensor) -> Tensor:
    """Return the largest magnitude of each input channel's weights.

    Parameters
    ----------
    weights : tensor of shape (groups, outputs of a group, inputs of a group, taps)

    Returns
    -------
    Tensor
        (groups * inputs of a group,).
    """
    return weights.abs().amax((1, 3)).flatten()


def _is_own(module: nn.Module) -> bool:
    """Whether the weight of a module is a parameter of its own, of a floating-point type."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dtype in FLOAT_DTYPES


def _work_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
