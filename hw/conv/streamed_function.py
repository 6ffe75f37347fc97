"""An operator without memory between two streams."""

from amaranth.hdl import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import connect_streams, input_layout

__all__ = ["StreamedFunction"]


class StreamedFunction(wiring.Component):
    """What a pipeline computes, one transfer a cycle, standing still whenever its result has to wait.

    Parameters
    ----------
    function : Component
        With ``model``, a :class:`sw.reference.model.Function`, ``latency``, and members by the names of its ports, such
        as a :class:`hw.conv.requantize.Requantize`. It becomes part of this component.

    Members
    -------
    i : In(stream), o : Out(stream)
        Fields by the names of the inputs, and of the outputs.
    """

    def __init__(self, function):
        self._function = function
        super().__init__({"i": In(stream.Signature(input_layout(function.model.inputs))),
                          "o": Out(stream.Signature(input_layout(function.model.outputs)))})

    @property
    def latency(self):
        """Cycles from a transfer to its result."""
        return self._function.latency

    def elaborate(self, platform):
        m = Module()
        connect_streams(m, self.i, self.o, core=_Core(self._function), latency=self.latency)
        return m


class _Core(wiring.Component):
    """The operator with the members that ``connect_streams`` asks for."""

    def __init__(self, function):
        self._function = function
        super().__init__({"valid": In(1), "i": In(input_layout(function.model.inputs)),
                          "o": Out(input_layout(function.model.outputs))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.function = function = self._function
        m.d.comb += [getattr(function, name).eq(self.i[name]) for name in function.model.inputs]
        m.d.comb += [self.o[name].eq(getattr(function, name)) for name in function.model.outputs]
        return m
