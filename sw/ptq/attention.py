"""Multi-head attention whose four projections are rounded, weights and inputs."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.ptq.config import Config
from sw.ptq.layers import QuantizedLayer, QuantizedLinear, swap_class

_PARTS = ("query", "key", "value")


class QuantizedMultiheadAttention(nn.MultiheadAttention):
    """A ``torch.nn.MultiheadAttention`` whose projections round their weights and inputs.

    The projections of query, key and value and the output are layers of their own, with quantizers of their own:
    ``query_projection``, ``key_projection``, ``value_projection`` and ``out_proj``. The parameters stay where they are,
    and keep their keys, packed or not; scores and weighted sums are not rounded.
    """

    def attach(self, config: Config, name: str) -> None:
        """Give a layer that was float until now its quantizers.

        Raises
        ------
        ValueError
            If the configuration does not suit the layer.
        """
        prefix = f"{name}." if name else ""
        for part in _PARTS:
            projection = AttentionProjection(self, part)
            self.add_module(f"{part}_projection", projection)
            projection.attach(config, f"{prefix}{part}_projection")
        swap_class(self.out_proj, QuantizedLinear)
        self.out_proj.attach(config, f"{prefix}out_proj")

    def detach(self) -> None:
        """Make the layer the float layer again that it was."""
        for part in _PARTS:
            self._modules.pop(f"{part}_projection", None)
        if isinstance(self.out_proj, QuantizedLinear):
            self.out_proj.detach()
        self.__class__ = self.__dict__.pop("float_kind")

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the output and, if wanted, the attention weights: as ``torch.nn.MultiheadAttention`` does.

        ``is_causal`` is a hint about ``attn_mask``, which is what counts.

        Raises
        ------
        TypeError, ValueError
            If a mask is neither boolean nor of a floating-point type, or there is the hint without the mask.
        """
        if is_causal and attn_mask is None:
            raise ValueError("Attention mask must be given with is_causal=True, not None; "
                             "see torch.nn.Transformer.generate_square_subsequent_mask")
        batched = query.ndim == 3
        queries, keys, values = (self._batch_first(projection(x)) for projection, x in (
            (self.query_projection, query), (self.key_projection, key), (self.value_projection, value)))
        n, length, _ = queries.shape
        mask = self._merged_mask(attn_mask, key_padding_mask, queries, keys.shape[1])
        if self.bias_k is not None:
            keys = torch.cat([keys, self.bias_k.expand(n, 1, -1)], 1)
            values = torch.cat([values, self.bias_v.expand(n, 1, -1)], 1)
        if self.add_zero_attn:
            keys, values = functional.pad(keys, (0, 0, 0, 1)), functional.pad(values, (0, 0, 0, 1))
        if mask is not None:
            mask = functional.pad(mask, (0, keys.shape[1] - mask.shape[-1]))
        heads = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (queries, keys, values))
        mixed, weights = self._attend(*heads, mask, need_weights=need_weights)
        output = mixed.transpose(1, 2).reshape(n, length, self.embed_dim)
        if not batched:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        output = self.out_proj(output)
        if weights is None:
            return output, None
        if average_attn_weights:
            weights = weights.mean(1)
        return output, weights if batched else weights.squeeze(0)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *,
                need_weights: bool) -> tuple[Tensor, Tensor | None]:
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return functional.scaled_dot_product_attention(queries, keys, values, mask, dropout), None
        scores = (queries * math.sqrt(1 / self.head_dim)) @ keys.mT
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        weights = functional.dropout(weights, dropout)
        return weights @ values, weights

    def _batch_first(self, x: Tensor) -> Tensor:
        """Return (N, length, features), whatever order the layer has."""
        if x.ndim == 2:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _merged_mask(self, attention: Tensor | None, padding: Tensor | None, like: Tensor,
                     keys: int) -> Tensor | None:
        """Return one mask that is added to scores of shape (N, heads, queries, keys), or None."""
        mask = None
        if attention is not None:
            mask = _additive("Attention mask", attention, like)
            if mask.ndim == 3:
                mask = mask.unflatten(0, (-1, self.num_heads))
        if padding is not None:
            padding = _additive("Key padding mask", padding, like).reshape(-1, 1, 1, keys)
            mask = padding if mask is None else mask + padding
        return mask


def _additive(noun: str, mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -torch.inf)
    if not mask.dtype.is_floating_point:
        raise TypeError(f"{noun} must be boolean or of a floating-point dtype, not {mask.dtype}")
    return mask.to(like.dtype)


class AttentionProjection(QuantizedLayer, nn.Module):
    """The projection of queries, keys or values: a linear layer whose parameters are the attention layer's.

    ``weight`` and ``bias`` are views: changing them in place changes the attention layer.
    """

    def __init__(self, attention: nn.MultiheadAttention, part: str) -> None:
        super().__init__()
        self._owner = (attention,)  # in a tuple, lest the owner become a submodule of its own submodule
        self._part = part

    def _rows(self, packed: Tensor) -> Tensor:
        return packed.chunk(len(_PARTS))[_PARTS.index(self._part)]

    @property
    def weight(self) -> Tensor:
        """The weight, (outputs, inputs)."""
        attention, = self._owner
        if attention.in_proj_weight is not None:
            return self._rows(attention.in_proj_weight)
        return getattr(attention, f"{self._part[0]}_proj_weight")

    @property
    def bias(self) -> Tensor | None:
        """The bias, (outputs,), or None."""
        attention, = self._owner
        return None if attention.in_proj_bias is None else self._rows(attention.in_proj_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projection, (..., outputs), of inputs (..., inputs)."""
        return functional.linear(self.quantized_input(x), self.quantized_weight(), self.bias)

    def input_matrix(self, x: Tensor) -> Tensor:
        """Return the input, (..., inputs), as a matrix for the one group."""
        return x.reshape(1, -1, x.shape[-1])


def leave_fast_path(model: nn.Module) -> None:
    """Have the transformer layers of ``torch.nn`` that hold quantized layers run them.

    In evaluation, ``torch.nn.TransformerEncoderLayer`` otherwise computes with the weights of its layers in one fused
    operation, and ``torch.nn.TransformerEncoder`` cuts padding off into nested tensors for it.
    """
    for module in model.modules():
        if isinstance(module, (nn.TransformerEncoder, nn.TransformerEncoderLayer)) and any(
                isinstance(inner, QuantizedLayer) for inner in module.modules()):
            if isinstance(module, nn.TransformerEncoder):
                module.use_nested_tensor = False
            else:
                module.activation_relu_or_gelu = 0  # "neither of the two that the fused operation has"
