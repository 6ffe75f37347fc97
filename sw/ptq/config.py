"""How a model's layers are quantized: which format, how fine the scales, and what they are taken from."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from sw.formats import BlockFormat, FloatingPointFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_boolean, check_integer, check_member
from sw.quantize.block_plan import block_plan_of
from sw.quantize.checks import settings_of


class Granularity(Enum):
    """What shares one scale."""

    TENSOR = "tensor"
    """The whole tensor."""
    CHANNEL = "channel"
    """The weights of an output channel."""
    TOKEN = "token"
    """What makes one input of a layer: a vector of a linear layer's, a sample of a convolution's."""
    GROUP = "group"
    """``group_size`` neighbours along the input channels."""


class ScaleStatistic(Enum):
    """What a scale brings to the largest value of the format (see :func:`sw.ptq.scale_search.scale_target`)."""

    ABSMAX = "absmax"
    """The largest magnitude."""
    PERCENTILE = "percentile"
    """The magnitude below which ``percentile`` percent of all lie."""
    MSE = "mse"
    """The magnitude, of those up to the largest, with the least squared error of quantization."""
    ONE = "one"
    """Nothing: the scale is 1, and the format is taken as it is."""


class ScaleSearch(Enum):
    """How the least squared error is searched, between a twentieth of the largest magnitude and that magnitude.

    The error over the magnitude has one marked minimum for integers, and several for formats whose steps grow.
    """

    FIBONACCI = "fibonacci"
    """Fibonacci search of 20 steps, as in the paper. Of posits it may end in a minimum worse than the maximum."""
    GRID = "grid"
    """20 magnitudes, equally far apart, as in Brevitas 0.13."""
    REFINED = "refined"
    """Those, and then the neighbourhood of the best one, in four steps down to a sixteenth of the distance."""


@dataclass(frozen=True, kw_only=True)
class ScaleRule:
    """Where a scale comes from.

    Parameters
    ----------
    statistic : ScaleStatistic
    percentile : float
        For ``PERCENTILE``: more than 0, at most 100.
    search : ScaleSearch
        For ``MSE``.
    power_of_two : bool
        Whether scales are powers of two. Of a maximum or a percentile, the next one up, so that what the statistic
        covers does not saturate; with ``MSE``, the one with the least squared error.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range.
    """

    statistic: ScaleStatistic = ScaleStatistic.ABSMAX
    percentile: float = 99.999
    search: ScaleSearch = ScaleSearch.REFINED
    power_of_two: bool = False

    def __post_init__(self) -> None:
        check_member("Scale statistic", self.statistic, ScaleStatistic)
        if isinstance(self.percentile, bool) or not isinstance(self.percentile, (int, float)):
            raise TypeError(f"Percentile must be a number, not {self.percentile!r}")
        if not 0 < self.percentile <= 100:
            raise ValueError(f"Percentile must be more than 0 and at most 100, not {self.percentile!r}")
        check_member("Scale search", self.search, ScaleSearch)
        check_boolean("Power-of-two switch", self.power_of_two)


@dataclass(frozen=True, kw_only=True)
class WeightConfig:
    """How weights are quantized.

    Parameters
    ----------
    format : ScalarFormat or BlockFormat
        Signed, with a zero, of at most 32 bits. The blocks of a block format lie along the input channels; their
        scales follow the format's own rule, and ``granularity`` and ``scale`` say nothing about it.
    granularity : Granularity
        ``TENSOR``, ``CHANNEL`` or ``GROUP``.
    group_size : int, optional
        With ``GROUP``, and only then. It must divide the input channels (of a convolution with groups: of one).
    scale : ScaleRule

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range, or does not suit the others.
    """

    format: ScalarFormat | BlockFormat
    granularity: Granularity = Granularity.CHANNEL
    group_size: int | None = None
    scale: ScaleRule = ScaleRule(statistic=ScaleStatistic.MSE)

    def __post_init__(self) -> None:
        _check_format("Weight", self.format)
        _check_scaling("Weight", self, (Granularity.TENSOR, Granularity.CHANNEL, Granularity.GROUP))
        element = self.format.element if isinstance(self.format, BlockFormat) else self.format
        if not element.signed:
            raise ValueError(f"Weight format must be signed, not {self.format.name!r}")


@dataclass(frozen=True, kw_only=True)
class ActivationConfig:
    """How the inputs of a layer are quantized.

    Parameters
    ----------
    format : ScalarFormat or BlockFormat
        With a zero, of at most 32 bits. The blocks of a block format lie along the channels; their scales follow each
        input by the format's own rule, and ``granularity``, ``dynamic`` and ``scale`` say nothing about it. Of an
        unsigned format, the statistic is that of the positive inputs; the negative ones become zero.
    granularity : Granularity
        ``TENSOR``; if dynamic, also ``TOKEN`` and ``GROUP``.
    group_size : int, optional
        With ``GROUP``, and only then. It must divide the channels.
    dynamic : bool
        Whether the scales follow each input. Otherwise they are those of the calibration batches.
    scale : ScaleRule

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range, or does not suit the others.
    """

    format: ScalarFormat | BlockFormat
    granularity: Granularity = Granularity.TENSOR
    group_size: int | None = None
    dynamic: bool = False
    scale: ScaleRule = ScaleRule(statistic=ScaleStatistic.PERCENTILE)

    def __post_init__(self) -> None:
        _check_format("Activation", self.format)
        check_boolean("Dynamic switch", self.dynamic)
        _check_scaling("Activation", self, (Granularity.TENSOR, Granularity.TOKEN, Granularity.GROUP))
        if not self.dynamic and self.granularity is not Granularity.TENSOR:
            raise ValueError(f"Activation granularity must be tensor for static scales, not {self.granularity.value}; "
                             "give dynamic=True")

    @property
    def follows_inputs(self) -> bool:
        """Whether scales are taken from each input, as those of blocks are, and not from calibration batches."""
        return self.dynamic or isinstance(self.format, BlockFormat)


def _check_format(noun: str, fmt: object) -> None:
    if isinstance(fmt, str):
        raise TypeError(f"{noun} format must be a format, not the text {fmt!r}; see sw.formats.parse")
    if isinstance(fmt, BlockFormat):
        block_plan_of(fmt, RoundingMode.NEAREST_EVEN, None)
        return
    settings_of(fmt, RoundingMode.NEAREST_EVEN, OverflowPolicy.SATURATE, None, False, None)
    if isinstance(fmt, FloatingPointFormat) and not fmt.has_zero:
        raise ValueError(f"{noun} format must have a zero, not {fmt.name!r}")
    if not fmt.max_finite:
        raise ValueError(f"{noun} format must have a positive value, not {fmt.name!r}")


def _check_scaling(noun: str, config: WeightConfig | ActivationConfig, allowed: tuple[Granularity, ...]) -> None:
    if not isinstance(config.scale, ScaleRule):
        raise TypeError(f"{noun} scale must be a ScaleRule, not {config.scale!r}")
    check_member(f"{noun} granularity", config.granularity, Granularity)
    if config.granularity not in allowed:
        raise ValueError(f"{noun} granularity must be {', '.join(each.value for each in allowed[:-1])} or "
                         f"{allowed[-1].value}, not {config.granularity.value}")
    grouped = config.granularity is Granularity.GROUP and not isinstance(config.format, BlockFormat)
    if not grouped and config.group_size is not None:
        raise ValueError(f"{noun} group_size must be None unless a scalar format is scaled by groups, "
                         f"not {config.group_size!r}; give granularity=Granularity.GROUP")
    if grouped:
        check_integer(f"{noun} group_size", config.group_size)
        if config.group_size < 1:
            raise ValueError(f"{noun} group_size must be at least 1, not {config.group_size!r}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a layer is quantized: its weights, its inputs, or both. Biases and outputs stay as they are.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type, or both are None.
    """

    weight: WeightConfig | None
    activation: ActivationConfig | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not isinstance(self.weight, WeightConfig):
            raise TypeError(f"Config weight must be a WeightConfig or None, not {self.weight!r}")
        if self.activation is not None and not isinstance(self.activation, ActivationConfig):
            raise TypeError(f"Config activation must be an ActivationConfig or None, not {self.activation!r}")
        if self.weight is None and self.activation is None:
            raise ValueError("Config must quantize weights or activations, not neither; leave a layer out with "
                             "filter_fn")

    @property
    def text(self) -> str:
        """The formats, for a reader: ``weights int4, inputs e4m3``."""
        parts = (("weights", self.weight), ("inputs", self.activation))
        return ", ".join(f"{what} {part.format.name}" for what, part in parts if part is not None)


Configs: TypeAlias = Config | Mapping[str, Config]
"""One for all layers, or one for each name or pattern, as ``fnmatch`` has them, of layers: the first that matches."""
