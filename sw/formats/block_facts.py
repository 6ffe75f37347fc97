"""What follows from a block format's fields, ready for JSON."""

from sw.formats.block import BlockFormat
from sw.formats.facts import facts, rational


def block_facts(fmt: BlockFormat) -> dict[str, object]:
    """Return what follows from the fields of ``fmt``, ready for JSON.

    ``element`` and ``scale`` hold the :func:`sw.formats.facts` of their formats. Rationals are objects with ``exact``
    and ``float``, as there. ``bits_per_element`` counts the scale's share in a whole block; ``max_finite`` and
    ``smallest_positive`` are those under a tensor scale of 1.
    """
    return {
        "name": fmt.name, "family": "block", "block_size": fmt.block_size, "scale_rule": fmt.scale_rule.value,
        "tensor_scale": fmt.tensor_scale, "element_bits": fmt.element_bits, "scale_bits": fmt.scale_bits,
        "bits_per_element": rational(fmt.bits_per_element),
        "max_finite": rational(fmt.max_finite), "smallest_positive": rational(fmt.smallest_positive),
        "element": facts(fmt.element), "scale": facts(fmt.scale),
    }
