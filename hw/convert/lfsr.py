"""A linear feedback shift register, as a source of random bits."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sw.reference.lfsr import Lfsr as Reference

__all__ = ["Lfsr"]


class Lfsr(wiring.Component):
    """A Fibonacci LFSR of maximal length in domain ``sync``, which steps when it is told to.

    Parameters
    ----------
    width : int, bits
        2 to 64; the period is ``2**width - 1`` steps.
    seed : int
        State after a reset, above 0.

    Members
    -------
    advance : In(1)
        Whether the next cycle has the next state.
    state : Out(width)

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an integer or out of range.
    """

    def __init__(self, width, *, seed=1):
        self._model = Reference(width=width, seed=seed)
        super().__init__({"advance": In(1), "state": Out(width, init=seed)})

    @property
    def width(self):
        """Width of the state in bits."""
        return self._model.width

    @property
    def seed(self):
        """State after a reset."""
        return self._model.seed

    @property
    def model(self):
        """The exact reference of the same parameters, ``model.step(state)``."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        fed_back = (self.state & self._model.tap_mask).xor()
        with m.If(self.advance):
            m.d.sync += self.state.eq(Cat(fed_back, self.state))
        return m
