"""Quantizes the network once, as one of the two sides, in a process of its own: what it takes is then that side's.

``python -m synth.bench.ptq_child REQUEST``, with the request as JSON: prints one JSON object a line, as
steps begin and end.
"""

import json
import sys
import time
import warnings
from typing import Any

from sw.formats import parse
from synth.bench.memory import peak_memory
from synth.bench.ptq_sides import SIDES, NotMeasured

TEST_IMAGES = 64
"""Beside the calibration images, those on which the outputs are compared."""


def main(request: dict[str, Any]) -> None:
    """Make the network and the images, quantize, and save the outputs to the file that the request names."""
    import numpy as np

    warnings.filterwarnings("ignore")  # those of libraries, which no one can heed here
    model, images = network(request["seed"], request["images"] + TEST_IMAGES, request["size"])
    calibration, test = images[:request["images"]], images[request["images"]:]
    try:
        side = SIDES[request["side"]](model, calibration.split(request["batch_size"]), parse(request["format"]),
                                      parse(request["edge"]))
        actions = side.steps()
    except NotMeasured as reason:
        _say({"not_measured": str(reason)})
        return
    outputs = {"float": side.run(test)}
    _say({"start_bytes": peak_memory(), "version": side.version, "threads": _threads()})
    for step, action in actions.items():
        _say({"begins": step})
        seconds, cpu = time.perf_counter(), time.process_time()
        action()
        _say({"step": step, "seconds": time.perf_counter() - seconds, "cpu_seconds": time.process_time() - cpu})
    _say({"peak_bytes": peak_memory()})
    outputs["quantized"] = side.run(test)
    np.savez(request["outputs"], **{name: output.detach().numpy() for name, output in outputs.items()})


def network(seed: int, count: int, size: int) -> tuple[Any, Any]:
    """Return a ResNet-18 in evaluation mode, and smooth random images of shape (count, 3, size, size).

    Its batch normalizations have random scales and shifts, and the statistics of the images: with those of a fresh
    network the activations would grow from block to block, and equalization would have little to do.
    """
    import torch
    from torch import nn

    from sw.nn.resnet import resnet18

    torch.manual_seed(seed)
    coarse = torch.randn(count, 3, max(1, size // 8), max(1, size // 8))
    images = nn.functional.interpolate(coarse, (size, size), mode="bilinear") + 0.3 * torch.randn(count, 3, size, size)
    model = resnet18()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(std=0.1)
            norm.momentum = 1.0
        model.train()(images[:TEST_IMAGES])
    return model.eval(), images


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
