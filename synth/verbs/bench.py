"""``bench``: our speed beside other libraries', measured side by side in one run; our circuits beside recorded ones."""

import argparse
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, ToolMissing, UsageError, usage_errors

BENCHES = {
    "quantize": "fake quantization of a large float32 tensor",
    "ptq": "post-training quantization of a ResNet-18, end to end",
    "native": "netlists as native code: multiplications, matrix products, verification",
    "area": "LUTs and Fmax beside those recorded of public circuits of the same arithmetic",
}

# What some benches alone take, with their defaults.
_OPTIONS: dict[str, dict[str, Any]] = {
    "quantize": {"elements": 1 << 24}, "ptq": {"images": 256, "size": 64, "repeats": 3},
    "native": {"part": None, "isa": None, "threads": None, "quick": False},
    "area": {"row": None, "target": None, "quick": False}}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import positive

    parser.add_argument("bench", nargs="?", metavar="NAME", default="quantize",
                        help="; ".join(f"{name}: {text}" for name, text in BENCHES.items()))
    parser.add_argument("--elements", metavar="N", type=positive("Elements"),
                        help="quantize: size of the tensor (default: 16,777,216)")
    parser.add_argument("--images", metavar="N", type=positive("Images"),
                        help="ptq: calibration images (default: 256)")
    parser.add_argument("--size", metavar="PIXELS", type=positive("Image size"),
                        help="ptq: height and width of the images (default: 64)")
    parser.add_argument("--repeats", metavar="N", type=positive("Repeats"),
                        help="ptq: times that each side quantizes the network (default: 3)")
    parser.add_argument("--part", metavar="NAME", action="append",
                        help="native: series, matmul, verification or packing; may be repeated (default: all)")
    parser.add_argument("--isa", metavar="NAME", help="native: avx512, avx2, neon or word64 (default: the widest that "
                                                      "this machine has)")
    parser.add_argument("--threads", metavar="N", type=positive("Threads"),
                        help="native: for the figures of all threads (default: one a core)")
    parser.add_argument("--quick", action="store_true", default=None,
                        help="native: measure shortly, and 1 of 64 pairs of binary16; area: LUTs alone, without "
                             "placement")
    parser.add_argument("--row", metavar="NAME", action="append",
                        help="area: recorded circuits whose names contain this; may be repeated (default: all)")
    parser.add_argument("--target", metavar="NAME", action="append",
                        help="area: ice40, ecp5, xc7, gowin, ecp5-wide or gowin-wide (with wide multiplexers); may be "
                             "repeated (default: the first three)")
    parser.add_argument("--fmt", metavar="NAME", action="append", help="format; may be repeated (default: several)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Measure and report."""
    if arguments.bench not in BENCHES:
        raise UsageError(f"Bench must be one of {', '.join(BENCHES)}, not {arguments.bench!r}")
    _take_options(arguments)
    if arguments.bench == "area":
        return _run_area(arguments, console)
    if arguments.bench == "native":
        return _run_native(arguments, console)
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise ToolMissing("torch", "Tool torch is not installed; it brings the quantizers: "
                                   "pip install 'narrowgauge[torch]'")
    return (_run_ptq if arguments.bench == "ptq" else _run_quantize)(arguments, console)


def _take_options(arguments: argparse.Namespace) -> None:
    """Fill in the defaults of the options that the bench takes; refuse those that only others take."""
    for name in dict.fromkeys(name for options in _OPTIONS.values() for name in options):
        owners = [bench for bench, options in _OPTIONS.items() if name in options]
        given = getattr(arguments, name)
        if arguments.bench in owners:
            setattr(arguments, name, _OPTIONS[arguments.bench][name] if given is None else given)
        elif given is not None:
            raise UsageError(f"Option --{name} must be left out of the bench {arguments.bench}, not given; it is for "
                             f"{' and '.join(owners)}")


def _run_area(arguments: argparse.Namespace, console: Console) -> int:
    from synth.bench import area, area_columns, area_report
    from synth.store import Store, cache_folder

    rows = area.choose_rows(arguments.row or (), arguments.fmt or ())
    columns = dict.fromkeys(arguments.target or area_columns.DEFAULT_COLUMNS)
    seeds = () if arguments.quick else tuple(range(arguments.seed, arguments.seed + area.SEEDS))
    settings = area.Settings(columns=tuple(map(area_columns.find_column, columns)), seeds=seeds,
                             vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout)
    store = Store(cache_folder(), warn=console.warn)
    try:
        with console.progress("measuring", len(area.circuits_of(rows))) as progress:
            document = area.run(rows, settings, store=store, progress=progress)
    finally:
        store.close()
    console.json({"bench": arguments.bench, **document})
    area_report.report(document, console)
    wrong, failed = area_report.mismatches(document), area_report.failures(document)
    for line in (*wrong, *failed):
        console.error(line)
    return ExitCode.MISMATCH if wrong else ExitCode.TOOL if failed else ExitCode.DONE


def _run_quantize(arguments: argparse.Namespace, console: Console) -> int:
    from sw.formats import resolve
    from synth.bench import quantize

    with usage_errors():
        for name in arguments.fmt or ():
            resolve(name)

    with console.progress("measuring", 1) as progress:
        rows = quantize.run(elements=arguments.elements, seed=arguments.seed, formats=arguments.fmt,
                            progress=progress.start)
        progress.advance()
    console.json({"bench": arguments.bench, "elements": arguments.elements, "rows": rows})
    _report(rows, console)
    return ExitCode.DONE


def _run_ptq(arguments: argparse.Namespace, console: Console) -> int:
    from synth.bench import ptq

    formats = arguments.fmt or list(ptq.FORMATS)
    with usage_errors():
        ptq.check_size(arguments.size)
        for name in formats:
            ptq.check_format(name)
    with console.progress("measuring", ptq.runs(len(formats), arguments.repeats)) as progress:
        rows = ptq.run(formats=formats, images=arguments.images, size=arguments.size, repeats=arguments.repeats,
                       seed=arguments.seed, timeout=arguments.timeout, progress=progress)
    console.json({"bench": arguments.bench, "rows": rows})
    for row in rows:
        _report_ptq(row, console)
    return ExitCode.DONE


def _run_native(arguments: argparse.Namespace, console: Console) -> int:
    import importlib.util

    if importlib.util.find_spec("llvmlite") is None:
        raise ToolMissing("llvmlite", "Tool llvmlite is not installed; it compiles netlists to native code: "
                                      "pip install 'narrowgauge[native]'")
    from sw.formats import FloatingPointFormat, parse
    from synth.bench import native, native_report
    from synth.netlist.instruction_set import choose_instruction_set
    from synth.netlist.threads import available_cores

    parts = list(dict.fromkeys(arguments.part or native.PARTS))
    for part in parts:
        if part not in native.PARTS:
            raise UsageError(f"Part must be one of {', '.join(native.PARTS)}, not {part!r}")
    with usage_errors():
        isa = choose_instruction_set(arguments.isa)
        for name in arguments.fmt or ():
            if not isinstance(parse(name), FloatingPointFormat):
                raise UsageError(f"Format of the series must be floating point, such as e5m10, not {name!r}")
    if arguments.fmt and "series" not in parts:
        raise UsageError(f"Option --fmt must be left out of the parts {', '.join(parts)}, not given; it is for series")
    if "matmul" in parts and importlib.util.find_spec("torch") is None:
        raise ToolMissing("torch", "Tool torch is not installed; it brings the emulation that a matrix product is "
                                   "compared with: pip install 'narrowgauge[torch]', or another --part")
    with console.progress("measuring", len(parts)) as progress:
        documents = native.run(parts=parts, formats=arguments.fmt, isa=isa.value, seed=arguments.seed,
                               threads=arguments.threads or available_cores(), quick=arguments.quick,
                               timeout=arguments.timeout, progress=progress)
    console.json({"bench": arguments.bench, "parts": documents})
    for part, document in documents.items():
        native_report.report(part, document, console)
    return ExitCode.DONE


def _report_ptq(row: dict[str, Any], console: Console) -> None:
    sides = list(row["memory"])
    table = [[step, *(f"{figures[f'{side}_s']:.2f}" for side in sides),
              *(f"{figures[f'{side}_cpu_s']:.2f}" for side in sides),
              "–" if figures["ratio"] is None else f"{figures['ratio']:.2f}"]
             for step, figures in row["steps"].items()]
    console.table(f"ResNet-18 in {row['format']} (first and last layer {row['first_last_format']}), {row['images']} "
                  f"images of {row['size']}×{row['size']}, {row['threads']} threads; medians of {row['repeats']} in s, "
                  "and Brevitas' as multiples of ours",
                  ["step", *sides, *(f"{side}, CPU" for side in sides), "×"], table)
    if None not in [figure for memory in row["memory"].values() for figure in memory.values()]:
        console.print("peak memory: " + "; ".join(
            f"{side} {memory['peak_mib']:,.0f} MiB ({memory['start_mib']:,.0f} before the first step)"
            for side, memory in row["memory"].items()))
    sqnr = {name: value for name, value in row["sqnr_db"].items() if value is not None}
    console.print("outputs against float: " + "; ".join(f"{side} {sqnr[side]:.1f} dB" for side in sides)
                  + (f"; against each other {sqnr['between']:.1f} dB" if "between" in sqnr else ""))
    if row["reason"]:
        console.print(f"no figures of Brevitas: {row['reason']}")


def _report(rows: list[dict[str, Any]], console: Console) -> None:
    from synth.bench.quantize import COMPETITORS

    table: list[list[str]] = []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        competitors = row["competitors"]
        table.append([row["format"], f"{row['ours_ms']:.1f}", f"{row['clone_ms']:.1f}", f"{row['ours_out_ms']:.1f}",
                      f"{row['copy_ms']:.1f}",
                      *(f"{competitors[name]['ratio']:.2f}" if competitors[name]["ratio"] else "–"
                        for name in COMPETITORS),
                      f"{row['ratio']:.2f}" if row["ratio"] else "–"])
        for name in COMPETITORS:
            if competitors[name]["reason"]:
                reasons.setdefault(name, []).append(f"{row['format']} ({competitors[name]['reason']})")
    threads, elements = rows[0]["threads"], rows[0]["elements"]
    console.table(f"{elements:,} float32 elements, {threads} threads; medians in ms, and others' times as multiples of "
                  "ours", ["format", "ours", "clone", "ours, out=", "copy", *(f"{name} ×" for name in COMPETITORS),
                           "fastest ×"], table)
    for name, left_out in reasons.items():
        console.print(f"{name} has no figure for {'; '.join(left_out)}")
