"""Fake quantization to a block format as a layer."""

import torch
from torch import Tensor, nn

from sw.formats import BlockFormat, RoundingMode
from sw.quantize.block_format import check_options, fake_quantize_blocks
from sw.quantize.block_plan import block_plan_of
from sw.quantize.state import STATE_VERSION, check_saved, encoded


class FakeQuantizeBlocks(nn.Module):
    """A layer that rounds its input to a block format: :func:`sw.quantize.fake_quantize_blocks`, arguments kept.

    The scales follow each input; nothing is learned, and the tensor scale is that of each input. Its state is
    ``_extra_state``, a uint8 tensor of UTF-8 JSON that records the format and the modes: loading a state into a layer
    of another format is an error.

    Parameters
    ----------
    fmt : BlockFormat
    dim : int
        Dimension along which the blocks lie.
    rounding : RoundingMode
        Stochastic rounding draws from torch's default generator unless ``forward`` is given random bits.
    random_bits : int, optional
        For stochastic rounding; 32 by default.
    clip_gradient : bool
        Whether the gradient is zero where an element saturates.
    dtype : torch.dtype, optional
        Type of the result; by default that of the input.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or does not suit the others.
    """

    def __init__(self, fmt: BlockFormat, *, dim: int = -1, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
                 random_bits: int | None = None, clip_gradient: bool = False,
                 dtype: torch.dtype | None = None) -> None:
        plan = block_plan_of(fmt, rounding, random_bits)
        check_options(dim, clip_gradient, dtype)
        super().__init__()
        self._format = fmt
        self._dim = dim
        self._rounding = rounding
        self._random_bits = plan.element.random_bits
        self._clip_gradient = clip_gradient
        self._dtype = dtype

    @property
    def format(self) -> BlockFormat:
        """The format."""
        return self._format

    @property
    def rounding(self) -> RoundingMode:
        """The rounding mode."""
        return self._rounding

    def forward(self, x: Tensor, *, tensor_scale: Tensor | float | None = None, random: Tensor | None = None,
                generator: torch.Generator | None = None) -> Tensor:
        """Return ``x`` rounded; the arguments are those of :func:`sw.quantize.fake_quantize_blocks`.

        Raises
        ------
        TypeError, ValueError
            If the input does not suit the layer.
        """
        stochastic = self._rounding is RoundingMode.STOCHASTIC
        if stochastic and random is None and generator is None:
            random = torch.randint(1 << self._random_bits, x.shape, device=x.device)
        return fake_quantize_blocks(x, self._format, dim=self._dim, tensor_scale=tensor_scale, rounding=self._rounding,
                                    random=random, random_bits=self._random_bits if stochastic else None,
                                    generator=generator, clip_gradient=self._clip_gradient, dtype=self._dtype)

    def _description(self) -> dict[str, object]:
        return {"version": STATE_VERSION, "format": self._format.name, "rounding": self._rounding.value,
                "dim": self._dim, "random_bits": self._random_bits, "clip_gradient": self._clip_gradient,
                "dtype": None if self._dtype is None else str(self._dtype)}

    def get_extra_state(self) -> Tensor:
        """Return what the layer does, as a tensor."""
        return encoded(self._description())

    def set_extra_state(self, state: Tensor) -> None:
        """Compare the layer with the one that a state came from.

        Raises
        ------
        ValueError
            If they differ.
        """
        check_saved(self._description(), state)

    def extra_repr(self) -> str:
        """Say the format, the dimension and the modes that are not the default."""
        parts = [self._format.name, f"dim={self._dim}", f"rounding={self._rounding.value}"]
        if self._rounding is RoundingMode.STOCHASTIC:
            parts.append(f"random_bits={self._random_bits}")
        if self._clip_gradient:
            parts.append("clip_gradient=True")
        if self._dtype is not None:
            parts.append(f"dtype={self._dtype}")
        return ", ".join(parts)
