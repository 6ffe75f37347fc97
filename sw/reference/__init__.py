"""What arithmetic on formats means: exact golden models on codes."""

from sw.reference.add import Addition, negated, total
from sw.reference.block import BlockDot
from sw.reference.convert import Conversion
from sw.reference.fused_multiply_add import FusedMultiplyAdd
from sw.reference.multiply import Multiplication, product

__all__ = ["Addition", "BlockDot", "Conversion", "FusedMultiplyAdd", "Multiplication", "negated", "product", "total"]
