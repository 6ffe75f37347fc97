"""Random netlists of gates, flip-flops of every kind and memories, as JSON objects of Yosys."""

from tests.synth.netlist.builders import design

_GATES = {
    "$_NOT_": "A", "$_AND_": "AB", "$_NAND_": "AB", "$_OR_": "AB", "$_NOR_": "AB", "$_XOR_": "AB", "$_XNOR_": "AB",
    "$_ANDNOT_": "AB", "$_ORNOT_": "AB", "$_MUX_": "ABS", "$_NMUX_": "ABS", "$_AOI3_": "ABC", "$_OAI3_": "ABC",
    "$_AOI4_": "ABCD", "$_OAI4_": "ABCD",
}
_FLIP_FLOPS = {
    "$_DFF_P_": "", "$_DFF_N_": "", "$_DFFE_PP_": "E", "$_DFFE_NN_": "E", "$_DFF_PP1_": "R", "$_DFF_NN0_": "R",
    "$_SDFF_PP0_": "R", "$_SDFFE_PN1P_": "RE", "$_SDFFCE_PP0N_": "RE", "$_DFFE_PP0P_": "RE",
}


def random_netlist(rng, *, gates, flip_flops=0, memories=0):
    """Return a netlist with a few input ports, of which one may be wider than a word, and as many outputs.

    Gates read inputs, flip-flops, memories and gates before them, and constants; outputs are any of these.
    """
    nets = iter(range(2, 1 << 20))
    clock = next(nets)
    ports = {"clk": ("input", [clock])} if flip_flops or memories else {}
    widths = [rng.choice([1, 2, 3, 5, 8, 9, 16, 17]) for _ in range(rng.randint(1, 3))] + rng.choice([[], [], [65]])
    ports |= {f"i{index}": ("input", [next(nets) for _ in range(width)]) for index, width in enumerate(widths)}
    inputs = [net for name, (_, bits) in ports.items() if name != "clk" for net in bits]
    stored = [next(nets) for _ in range(flip_flops)]
    pool = [*inputs, *stored, "0", "1"]
    cells = {}

    def some(count):
        # Mostly what was made last, so that the logic is deep.
        return [rng.choice(pool[-12:] if rng.random() < 0.6 else pool) for _ in range(count)]

    for index in range(gates):
        kind, output = rng.choice(list(_GATES)), next(nets)
        cells[f"gate{index}"] = (kind, {}, {**dict(zip(_GATES[kind], some(4), strict=False)), "Y": output})
        pool.append(output)
        if memories and index % (1 + gates // (1 + memories)) == 0:
            outputs = [next(nets) for _ in range(4)]
            cells[f"memory{index}"] = ("TRELLIS_DPR16X4", {"INITVAL": format(rng.getrandbits(64), "064b")}, {
                "RAD": some(4), "DO": outputs, "WAD": some(4), "DI": some(4), "WRE": some(1), "WCK": clock})
            pool += outputs
    for index, net in enumerate(stored):
        kind = rng.choice(list(_FLIP_FLOPS))
        pins = {"C": clock, "Q": net, **dict(zip(("D", *_FLIP_FLOPS[kind]), some(3), strict=False))}
        if "R" in pins and "$_S" not in kind:
            pins["R"] = rng.choice(inputs)               # what acts at once may not depend on what it acts on
        cells[f"stored{index}"] = (kind, {}, pins)
    ports |= {f"o{index}": ("output", some(rng.choice([1, 4, 8, 13, 33, 70]))) for index in range(rng.randint(1, 3))}
    return design(ports, cells)
