"""``build --pipeline auto``: how the search for the fewest stages is run and what it says."""

from pathlib import Path

from synth.build import Plan
from synth.console import Console
from synth.errors import SynthError
from synth.folder import OutputFolder, storage_errors
from synth.pipeline_search import MAX_STAGES, Search, Tried, search_pipeline
from synth.store import Store
from synth.verbs.build_recipes import fmax


def find_stages(plan: Plan, mhz: float, *, store: Store, out: str | None, console: Console) -> Search:
    """Search, with a line for each number of stages; logs are kept beside the output folder if a tool fails.

    Raises
    ------
    SynthError
        If a number of stages cannot be built.
    """
    scratch = OutputFolder(Path(out) if out else Path("build") / f"{plan.operation.folder_name()}_pipeline-auto")

    def report(tried: Tried) -> None:
        stages = f"{tried.pipeline} pipeline stage{'' if tried.pipeline == 1 else 's'}"
        clock = f"{fmax(tried.fmax_mhz, ' MHz')}, which {'reaches' if tried.mhz >= mhz else 'misses'} {mhz:g} MHz"
        console.print(f"{stages}: {tried.lut} LUT, {tried.ff} FF, {clock}")

    try:
        with scratch, storage_errors(scratch.folder), console.progress("searching", MAX_STAGES + 1) as progress:
            try:
                return search_pipeline(plan, mhz, store=store, work=scratch.work, progress=progress, report=report)
            except SynthError:
                scratch.keep_failed()
                raise
    except SynthError as error:
        error.args = (str(error).replace(str(scratch.work), str(scratch.failed)),)
        raise
