"""A solver in a process of its own, which can be ended whatever it is doing: reads a script, answers in JSON.

It is run as a file, so that it starts without the rest of the package.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def without_floats(text: str) -> str:
    """Return a script of bit-vectors alone, into which z3 has translated the floats."""
    import z3

    goal = z3.Goal()
    goal.add(z3.parse_smt2_string(text))
    translated, = z3.Then("simplify", "fpa2bv", "simplify")(goal)
    solver = z3.Solver()
    solver.add(*translated)
    # Variables that the translation has no use for are to be declared all the same, and each of them once.
    declared = re.findall(r"^\(declare-const (\S+) .*\)$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line.startswith("(declare-const ")]
    again = "|".join(map(re.escape, declared))
    body = re.sub(rf"^\(declare-fun (?:{again}) .*\)$", "", solver.sexpr(), flags=re.MULTILINE)
    return "\n".join(["(set-logic QF_BV)", *lines, body])


def _bitwuzla(text: str, wanted: list[str]) -> tuple[str, dict[str, int]]:
    import bitwuzla

    manager, options = bitwuzla.TermManager(), bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    parser = bitwuzla.Parser(manager, options)
    parser.parse(text, False, False)
    solver = parser.bitwuzla()
    result = str(solver.check_sat())
    values = {}
    if result == "sat":
        for name in wanted:
            value = solver.get_value(parser.parse_term(name))
            values[name] = int(value.value(2), 2) if value.sort().is_bv() else int(value.value())
    return result, values


def _z3(text: str, wanted: list[str]) -> tuple[str, dict[str, int]]:
    import z3

    solver = z3.Solver()
    solver.from_string(text)
    result = str(solver.check())
    values = {}
    if result == "sat":
        model = solver.model()
        for name in wanted:
            constant = next((found for found in model.decls() if found.name() == name), None)
            value = None if constant is None else model[constant]  # what does not matter has no value
            values[name] = int(z3.is_true(value)) if value is None or z3.is_bool(value) else value.as_long()
    return result, values


SOLVERS = {"bitwuzla": _bitwuzla, "z3": _z3}


def main(request_file: str) -> None:
    """Answer the request in a file of JSON.

    Its fields are ``solver``, ``script``, ``translate`` (whether z3 is to make the floats bit-vectors first), and
    ``wanted``, names of variables.
    """
    request: dict[str, Any] = json.loads(Path(request_file).read_text())
    text = without_floats(request["script"]) if request["translate"] else request["script"]
    result, values = SOLVERS[request["solver"]](text, request["wanted"])
    print(json.dumps({"result": result, "values": values}))


if __name__ == "__main__":
    main(sys.argv[1])
