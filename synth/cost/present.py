"""Whether a measured row is of the circuit that this version of the package builds."""

from functools import cache

from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Measured


def is_present(row: Measured, conditions: Conditions) -> bool:
    """Return whether a row's circuit is the one that is built today.

    That takes no time where the package's own code is what it was when the row was measured; otherwise the circuit is
    elaborated and compared, once in a process.

    Parameters
    ----------
    row : Measured
    conditions : Conditions
        Those of the row.
    """
    return conditions.sources == sources_digest() or row.rtlil_sha256 == _present_digest(row.point, row.target)


@cache
def _present_digest(point: Point, target: str) -> str:
    from synth.flow import elaborate
    from synth.primitives import platform_of

    return elaborate(point.operation().component(), platform_of(target, dsp=point.dsp)).digest
