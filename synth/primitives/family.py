"""What the families' platforms have in common: a name, which slices fit a block, and the small parts of their forms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from amaranth.hdl import Cat, Mux, Signal


class MultiplyAddSlice(Protocol):
    """What a platform reads of :class:`hw.arith.multiply_add.MultiplyAdd`, whose docstring defines it all."""

    a_width: int
    b_width: int
    width: int
    start: int
    cascaded: bool
    accumulate: bool
    enable: Any
    a: Any
    b: Any
    begin: Any
    cascade: Any
    o: Any
    cascade_out: Any


class AddGated(Protocol):
    """What adds ``a``, or leaves it, in the carry cells of a family."""

    def __call__(self, m: Any, x: Any, a: Any, gate: Any, *, x_gate: Any, subtract: bool, name: str) -> Any:
        """Return ``(x if x_gate else 0) + (a if gate else 0)``, or their difference, in as many bits as ``x`` has.

        ``a`` has as many bits, the gates have one each.
        """


@dataclass(frozen=True, kw_only=True)
class GatedSums:
    """A family's form of sums with addends that a bit may leave out: one lookup table a bit, gates included.

    Parameters
    ----------
    add : callable
        Builds one.
    gates_both : bool
        Whether ``x_gate`` may be anything but a constant 1.
    subtracts : bool
        Whether ``subtract`` may be True; where ``x_gate`` then is no constant, the sum takes a bit more.
    """

    add: AddGated
    gates_both: bool
    subtracts: bool


@dataclass(frozen=True)
class LookupPlatform:
    """The platform of a family whose blocks are not to be used: its name, and forms made of carry cells.

    Parameters
    ----------
    family : str
        The target's name.
    gated_sums : GatedSums, optional
        None where synthesizers find the smallest form.
    """

    family: str
    gated_sums: GatedSums | None = None

    @property
    def narrowgauge_family(self) -> str:
        """The family, by which a component finds its recorded structure: see :mod:`hw.recorded`."""
        return self.family


@dataclass(frozen=True, kw_only=True)
class FamilyPlatform:
    """The platform of a device family with its blocks.

    Parameters
    ----------
    family : str
        The target's name.
    factor_widths : (int, int), bits
        Of the signed factors that one block multiplies, the wider one first.
    smallest_factors : (int, int), bits
        Of the narrowest factors, and of the two together, that Yosys 0.70 puts into a block where it finds ``*``;
        what is narrower it leaves in LUTs. ``DSP_A_MINWIDTH`` and ``DSP_Y_MINWIDTH`` of its mapping.
    sum_width : int, bits
        Of the widest sum that the form makes.
    multiply_add : callable
        Returns the form of a slice that fits, an elaboratable.
    gated_sums : GatedSums, optional
        None where synthesizers find the smallest form.
    """

    family: str
    factor_widths: tuple[int, int]
    smallest_factors: tuple[int, int]
    sum_width: int
    multiply_add: Callable[[MultiplyAddSlice], Any]
    gated_sums: GatedSums | None = None

    @property
    def narrowgauge_family(self) -> str:
        """The family, by which a component finds its recorded structure: see :mod:`hw.recorded`."""
        return self.family

    @property
    def hard_multipliers(self) -> bool:
        """Whether products go to hard multipliers: always, since the forms are about nothing else."""
        return True

    def fits(self, a_width: int, b_width: int) -> bool:
        """Tell whether one block multiplies signed factors of these widths, in either order."""
        wide, narrow = self.factor_widths
        return max(a_width, b_width) <= wide and min(a_width, b_width) <= narrow

    def takes_product(self, a_width: int, b_width: int) -> bool:
        """Tell whether ``*`` of factors of these widths comes into a block; where it does not, gates are better."""
        factor, both = self.smallest_factors
        return min(a_width, b_width) >= factor and a_width + b_width >= both

    def get_multiply_add(self, slice_: MultiplyAddSlice) -> Any:
        """Return the family's form of a slice, an elaboratable; None where the generic one is to be used."""
        if not self.fits(slice_.a_width, slice_.b_width) or slice_.width > self.sum_width:
            return None
        return self.multiply_add(slice_)


def sign_extend(value: Any, width: int) -> Any:
    """Return the bits of a signed value in ``width`` bits, of which it has no more."""
    return Cat(value, value[-1].replicate(width - len(value)))


def wide_first(slice_: MultiplyAddSlice) -> tuple[Any, Any]:
    """Return the two factors of a slice, the wider one first."""
    return (slice_.a, slice_.b) if slice_.a_width >= slice_.b_width else (slice_.b, slice_.a)


def delayed(m: Any, slice_: MultiplyAddSlice, value: Any, cycles: int, name: str) -> Any:
    """Return a signal as it was ``cycles`` enabled cycles ago, in flip-flops."""
    for cycle in range(cycles):
        register = Signal(len(value), name=f"{name}_{cycle + 1}", reset_less=True)
        with m.If(slice_.enable):
            m.d.sync += register.eq(value)
        value = register
    return value


def summed_before(slice_: MultiplyAddSlice) -> Any:
    """Return the sum that a slice adds to, of ``width`` bits; None where every product begins one."""
    if slice_.accumulate:
        return slice_.o
    return slice_.cascade[:slice_.width] if slice_.cascaded else None


def masked_before(m: Any, slice_: MultiplyAddSlice, width: int) -> Any:
    """Return what is added to the product in the cycle of the sum, of ``width`` bits: a LUT a bit."""
    before = summed_before(slice_)
    addend = Signal(width, name="addend")
    if before is None:
        m.d.comb += addend.eq(slice_.start)
    else:
        m.d.comb += addend.eq(Mux(delayed(m, slice_, slice_.begin, 2, "begin"), slice_.start, before))
    return addend
