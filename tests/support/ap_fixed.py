"""The modes of ap_fixed: the rounding modes of apytypes under our names, and overflow by definitions of its own."""

from sw.formats import OverflowPolicy, RoundingMode

# The seven modes of ap_fixed (AMD UG1399), and the two more that apytypes has.
APYTYPES_MODES = {
    "TRN": RoundingMode.DOWN, "TRN_ZERO": RoundingMode.TOWARD_ZERO, "RND": RoundingMode.NEAREST_UP,
    "RND_ZERO": RoundingMode.NEAREST_ZERO, "RND_INF": RoundingMode.NEAREST_AWAY,
    "RND_MIN_INF": RoundingMode.NEAREST_DOWN, "RND_CONV": RoundingMode.NEAREST_EVEN,
    "TRN_INF": RoundingMode.UP, "JAM_UNBIASED": RoundingMode.TO_ODD,
}


def wrapped_sign_magnitude(integer, width):
    """Walk from zero, one step at a time, and turn round at both ends: what AP_WRAP_SM comes to."""
    position, direction = 0, 1 if integer >= 0 else -1
    for _ in range(abs(integer)):
        following = position + direction
        if not -(1 << width - 1) <= following < 1 << width - 1:
            direction, following = -direction, position  # the end counts twice
        position = following
    return position


# What an integer becomes in so many bits, between two bounds.
OVERFLOWS = {
    OverflowPolicy.SATURATE: lambda x, low, high, width: max(low, min(high, x)),
    OverflowPolicy.SATURATE_SYMMETRIC: lambda x, low, high, width: max(-high if low else 0, min(high, x)),
    OverflowPolicy.SATURATE_ZERO: lambda x, low, high, width: x if low <= x <= high else 0,
    OverflowPolicy.WRAP: lambda x, low, high, width: (x - low) % (1 << width) + low,
    OverflowPolicy.WRAP_SIGN_MAGNITUDE: lambda x, low, high, width: wrapped_sign_magnitude(x, width),
}
