/* Half-precision multiplication and addition on integers, written from IEEE 754-2019 as a scalar software
 * floating-point library has them: subnormals, infinities and NaN, rounding to nearest with ties to even. Exception
 * flags are left out, and every NaN result is the canonical quiet NaN 0x7e00. This is the bench's baseline: one number
 * at a time, by the integer unit.
 */
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

#define SIGN 0x8000u
#define INFINITE 0x7c00u
#define CANONICAL_NAN 0x7e00u

static uint32_t magnitude(uint16_t code) { return code & 0x7fffu; }

static int is_nan(uint16_t code) { return magnitude(code) > INFINITE; }

/* How far to shift left until the leading one is bit 13; 0 for a value that has bit 13 already, 14 for zero. */
static int leading_zeros(uint32_t value)
{
#if defined(__GNUC__)
    return __builtin_clz((value << 1) | 1u) - 17;
#else
    int count = 0;
    for (value = (value << 1) | 1u; !(value & 0x4000u); value <<= 1)
        count++;
    return count;
#endif
}

/* Shift right; what falls out leaves its mark in the lowest bit. */
static uint32_t shift_sticky(uint32_t value, int distance)
{
    if (distance > 31)
        return value != 0;
    return (value >> distance) | ((value & ((1u << distance) - 1u)) != 0);
}

/* The code of significand * 2^(exponent - 28), rounded: the leading one of a normal number is bit 13, the unit in the
 * last place bit 3. A smaller significand comes with exponent 1 alone, and is subnormal. */
static uint16_t rounded(uint32_t sign, int exponent, uint32_t significand)
{
    uint32_t code;
    if (exponent < 1) {
        significand = shift_sticky(significand, 1 - exponent);
        exponent = 1;
    }
    /* The leading one of a normal number adds the last unit of the exponent, and so does a carry out of rounding. */
    code = ((uint32_t)(exponent - 1) << 10) + (significand >> 3);
    code += ((significand & 7u) + (code & 1u)) > 4u;
    return (uint16_t)(sign | (exponent > 30 || code > INFINITE ? INFINITE : code));
}

static uint16_t multiply(uint16_t a, uint16_t b)
{
    const uint32_t sign = (uint32_t)(a ^ b) & SIGN;
    uint32_t x = magnitude(a), y = magnitude(b), product;
    int p = (int)(x >> 10), q = (int)(y >> 10), exponent;
    if (p == 31 || q == 31) {
        if (is_nan(a) || is_nan(b) || x == 0 || y == 0)
            return CANONICAL_NAN;
        return (uint16_t)(sign | INFINITE);
    }
    if (x == 0 || y == 0)
        return (uint16_t)sign;
    x &= 0x3ffu;
    y &= 0x3ffu;
    if (p)
        x |= 0x400u;
    else {
        p = 1 - leading_zeros(x << 3);
        x <<= 1 - p;
    }
    if (q)
        y |= 0x400u;
    else {
        q = 1 - leading_zeros(y << 3);
        y <<= 1 - q;
    }
    exponent = p + q - 15;
    product = x * y; /* its leading one is bit 20 or 21 */
    if (product >> 21)
        exponent++;
    else
        product <<= 1;
    return rounded(sign, exponent, shift_sticky(product, 8));
}

/* Without a branch on what a coin decides, the signs and the order of the operands: a predictor cannot learn these. */
static uint16_t add(uint16_t a, uint16_t b)
{
    const uint32_t swap = (uint32_t)(a ^ b) & (0u - (uint32_t)(magnitude(a) < magnitude(b)));
    const uint32_t larger = a ^ swap, smaller = b ^ swap, sign = larger & SIGN;
    const uint32_t opposite = 0u - ((larger ^ smaller) >> 15);
    uint32_t x = larger & 0x7fffu, y = smaller & 0x7fffu;
    int p = (int)(x >> 10), q = (int)(y >> 10), distance;
    if (p == 31) {
        if (x > INFINITE || (y == INFINITE && opposite))
            return CANONICAL_NAN;
        return (uint16_t)larger;
    }
    x = (x & 0x3ffu) << 3 | (uint32_t)(p != 0) << 13;
    y = (y & 0x3ffu) << 3 | (uint32_t)(q != 0) << 13;
    p += p == 0;
    q += q == 0;
    y = shift_sticky(y, p - q);
    x += (y ^ opposite) - opposite;
    if (x == 0)
        return (uint16_t)(opposite ? 0u : sign); /* only zeros that agree keep a sign */
    distance = (int)(x >> 14);
    x = (x >> distance) | (x & (uint32_t)distance);
    p += distance;
    distance = leading_zeros(x);
    if (distance >= p)
        distance = p - 1;
    return rounded(sign, p - distance, x << distance);
}

/* products[i] = a[i] * b[i], the whole repeated. */
EXPORT void narrowgauge_multiply_f16(const uint16_t *a, const uint16_t *b, uint16_t *products, int64_t count,
                                     int64_t repeats)
{
    int64_t repeat, i;
    for (repeat = 0; repeat < repeats; repeat++)
        for (i = 0; i < count; i++)
            products[i] = multiply(a[i], b[i]);
}

/* sums[i] = a[i] + b[i]. */
EXPORT void narrowgauge_add_f16(const uint16_t *a, const uint16_t *b, uint16_t *sums, int64_t count)
{
    int64_t i;
    for (i = 0; i < count; i++)
        sums[i] = add(a[i], b[i]);
}

/* Dot products side by side, a and b of shape (terms, lanes): sums[i] = sums[i] + a[k][i] * b[k][i] for every k in
 * turn, from zero in every repeat. */
EXPORT void narrowgauge_accumulate_f16(const uint16_t *a, const uint16_t *b, uint16_t *sums, int64_t lanes,
                                       int64_t terms, int64_t repeats)
{
    int64_t repeat, k, i;
    for (repeat = 0; repeat < repeats; repeat++) {
        for (i = 0; i < lanes; i++)
            sums[i] = 0;
        for (k = 0; k < terms; k++)
            for (i = 0; i < lanes; i++)
                sums[i] = add(sums[i], multiply(a[k * lanes + i], b[k * lanes + i]));
    }
}
