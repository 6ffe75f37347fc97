"""From codes to bit planes and back, as C that every compiler takes."""

from __future__ import annotations

__all__ = ["CODE_WIDTHS", "code_width", "packing_functions"]

CODE_WIDTHS = (8, 16, 32, 64)
"""Widths of C's unsigned types."""

_TEXT = """\
#ifndef NARROWGAUGE_PACKING_@
#define NARROWGAUGE_PACKING_@
/* Transpose @ x @ bits, 64/@ of them side by side: bit @*j + r of words[i] and bit @*j + i of words[r] change places
   (Warren, Hacker's Delight, 2nd edition, section 7-3). */
static inline void narrowgauge_transpose_@(uint64_t words[@])
{
    unsigned distance, k;
    for (distance = @ / 2; distance != 0; distance /= 2) {
        const uint64_t mask = UINT64_MAX / ((UINT64_C(1) << distance) + 1);
        for (k = 0; k < @; k = ((k | distance) + 1) & ~distance) {
            const uint64_t changed = ((words[k] >> distance) ^ words[k | distance]) & mask;
            words[k | distance] ^= changed;
            words[k] ^= changed << distance;
        }
    }
}

/* Write bit i of 64 codes to planes[i * stride], for i < bits: bit k of a plane is of codes[k]. */
static inline void narrowgauge_pack_@(const uint@_t codes[64], unsigned bits, uint64_t *planes, size_t stride)
{
    uint64_t words[@];
    unsigned i, j;
    for (i = 0; i < @; ++i) {
        words[i] = 0;
        for (j = 0; j < 64 / @; ++j)
            words[i] |= (uint64_t)codes[@ * j + i] << (@ * j % 64);
    }
    narrowgauge_transpose_@(words);
    for (i = 0; i < bits; ++i)
        planes[i * stride] = words[i];
}

/* The way back: 64 codes from planes[i * stride], for i < bits; further bits of a code are 0. */
static inline void narrowgauge_unpack_@(const uint64_t *planes, size_t stride, unsigned bits, uint@_t codes[64])
{
    uint64_t words[@];
    unsigned i, j;
    for (i = 0; i < @; ++i)
        words[i] = i < bits ? planes[i * stride] : 0;
    narrowgauge_transpose_@(words);
    for (i = 0; i < @; ++i)
        for (j = 0; j < 64 / @; ++j)
            codes[@ * j + i] = (uint@_t)(words[i] >> (@ * j % 64));
}
#endif
"""


def code_width(bits: int) -> int | None:
    """Return the width of the smallest type that holds codes of so many bits; None if there is none."""
    return next((width for width in CODE_WIDTHS if bits <= width), None)


def packing_functions(width: int) -> str:
    """Return the functions for codes of a type, in natural order of the lanes; guarded, for several headers in one
    file.

    Raises
    ------
    ValueError
        If there is no such type.
    """
    if width not in CODE_WIDTHS:
        raise ValueError(f"Code width must be one of {', '.join(map(str, CODE_WIDTHS))} bits, not {width!r}")
    return _TEXT.replace("@", str(width))
