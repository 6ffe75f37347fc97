"""Codes to bit planes and back, beside the copy of as many bytes."""

from __future__ import annotations

from functools import partial

import numpy as np

from synth.bench.native_others import repeated
from synth.bench.native_part import Document, Progress, Settings
from synth.bench.native_timing import Side, clocked, rates
from synth.netlist.packing import code_type, pack_codes, unpack_codes

WIDTHS = (8, 16, 32)

BYTES = {"cache": 1 << 17, "memory": 1 << 26}
"""Sizes of the arrays of codes: in the second-level cache, and beyond all caches."""

QUICK_BYTES = {"cache": 1 << 17, "memory": 1 << 22}


def run(settings: Settings, progress: Progress) -> Document:
    """Measure packing in vectors' own order, as ports of an engine have it, and return one document.

    Returns
    -------
    dict
        ``rows``: for each ``width`` of codes and each of ``cache`` and ``memory`` (``where``) the ``bytes`` of the
        array of codes, of ``pack``, ``unpack`` and ``copy`` the bytes of codes a second, and the ratios of the former
        two to the copy: ``pack_fraction``, ``unpack_fraction``.

    Raises
    ------
    AssertionError
        If codes do not come back as they were.
    """
    rows = []
    for width in WIDTHS:
        for where, size in (QUICK_BYTES if settings.quick else BYTES).items():
            progress(f"packing: {width}-bit codes, {where}")
            rows.append(_row(width, where, size, settings))
    return {"rows": rows}


def _row(width: int, where: str, size: int, settings: Settings) -> Document:
    dtype = code_type(width)
    codes = np.random.default_rng(settings.seed).integers(0, 1 << width, size // dtype.itemsize).astype(dtype)
    planes, copied = pack_codes(codes, width), np.empty_like(codes)
    if not np.array_equal(unpack_codes(planes, codes.size), codes):
        raise AssertionError(f"Codes of {width} bits must come back from their planes as they were")
    found = rates(clocked({"pack": Side.of(codes.nbytes, repeated(partial(pack_codes, codes, width))),
                   "unpack": Side.of(codes.nbytes, repeated(partial(unpack_codes, planes, codes.size))),
                   "copy": Side.of(codes.nbytes, repeated(partial(np.copyto, copied, codes)))},
                          threads=1), settings.effort)
    return {"width": width, "where": where, "bytes": codes.nbytes, **found,
            "pack_fraction": found["pack"] / found["copy"], "unpack_fraction": found["unpack"] / found["copy"]}
