"""Measures one part of the bench of native code in a process of its own.

``python -m synth.bench.native_child REQUEST``, with the request as JSON: prints one JSON object a line, as steps begin
and when all is measured.
"""

import json
import sys
import warnings
from typing import Any

from synth.bench.memory import peak_memory
from synth.bench.native import part_module
from synth.bench.native_part import Settings
from synth.netlist.instruction_set import find_instruction_set


def main(request: dict[str, Any]) -> None:
    """Measure the part that the request names, and print its document."""
    warnings.filterwarnings("ignore")  # those of libraries, which no one can heed here
    formats = request["formats"]
    settings = Settings(isa=find_instruction_set(request["isa"]), threads=request["threads"], seed=request["seed"],
                        quick=request["quick"], formats=None if formats is None else tuple(formats))
    module, start = part_module(request["part"]), peak_memory()
    document = module.run(settings, lambda text: _say({"begins": text}))
    _say({"document": document, "start": start, "peak": peak_memory()})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
