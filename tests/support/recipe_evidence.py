"""Evidence about recipes made of given figures: what tools would find is said in place of running them."""

from dataclasses import replace
from types import SimpleNamespace

from synth.errors import StorageError
from synth.recipes import evidence as module
from synth.recipes.evidence import SEEDS, library_evidence, with_clocks
from synth.targets import TARGETS
from synth.toolchain import ToolIdentity

ICE40 = replace(TARGETS["ice40"], recipes={name: TARGETS["ice40"].recipes[name] for name in ("abc9", "abc")})


def row(name, lut, ratio, *, verified=True, error=None, seconds=2.0):
    found = {"recipe_name": name, "ratio": ratio, "verified": verified, "error": error, "seconds": seconds}
    return found if lut is None else {**found, "lut": lut, "verification": {"mismatches": int(not verified)}}


def made(rows_of, monkeypatch, target=ICE40):
    """Return the evidence of a target from the rows of each operator's band."""
    class Finished:
        def __init__(self, plan, *, store):
            assert (plan.every_recipe, plan.check, list(plan.seeds)) == (True, True, [])
            self.rows = rows_of[plan.operation.model.a.name]

        def run(self, work, progress):
            assert work.is_dir()
            return [SimpleNamespace(target=target, recipe=SimpleNamespace(name=row["recipe_name"]),
                                    mapped=None if "lut" not in row else SimpleNamespace(seconds=row["seconds"]))
                    for row in self.rows]

    monkeypatch.setattr(module, "Builder", Finished)
    monkeypatch.setattr(module, "band", lambda builder, work: [{"target": target.name, "recipes": builder.rows}])
    monkeypatch.setattr(module, "identity", lambda tool: ToolIdentity(name=tool, version="0.70", digest="0"))
    operators = [{"op": "multiply", "fmt": name} for name in rows_of]
    return library_evidence(store=None, targets=[target], operators=operators)


def clocked(evidence, mhz_of, monkeypatch, target=ICE40):
    """Return evidence with the clocks of each operator and recipe; None is a circuit without a path."""
    class Placed:
        def __init__(self, plan, *, store):
            assert (plan.every_recipe, plan.check, tuple(plan.seeds)) == (False, False, SEEDS)
            self.plan, self.mhz = plan, mhz_of[plan.operation.model.a.name][plan.recipe]

        def run(self, work, progress):
            error = StorageError("full") if self.mhz == "error" else None
            return [SimpleNamespace(target=each, error=error, placed=self.mhz) for each in self.plan.targets]

    monkeypatch.setattr(module, "Builder", Placed)
    monkeypatch.setattr(module.flow, "fmax_summary", lambda mhz: None if mhz is None else {"median": mhz})
    return with_clocks(evidence, store=None, targets=[target],
                       operators=[{"op": "multiply", "fmt": name} for name in mhz_of])
