import numpy as np
import pytest

from synth.netlist import packing
from synth.netlist.instruction_set import host_instruction_sets
from synth.netlist.native_packing import pack_codes_native, unpack_codes_native
from synth.netlist.packing import NATIVE_CODES, code_type, pack_codes, unpack_codes

SETS = host_instruction_sets()


@pytest.mark.parametrize("width", [1, 3, 8, 9, 16, 17, 24, 32, 33, 64])
@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_native_packing_is_numpys(isa, width):
    """In whole blocks and in part of one; numpy's is used for few codes."""
    rng = np.random.default_rng(width)
    for count in (1, 64, 511, 512, 5000):
        codes = rng.integers(0, 1 << width, count, dtype=np.uint64)
        want = pack_codes(codes, width)
        planes = pack_codes_native(codes, width, isa=isa)
        assert planes.dtype == want.dtype
        assert planes.shape == want.shape
        assert (planes == want).all(), count
        for vectors in {count, max(count - 70, 0)}:
            back = unpack_codes_native(planes, vectors, isa=isa)
            assert back.dtype == code_type(width)
            assert (back == codes[:vectors]).all(), (count, vectors)


@pytest.mark.parametrize("isa", SETS, ids=lambda isa: isa.value)
def test_planes_may_lie_anywhere(isa):
    codes = np.random.default_rng(1).integers(0, 1 << 12, 4000, dtype=np.uint16)
    planes = pack_codes_native(codes, 12, isa=isa)
    for view in (np.asfortranarray(planes), np.concatenate([planes, planes], axis=1)[:, :planes.shape[1]],
                 np.ascontiguousarray(planes[::-1])[::-1]):
        assert (unpack_codes_native(view, 4000, isa=isa) == codes).all()


def test_unused_bits_of_planes_are_ignored():
    planes = np.full((3, 2), (1 << 64) - 1, np.uint64)
    assert unpack_codes_native(planes, 70).tolist() == [7] * 70
    assert pack_codes_native(np.full(70, 7), 3)[:, 1].tolist() == [0b111111] * 3


def test_large_arrays_are_packed_natively(monkeypatch):
    calls = []
    for name in ("pack_codes_native", "unpack_codes_native"):
        function = getattr(packing_module(), name)
        monkeypatch.setattr(f"synth.netlist.native_packing.{name}",
                            lambda *given, function=function: calls.append(function) or function(*given))
    codes = np.arange(NATIVE_CODES, dtype=np.uint64) % 777
    assert (unpack_codes(pack_codes(codes, 10), codes.size) == codes).all()
    assert len(calls) == 2
    assert (unpack_codes(pack_codes(codes[1:], 10), codes.size - 1) == codes[1:]).all()
    monkeypatch.setenv("NARROWGAUGE_ENGINE", "numpy")
    assert (unpack_codes(pack_codes(codes, 10), codes.size) == codes).all()
    assert len(calls) == 2


def packing_module():
    from synth.netlist import native_packing

    assert packing.NATIVE_CODES > 0
    return native_packing
