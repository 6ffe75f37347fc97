"""A small network on images of digits, whose sums of products circuits compute: which formats, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat, parse
from synth.errors import ToolMissing
from synth.explore.network_evaluator import one_thread
from synth.native.matrix import MatrixUnit
from synth.native.operator import operator
from synth.native.reference import reference_matmul
from synth.operations import Operation

NETWORK = "digits-cnn"
SEEDS = (0, 1, 2, 3, 4)

CHECKED_IMAGES = 4
"""Of each network, images whose every sum is compared with the reference."""

RUNS = 3
"""Of each network through a circuit, of which the fastest counts."""

LONGEST_SUM = 144
"""Products of the network's longest sums, 3×3 windows of 16 channels."""

TERMS = 256
"""Products that exact accumulators have room for."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How the sums of products of a network's layers are computed.

    Parameters
    ----------
    label : str
    fmt : str
        Format of weights and inputs.
    op : str
    options : mapping of str to value
        Those of a :class:`synth.operations.Request`, beside ``op`` and ``fmt``.
    scaled : bool
        Whether scales bring weights (one a channel) and inputs (one a layer) to the format's range; otherwise they
        are rounded as they are.
    narrow : bool
        Whether the accumulator is one that accuracy may suffer from.
    published : float, optional
        Millions of multiply-accumulates a second that the paper has in it.
    """

    label: str
    fmt: str
    op: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scaled: bool = False
    narrow: bool = False
    published: float | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The options of the operation in full, ``op`` among them."""
        return {"op": self.op, "fmt": self.fmt, **self.options}

    @property
    def operation(self) -> Operation:
        """The multiply-accumulate."""
        return operator(**self.request)


def _own_width(label: str, fmt: str, *, toward_zero: bool = False, published: float | None = None) -> Arithmetic:
    return Arithmetic(label=f"{label}, summed in itself" + ", toward zero" * toward_zero, fmt=fmt, op="mac",
                      options={"rounding": "toward-zero"} if toward_zero else {}, narrow=True, published=published)


def _register(width: int, *, narrow: bool) -> Arithmetic:
    register = f"int{width}"
    return Arithmetic(label=f"int8, {register} that wraps", fmt="int8", op="mac", scaled=True, narrow=narrow,
                      options={"accumulator": register, "out_fmt": register})


ARITHMETICS = (
    Arithmetic(label="e4m3, exact sum to bfloat16", fmt="float8_e4m3fn", op="emac",
               options={"out_fmt": "bfloat16", "terms": TERMS}),
    _own_width("e4m3", "float8_e4m3fn"), _own_width("e4m3", "float8_e4m3fn", toward_zero=True),
    Arithmetic(label="e4m3 scaled to its range, float16", fmt="float8_e4m3fn", op="mac", scaled=True, narrow=True,
               options={"accumulator": "float16"}),
    _register(32, narrow=False), _register(16, narrow=True),
    Arithmetic(label="posit<8,1>, quire to posit<16,1>", fmt="posit<8,1>", op="emac",
               options={"out_fmt": "posit<16,1>", "terms": TERMS}),
    _own_width("posit<8,1>", "posit<8,1>"),
    Arithmetic(label="e5m2, chunks of 64 in 1-6-9", fmt="float8_e5m2", op="chunked_mac",
               options={"accumulator": "float16_e6m9", "chunk": 64}),
    _own_width("e5m2", "float8_e5m2"), _own_width("e5m2", "float8_e5m2", toward_zero=True),
    _own_width("e5m3", "fp9_e5m3"), _own_width("e5m10", "float16", published=414.0),
)
"""Wide accumulators, and narrow ones whose loss shows only where every step is rounded as the hardware rounds it.

Formats with an exponent are taken as they are, as the accumulators of the papers are meant: where scales bring the
largest number to the end of the range instead, its products leave that of the accumulator.
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out.

    Parameters
    ----------
    seeds : tuple of int
        Of the networks.
    float_accuracy, rounded_accuracy, accuracy : tuple of float
        One a seed: of the float network, of the network with rounded weights and inputs but torch's sums in float32,
        and of the one through the circuit.
    images : int
        Images run, of all seeds.
    seconds : float
        Wall-clock time of those, through the circuit: from pixels to logits, rounding and layout included. The best of
        several runs of each network; torch has one thread, the circuit all cores.
    products : int
        Products that an image takes, those with padding included.
    compared, differing : int
        Sums that were compared with the reference, and those that differ.
    """

    seeds: tuple[int, ...]
    float_accuracy: tuple[float, ...]
    rounded_accuracy: tuple[float, ...]
    accuracy: tuple[float, ...]
    images: int
    seconds: float
    products: int
    compared: int
    differing: int

    @property
    def images_a_second(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def evaluate(arithmetic: Arithmetic, unit: MatrixUnit, *, seeds: Sequence[int] = SEEDS, images: int | None = None,
             step: Callable[[str], None]) -> Outcome:
    """Return what trained networks do on their test images, in float and through a circuit.

    Parameters
    ----------
    arithmetic : Arithmetic
    unit : MatrixUnit
        Of its operation.
    seeds : sequence of int
        One network each, trained on another split of the data.
    images : int, optional
        The first so many test images; all 450 if None.
    step : callable
        Told of each seed.

    Raises
    ------
    ToolMissing
        If scikit-learn is not installed.
    """
    from sw.ptq import quantize_
    from sw.train import accuracy
    from synth.nn import convert

    shares: list[tuple[float, float, float]] = []
    ran, seconds, products, compared, differing = 0, 0.0, 0, 0, 0
    for seed in seeds:
        step(f"{arithmetic.label}, seed {seed}")
        model, calibration, test = _trained(seed)
        test = test if images is None else test.subset(range(images))
        with one_thread():
            plain = accuracy(model, test)
            quantize_(model, _config(arithmetic), batches=calibration)
            rounded = accuracy(model, test)
            convert(model, unit)
            check = _compare(model, arithmetic.operation, test.images[:CHECKED_IMAGES])
            times = []
            for _ in range(RUNS):
                started = time.perf_counter()
                exact = accuracy(model, test)
                times.append(time.perf_counter() - started)
        compared, differing, products = compared + check.compared, differing + check.differing, check.products
        shares.append((plain, rounded, exact))
        seconds, ran = seconds + min(times), ran + len(test)
    plain_shares, rounded_shares, circuit_shares = zip(*shares, strict=True)
    return Outcome(seeds=tuple(seeds), float_accuracy=plain_shares, rounded_accuracy=rounded_shares,
                   accuracy=circuit_shares, images=ran, seconds=seconds, products=products, compared=compared,
                   differing=differing)


def _trained(seed: int) -> tuple[Any, Any, Any]:
    """Return a trained network of the caller's own, its calibration batches, and its test samples."""
    from sw.train import digits, trained

    try:
        split = digits(seed)
    except ImportError as error:
        raise ToolMissing("scikit-learn", "Tool scikit-learn is not installed; it brings the digits that the network "
                                          "is trained on: pip install 'narrowgauge[train]'") from error
    return trained(NETWORK, seed=seed), split.calibration.inputs(), split.test


def _config(arithmetic: Arithmetic) -> Any:
    from sw.ptq import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic, WeightConfig

    fmt = parse(arithmetic.fmt)
    if arithmetic.scaled:
        return Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt))
    one = ScaleRule(statistic=ScaleStatistic.ONE)
    return Config(weight=WeightConfig(format=fmt, granularity=Granularity.TENSOR, scale=one),
                  activation=ActivationConfig(format=fmt, scale=one))


@dataclass(frozen=True, kw_only=True)
class _Check:
    compared: int
    differing: int
    products: int


def _compare(model: Any, operation: Operation, images: Any) -> _Check:
    """Compare every sum of some images, in each layer of the same inputs, with the reference."""
    import torch

    from synth.nn import circuit_layers

    layers = circuit_layers(model)
    inputs: dict[str, Any] = {}
    hooks = [layer.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0]))
             for name, layer in layers.items()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    compared = differing = products = 0
    for name, layer in layers.items():
        circuit, found = layer.unit, layer.result_codes(inputs[name])
        layer.attach_unit(_Reference(circuit, operation))
        differing += int((layer.result_codes(inputs[name]) != found).sum())
        layer.attach_unit(circuit)
        compared += found.numel()
        products += found.numel() // len(images) * layer.weight[0].numel()
    return _Check(compared=compared, differing=differing, products=products)


class _Reference:
    """The reference in a circuit's place."""

    def __init__(self, circuit: Any, operation: Operation) -> None:
        self._circuit, self._operation = circuit, operation

    @property
    def a(self) -> ScalarFormat:
        fmt: ScalarFormat = self._circuit.a
        return fmt

    @property
    def b(self) -> ScalarFormat:
        fmt: ScalarFormat = self._circuit.b
        return fmt

    @property
    def result(self) -> ScalarFormat | None:
        fmt: ScalarFormat | None = self._circuit.result
        return fmt

    @property
    def maximum_terms(self) -> int | None:
        limit: int | None = self._circuit.maximum_terms
        return limit

    def matmul(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
        return reference_matmul(self._operation, a, b)
