"""From the fields of a reference's ports to the bits of a netlist's, and back."""

from collections.abc import Mapping

import numpy as np

from sw.reference.model import Codes, Port
from synth.netlist.packing import Planes, pack_codes, unpack_codes


def port_bits(ports: Mapping[str, Port]) -> int:
    """Return how many bits the fields take side by side."""
    return sum(port.bits for port in ports.values())


def pack_fields(ports: Mapping[str, Port], codes: Mapping[str, Codes]) -> Planes:
    """Return the planes of fields side by side, the first one lowest, lane 0 of each lowest."""
    planes = []
    for name, port in ports.items():
        if port.lanes is None:
            planes.append(pack_codes(codes[name], port.width))
        else:
            planes += [pack_codes(np.ascontiguousarray(codes[name][:, lane]), port.width)
                       for lane in range(port.lanes)]
    return planes[0] if len(planes) == 1 else np.concatenate(planes)


def unpack_fields(ports: Mapping[str, Port], planes: Planes, vectors: int) -> dict[str, Codes]:
    """Return the codes of fields that stand side by side in the planes of one netlist port."""
    codes: dict[str, Codes] = {}
    position = 0
    for name, port in ports.items():
        lanes = []
        for _ in range(port.lanes or 1):
            lanes.append(unpack_codes(planes[position:position + port.width], vectors))
            position += port.width
        codes[name] = lanes[0] if port.lanes is None else np.stack(lanes, axis=1)
    return codes
