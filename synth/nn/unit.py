"""What multiplies matrices of codes: the interface that the functions and layers of this package compute through."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from sw.formats import ScalarFormat


@runtime_checkable
class Unit(Protocol):
    """A circuit that sums products of codes; :class:`synth.native.matrix.MatrixUnit` is one."""

    @property
    def a(self) -> ScalarFormat:
        """Format of the left operand, which inputs of layers are."""

    @property
    def b(self) -> ScalarFormat:
        """Format of the right operand, which weights of layers are."""

    @property
    def result(self) -> ScalarFormat | None:
        """Format of the sums; None of an exact register, which tensors do not hold."""

    @property
    def maximum_terms(self) -> int | None:
        """How many products a sum may have; None without a limit."""

    def matmul(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Return codes (M, N) of the sums over k of the products of codes (M, K) and (K, N), k going up from 0."""


def check_unit(unit: object) -> Unit:
    """Return ``unit``; raise TypeError unless it is one."""
    if not isinstance(unit, Unit):
        raise TypeError(f"Unit must be a matrix unit, as synth.native.matrix.MatrixUnit(operation) gives, not {unit!r}")
    return unit


def describe(unit: Unit) -> str:
    """Return the formats of a unit, for a reader."""
    result = "an exact register" if unit.result is None else unit.result.name
    return f"{unit.a.name} × {unit.b.name} → {result}"


class SharedUnit:
    """A unit in a layer. Copies of the layer share it: what a circuit is compiled to is neither copied nor saved."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedUnit:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("Model must be saved by its state_dict(), not as an object with the machine code of its "
                        "circuits; build it, convert it, and load the state")
