"""The documents of the bench of native code as tables and sentences."""

from __future__ import annotations

from typing import Any

from synth.bench.native_part import Document
from synth.console import Console

_THREADS = {"one_thread": "one thread", "all_threads": "all threads"}


def report(part: str, document: Document, console: Console) -> None:
    """Print a part's document, its targets and its memory."""
    {"series": _series, "matmul": _matmul, "verification": _verification, "packing": _packing}[part](document, console)
    for target in document.get("targets", ()):
        console.print(_target(target))
    memory = document["memory"]
    if None not in memory.values():
        console.print(f"peak memory of {part}: {memory['peak_mib']:,.0f} MiB ({memory['start_mib']:,.0f} before it "
                      "measured)")
    console.print()


def _target(target: Document) -> str:
    verdict = {True: "met", False: "MISSED", None: "not judged here"}[target["met"]]
    found = "no figure" if target["found"] is None else f"{target['found']:,.4g}"
    return f"target: {target['name']}: {target['target']:,g}; found {found}: {verdict}"


def _series(document: Document, console: Console) -> None:
    for key, threads in _threads(document).items():
        for kind, title in (("multiply", "multiplications"), ("mac", "MACs, acc = round(a × b + acc)")):
            others = [name for name in document["others"] if any(row[kind][key]["others"][name] is not None
                                                                 for row in document["rows"])]
            table = []
            for row in document["rows"]:
                figures = row[kind][key]
                table.append([row["format"], "–" if row["hobflops"] is None else str(row["hobflops"]),
                              str(row[kind]["instructions"]), str(row[kind]["live"]), _billions(figures["planes"]),
                              _billions(figures["codes"]), f"{100 * figures['bound_fraction']:.0f}",
                              *(_number(figures["ratios"][name]) for name in others)])
            compared = "from codes to codes" if kind == "multiply" else "on planes"
            console.table(f"{title}, {threads}, {document['instruction_set']} ({document['lanes']} lanes): 10⁹ a "
                          f"second; the bound is {_billions(document['bound'][key])} × 10⁹ instructions a second; "
                          f"ratios of ours, {compared}, to others",
                          ["format", "HOBFLOPS", "look-ups", "live", "on planes", "codes to codes", "% of bound",
                           *(f"{name} ×" for name in others)], table)
    console.print("others: " + "; ".join(f"{name}: {text}" for name, text in document["others"].items()))
    for name, reason in _reasons(document).items():
        console.print(f"{name} has no figure for {reason}")
    paper = document["paper"]
    console.print(f"the paper's own figures: {paper['hobflops16_macs'] / 1e6:,.0f} against "
                  f"{paper['scalar_macs'] / 1e6:,.0f} million MACs a second, {paper['ratio']:g}× ({paper['source']}); "
                  "ours are " + _ours_beside(document))
    console.print("subnormals, infinities and NaN are in ours and in the scalar code; that they are in the paper's is "
                  "not known. Which format a HOBFLOPS number stands for is our assignment")


def _ours_beside(document: Document) -> str:
    """Say what we measured of what the paper states."""
    row = next((row for row in document["rows"] if row["format"] == "float16"), None)
    if row is None:
        return "not measured, since float16 was not asked for"
    figures = row["mac"]["one_thread"]
    ours, scalar = figures["planes"] / 1e6, figures["others"]["scalar"]
    if scalar is None:
        return f"{ours:,.0f} million, on one thread"
    return f"{ours:,.0f} against {scalar / 1e6:,.0f} million, {figures['ratios']['scalar']:.1f}×, on one thread"


def _reasons(document: Document) -> dict[str, str]:
    """Return, for each of the others, for which formats it has no figure and why."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, reasons in document["reasons"].items():
        for other, reason in reasons.items():
            found.setdefault(other, {}).setdefault(reason, []).append(name)
    return {other: "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
            for other, reasons in found.items()}


def _matmul(document: Document, console: Console) -> None:
    m, k, n = document["shape"]
    table = []
    for key, threads in _threads(document).items():
        figures = document[key]
        table.append([threads, f"{figures['ms']:.1f}", _billions(figures["macs"]),
                      f"{100 * figures['bound_fraction']:.0f}",
                      *(text for each in figures["emulations"].values()
                        for text in (f"{each['ms']:.1f}", _number(each["ratio"])))])
    names = list(document["one_thread"]["emulations"])
    console.table(f"{m}×{k}×{n}, {document['operand']} operands, sums in {document['accumulator']} in chunks of "
                  f"{document['chunk']}, every addition rounded: ms, 10⁹ MACs a second, and emulations as multiples of "
                  "ours", ["threads", "ours", "MACs", "% of bound",
                           *(text for name in names for text in (name, f"{name} ×"))], table)
    one = document["one_thread"]
    console.print(f"a pair takes {document['instructions']:.0f} instructions for {document['lanes']} elements; at the "
                  f"bound of {_billions(one['bound'])} × 10⁹ instructions a second one thread would take "
                  f"{one['bound_ms']:.1f} ms, and be {_number(one['emulations']['torch']['ms'] / one['bound_ms'])} "
                  "times faster than the emulation with torch")
    console.print("elements that differ from the circuit's: " + "; ".join(
        f"{name} {count:,} of {document['elements']:,}" for name, count in document["differences"].items()))
    console.print(document["explanation"])


def _verification(document: Document, console: Console) -> None:
    exhaustive, binary16 = document["exhaustive"], document["binary16"]
    table = []
    for name, side in exhaustive["sides"].items():
        if "reason" in side:
            console.print(f"{name} has no figure: {side['reason']}")
        else:
            table.append([name, f"{side['vectors_per_second']:,.0f}", f"{side['seconds']:.3g}",
                          f"{side['compile_seconds']:.2f}", f"{side['measured_vectors']:,}", _number(side["ratio"])])
    console.table(f"all {exhaustive['vectors']:,} products of {exhaustive['format']} ({document['target']}'s netlist "
                  "for native code, one thread), compared with the reference: seconds for all, and native's speed as a "
                  "multiple",
                  ["", "vectors a second", "seconds", "compiling, s", "vectors measured", "native ×"], table)
    console.print(f"binary16 multiplication, {document['target']}'s netlist: {binary16['pairs']:,} pairs"
                  f"{', which are all,' if binary16['complete'] else ''} against numpy's float16 in "
                  f"{binary16['seconds']:.1f} s on {binary16['threads']} threads ({binary16['reference_seconds']:.1f} "
                  f"s of CPU time are numpy's); {binary16['different']:,} differ")
    if binary16["first_difference"]:
        console.print("first difference: " + ", ".join(f"{name} {code}" for name, code
                                                       in binary16["first_difference"].items()))


def _packing(document: Document, console: Console) -> None:
    table = [[str(row["width"]), f"{row['bytes'] / 2**20:g}",
              *(_billions(row[name]) for name in ("copy", "pack", "unpack")),
              *(f"{100 * row[f'{name}_fraction']:.0f}" for name in ("pack", "unpack"))] for row in document["rows"]]
    console.table("codes to planes and back, one thread: 10⁹ bytes of codes a second, and % of a copy's",
                  ["bits", "MiB", "copy", "pack", "unpack", "pack %", "unpack %"], table)


def _threads(document: Document) -> dict[str, str]:
    """Return the keys of the figures and what they stand for; one thread alone where there is one."""
    return _THREADS if document["threads"] > 1 else {"one_thread": _THREADS["one_thread"]}


def _billions(value: float) -> str:
    return f"{value / 1e9:.3g}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
