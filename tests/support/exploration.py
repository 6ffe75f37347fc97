"""An evaluator and a cost that take no training and no circuit, for tests of what stands on them."""

import time
from dataclasses import dataclass
from pathlib import Path

from sw.formats import parse
from synth.cost.estimate import Estimate, Provenance
from synth.cost.layer import LayerShape
from synth.explore.evaluator import Prepared
from synth.explore.space import width_of

LAYERS = (LayerShape(name="first", channels=4, positions=16, terms=9, inputs=16),
          LayerShape(name="last", channels=10, positions=1, terms=64, inputs=64))


@dataclass(frozen=True, kw_only=True)
class BitsEvaluator:
    """A network that loses accuracy with each bit below 8, most of it in its last layer.

    Parameters
    ----------
    log : str
        Folder in which each evaluation leaves a file, from whichever process.
    version : str
        What its identity says.
    delay : float, seconds
        That an evaluation takes.
    refused : str
        Format that the last layer cannot have.
    """

    log: str
    version: str = "1"
    delay: float = 0.0
    refused: str = ""

    def identity(self):
        return {"library": self.version}

    def prepare(self, seed):
        return Prepared(digest=f"network {seed}", accuracy=0.99 - 0.001 * (seed % 3), layers=LAYERS,
                        owners=("first", "last"))

    def accuracy(self, task):
        time.sleep(self.delay)
        given = dict(task.assignment)
        choices = [given[layer] if layer in given else given["*"] for layer in ("first", "last")]
        if choices[1].weight == self.refused:
            raise ValueError(f"Layer 'last' must have another format, not {self.refused!r}")
        Path(self.log).mkdir(parents=True, exist_ok=True)
        with open(Path(self.log) / f"{time.time_ns()}-{abs(hash(task))}", "x"):
            pass
        loss = [2.0 ** -width_of(choice.weight) for choice in choices]
        better = 0.5 if task.technique == "paper" else 1.0
        return self.prepare(task.seed).accuracy - better * (0.2 * loss[0] + 1.0 * loss[1]) - 0.0005 * (task.seed % 4)


def evaluations_in(log):
    """Return how many evaluations were made."""
    return len(list(Path(log).iterdir())) if Path(log).exists() else 0


def cost_of_bits(point, target):
    """Return ten LUTs for each bit of both operands; a prediction for anything but integers."""
    lut = 10 * (parse(point.fmt).width + parse(point.fmt_b).width)
    measured = point.fmt.startswith("int")
    return Estimate(point=point, target=target, lut=lut, ff=20, dsp=0, bram=0, carry=8, fmax_mhz=None,
                    provenance=Provenance.MEASURED if measured else Provenance.PREDICTED,
                    low=lut if measured else 0.9 * lut, high=lut if measured else 1.1 * lut, counted_by="nextpnr")
