"""What rounds the weights or the inputs of a layer: a format, and scales that calibration finds."""

import torch
from torch import Tensor, nn

from sw.formats import BlockFormat, RoundingMode, ScalarFormat
from sw.ptq.checks import FLOAT_DTYPES
from sw.ptq.config import ActivationConfig, Granularity, WeightConfig
from sw.ptq.granularity import expanded, rows_of, scale_shape
from sw.ptq.observer import Observer
from sw.ptq.scale_search import row_scales
from sw.quantize import block_tensor_scale, fake_quantize, fake_quantize_blocks, from_codes, to_block_codes, to_codes
from sw.quantize.block_plan import block_plan_of
from sw.quantize.checks import is_readable, work_dtype
from sw.quantize.plan import fits, plan_of
from sw.quantize.state import STATE_VERSION, check_saved, encoded


class TensorQuantizer(nn.Module):
    """Rounds a tensor to a format, with scales that were frozen by calibration or that follow each input.

    New, it observes: :meth:`forward` passes its input through, and gathers of inputs what the scales are to be taken
    from. Weights are gathered by :meth:`observe` alone; of several, the last counts. :meth:`freeze` computes the
    scales. A dynamic quantizer has nothing to gather.

    State: ``scale``, float32 (float64 of float64 weights) whatever type the model is cast to, empty until calibrated
    and in a dynamic quantizer; of shape ``()`` for a tensor, ``(channels,)``, or the shape of the weights with the
    input axis divided by the group or block size. A block format's are the values of its scale codes, and with a
    second level there is ``tensor_scale``, of shape ``()``. ``_extra_state`` records the settings: loading the state
    of a quantizer of another format is an error.

    Parameters
    ----------
    config : WeightConfig or ActivationConfig
    axis : int, negative
        Of the input channels: groups and blocks lie along it. Weights come as (output channels, ...).
    label : str
        Where it is, for messages: ``layer 'fc' (Linear, weights of shape (10, 64))``.
    shape : tuple of int, optional
        That of the weights; required for weights, left out for activations.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the groups do not divide the axis.
    """

    def __init__(self, config: WeightConfig | ActivationConfig, *, axis: int, label: str,
                 shape: tuple[int, ...] | None = None) -> None:
        if not isinstance(config, (WeightConfig, ActivationConfig)):
            raise TypeError(f"Quantizer config must be a WeightConfig or an ActivationConfig, not {config!r}")
        is_weight = isinstance(config, WeightConfig)
        if is_weight != (shape is not None):
            raise ValueError(f"Quantizer shape must be given for weights and for them alone, not {shape!r}")
        super().__init__()
        self._config = config
        self._axis = axis
        self._label = label
        self._is_weight = is_weight
        self._dynamic = not is_weight and config.follows_inputs
        self._shape = shape
        self._observer: Observer | None = None
        self._pending: tuple[Tensor, Tensor | None] | None = None
        self.enabled = True
        self.observing = not self._dynamic
        if is_weight:
            self.check_channels(shape[axis])
        self.register_buffer("scale", torch.empty(0))
        if is_weight and isinstance(config.format, BlockFormat) and config.format.tensor_scale:
            self.register_buffer("tensor_scale", torch.ones(()))

    @property
    def config(self) -> WeightConfig | ActivationConfig:
        """The configuration."""
        return self._config

    @property
    def format(self) -> ScalarFormat | BlockFormat:
        """The format."""
        return self._config.format

    @property
    def element_format(self) -> ScalarFormat:
        """The format of an element: the format itself, or that of a block's elements."""
        return self.format.element if isinstance(self.format, BlockFormat) else self.format

    @property
    def axis(self) -> int:
        """Axis of the input channels, negative."""
        return self._axis

    @property
    def is_weight(self) -> bool:
        """Whether weights are quantized, not inputs."""
        return self._is_weight

    @property
    def dynamic(self) -> bool:
        """Whether the scales follow each input."""
        return self._dynamic

    @property
    def label(self) -> str:
        """Where it is, for messages."""
        return self._label

    @property
    def is_calibrated(self) -> bool:
        """Whether there are scales, or none are needed."""
        return self._dynamic or self.scale.numel() > 0

    @property
    def has_observed(self) -> bool:
        """Whether something was observed since the scales were last frozen."""
        return self._observer is not None or self._pending is not None

    @property
    def _granularity(self) -> Granularity:
        return self._config.granularity

    # Calibration

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Gather what the scales are to be taken from.

        Raises
        ------
        TypeError, ValueError
            If ``x`` is no floating-point tensor, is empty or not finite; of weights, if the shape is another one.
        """
        self._check(x)
        if self._dynamic:
            return
        if not x.numel():
            raise ValueError(f"{self._subject} must have elements to be observed, not shape {tuple(x.shape)}, "
                             f"{self._at}")
        work = x.detach().to(work_dtype(x))
        low, high = torch.aminmax(work)
        if is_readable(work) and not bool(torch.isfinite(low) & torch.isfinite(high)):
            bad = work[~torch.isfinite(work)].flatten()[0].item()
            raise ValueError(f"{self._subject} must be finite to be quantized, not with {bad!r}, {self._at}")
        if self._is_weight:
            self._pending = self._weight_scales(work)
            return
        if self._observer is None:
            assert not isinstance(self.format, BlockFormat)
            self._observer = Observer(self.format, self._config.scale)
        self._observer.add(work)

    @torch.no_grad()
    def freeze(self) -> None:
        """Compute the scales from what was observed, and quantize from now on.

        Raises
        ------
        ValueError
            If nothing was observed.
        """
        self.check_observed()
        if self._observer is not None:
            self.scale = self._observer.scale()
        elif self._pending is not None:
            self.scale, tensor_scale = self._pending
            if tensor_scale is not None:
                self.tensor_scale = tensor_scale
        self.forget()
        self.observing = False

    def check_observed(self) -> None:
        """Raise ValueError if scales are to be frozen and nothing was observed."""
        if not self._dynamic and not self.has_observed:
            raise ValueError(f"{self._subject} must be observed before the scales are frozen, not never, {self._at}; "
                             "run batches that reach the layer, or leave it out with filter_fn")

    def forget(self) -> None:
        """Drop what was observed since the scales were last frozen."""
        self._observer = self._pending = None

    def _weight_scales(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        fmt = self.format
        if isinstance(fmt, BlockFormat):
            tensor_scale = block_tensor_scale(weight, fmt) if fmt.tensor_scale else None
            codes = to_block_codes(weight, fmt, dim=self._axis, tensor_scale=tensor_scale)
            return from_codes(codes.scales, fmt.scale), tensor_scale
        return self._scalar_scales(weight), None

    def _scalar_scales(self, x: Tensor) -> Tensor:
        """Return the scales that the rule gives for this very tensor, in their shape."""
        layout = self._granularity, self._axis, self._config.group_size
        return row_scales(rows_of(x, *layout), self.format, self._config.scale).reshape(scale_shape(x, *layout))

    # Quantization

    def expanded_scale(self, x: Tensor) -> Tensor:
        """Return the scale of each element of ``x``, of its shape.

        :meth:`forward` is ``fake_quantize`` of each element to ``element_format`` under this scale. float32, or
        float64 where that is done in float64: for a float64 input, and for block formats whose scales are no powers
        of two. A block whose scale is zero has the largest number instead, which makes its elements zeros as well.

        Raises
        ------
        TypeError, ValueError
            If there are no scales yet, or ``x`` does not suit them.
        """
        self._check(x)
        self._check_calibrated()
        fmt = self.format
        if isinstance(fmt, BlockFormat):
            return self._block_factors(x, fmt)
        scale = self._dynamic_scale(x) if self._dynamic else self.scale
        return expanded(scale.to(work_dtype(x)), x, self._granularity, self._axis, self._config.group_size)

    def _dynamic_scale(self, x: Tensor) -> Tensor:
        work = x.detach().to(work_dtype(x))
        # Not told by the scale: a percentile does not see an outlier, and a search cannot compare errors with a NaN.
        if is_readable(work) and not bool(torch.isfinite(work).all()):
            raise ValueError(f"{self._subject} must be finite to be scaled dynamically, not with an infinity or a NaN, "
                             f"{self._at}")
        return self._scalar_scales(work)

    def _block_factors(self, x: Tensor, fmt: BlockFormat) -> Tensor:
        if self._dynamic:
            codes = to_block_codes(x.detach(), fmt, dim=self._axis)
            scale, tensor_scale = from_codes(codes.scales, fmt.scale), codes.tensor_scale
        else:
            scale, tensor_scale = self.scale, getattr(self, "tensor_scale", None)
        wide = not block_plan_of(fmt, RoundingMode.NEAREST_EVEN, None).single
        factor = scale.to(torch.float64 if wide else work_dtype(x))
        if tensor_scale is not None and fmt.tensor_scale:
            factor = factor * tensor_scale.to(factor.dtype)
        factor = torch.where(factor == 0, torch.finfo(torch.float32).max, factor)
        return factor.repeat_interleave(fmt.block_size, self._axis).narrow(self._axis, 0, x.shape[self._axis])

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` rounded, in its dtype; as it is, while observing or not enabled.

        Gradient: straight through, as in :func:`sw.quantize.fake_quantize`; the scales count as constants.

        Raises
        ------
        TypeError, ValueError
            If there are no scales yet, or ``x`` does not suit them.
        """
        if not self.enabled:
            return x
        if self.observing:
            if not self._is_weight:  # weights stay the same from batch to batch
                self.observe(x)
            return x
        self._check(x)
        self._check_calibrated()
        fmt = self.format
        if not x.numel():
            return x
        if isinstance(fmt, BlockFormat):
            if self._dynamic:
                return fake_quantize_blocks(x, fmt, dim=self._axis)
            factor = self._block_factors(x, fmt)
            return fake_quantize(x.to(factor.dtype), fmt.element, scale=factor, axis=self._axis,
                                 group_size=1).to(x.dtype)
        view, arguments = self._scaling(x)
        # What the format holds before it is scaled back may be beyond float16.
        return fake_quantize(view, fmt, dtype=work_dtype(x), **arguments).reshape(x.shape).to(x.dtype)

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes of ``x`` in ``element_format``, as :func:`sw.quantize.to_codes` does.

        Raises
        ------
        TypeError, ValueError
            If there are no scales yet, or ``x`` does not suit them.
        """
        self._check(x)
        self._check_calibrated()
        fmt = self.format
        if isinstance(fmt, BlockFormat):
            factor = self._block_factors(x, fmt)
            return to_codes(x.to(factor.dtype), fmt.element, scale=factor, axis=self._axis, group_size=1)
        view, arguments = self._scaling(x)
        return to_codes(view, fmt, **arguments).reshape(x.shape)

    def _scaling(self, x: Tensor) -> tuple[Tensor, dict[str, object]]:
        """Return ``x`` and the arguments of ``fake_quantize`` that say how the scales lie in it."""
        scale = self._dynamic_scale(x) if self._dynamic else self.scale
        match self._granularity:
            case Granularity.TENSOR:
                return x, {"scale": scale}
            case Granularity.CHANNEL:
                return x, {"scale": scale, "axis": 0}
            case Granularity.TOKEN:
                view = x.flatten(self._axis)
                return view, {"scale": scale.flatten(self._axis), "group_size": view.shape[-1]}
            case Granularity.GROUP:
                return x, {"scale": scale, "axis": self._axis, "group_size": self._config.group_size}

    # Checks

    def check_channels(self, length: int) -> None:
        """Raise ValueError unless groups divide the input channels."""
        size = self._config.group_size
        if size is not None and length % size:
            raise ValueError(f"Group size must divide the {length} input channels, not {size}, {self._at}; "
                             "give this layer another config, or leave it out with filter_fn")

    def check_dtype(self, dtype: torch.dtype) -> None:
        """Raise ValueError unless the format's values are numbers of the type that ``dtype`` is rounded in."""
        work = torch.float64 if dtype == torch.float64 else torch.float32
        if not isinstance(self.format, BlockFormat) and not fits(plan_of(self.format), work):
            raise ValueError(f"Format must have values that {work} holds, not {self.format.name!r}, at {self._label}; "
                             "give a narrower one, or convert the model with .to(torch.float64)")

    @property
    def _subject(self) -> str:
        return "Weights" if self._is_weight else "Inputs"

    @property
    def _at(self) -> str:
        return f"at {self._label}, to {self.format.name}"

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"{self._subject} must be a torch.Tensor, not {type(x).__name__!r}, {self._at}")
        if x.dtype not in FLOAT_DTYPES:
            raise TypeError(f"{self._subject} must be of a floating-point dtype, not {x.dtype}, {self._at}")
        if self._is_weight and tuple(x.shape) != self._shape:
            raise ValueError(f"Weights must be of shape {self._shape}, not {tuple(x.shape)}, {self._at}")
        if self._is_weight or (self._granularity is Granularity.TENSOR and not isinstance(self.format, BlockFormat)):
            return
        if x.ndim < -self._axis:
            raise ValueError(f"Inputs must have at least {-self._axis} dimensions, not shape {tuple(x.shape)}, "
                             f"{self._at}")
        self.check_channels(x.shape[self._axis])

    def _check_calibrated(self) -> None:
        if not self.is_calibrated:
            raise ValueError(f"{self._subject} must have scales before they are quantized, not none, {self._at}; "
                             "see sw.ptq.calibrate")

    # State

    def _apply(self, fn, recurse: bool = True):
        # model.half() is about parameters: a scale in float16 would be another one, or zero.
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            if self._buffers[name].dtype != buffer.dtype:
                self._buffers[name] = buffer.to(self._buffers[name].device)
        return self

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                              error_msgs) -> None:
        saved = state_dict.get(prefix + "scale")
        if saved is not None and saved.shape != self.scale.shape:
            allowed = {(0,)} if self._dynamic else {(0,), self._saved_shape()}
            if tuple(saved.shape) in allowed:
                self.scale = saved.new_empty(saved.shape, device=self.scale.device)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)
        if saved is not None and not self._dynamic:
            self.forget()
            self.observing = not self.is_calibrated

    def _saved_shape(self) -> tuple[int, ...]:
        if not self._is_weight:
            return ()
        if isinstance(self.format, BlockFormat):
            shape = list(self._shape)
            shape[self._axis] = -(-shape[self._axis] // self.format.block_size)
            return tuple(shape)
        return scale_shape(torch.empty(self._shape, device="meta"), self._granularity, self._axis,
                           self._config.group_size)

    def _description(self) -> dict[str, object]:
        rule = self._config.scale
        return {"version": STATE_VERSION, "format": self.format.name, "axis": self._axis,
                "granularity": self._granularity.value, "group_size": self._config.group_size,
                "dynamic": self._dynamic, "statistic": rule.statistic.value, "percentile": rule.percentile,
                "search": rule.search.value, "power_of_two": rule.power_of_two}

    def get_extra_state(self) -> Tensor:
        """Return what the quantizer does, as a tensor."""
        return encoded(self._description())

    def set_extra_state(self, state: Tensor) -> None:
        """Compare the quantizer with the one that a state came from.

        Raises
        ------
        ValueError
            If they differ.
        """
        check_saved(self._description(), state)

    def extra_repr(self) -> str:
        """Say the format, the granularity and what there is of scales."""
        parts = [self.format.name]
        if not isinstance(self.format, BlockFormat):
            parts.append(self._granularity.value)
            if self._config.group_size is not None:
                parts.append(f"group_size={self._config.group_size}")
            parts.append(self._config.scale.statistic.value)
        parts.append("dynamic" if self._dynamic else "calibrated" if self.is_calibrated else "observing")
        if not self.enabled:
            parts.append("disabled")
        return ", ".join(parts)
