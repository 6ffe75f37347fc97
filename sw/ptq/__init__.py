"""Quantization and sparsity after training, in torch: which weights stay, as which codes, in which bytes."""

from sw.ptq.calibration import Calibration, calibrating
from sw.ptq.group_quantize import GroupQuantized, quantize_groups
from sw.ptq.packed_layout import PackedLayout, PackedSize, break_even_density
from sw.ptq.packed_weights import PackedWeights, pack, sections, size_of, unpack
from sw.ptq.pattern import NM, MixedNM, NMBlocks, Pattern, Pruned, Unstructured, check_nm, whole_blocks
from sw.ptq.sparsegpt import prune_sparsegpt
from sw.ptq.sparsity import PruningMethod, output_error, prune_linear, prune_magnitude, prune_wanda

__all__ = [
    "NM", "Calibration", "GroupQuantized", "MixedNM", "NMBlocks", "PackedLayout", "PackedSize", "PackedWeights",
    "Pattern", "Pruned", "PruningMethod", "Unstructured", "break_even_density", "calibrating", "check_nm",
    "output_error", "pack", "prune_linear", "prune_magnitude", "prune_sparsegpt", "prune_wanda", "quantize_groups",
    "sections", "size_of", "unpack", "whole_blocks",
]
