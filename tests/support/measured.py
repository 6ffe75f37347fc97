"""Tables of costs made by hand: circuits whose counts follow a known law."""

from synth.cost.fabric import FABRICS
from synth.cost.features import structure_of
from synth.cost.point import Point
from synth.cost.samples import Quantity
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Measured, Table

CONDITIONS = Conditions(device=None, recipe="synth", tools=(("yosys", "0", ""),), sources=sources_digest(), seeds=(1,),
                        samples=16, vector_seed=1)

FORMATS = ("minifloat_e2m1", "minifloat_e2m2", "minifloat_e3m1", "minifloat_e2m3", "minifloat_e3m2", "minifloat_e4m1",
           "minifloat_e3m3", "minifloat_e4m2", "minifloat_e2m5", "minifloat_e3m4", "minifloat_e4m3", "minifloat_e5m2",
           "float8_e4m3fn", "int3", "int4", "int6", "int8", "posit<5,1>", "posit<8,0>", "posit<8,1>")

COEFFICIENTS = {"sum": 1.5, "rows": 2.0, "columns": 3.0, "booth": 2.5, "gated": 1.3, "shift": 0.9, "regime": 1.1,
                "unpack": 1.7, "exponent": 1.0, "circuit": 4.0}
"""Lookup tables for one of each term, in the law of :func:`lawful`; the others are free."""


def row(point, target="ecp5", *, lut, ff=10, carry=5, dsp=0, fmax_mhz=100.0, counted_by="nextpnr"):
    """Return a measured row."""
    return Measured(point=point, target=target, lut=lut, ff=ff, carry=carry, dsp=dsp, bram=0, fmax_mhz=fmax_mhz,
                    counted_by=counted_by, latency=2, vectors=16, method="sequences", rtlil_sha256="00" * 32)


def table(*rows):
    """Return a table of rows."""
    return Table((item, CONDITIONS) for item in rows)


def accumulators(formats=FORMATS):
    """Return exact accumulators of formats, without conversion."""
    return [Point(op="emac", fmt=fmt, out_fmt="exact", terms=4608) for fmt in formats]


def law(point, target="ecp5"):
    """Return the lookup tables of a circuit by the law: a sum of multiples of its terms."""
    operation = point.operation()
    terms = Quantity.LUT.terms(operation, fabric=FABRICS[target], hard=0,
                               structure=structure_of(operation, target))
    return sum(COEFFICIENTS.get(name, 0) * amount for name, amount in terms.items())


def lawful(points, target="ecp5"):
    """Return a table in which every circuit costs what the law says."""
    return table(*(row(point, target, lut=round(law(point, target))) for point in points))
