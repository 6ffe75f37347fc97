"""One or more requests for every operation: what the tests of the whole library go through."""

from synth.operations import Request, find_operation

SMALL = {
    "multiply": [{"fmt": "e4m3"}, {"fmt": "posit<8,1>"}, {"fmt": "int8", "out_fmt": "int16"},
                 {"fmt": "fixed<6,3>", "rounding": "nearest-up", "overflow": "saturate-zero"}],
    "add": [{"fmt": "e4m3"}, {"fmt": "posit<6,1>"}, {"fmt": "fixed<6,3>", "fmt_b": "fixed<7,1>", "overflow": "wrap",
                                                      "rounding": "down"}, {"fmt": "e5m2", "fmt_b": "int8"}],
    "fma": [{"fmt": "e3m2"}, {"fmt": "posit<6,0>"}, {"fmt": "e2m1", "fmt_c": "e4m3", "out_fmt": "e4m3"}],
    "convert": [{"fmt": "float16", "out_fmt": "e4m3"}, {"fmt": "e4m3", "out_fmt": "posit<8,1>"},
                {"fmt": "posit<8,2>", "out_fmt": "fixed<12,6>"}, {"fmt": "e5m2", "out_fmt": "radix4_fp4_even"},
                {"fmt": "e4m3", "out_fmt": "e2m1", "rounding": "stochastic", "random_bits": 4},
                {"fmt": "e4m3", "out_fmt": "e2m1", "rounding": "stochastic", "random_bits": 4,
                 "random_source": "lfsr"}],
    "mac": [{"fmt": "int8", "out_fmt": "int16", "terms": 16},
            {"fmt": "fixed<6,3>", "fmt_b": "ufixed<5,5>", "accumulator": "fixed<14,8>", "fmt_c": "fixed<8,2>",
             "out_fmt": "fixed<7,2>", "rounding": "nearest-zero", "overflow": "wrap-sign-magnitude"},
            {"fmt": "e3m2"}, {"fmt": "posit<6,1>", "fmt_b": "int4", "accumulator": "e4m5", "rounding": "down"}],
    "emac": [{"fmt": "e3m2", "terms": 16}, {"fmt": "posit<6,1>", "terms": 8, "fmt_c": "posit<6,1>"},
             {"fmt": "int4", "terms": 16, "out_fmt": "exact"}, {"fmt": "e4m3", "terms": 8, "fmt_c": "bfloat16"}],
    "chunked_mac": [{"fmt": "e3m2", "accumulator": "e4m5", "chunk": 4},
                    {"fmt": "e2m1", "accumulator": "e3m4", "chunk": 2, "rounding": "stochastic", "random_bits": 3},
                    {"fmt": "e2m1", "accumulator": "e3m4", "chunk": 2, "rounding": "stochastic", "random_bits": 4,
                     "random_source": "lfsr"}],
    "dot": [{"fmt": "e2m1"}, {"fmt": "int3", "lanes": 3, "out_fmt": "exact"}, {"fmt": "posit<5,1>", "lanes": 2}],
    "dot_accumulate": [{"fmt": "e2m1", "accumulator": "e4m5", "lanes": 2},
                       {"fmt": "int4", "accumulator": "int10", "lanes": 2, "fmt_c": "int10"}],
    "mx_dot": [{"fmt": "mxfp4:block_size=2"}, {"fmt": "mxint8:block_size=2", "out_fmt": "bfloat16"},
               {"fmt": "nvfp4:block_size=2"}],
    "block_mac": [{"fmt": "mxint8:block_size=2", "terms": 8, "out_fmt": "bfloat16"},
                  {"fmt": "nvfp4:block_size=2", "out_fmt": "exact"}, {"fmt": "mxfp4:block_size=2", "terms": 16}],
    "khot_multiply": [{"fmt": "int6"}, {"fmt": "fixed<8,4>", "hot": 1, "max_shift": 7, "out_fmt": "fixed<8,1>"}],
    "int4_fp4_dot": [{"lanes": 2}, {"lanes": 4, "rounding": "nearest-away"}],
    "systolic": [{"fmt": "int4", "size": 2, "terms": 16, "out_fmt": "int8"},
                 {"fmt": "e2m1", "size": 2, "terms": 8, "mac": "emac"},
                 {"fmt": "fixed<4,2>", "size": 2, "terms": 8, "rounding": "stochastic", "random_bits": 4,
                  "random_source": "lfsr"}],
    "line_buffer": [{"lanes": 2, "height": 5, "width": 4, "max_offset": 2},
                    {"lanes": 1, "height": 4, "width": 5, "channel_groups": 2, "stride": 2, "offsets": "none"},
                    {"lanes": 1, "fmt": "e2m1", "height": 3, "width": 6, "max_offset": 1, "offsets": "bounded"},
                    {"lanes": 1, "fmt": "int4", "height": 5, "width": 3, "max_offset": 3, "read_ports": 1}],
    "deformable_conv": [{"lanes": 2, "height": 5, "width": 4, "channels": 4, "max_offset": 2},
                        {"lanes": 1, "height": 3, "width": 5, "channels": 2, "output_channels": 3, "stride": 2,
                         "offsets": "none"}],
    "depthwise": [{"fmt": "e2m1", "fmt_b": "int4", "lanes": 1, "taps": 3, "out_fmt": "bfloat16"}, {"lanes": 2}],
    "pointwise": [{"fmt": "e2m1", "lanes": 1, "output_lanes": 3, "terms": 8}, {"lanes": 2, "terms": 16}],
    "requantize": [{"lanes": 1, "fmt": "int16", "out_fmt": "int8"}],
    "sparse_chain": [{"fmt": "e2m1", "length": 4, "block": 4, "smallest": 4, "vectors": 1},
                     {"fmt": "int4", "length": 4, "block": 8}],
    "packed_mac": [{"fmt": "int8", "fmt_b": "int4", "lanes": 3, "terms": 2}, {"fmt": "int4"}],
    "mx_chain": [{"fmt": "mxfp4:block_size=2", "length": 4}],
    "square_offset": [{"lanes": 2, "terms": 8, "max_offset": 5}],
    "dequantize": [{"lanes": 3, "code_widths": "3"}, {"lanes": 2}],
}
"""Requests by operation: small enough to be synthesized and checked in seconds."""

SMALLEST = {
    "multiply": {"fmt": "e4m3"}, "add": {"fmt": "e4m3"}, "fma": {"fmt": "e2m1", "fmt_c": "e4m3", "out_fmt": "e4m3"},
    "convert": {"fmt": "e4m3", "out_fmt": "e2m1", "rounding": "stochastic", "random_bits": 4, "random_source": "lfsr"},
    "mac": {"fmt": "int8", "out_fmt": "int16", "terms": 16}, "emac": {"fmt": "e3m2", "terms": 16},
    "chunked_mac": {"fmt": "e2m1", "accumulator": "e3m4", "chunk": 2}, "dot": {"fmt": "e2m1"},
    "dot_accumulate": {"fmt": "e2m1", "accumulator": "e4m5", "lanes": 2}, "mx_dot": {"fmt": "mxfp4:block_size=2"},
    "block_mac": {"fmt": "nvfp4:block_size=2", "out_fmt": "exact"}, "khot_multiply": {"fmt": "int6"},
    "int4_fp4_dot": {"lanes": 2}, "systolic": {"fmt": "int4", "size": 2, "terms": 16, "out_fmt": "int8"},
    "line_buffer": {"lanes": 1, "fmt": "int4", "height": 5, "width": 3, "max_offset": 3, "read_ports": 1},
    "deformable_conv": {"lanes": 1, "fmt": "int3", "fmt_b": "int2", "height": 3, "width": 3, "channels": 1,
                        "output_channels": 1, "stride": 2, "offsets": "none"},
    "depthwise": {"fmt": "e2m1", "fmt_b": "int4", "lanes": 1, "taps": 3, "out_fmt": "bfloat16"},
    "pointwise": {"fmt": "e2m1", "lanes": 1, "output_lanes": 3, "terms": 8},
    "requantize": {"lanes": 1, "fmt": "int16", "out_fmt": "int8"},
    "sparse_chain": {"fmt": "e2m1", "length": 4, "block": 4, "smallest": 4, "vectors": 1},
    "packed_mac": {"fmt": "int4"}, "mx_chain": {"fmt": "mxfp4:block_size=2", "length": 2},
    "square_offset": {"lanes": 1, "terms": 4, "max_offset": 3}, "dequantize": {"lanes": 2},
}
"""One request for every operation, among the smallest that use all of it."""


def operations(requests=None):
    """Return every operation of the requests, each with its request."""
    return [(find_operation(name), fields) for name, each in (requests or SMALL).items() for fields in each]


def operation(kind, fields):
    """Return the operation that a request describes."""
    return Request(op=kind.name, **fields).operation(kind)


def label(case):
    """Return a test's name for a kind and its request."""
    kind, fields = case
    return "-".join([kind.name, *(str(value) for value in fields.values())])
