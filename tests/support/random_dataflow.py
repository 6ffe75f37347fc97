"""Random requests for operations on feature maps and on streamed weights: small ones, of every shape."""


def _some_map(rng):
    fields = {"lanes": rng.randint(1, 2), "height": rng.randint(1, 6), "width": rng.randint(1, 6),
              "stride": rng.choice([1, 1, 2, 3]), "offsets": rng.choice(["none", "square"])}
    return fields if fields["offsets"] == "none" else fields | {"max_offset": rng.randint(0, 4)}


def _line_buffer(rng, some):
    fields = _some_map(rng) | {"fmt": some.scalar(rng, 4), "channel_groups": rng.randint(1, 3), "padding": 1}
    if rng.random() < 0.3:
        return fields | {"lanes": 1, "fmt": "uint2", "offsets": "bounded", "max_offset": rng.randint(1, 2)}
    return fields | {"read_ports": rng.choice([1, 3])}


def _deformable_conv(rng, some):
    fields = _some_map(rng)
    groups = {name: fields["lanes"] * rng.randint(1, 2) for name in ("channels", "output_channels")}
    return fields | groups | {"fmt": f"int{rng.randint(4, 6)}", "fmt_b": f"int{rng.randint(2, 4)}",
                              "read_ports": rng.choice([1, 3])}


def _depthwise(rng, some):
    return {"fmt": some.scalar(rng, 6, narrow=True), "fmt_b": some.scalar(rng, 5, narrow=True),
            "out_fmt": some.scalar(rng), "lanes": rng.randint(1, 2), "taps": rng.randint(1, 4)}


def _pointwise(rng, some):
    return {"fmt": some.scalar(rng, 6, narrow=True), "fmt_b": some.scalar(rng, 5, narrow=True),
            "lanes": rng.randint(1, 2), "output_lanes": rng.randint(1, 3), "terms": rng.choice([2, 6, 16])}


def _requantize(rng, some):
    return {"fmt": f"int{rng.randint(4, 24)}", "out_fmt": rng.choice(["int4", "int8", "uint8"]), "lanes": 1}


def _sparse_chain(rng, some):
    block = rng.choice([2, 4, 8])
    if rng.random() < 0.3:
        return {"fmt": some.scalar(rng, 5, narrow=True), "block": block, "length": block, "smallest": block,
                "vectors": 1}
    return {"fmt": some.fixed(rng, 4), "fmt_b": some.fixed(rng, 4), "block": block, "length": rng.choice([2, 4]),
            "vectors": rng.randint(1, 2), "smallest": rng.choice([1, 2])}


def _packed_mac(rng, some):
    return {"fmt": some.fixed(rng), "fmt_b": some.fixed(rng), "lanes": rng.randint(1, 3), "terms": rng.randint(1, 9)}


def _mx_chain(rng, some):
    size = rng.choice([1, 2, 3])
    fmt = f"{some.block(rng).partition(':')[0]}:block_size={size}"
    return {"fmt": fmt, "length": size * rng.randint(1, 2), "vectors": 1, "out_fmt": rng.choice(["bfloat16", "e4m3"])}


def _square_offset(rng, some):
    return {"fmt": f"int{rng.randint(2, 8)}", "fmt_b": f"int{rng.randint(2, 4)}", "lanes": rng.randint(1, 2),
            "terms": rng.choice([2, 8, 100]), "max_offset": rng.randint(1, 15)}


def _dequantize(rng, some):
    widths = sorted(rng.sample(range(1, 9), rng.randint(1, 3)))
    return {"code_widths": ",".join(map(str, widths)), "lanes": rng.randint(1, 3)}


DATAFLOW = {
    "line_buffer": _line_buffer, "deformable_conv": _deformable_conv, "depthwise": _depthwise,
    "pointwise": _pointwise, "requantize": _requantize, "sparse_chain": _sparse_chain, "packed_mac": _packed_mac,
    "mx_chain": _mx_chain, "square_offset": _square_offset, "dequantize": _dequantize}
"""What makes a request for each: from a generator and the makers of formats."""
