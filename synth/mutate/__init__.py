"""Mutation testing of mapped netlists: does the check find a fault that is planted in them?

A fault is planted in the netlist of the family's own cells, one at a time. Many of them are run beside each other: the
netlist is compiled once with all of a batch in it, and lanes choose one each. What the check does not find is proved
to change nothing, or counts against it.
"""

from synth.mutate.faults import Fault, FaultKind, drawn, population
from synth.mutate.plant import choosable, plant
from synth.mutate.report import mutation_lines, mutation_passed
from synth.mutate.run import mutation_run, mutation_steps
from synth.mutate.verdict import Judgement, Verdict, judge

__all__ = ["Fault", "FaultKind", "Judgement", "Verdict", "choosable", "drawn", "judge", "mutation_lines",
           "mutation_passed", "mutation_run", "mutation_steps", "plant", "population"]
