"""Fake quantization as a layer."""

import torch
from torch import Tensor, nn

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.quantize.checks import is_readable, settings_of
from sw.quantize.quantizer import fake_quantize
from sw.quantize.state import STATE_VERSION, check_saved, encoded


class FakeQuantize(nn.Module):
    """A layer that rounds its input to a format: :func:`sw.quantize.fake_quantize` with its arguments kept.

    Its state is ``scale`` (only where there is one) and ``_extra_state``, a uint8 tensor of UTF-8 JSON that records
    the format and the modes: loading a state into a layer of another format is an error.

    Parameters
    ----------
    fmt : ScalarFormat
    scale : float or tensor, optional
        Initial scale, of the shape that ``axis`` and ``group_size`` ask for; None for a layer without scale.
        Assign to ``layer.scale.data`` or ``copy_`` to it in order to calibrate.
    axis, group_size : int, optional
        Granularity of the scale.
    learn_scale : bool
        Make the scale a parameter; otherwise it is a buffer.
    rounding : RoundingMode
        Stochastic rounding draws from torch's default generator unless ``forward`` is given random bits.
    overflow : OverflowPolicy
    random_bits : int, optional
        For stochastic rounding; 32 by default.
    propagate_nan : bool
    dtype : torch.dtype, optional
        Type of the result; by default that of the input.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit the others.
    """

    def __init__(self, fmt: ScalarFormat, *, scale: Tensor | float | None = None, axis: int | None = None,
                 group_size: int | None = None, learn_scale: bool = False,
                 rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
                 overflow: OverflowPolicy = OverflowPolicy.SATURATE, random_bits: int | None = None,
                 propagate_nan: bool = False, dtype: torch.dtype | None = None) -> None:
        settings = settings_of(fmt, rounding, overflow, random_bits, propagate_nan, dtype)
        if scale is None and (axis is not None or group_size is not None or learn_scale):
            raise ValueError(f"Scale must be given with axis={axis!r}, group_size={group_size!r}, "
                             f"learn_scale={learn_scale!r}, not None; sw.quantize.absmax_scale computes one")
        if isinstance(scale, bool) or not isinstance(scale, (int, float, Tensor, type(None))):
            raise TypeError(f"Scale must be a number or a tensor, not {scale!r}")
        super().__init__()
        self._format = fmt
        self._axis = axis
        self._group_size = group_size
        self._rounding = rounding
        self._overflow = overflow
        self._random_bits = settings.random_bits
        self._propagate_nan = propagate_nan
        self._dtype = dtype
        if scale is not None:
            scale = scale.detach().clone() if isinstance(scale, Tensor) else torch.tensor(float(scale))
        if learn_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    @property
    def format(self) -> ScalarFormat:
        """The format."""
        return self._format

    @property
    def rounding(self) -> RoundingMode:
        """The rounding mode."""
        return self._rounding

    @property
    def overflow(self) -> OverflowPolicy:
        """The overflow policy."""
        return self._overflow

    def forward(self, x: Tensor, *, random: Tensor | None = None,
                generator: torch.Generator | None = None) -> Tensor:
        """Return ``x`` rounded; ``random`` and ``generator`` are those of :func:`sw.quantize.fake_quantize`.

        Raises
        ------
        TypeError, ValueError
            If the input does not suit the layer.
        """
        stochastic = self._rounding is RoundingMode.STOCHASTIC
        if stochastic and random is None and generator is None:
            random = torch.randint(1 << self._random_bits, x.shape, device=x.device)
        return fake_quantize(x, self._format, scale=self.scale, axis=self._axis, group_size=self._group_size,
                             rounding=self._rounding, overflow=self._overflow, random=random,
                             random_bits=self._random_bits if stochastic else None, generator=generator,
                             propagate_nan=self._propagate_nan, dtype=self._dtype)

    def _description(self) -> dict[str, object]:
        return {"version": STATE_VERSION, "format": self._format.name, "rounding": self._rounding.value,
                "overflow": self._overflow.value, "axis": self._axis, "group_size": self._group_size,
                "random_bits": self._random_bits, "propagate_nan": self._propagate_nan,
                "dtype": None if self._dtype is None else str(self._dtype)}

    def get_extra_state(self) -> Tensor:
        """Return what the layer does, as a tensor: every tool that stores states can store tensors."""
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
        """Say the format, the granularity and the modes that are not the default."""
        parts = [self._format.name]
        if self.scale is not None:
            kind = "learned " if isinstance(self.scale, nn.Parameter) else ""
            shape = tuple(self.scale.shape)
            known = shape == () and is_readable(self.scale)
            parts.append(f"{kind}scale={self.scale.item():.6g}" if known else f"{kind}scale of shape {shape}")
        parts += [f"{name}={value}" for name, value in (("axis", self._axis), ("group_size", self._group_size))
                  if value is not None]
        parts += [f"rounding={self._rounding.value}", f"overflow={self._overflow.value}"]
        if self._rounding is RoundingMode.STOCHASTIC:
            parts.append(f"random_bits={self._random_bits}")
        if self._propagate_nan:
            parts.append("propagate_nan=True")
        if self._dtype is not None:
            parts.append(f"dtype={self._dtype}")
        return ", ".join(parts)
