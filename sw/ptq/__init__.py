"""Quantization and sparsity after training, in torch: which weights stay, as which codes, in which bytes."""

from sw.ptq.accumulator_range import AccumulatorRange, accumulator_ranges
from sw.ptq.bias_correction import correct_bias_
from sw.ptq.calibration import Calibration, calibrating
from sw.ptq.config import (
    ActivationConfig,
    Config,
    Configs,
    Granularity,
    ScaleRule,
    ScaleSearch,
    ScaleStatistic,
    WeightConfig,
)
from sw.ptq.equalize import Equalization, equalize_
from sw.ptq.gpfq import GPFQ, gpfq_
from sw.ptq.gptq import GPTQ, gptq_
from sw.ptq.group_quantize import GroupQuantized, quantize_groups
from sw.ptq.learned_rounding import LearnedRounding, learn_rounding_
from sw.ptq.merge_batch_norm import merge_batch_norm_
from sw.ptq.packed_layout import PackedLayout, PackedSize, break_even_density
from sw.ptq.packed_weights import PackedWeights, pack, sections, size_of, unpack
from sw.ptq.pattern import NM, MixedNM, NMBlocks, Pattern, Pruned, Unstructured, check_nm, whole_blocks
from sw.ptq.quantize import (
    calibrate,
    convert,
    floating,
    inputs_only,
    prepare,
    quantize_,
    quantized_layers,
    weights_only,
)
from sw.ptq.recipe import Recipe
from sw.ptq.smoothing import attach_smoothing, is_smoothed
from sw.ptq.smoothquant import SmoothQuant, smooth_
from sw.ptq.sparsegpt import prune_sparsegpt
from sw.ptq.sparsity import PruningMethod, output_error, prune_linear, prune_magnitude, prune_wanda

__all__ = [
    "GPFQ", "GPTQ", "NM", "AccumulatorRange", "ActivationConfig", "Calibration", "Config", "Configs", "Equalization",
    "Granularity", "GroupQuantized", "LearnedRounding", "MixedNM", "NMBlocks", "PackedLayout", "PackedSize",
    "PackedWeights", "Pattern", "Pruned", "PruningMethod", "Recipe", "ScaleRule", "ScaleSearch", "ScaleStatistic",
    "SmoothQuant", "Unstructured", "WeightConfig", "accumulator_ranges", "attach_smoothing", "break_even_density",
    "calibrate", "calibrating", "check_nm", "convert", "correct_bias_", "equalize_", "floating", "gpfq_", "gptq_",
    "inputs_only", "is_smoothed", "learn_rounding_", "merge_batch_norm_", "output_error", "pack", "prepare",
    "prune_linear", "prune_magnitude", "prune_sparsegpt", "prune_wanda", "quantize_", "quantize_groups",
    "quantized_layers", "sections", "size_of", "smooth_", "unpack", "weights_only", "whole_blocks",
]
