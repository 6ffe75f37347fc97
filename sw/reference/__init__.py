"""What arithmetic on formats means: exact golden models on codes."""

from sw.reference.multiply import Multiplication, product

__all__ = ["Multiplication", "product"]
