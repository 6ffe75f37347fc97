"""The scalar baseline is IEEE 754 arithmetic: compared with numpy's float16."""

import numpy as np
import pytest

from synth.bench import softfloat16
from synth.bench.quantize import NotMeasured
from synth.bench.softfloat16 import ScalarHalf, check, find_compiler, is_nan, operands, same_codes


@pytest.fixture(scope="module")
def library():
    try:
        find_compiler()
    except NotMeasured as reason:
        pytest.skip(str(reason))
    with ScalarHalf() as made:
        yield made


def test_products_and_sums_are_those_of_numpy(library):
    check(library, seed=1, count=1 << 20)


@pytest.mark.parametrize("code", [0x0001, 0x03FF, 0x0400, 0x3C00, 0x3555, 0x7BFF, 0x7C00, 0x8000])
def test_one_operand_with_all_others(library, code):
    a, b = np.full(1 << 16, code, np.uint16), np.arange(1 << 16, dtype=np.uint16)
    got = np.empty_like(a)
    with np.errstate(all="ignore"):
        x, y = a.view(np.float16), b.view(np.float16)
        for run, want in ((library.multiply, (x * y).view(np.uint16)), (library.add, (x + y).view(np.uint16))):
            run(a, b, got)
            wrong = np.flatnonzero(~same_codes(got, want))
            assert not wrong.size, (
                f"{code:#06x}, {b[wrong[0]]:#06x}: got {got[wrong[0]]:#06x}, want {want[wrong[0]]:#06x}")


def test_every_nan_is_the_canonical_one(library):
    a, b = operands(2, 1 << 16)
    got = np.empty_like(a)
    for run in (library.multiply, library.add):
        run(a, b, got)
        assert set(got[is_nan(got)].tolist()) == {0x7E00}


def test_sums_of_products_are_rounded_in_order(library):
    values = np.random.default_rng(3).standard_normal((2, 9, 100)).astype(np.float16)
    a, b = (each.view(np.uint16) for each in values)
    sums = np.full(100, 0x1234, np.uint16)
    library.accumulate(a, b, sums, 2)                    # each repeat starts from zero
    want = np.zeros(100, np.float16)
    for x, y in zip(*values, strict=True):
        want = want + x * y
    assert sums.tolist() == want.view(np.uint16).tolist()


def test_a_wrong_library_is_no_baseline(library):
    class Truncated:
        add = library.add

        def multiply(self, a, b, products):
            library.multiply(a, b, products)
            products &= np.uint16(0xFFFE)

    code = "0x[0-9a-f]{4}"
    with pytest.raises(AssertionError, match=rf"{code} \* {code} must be {code}, not {code}"):
        check(Truncated(), seed=1, count=64)


def test_without_a_compiler_there_is_no_figure(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(softfloat16.shutil, "which", lambda name: None)
    with pytest.raises(NotMeasured, match="there is no C compiler"):
        ScalarHalf()


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    broken = tmp_path / "broken.c"
    broken.write_text("#error this cannot be compiled\n")
    monkeypatch.setattr(softfloat16, "SOURCE", broken)
    try:
        find_compiler()
    except NotMeasured as reason:
        pytest.skip(str(reason))
    with pytest.raises(NotMeasured, match="the C compiler .* ended with 1; its last words: "):
        ScalarHalf()


def test_the_variable_names_the_compiler(monkeypatch):
    monkeypatch.setenv("CC", "my-compiler")
    monkeypatch.setattr(softfloat16.shutil, "which", lambda name: f"/bin/{name}")
    assert find_compiler() == "/bin/my-compiler"
