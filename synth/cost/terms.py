"""The terms of a cost: what a bit of each kind of work is, and about how many lookup tables it should take."""

from dataclasses import dataclass

Terms = dict[str, float]
"""How much of each kind of work a circuit does, by the name of the term."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One kind of work in a datapath.

    Parameters
    ----------
    text : str
        What is counted.
    four, six : float
        Lookup tables a bit that one expects beforehand, of four and of six inputs: where measurements say nothing of a
        term, as of the regime when no posit was measured, this is what stands.
    """

    text: str
    four: float
    six: float

    def expected(self, lut_inputs: int) -> float:
        """Return the lookup tables a bit for tables of 4 or 6 inputs."""
        return self.six if lut_inputs > 4 else self.four


# An adder's bit takes a lookup table in front of its carry cell, whatever its inputs. A multiplexer has three inputs:
# one table of four, half a table of six, which holds two levels; half as much again where what it chooses by has to be
# found from the same bits first. A partial product takes a table of its own in front of a carry cell, or joins the
# adder's where tables have six inputs. A full adder of columns takes two tables, and what it adds a third.
TERMS = {
    "circuit": Term(text="control and handshake", four=3, six=3),
    "unpack": Term(text="inputs of the gates that tell subnormal numbers and zeros from others", four=2, six=1),
    "special": Term(text="inputs of the gates that recognise NaN and infinities", four=1, six=0.6),
    "regime": Term(text="lookup tables that unpack a posit's regime", four=1, six=1),
    "negate": Term(text="bits of two's complement turned into a magnitude", four=1, six=0.6),
    "mask": Term(text="bits of a magnitude that a zero clears", four=1, six=0.6),
    "and": Term(text="bits of a product by a single bit", four=1, six=0.6),
    "rows": Term(text="adder bits of a product by rows", four=2, six=1.3),
    "columns": Term(text="partial products of a product by columns", four=3, six=1.2),
    "booth": Term(text="adder bits of a product by Booth recoding", four=2.5, six=1),
    "gated": Term(text="adder bits of a product by rows that carry cells gate", four=1.1, six=1.3),
    "exponent": Term(text="adder bits of the exponents' sum", four=1, six=1),
    "normalise": Term(text="multiplexer bits that remove leading zeros", four=1.5, six=1),
    "top": Term(text="multiplexer bits that remove a product's last leading zero", four=1.5, six=1),
    "align": Term(text="multiplexer bits of the shift onto the result's grid", four=1, six=0.6),
    "late_align": Term(text="multiplexer bits of that shift where it removes leading zeros, too", four=1, six=0.6),
    "align_control": Term(text="bits that say how far that shift goes", four=1, six=1),
    "string": Term(text="multiplexer bits that make a posit's regime", four=1, six=0.6),
    "string_control": Term(text="bits that say how long that regime is", four=1, six=1),
    "round": Term(text="adder bits of the rounding", four=1, six=1),
    "encode": Term(text="bits chosen between a code and the special ones", four=1, six=0.6),
    "saturate": Term(text="bits compared and replaced where fixed point saturates", four=1, six=0.6),
    "table": Term(text="lookup tables of a product written as a truth table", four=0.8, six=0.8),
    "significand_table": Term(text="lookup tables of a rounded product's fraction", four=0.8, six=0.8),
    "subnormal_table": Term(text="lookup tables of that fraction where the product is subnormal", four=0.8, six=0.8),
    "shift": Term(text="multiplexer bits of the shift onto the sum's grid", four=1, six=0.5),
    "shift_edge": Term(text="bits of that shift of which one side is constant", four=0.3, six=0.1),
    "shift_pair": Term(text="bits of every second level of that shift", four=0, six=0),
    "place": Term(text="bits of the grid that a product is placed on", four=0, six=0),
    "tree": Term(text="adder bits of the tree that sums lanes", four=1, six=1),
    "last": Term(text="magnitude bits of the lane that is negated by itself", four=1, six=1),
    "sum": Term(text="bits of the sum", four=1.3, six=1.3),
    "flags": Term(text="flags of terms that are no finite numbers", four=2, six=2),
    "round_leading": Term(text="multiplexer bits that find a sum's leading bit", four=1.5, six=1),
    "round_below": Term(text="bits of a sum below every result", four=0.4, six=0.25),
    "round_above": Term(text="bits of a sum above every result", four=0.6, six=0.35),
    "round_result": Term(text="bits of a sum's rounded result", four=2, six=2),
    "round_negate": Term(text="bits of a sum turned into a magnitude", four=1, six=1),
    "hard": Term(text="hard multipliers", four=0, six=0),
}
"""Every term, by name."""

PRODUCT_TERMS = ("and", "rows", "columns", "booth", "gated")
"""Terms that a hard multiplier takes away."""


def total(*parts: Terms) -> Terms:
    """Return the sum of several counts."""
    result: Terms = {}
    for part in parts:
        for name, value in part.items():
            result[name] = result.get(name, 0) + value
    return result


def times(count: int, part: Terms) -> Terms:
    """Return the same work done several times."""
    return {name: count * value for name, value in part.items()}
