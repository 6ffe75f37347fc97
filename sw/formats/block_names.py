"""The named block formats, and the reading of their names: facts first, each with its source."""

import dataclasses
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from sw.formats.block import BlockFormat, ScaleRule
from sw.formats.catalog import OCP_MX
from sw.formats.changes import changed_fields, quoted
from sw.formats.floating_point import FloatingPointFormat, Specials, Subnormals
from sw.formats.names import Resolution, ScalarFormat, number, parse, resolve

NVFP4 = "NVIDIA NVFP4; Intel Neural Compressor, NVFP4 Quantization"
MLS = "Zhong et al. 2022, Low-bit Training of CNNs (multi-level scaling); details by our reading"

_N2 = "0|[1-9][0-9]?"

_AMBIGUOUS = {
    "mxfp8": ("mxfp8_e4m3", "mxfp8_e5m2"),
    "mxfp6": ("mxfp6_e3m2", "mxfp6_e2m3"),
    "mls": ("mls<2,4>", "mls<2,1>"),
}


@dataclass(frozen=True, kw_only=True)
class BlockCatalogEntry:
    """A named block format.

    Parameters
    ----------
    name : str
        Canonical name.
    format : BlockFormat
    source : str
        Document that defines it.
    aliases : tuple of str
        Other names of the very same format.
    """

    name: str
    format: BlockFormat
    source: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BlockResolution:
    """What a name of a block format was taken to mean.

    Parameters
    ----------
    format : BlockFormat
    note : str
        For a name that is not the format's canonical one, which format was chosen; empty otherwise.
    """

    format: BlockFormat
    note: str


def mls(exponent_bits: int, fraction_bits: int) -> BlockFormat:
    """Return the MLS format with elements ``<exponent_bits, fraction_bits>``.

    An element is a signed number below one: of ``2**exponent_bits - 1`` binades and a gradual underflow, without
    special codes, so that it is an integer of ``fraction_bits + 2**exponent_bits - 1`` bits and a sign, times a power
    of two. The scale is ``<8,1>``, ``2**-e`` or ``1.5 * 2**-e``; both scales follow ``ScaleRule.UNIT``. A block has
    nine elements, one 3x3 kernel; give the group's size as ``block_size`` where it is another.

    Source: Zhong et al. 2022 (arXiv 2006.02804) for tensor scale, group scale and element; the largest element, the
    rounding of the scale and the underflow are our reading, the paper's body not being at hand.

    Raises
    ------
    ValueError
        If there is no exponent bit: ``<0,M>`` is ``<1,M-1>``, the same numbers under the same codes; or the format
        cannot be built.
    """
    if exponent_bits == 0:
        twin = f", which is mls<1,{fraction_bits - 1}>" if fraction_bits else ""
        raise ValueError(f"MLS exponent width must be between 1 and 15 bits, not 0 as in mls<0,{fraction_bits}>{twin}")
    return BlockFormat(
        element=FloatingPointFormat(exponent_bits=exponent_bits, fraction_bits=fraction_bits, bias=1 << exponent_bits,
                                    specials=Specials.NONE),
        scale=FloatingPointFormat(exponent_bits=8, fraction_bits=1, bias=255, specials=Specials.NONE, signed=False,
                                  subnormals=Subnormals.ABSENT, has_zero=False),
        block_size=9, scale_rule=ScaleRule.UNIT, tensor_scale=True)


def _mx(name: str, element: str, *aliases: str) -> BlockCatalogEntry:
    return BlockCatalogEntry(name=name, source=OCP_MX, aliases=aliases,
                             format=BlockFormat(element=parse(element), scale=_scale("float8_e8m0fnu")))


def _scale(name: str) -> FloatingPointFormat:
    fmt = parse(name)
    assert isinstance(fmt, FloatingPointFormat)
    return fmt


def _mls(exponent_bits: int, fraction_bits: int) -> BlockCatalogEntry:
    return BlockCatalogEntry(name=f"mls<{exponent_bits},{fraction_bits}>", source=MLS,
                             aliases=(f"mls{exponent_bits}_{fraction_bits}",), format=mls(exponent_bits, fraction_bits))


BLOCK_CATALOG: tuple[BlockCatalogEntry, ...] = (
    _mx("mxfp8_e4m3", "float8_e4m3fn"),
    _mx("mxfp8_e5m2", "float8_e5m2"),
    _mx("mxfp6_e3m2", "float6_e3m2fn"),
    _mx("mxfp6_e2m3", "float6_e2m3fn"),
    _mx("mxfp4", "float4_e2m1fn", "mxfp4_e2m1"),
    # microxcaling leaves the code of -2 unused, for symmetry; gfloat makes it. Here it decodes and is never made.
    _mx("mxint8", "fixed<8,6>:narrow_range=true"),
    BlockCatalogEntry(name="nvfp4", source=NVFP4, format=BlockFormat(
        element=parse("float4_e2m1fn"), scale=_scale("float8_e4m3fn"), block_size=16, scale_rule=ScaleRule.ABSMAX,
        tensor_scale=True)),
    _mls(2, 4),
    _mls(2, 1),
    _mls(1, 3),
    _mls(1, 2),
)


@cache
def block_by_name() -> dict[str, BlockCatalogEntry]:
    """Map each canonical name and alias to its entry."""
    return {name: entry for entry in BLOCK_CATALOG for name in (entry.name, *entry.aliases)}


def parse_block(name: str) -> BlockFormat:
    """Return the block format with this name.

    Accepted are the names and aliases of ``BLOCK_CATALOG``, ``mls<E,M>`` and its shell-safe twin ``mls<E>_<M>``
    without brackets, and any of them followed by ``:field=value,…`` to change fields, as in
    ``mxfp4:block_size=16,scale_rule=even``. The fields are ``element`` and ``scale``, each a scalar format's name (in
    parentheses where it has changed fields of its own), ``block_size``, ``scale_rule`` and ``tensor_scale``. Case and
    surrounding spaces do not matter.

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    ValueError
        If no block format has this name; the message names what could be meant.
    """
    return resolve_block(name).format


def resolve_block(name: str) -> BlockResolution:
    """Return the block format with this name and what to tell a user about the choice. See :func:`parse_block`."""
    stem, colon, changes = _parts(name)
    fmt = _base(stem, name)
    if fmt is None:
        raise ValueError(_not_a_block(stem, name))
    note = "" if stem == fmt.name else f"{stem} means {fmt.name}, {_described(fmt)}"
    return BlockResolution(format=_change(fmt, changes, name) if colon else fmt, note=note)


def resolve_any(name: str) -> Resolution | BlockResolution:
    """Return the scalar or block format with this name. See :func:`sw.formats.parse` and :func:`parse_block`.

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    ValueError
        If neither a scalar nor a block format has this name.
    """
    if not isinstance(name, str) or not name.strip():
        return resolve(name)
    stem = _parts(name)[0]
    return resolve_block(name) if stem in _AMBIGUOUS or _base(stem, name) is not None else resolve(name)


def parse_any(name: str) -> ScalarFormat | BlockFormat:
    """Return the scalar or block format with this name. See :func:`resolve_any`."""
    return resolve_any(name).format


def _parts(name: str) -> tuple[str, str, str]:
    if not isinstance(name, str):
        raise TypeError(f"Block format must be named by a string, not {name!r}")
    text = name.strip()
    text = text.lower() if text.isascii() else text
    if not text:
        raise ValueError("Block format must be a name such as 'mxfp8_e4m3' or 'nvfp4', not ''")
    stem, colon, changes = (part.strip() for part in text.partition(":"))
    return stem, colon, changes


def _base(stem: str, name: str) -> BlockFormat | None:
    """Return the block format that a name without changes stands for; None if there is none."""
    entry = block_by_name().get(stem)
    if entry is not None:
        return entry.format
    match = re.fullmatch(f"mls(?:<({_N2}), *({_N2})>|({_N2})_({_N2}))", stem)
    if match is None:
        return None
    exponent_bits, fraction_bits = (int(group) for group in match.groups() if group is not None)
    try:
        return mls(exponent_bits, fraction_bits)
    except ValueError as error:
        raise ValueError(f"Block format must be buildable, not {quoted(name)}: {error}") from error


def _not_a_block(stem: str, name: str) -> str:
    if stem in _AMBIGUOUS:
        return f"Block format must be one of {', '.join(_AMBIGUOUS[stem])}, not the ambiguous {quoted(name)}"
    try:
        scalar = resolve(stem).format
    except ValueError:
        close = get_close_matches(stem[:60], block_by_name(), n=3, cutoff=0.6)
        mend = f"did you mean {', '.join(close)}?" if close else "see 'python -m synth formats'"
        return f"Block format must be a known name, not {quoted(name)}; {mend}"
    return (f"Block format must share a scale among its elements, not be the scalar format {quoted(name)}; "
            f"sw.formats.parse reads that, and mxfp8_e4m3:element={_nested(scalar)} has such elements")


def block_mend(stem: str) -> str:
    """Say how to go on with the name of a block format where a scalar one is wanted; empty for any other name."""
    if stem in _AMBIGUOUS:
        return f"sw.formats.parse_block reads block formats, of which it may be {' or '.join(_AMBIGUOUS[stem])}"
    fmt = _base(stem, stem)
    return "" if fmt is None else f"sw.formats.parse_block reads it, its elements are {fmt.element.name}"


def _described(fmt: BlockFormat) -> str:
    return (f"blocks of {fmt.block_size} {fmt.element.name} under a {fmt.scale.name} scale "
            f"({number(fmt.bits_per_element)} bits an element)")


# Changes of fields

def _change(fmt: BlockFormat, changes: str, name: str) -> BlockFormat:
    try:
        values = changed_fields(fmt, changes, name, {"element": _scalar, "scale": _scalar})
        return dataclasses.replace(fmt, **values)  # type: ignore[arg-type]  # each value has its field's type
    except (TypeError, ValueError) as error:
        raise ValueError(f"Block format must be buildable, not {quoted(name)}: {error}") from error


def _scalar(text: str) -> ScalarFormat:
    return parse(text[1:-1] if text.startswith("(") and text.endswith(")") else text)


def _nested(fmt: ScalarFormat) -> str:
    return f"({fmt.name})" if ":" in fmt.name else fmt.name


def block_name_of(fmt: BlockFormat) -> str:
    """Return the name of a block format: a named one's, or that of the closest named one with its changed fields."""
    named = {entry.name: entry.format for entry in BLOCK_CATALOG}
    element = fmt.element
    if fmt.scale_rule is ScaleRule.UNIT and isinstance(element, FloatingPointFormat):
        # Every mls<E,M> has a name, the catalog lists a few.
        named.setdefault(f"mls<{element.exponent_bits},{element.fraction_bits}>",
                         mls(element.exponent_bits, element.fraction_bits))
    changes = {name: _differences(fmt, base) for name, base in named.items()}
    base = min(named, key=lambda name: (len(changes[name]), type(named[name].element) is not type(element),
                                        named[name].element_bits != fmt.element_bits))
    return base + (":" + ",".join(changes[base]) if changes[base] else "")


def _differences(fmt: BlockFormat, base: BlockFormat) -> list[str]:
    changes = []
    for field in dataclasses.fields(fmt):
        value = getattr(fmt, field.name)
        if value == getattr(base, field.name):
            continue
        if isinstance(value, ScalarFormat):
            text = _nested(value)
        elif isinstance(value, ScaleRule):
            text = value.value
        else:
            text = str(value).lower()
        changes.append(f"{field.name}={text}")
    return changes
