"""Which techniques a model is quantized with, in the order of the minifloat paper."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from sw.formats.check import check_boolean
from sw.ptq.batches import Batches, check_batches

if TYPE_CHECKING:
    from sw.ptq.equalize import Equalization
    from sw.ptq.gpfq import GPFQ
    from sw.ptq.gptq import GPTQ
    from sw.ptq.learned_rounding import LearnedRounding
    from sw.ptq.smoothquant import SmoothQuant


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which techniques a model is quantized with. They run in the order of these fields; quantizers are inserted and
    calibrated before ``weights``.

    Parameters
    ----------
    merge_batch_norm : bool
        Whether batch normalizations are merged into the layers before them. A model without any is not looked at.
    equalize : Equalization, optional
        Cross-layer equalization of weights.
    smooth : SmoothQuant, optional
        Difficulties moved from activations to weights.
    weights : GPTQ or GPFQ, optional
        How weights are rounded; to the nearest if None.
    learned_rounding : LearnedRounding, optional
        It starts from the float weights, not from what ``weights`` made of them, and decides on all of them that the
        batches reach: where both are given, the result is that of this one alone.
    bias_correction : bool

    Raises
    ------
    TypeError
        If a field is of the wrong type.

    Source: minifloat PTQ (arXiv 2311.12359), order of its authors' evaluation script.
    """

    merge_batch_norm: bool = True
    equalize: Equalization | None = None
    smooth: SmoothQuant | None = None
    weights: GPTQ | GPFQ | None = None
    learned_rounding: LearnedRounding | None = None
    bias_correction: bool = False

    def __post_init__(self) -> None:
        check_boolean("Batch-norm merging switch", self.merge_batch_norm)
        check_boolean("Bias-correction switch", self.bias_correction)
        for field, names, text in _OPTIONS:
            value = getattr(self, field)
            if value is not None and type(value).__name__ not in names:
                raise TypeError(f"Recipe {field} must be {text} or None, not {value!r}")

    @classmethod
    def plain(cls) -> Recipe:
        """Return the recipe of nothing but calibration: weights to the nearest."""
        return cls(merge_batch_norm=False)

    @classmethod
    def paper(cls) -> Recipe:
        """Return the defaults of the paper's benchmark: all but learned rounding."""
        from sw.ptq.equalize import Equalization
        from sw.ptq.gptq import GPTQ
        from sw.ptq.smoothquant import SmoothQuant
        return cls(equalize=Equalization(), smooth=SmoothQuant(folded=False), weights=GPTQ(), bias_correction=True)

    @property
    def needs_batches(self) -> bool:
        """Whether a technique looks at activations."""
        return self.bias_correction or any(option is not None for option in (self.smooth, self.weights,
                                                                             self.learned_rounding))

    def check_batches(self, batches: Batches | None) -> None:
        """Raise TypeError or ValueError unless there are batches where they are needed."""
        if batches is not None:
            check_batches(batches)
        elif self.needs_batches:
            raise ValueError("Batches must be given for SmoothQuant, GPTQ, GPFQ, learned rounding and bias "
                             "correction, not None")

    def transform(self, model: nn.Module, batches: Batches | None,
                  filter_fn: Callable[[nn.Module, str], bool] | None = None) -> None:
        """Do what is done to the float model; the filter says which layers' inputs are to be smoothed."""
        if self.merge_batch_norm and any(isinstance(module, _BATCH_NORMS) for module in model.modules()):
            from sw.ptq.merge_batch_norm import merge_batch_norm_
            merge_batch_norm_(model)
        if self.equalize is not None:
            from sw.ptq.equalize import equalize_
            equalize_(model, self.equalize)
        if self.smooth is not None:
            from sw.ptq.smoothquant import smooth_
            smooth_(model, batches, self.smooth, filter_fn=filter_fn)

    def round(self, model: nn.Module, batches: Batches | None) -> None:
        """Do what is done to the prepared and calibrated model."""
        # Rounded weights are no measure of the error that rounding made: a copy keeps those from before.
        follows = self.learned_rounding is not None or self.bias_correction
        reference = copy.deepcopy(model) if self.weights is not None or follows else None
        if self.weights is not None:
            from sw.ptq.gpfq import GPFQ, gpfq_
            from sw.ptq.gptq import gptq_
            if isinstance(self.weights, GPFQ):
                gpfq_(model, batches, self.weights, reference=reference)
            else:
                gptq_(model, batches, self.weights)
        if self.learned_rounding is not None:
            from sw.ptq.learned_rounding import learn_rounding_
            learn_rounding_(model, batches, self.learned_rounding, reference=reference)
        if self.bias_correction:
            from sw.ptq.bias_correction import correct_bias_
            correct_bias_(model, batches, reference=reference)


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OPTIONS = (("equalize", ("Equalization",), "an Equalization"), ("smooth", ("SmoothQuant",), "a SmoothQuant"),
            ("weights", ("GPTQ", "GPFQ"), "a GPTQ, a GPFQ"),
            ("learned_rounding", ("LearnedRounding",), "a LearnedRounding"))
