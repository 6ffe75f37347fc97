# amaranth: UnusedElaboratable=no
# A component whose elaboration fails was never meant to be used.
"""The structures that an operator's circuit can have: by name, and which one is built for a family."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum
from typing import Any

from synth.errors import StorageError, UsageError
from synth.operations.components import component_class


class Origin(Enum):
    """Why a circuit has its structure."""

    ASKED = "asked"
    """It was asked for."""
    RECORDED = "recorded"
    """It won among those measured, for this family or, for none in particular, over all of them: see
    :mod:`hw.recorded`."""
    RULE = "rule"
    """Nothing is recorded for this operator; the component's own rule took it."""


def structures_of(model: Any) -> tuple[Enum, ...]:
    """Return the structures that the component of a reference can have, the one of its own rule first.

    Returns
    -------
    tuple of Enum
        Empty for a component that is built in one way.
    """
    offered = getattr(component_class(model), "structures", None)
    structures: tuple[Enum, ...] = () if offered is None else tuple(offered(model))
    return structures if len(structures) > 1 else ()


def find_structure(model: Any, name: str) -> Enum:
    """Return the structure of a reference's component that has this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    structures = structures_of(model)
    component = component_class(model).__name__
    if not structures:
        raise UsageError(f"Option --structure must be left out for {component} of these formats, which is built in one "
                         f"way, not {name!r}")
    for structure in structures:
        if structure.value == name:
            return structure
    raise UsageError(f"Structure must be one of {', '.join(item.value for item in structures)} for {component} of "
                     f"these formats, not {name!r}")


def structure_choice(operation: Any, family: str | None) -> dict[str, str] | None:
    """Return the ``name`` and the ``origin`` of the structure that is built; None where there is no choice.

    Parameters
    ----------
    operation : synth.operations.Operation
    family : str or None
        Name of a target, None for none in particular.

    Raises
    ------
    StorageError
        If the table of recorded structures is damaged, or is not this code's.
    """
    from hw.recorded import choose_structure, recorded_structure
    from synth.primitives import platform_of

    structures = structures_of(operation.model)
    if not structures:
        return None
    if operation.structure is not None:
        return {"name": operation.structure, "origin": Origin.ASKED.value}
    if operation.dsp:  # nothing recorded applies, and not every structure leaves a product to a hard multiplier
        return {"name": operation.component().structure.value, "origin": Origin.RULE.value}
    with record_errors():
        platform = None if family is None else platform_of(family, dsp=False)
        structure = choose_structure(None, structures, operation.model, platform)
        known = recorded_structure(operation.model, family) is not None
    return {"name": structure.value, "origin": (Origin.RECORDED if known else Origin.RULE).value}


def built_structure(operation: Any, family: str | None) -> str | None:
    """Return the name of the structure that is built, be it the only one; None for a component that names none.

    Parameters
    ----------
    operation : synth.operations.Operation
    family : str or None
        Name of a target, None for none in particular.

    Raises
    ------
    StorageError
        If the table of recorded structures is damaged, or is not this code's.
    """
    choice = structure_choice(operation, family)
    if choice is not None:
        return choice["name"]
    offered = getattr(component_class(operation.model), "structures", None)
    if offered is None:
        return None
    (structure,) = offered(operation.model)
    return str(structure.value)


@contextlib.contextmanager
def record_errors() -> Iterator[None]:
    """Report a table of recorded structures that is damaged, or not this code's, as a :class:`StorageError`."""
    from hw.recorded import RecordError

    try:
        yield
    except RecordError as error:
        raise StorageError(str(error)) from error
