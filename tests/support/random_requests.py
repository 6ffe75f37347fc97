"""Random requests for any operation, of any formats that have a meaning together."""

from dataclasses import replace
from types import SimpleNamespace

from sw.formats import OverflowPolicy, RoundingMode, Specials, Subnormals
from synth.errors import UsageError
from synth.operations import OPERATIONS, Request, find_operation
from synth.operations.components import takes_pipeline
from tests.support.random_dataflow import DATAFLOW

MODES = [mode.value for mode in RoundingMode]
POLICIES = [policy.value for policy in OverflowPolicy]
NAMED = ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "float8_e4m3fnuz", "float8_e5m2", "float8_e3m4", "p3109_k6p3se",
         "radix4_fp4_even", "radix4_fp4_odd", "int4", "uint5", "int8", "e8m0"]


def some_float(rng, widest=9):
    """Return the name of a float with any fields."""
    while True:
        exponent_bits, fraction_bits = rng.randint(1, 5), rng.randint(0, 4)
        if 1 + exponent_bits + fraction_bits <= widest:
            changes = {"bias": rng.randint(-2, 2 ** exponent_bits), "specials": rng.choice(list(Specials)).value,
                       "subnormals": rng.choice(list(Subnormals)).value, "signed": rng.choice(["true"] * 4 + ["false"])}
            return f"minifloat_e{exponent_bits}m{fraction_bits}:" + ",".join(f"{k}={v}" for k, v in changes.items())


def some_fixed(rng, widest=9):
    """Return the name of a fixed-point format."""
    width = rng.randint(2, widest)
    return f"{rng.choice(['fixed', 'ufixed'])}<{width},{rng.randint(-2, width + 2)}>"


def some_posit(rng, widest=9):
    """Return the name of a posit."""
    width = rng.randint(3, widest)
    return f"posit<{width},{rng.randint(0, min(3, width - 3))}>"


def some_scalar(rng, widest=9, narrow=False):
    """Return the name of a scalar format of any family; if ``narrow``, none whose products span hundreds of bits."""
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(NAMED[:-1] if narrow else NAMED)
    return rng.choice([some_float, some_fixed, some_posit])(rng, widest)


def some_block(rng):
    """Return the name of a small block format."""
    base = rng.choice(["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8", "nvfp4", "mls<2,1>"])
    return f"{base}:block_size={rng.choice([1, 2, 3])}"


def _fields(name, rng):
    """Return a request for an operation; most of its options are left to chance."""
    fields = {"rounding": rng.choice(MODES), "overflow": rng.choice(["saturate", *POLICIES])}
    if fields["rounding"] == "stochastic":
        fields["random_bits"] = rng.randint(1, 5)
    if name in DATAFLOW:
        some = SimpleNamespace(scalar=some_scalar, fixed=some_fixed, block=some_block)
        return (fields if OPERATIONS[name].rounded else {}) | DATAFLOW[name](rng, some)
    wide = name in ("emac", "chunked_mac", "dot", "dot_accumulate")
    fixed = name == "mac" or (name == "systolic" and rng.random() < 0.5)
    fmt = (lambda: some_fixed(rng)) if fixed else (lambda: some_scalar(rng, narrow=wide))
    if name == "mx_dot":
        block = some_block(rng)
        fields |= {"fmt": block, "fmt_b": f"{some_block(rng).partition(':')[0]}:{block.partition(':')[2]}",
                   "out_fmt": rng.choice(["bfloat16", "float16", "e4m3", "float32"])}
    elif name == "block_mac":
        # Two scales of E8M0 make a register beside which everything else is small; the library's cases have them.
        changes = f"block_size={rng.choice([1, 2, 3])},scale={rng.choice(['e4m0', 'e5m0', 'e3m2', 'e4m3'])}"
        a, b = (f"{some_block(rng).partition(':')[0]}:{changes}" for _ in "ab")
        fields |= {"fmt": a, "fmt_b": b, "out_fmt": rng.choice(["bfloat16", "float16", "e4m3", "exact"]),
                   "terms": rng.choice([1, 3, 16])}
    elif name == "khot_multiply":
        fields |= {"fmt": some_fixed(rng), "hot": rng.randint(1, 3), "max_shift": rng.randint(2, 7)}
    elif name != "int4_fp4_dot":
        fields |= {"fmt": fmt()}
        if rng.random() < 0.6:
            fields["fmt_b"] = fmt()
        if rng.random() < 0.6:
            fields["out_fmt"] = fmt()
    if name == "convert":
        fields.setdefault("out_fmt", fmt())
        fields.pop("fmt_b", None)
        if fields["rounding"] == "stochastic":
            fields["random_source"] = rng.choice(["port", "lfsr"])
    if name in ("fma", "emac", "mac") and rng.random() < 0.5:
        fields["fmt_c"] = fmt()
    if name in ("emac", "mac", "systolic"):
        fields["terms"] = rng.choice([1, 3, 16, 100])
    if name == "chunked_mac":
        fields |= {"accumulator": some_scalar(rng, widest=12), "chunk": rng.choice([1, 2, 3, 8])}
    if name in ("dot", "dot_accumulate", "int4_fp4_dot"):
        fields["lanes"] = rng.choice([1, 2, 3])
    if name == "dot_accumulate":
        fields["accumulator"] = some_scalar(rng, widest=12)
        fields.pop("out_fmt", None)
    if name == "systolic":
        fields |= {"size": rng.choice([1, 2, 3]), "mac": "mac" if fixed else "emac"}
    return fields


def random_operation(rng, name=None):
    """Return an operation, and the request for it, that means something."""
    while True:
        kind = find_operation(name or rng.choice(list(OPERATIONS)))
        fields = _fields(kind.name, rng)
        pipeline = rng.choice([0, 0, 1, 2, 3, 5])
        try:
            operation = Request(op=kind.name, pipeline=pipeline, **fields).operation(kind)
            if not takes_pipeline(operation.model):
                operation, pipeline = replace(operation, pipeline=0), 0
            operation.component()
        except (UsageError, ValueError):
            continue  # that combination has no meaning, and said so
        if sum(port.bits for port in operation.ports.values()) <= 90:
            return operation, fields | {"op": kind.name, "pipeline": pipeline}
