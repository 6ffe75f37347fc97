"""Every paper that can be reproduced, by the name that the command line knows it by."""

import importlib
from difflib import get_close_matches

from synth.errors import UsageError
from synth.papers.record import Paper, Part

PAPERS = {
    "codenet": "CoDeNet: deformable convolution for object detection on embedded FPGAs (FPGA'21)",
    "flightllm": "FlightLLM: large language models on FPGAs by sparse DSP chains (FPGA'24)",
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


def find_part(paper: Paper, name: str | None) -> Part:
    """Return a part of a paper; the only one for None.

    Raises
    ------
    UsageError
        If there is none of that name, or several for None.
    """
    if name is None and len(paper.parts) == 1:
        return next(iter(paper.parts.values()))
    if name is None:
        raise UsageError(f"Option --part must be given for {paper.name}, one of {', '.join(paper.parts)}, not left out")
    if name not in paper.parts:
        raise UsageError(f"Part of {paper.name} must be one of {', '.join(paper.parts)}, not {name!r}")
    return paper.parts[name]
