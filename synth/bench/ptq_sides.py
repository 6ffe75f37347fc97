"""The steps of quantizing a network after training: ours, and those of Brevitas' own benchmark script.

Both take the same network, images and formats, and the same options: batch normalizations merged; weights equalized in
at most 20 sweeps, biases with them; weights scaled a channel by the search for the least squared error, inputs a layer
by the 99.999th percentile of their magnitudes; GPTQ with 1 % damping, in order, on inputs that are not quantized;
biases corrected on all images. Biases are not quantized. The first convolution and the last layer have formats of 8
bits.

Source: ``brevitas_examples/imagenet_classification/ptq`` with the backend ``layerwise``; papers: minifloat_ptq.
"""

import copy
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from sw.formats import FixedPointFormat, FloatingPointFormat, ScalarFormat

STEPS = ("merge batch norm", "equalize", "insert quantizers", "calibrate", "GPTQ", "correct biases")

FIRST_LAYER, LAST_LAYER = "conv1", "fc"

PERCENTILE = 99.999
SWEEPS = 20


class NotMeasured(Exception):
    """Why a side has no figure."""


class Side(Protocol):
    """One way to quantize a network in the given steps."""

    @property
    def version(self) -> str:
        """Return the version of the package that decides its speed."""

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what to do at each of :data:`STEPS`, in order."""

    def run(self, images: Any) -> Any:
        """Return the outputs of the network as it is now."""


class Ours:
    """``sw.ptq``.

    Parameters
    ----------
    model : torch.nn.Module
        The float network, which is changed.
    batches : sequence of Tensor
        Calibration images.
    fmt, edge : ScalarFormat
        Of weights and inputs of all layers, and of the first and the last.
    """

    def __init__(self, model: Any, batches: Any, fmt: ScalarFormat, edge: ScalarFormat) -> None:
        import torch

        self.version = str(torch.__version__)
        self._model, self._batches = model, batches
        self._config = {FIRST_LAYER: _config(edge), LAST_LAYER: _config(edge), "*": _config(fmt)}

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return the functions of ``sw.ptq``."""
        from sw.ptq.equalize import Equalization, equalize_
        from sw.ptq.merge_batch_norm import merge_batch_norm_
        from sw.ptq.quantize import calibrate, prepare

        model = self._model
        return dict(zip(STEPS, (
            lambda: merge_batch_norm_(model), lambda: equalize_(model, Equalization(sweeps=SWEEPS, merge_bias=True)),
            lambda: prepare(model, self._config), lambda: calibrate(model, self._batches), self._gptq,
            self._correct), strict=True))

    def _gptq(self) -> None:
        from sw.ptq.gptq import GPTQ, gptq_

        # What the biases are corrected towards: GPTQ itself leaves no float weights behind.
        self._reference = copy.deepcopy(self._model)
        gptq_(self._model, self._batches, GPTQ(damping=0.01, act_order=False, quantized_inputs=False))

    def _correct(self) -> None:
        from sw.ptq.bias_correction import correct_bias_
        from sw.ptq.quantize import convert

        correct_bias_(self._model, self._batches, reference=self._reference)
        convert(self._model)

    def run(self, images: Any) -> Any:
        """Return the outputs of the network as it is now."""
        import torch

        with torch.no_grad():
            return self._model(images)


def _config(fmt: ScalarFormat) -> Any:
    from sw.ptq.config import ActivationConfig, Config, ScaleRule, ScaleSearch, ScaleStatistic, WeightConfig

    search = ScaleRule(statistic=ScaleStatistic.MSE, search=ScaleSearch.GRID)  # the one that Brevitas has
    return Config(weight=WeightConfig(format=fmt, scale=search),
                  activation=ActivationConfig(format=fmt, scale=ScaleRule(statistic=ScaleStatistic.PERCENTILE,
                                                                          percentile=PERCENTILE)))


class Brevitas:
    """Brevitas, by the functions of its benchmark script. Parameters as of :class:`Ours`."""

    def __init__(self, model: Any, batches: Any, fmt: ScalarFormat, edge: ScalarFormat) -> None:
        self.version = str(_module("brevitas").__version__)
        self._script = _module("brevitas_examples.imagenet_classification.ptq.ptq_common")
        self._quantize = _module("brevitas.graph.quantize")
        self._equalize = _module("brevitas.graph.equalize")
        self._inference = _module("brevitas.export.inference")
        self._model, self._fmt, self._edge = model, fmt, edge
        self._batches = [(batch, None) for batch in batches]  # the script's loaders have labels

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return the functions of the script."""
        return dict(zip(STEPS, (
            self._merge, self._equalized, self._insert, lambda: self._script.calibrate(self._batches, self._model),
            lambda: self._script.apply_gptq(self._batches, self._model, create_weight_orig=True),
            lambda: self._script.apply_bias_correction(self._batches, self._model)), strict=True))

    def _merge(self) -> None:
        self._model = self._quantize.preprocess_for_quantize(self._model, merge_bn=True, equalize_iters=0)

    def _equalized(self) -> None:
        self._model = self._equalize.EqualizeGraph(iterations=SWEEPS, merge_bias=True).apply(self._model)

    def _insert(self) -> None:
        """Insert the quantizers, and run a batch, which has the scales of the weights searched."""
        import torch

        fields, first_last = _brevitas_format(self._fmt), _brevitas_format(self._edge)
        kind = fields.pop("kind")
        arguments = {f"{what}_{name}": value for what in ("weight", "act") for name, value in fields.items()}
        arguments.update({f"layerwise_first_last_{name}": value for name, value in first_last.items()
                          if name != "kind"})
        self._model = self._script.quantize_model(
            self._model, backend="layerwise", quant_format=kind, scale_factor_type="float_scale",
            weight_quant_granularity="per_channel", weight_param_method="mse", act_param_method="stats",
            act_quant_percentile=PERCENTILE, act_quant_type="sym", weight_narrow_range=True, bias_bit_width=None,
            **arguments)
        self._model.eval()
        with torch.no_grad():
            self._model(self._batches[0][0])

    def run(self, images: Any) -> Any:
        """Return the outputs of the network as it is now."""
        import torch

        with torch.no_grad(), self._inference.quant_inference_mode(self._model):
            return self._model(images)


def _brevitas_format(fmt: ScalarFormat) -> dict[str, Any]:
    """Return the script's name of a kind of format, and the fields of the format."""
    if isinstance(fmt, FixedPointFormat):
        return {"kind": "int", "bit_width": fmt.width}
    assert isinstance(fmt, FloatingPointFormat)  # check_format let nothing else through
    return {"kind": "float", "bit_width": fmt.width, "exponent_bit_width": fmt.exponent_bits,
            "mantissa_bit_width": fmt.fraction_bits}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotMeasured(f"brevitas is not installed, or lacks {error.name}: pip install brevitas") from None


SIDES: dict[str, Callable[[Any, Any, ScalarFormat, ScalarFormat], Side]] = {"ours": Ours, "brevitas": Brevitas}
