"""An interpreter of the little of PTX that is generated here: all threads of a grid at once, every access checked."""

import re

import numpy as np
import torch

from synth.netlist import torch_engine, torch_fused
from synth.netlist.ptx import THREADS

_MASKS = {"32": (1 << 32) - 1, "64": (1 << 64) - 1}


def install(monkeypatch):
    """Let engines with generated kernels run these here, on the processor."""
    monkeypatch.setattr(torch_engine, "check_fusible", lambda device: None)
    monkeypatch.setattr(torch_fused, "load_kernels", load_kernels)


def load_kernels(text, names, device):
    """Stand in for :func:`synth.netlist.torch_fused.load_kernels`, for tensors of the processor."""
    assert torch.device(device).type == "cpu"
    kernels = _parse(text)
    return [lambda blocks, arguments, kernel=kernels[name]: _Run(kernel, blocks, arguments) for name in names]


def _parse(text):
    """Return the parameters and the statements of each kernel."""
    header, *kernels = text.split(".visible .entry ")
    assert [line.split()[0] for line in header.split("\n") if line] == [".version", ".target", ".address_size"]
    parsed = {}
    for kernel in kernels:
        name, parameters, directive, body = re.fullmatch(
            r"(\w+)\((.*?)\)(?: \.reqntid (.*?))?\n\{\n(.*)\}\n*", kernel, re.DOTALL).groups()
        assert directive in (None, f"{THREADS}, 1, 1")
        types = [parameter.split() for parameter in parameters.split(", ")]
        assert all(parameter == ".param" for parameter, _, _ in types)
        parsed[name] = {place: kind for _, kind, place in types}, *_statements(body)
    return parsed


def _statements(body):
    """Return the type of each register that is declared, and the statements: guard, name of a method, operands."""
    declared, statements = {}, []
    for line in body.splitlines():
        if re.fullmatch(r"\w+:", line):
            continue                                     # the only label is at the end
        guard, opcode, operands = re.fullmatch(r"(?:@(%\w+) )?([\w.]+)(?: (.*))?;", line).groups()
        operands = operands.split(", ") if operands else []
        if opcode != ".reg":
            statements.append((guard, opcode.replace(".", "_"), operands))
            continue
        kind, first = operands[0].split()
        for name in (first, *operands[1:]):
            stem, count = re.fullmatch(r"(%\w+)(?:<(\d+)>)?", name).groups()
            for register in [stem] if count is None else [f"{stem}{index}" for index in range(int(count))]:
                assert register not in declared, f"{register} is declared twice"
                declared[register] = kind
    return declared, statements


class _Run:
    """One launch of a kernel: registers hold a number for each thread."""

    def __init__(self, kernel, blocks, arguments):
        parameters, self.declared, statements = kernel
        assert len(parameters) == len(arguments)
        self.buffers, self.parameters = [], {}
        for (name, kind), argument in zip(parameters.items(), arguments, strict=True):
            assert kind == (".u64" if isinstance(argument, torch.Tensor) else ".u32")
            if isinstance(argument, torch.Tensor):
                words = argument.view(torch.uint8).reshape(-1).numpy().view(np.uint32)
                assert np.shares_memory(words, argument.numpy())
                self.buffers.append((argument.data_ptr(), words))
                argument = argument.data_ptr()
            self.parameters[name] = argument
        count = blocks * THREADS
        self.registers = {"%ctaid.x": np.arange(count, dtype=np.uint64) // THREADS,
                          "%tid.x": np.arange(count, dtype=np.uint64) % THREADS,
                          "%ntid.x": np.full(count, THREADS, np.uint64)}
        self.active = np.ones(count, bool)
        for guard, opcode, operands in statements:
            if opcode == "bra":
                self.active &= ~self.registers[guard]
            else:
                assert guard is None
                getattr(self, opcode)(*operands)

    def value(self, operand, size="32"):
        """Return a register or a constant of a size in bits."""
        if operand[0] != "%":
            return np.uint64(int(operand, 0))
        assert operand in ("%ctaid.x", "%tid.x", "%ntid.x") or self.declared[operand] == f".b{size}", operand
        return self.registers[operand]

    def set(self, register, value, size="32"):
        assert self.declared[register] == f".b{size}", register
        self.registers[register] = np.broadcast_to(value & np.uint64(_MASKS[size]), self.active.shape)

    def place(self, operand):
        """Return the buffer and the index of each active thread's word at ``[register+offset]``."""
        register, offset = re.fullmatch(r"\[(%\w+)(?:\+(\d+))?\]", operand).groups()
        address = self.value(register, "64")[self.active] + np.uint64(offset or 0)
        for start, words in self.buffers:
            index = (address - np.uint64(start)) // np.uint64(4)
            if address.size and start <= int(address.min()) and int(index.max()) < words.size:
                assert not (address % np.uint64(4)).any()
                return words, index
        raise AssertionError(f"{operand} is outside every buffer")

    # The instructions

    def ret(self):
        """Leave; it is the last statement."""

    def ld_param_u32(self, register, name):
        self.set(register, np.uint64(self.parameters[name.strip("[]")]))

    def ld_param_u64(self, register, name):
        self.set(register, np.uint64(self.parameters[name.strip("[]")]), "64")

    def ld_global_b32(self, register, place):
        words, index = self.place(place)
        value = np.zeros(self.active.size, np.uint64)
        value[self.active] = words[index]
        self.set(register, value)

    def st_global_b32(self, place, operand):
        words, index = self.place(place)
        assert np.unique(index).size == index.size, "two threads must not write one word"
        words[index] = np.broadcast_to(self.value(operand), self.active.shape)[self.active]

    def mov_b32(self, register, operand):
        self.set(register, self.value(operand))

    mov_u32 = mov_b32

    def mad_lo_u32(self, register, a, b, c):
        self.set(register, self.value(a) * self.value(b) + self.value(c))

    def mad_lo_u64(self, register, a, b, c):
        self.set(register, self.value(a, "64") * self.value(b, "64") + self.value(c, "64"), "64")

    def mad_wide_u32(self, register, a, b, c):
        self.set(register, self.value(a) * self.value(b) + self.value(c, "64"), "64")

    def mul_wide_u32(self, register, a, b):
        self.set(register, self.value(a) * self.value(b), "64")

    def add_u64(self, register, a, b):
        self.set(register, self.value(a, "64") + self.value(b, "64"), "64")

    def cvta_to_global_u64(self, register, a):
        self.set(register, self.value(a, "64"), "64")

    def setp_ge_u32(self, register, a, b):
        assert self.declared[register] == ".pred"
        self.registers[register] = self.value(a) >= self.value(b)

    def shl_b32(self, register, a, b):
        self.set(register, self.value(a) << self.value(b))

    def shr_u32(self, register, a, b):
        self.set(register, self.value(a) >> self.value(b))

    def lop3_b32(self, register, a, b, c, table):
        a, b, c = (self.value(operand) for operand in (a, b, c))
        result = np.uint64(0)
        for index in range(8):
            if int(table, 0) >> index & 1:
                result = result | ((a if index & 4 else ~a) & (b if index & 2 else ~b) & (c if index & 1 else ~c))
        self.set(register, result)
