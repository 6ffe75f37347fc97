"""Every paper that can be reproduced, by the name that the command line knows it by."""

import importlib
from difflib import get_close_matches

from synth.errors import UsageError
from synth.papers.record import Paper, Part

PAPERS = {
    "codenet": "CoDeNet: deformable convolution for object detection on embedded FPGAs (FPGA'21)",
    "flightllm": "FlightLLM: large language models on FPGAs by sparse DSP chains (FPGA'24)",
    "hobflops": "HOBFLOPS: bit-sliced floating point on processors, of any width (arXiv 2020)",
    "minifloat_ptq": "Shedding the Bits: minifloats in post-training quantization on FPGAs (FPL'24)",
}


def find_paper(name: str) -> Paper:
    """Return the recipe of a paper.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in PAPERS:
        close = get_close_matches(name.lower(), PAPERS, n=1)
        mend = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"Paper must be one of {', '.join(PAPERS)}, not {name!r}{mend}")
    paper: Paper = importlib.import_module(f"synth.papers.{name}").PAPER
    return paper


def find_parts(paper: Paper, name: str | None) -> list[Part]:
    """Return the part of a paper with this name; all of them for None.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name is None:
        return list(paper.parts.values())
    if name not in paper.parts:
        raise UsageError(f"Part of {paper.name} must be one of {', '.join(paper.parts)}, not {name!r}")
    return [paper.parts[name]]
