# amaranth: UnusedElaboratable=no
# A component that is refused, or whose elaboration fails, was never meant to be used.
"""The operations that can be built, by name, and what a request for one says in full."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.reference import Multiplication

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operator with all its parameters.

    Parameters
    ----------
    name : str
        ``multiply``.
    model : Multiplication
        The exact reference, which holds formats, rounding and overflow.
    pipeline : int
        Register stages.
    dsp : bool
        Whether hard multipliers may be used.
    """

    name: str
    model: Multiplication
    pipeline: int
    dsp: bool

    @property
    def operands(self) -> Mapping[str, ScalarFormat]:
        """Operand formats by port name."""
        return {"a": self.model.a, "b": self.model.b}

    def component(self) -> Any:
        """Return the Amaranth component."""
        from hw.arith.multiply import Multiplier

        model = self.model
        return Multiplier(model.a, model.b, model.result, rounding=model.rounding, overflow=model.overflow,
                          random_bits=model.random_bits, pipeline=self.pipeline, hard_multiplier=self.dsp)

    def parameters(self) -> Json:
        """Return every parameter, ready for JSON."""
        model = self.model
        return {"a": model.a.name, "b": model.b.name, "result": model.result.name, "rounding": model.rounding.value,
                "overflow": model.overflow.value, "random_bits": model.random_bits, "pipeline": self.pipeline,
                "dsp": self.dsp}

    def folder_name(self) -> str:
        """Return a name for the operator's folder: safe in every shell, different for different parameters."""
        model = self.model
        names = [model.a.name] if model.a == model.b else [model.a.name, model.b.name]
        if model.result != model.a or model.result != model.b:
            names += ["to", model.result.name]
        if model.rounding is not RoundingMode.NEAREST_EVEN:
            names.append(model.rounding.value)
        if model.random_bits:
            names.append(f"random{model.random_bits}")
        if model.overflow is not OverflowPolicy.SATURATE:
            names.append(model.overflow.value)
        if self.pipeline:
            names.append(f"pipeline{self.pipeline}")
        if self.dsp:
            names.append("dsp")
        return "_".join([self.name, *(slug(name) for name in names)])


def slug(name: str) -> str:
    """Return a format's name without what shells and file systems read into: ``fixed<8,4>`` as ``fixed8_4``."""
    text = re.sub(r"^(u?fixed)<(\d+),(-?)(\d+)>", lambda m: f"{m[1]}{m[2]}_{'m' if m[3] else ''}{m[4]}", name)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)
