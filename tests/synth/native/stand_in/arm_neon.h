/* The NEON intrinsics that generated headers use, in portable C: what they compute, by Arm's "Intrinsics Reference"
   (document 101028), so that NEON's text can be run on any machine. */
#ifndef STAND_IN_ARM_NEON_H
#define STAND_IN_ARM_NEON_H

#include <stdint.h>

typedef struct { uint64_t word[2]; } uint64x2_t;
typedef struct { uint64_t word[2]; } uint8x16_t;

#define EACH(type, value) { type result; int i; for (i = 0; i < 2; ++i) result.word[i] = (value); return result; }

static inline uint64x2_t vld1q_u64(const uint64_t *p) EACH(uint64x2_t, p[i])
static inline void vst1q_u64(uint64_t *p, uint64x2_t a) { p[0] = a.word[0]; p[1] = a.word[1]; }
static inline uint64x2_t vdupq_n_u64(uint64_t a) EACH(uint64x2_t, a)
static inline uint64x2_t vandq_u64(uint64x2_t a, uint64x2_t b) EACH(uint64x2_t, a.word[i] & b.word[i])
static inline uint64x2_t vorrq_u64(uint64x2_t a, uint64x2_t b) EACH(uint64x2_t, a.word[i] | b.word[i])
static inline uint64x2_t veorq_u64(uint64x2_t a, uint64x2_t b) EACH(uint64x2_t, a.word[i] ^ b.word[i])
static inline uint64x2_t vbicq_u64(uint64x2_t a, uint64x2_t b) EACH(uint64x2_t, a.word[i] & ~b.word[i])
static inline uint64x2_t vornq_u64(uint64x2_t a, uint64x2_t b) EACH(uint64x2_t, a.word[i] | ~b.word[i])
static inline uint64x2_t vbslq_u64(uint64x2_t mask, uint64x2_t a, uint64x2_t b)
    EACH(uint64x2_t, (mask.word[i] & a.word[i]) | (~mask.word[i] & b.word[i]))
static inline uint8x16_t vreinterpretq_u8_u64(uint64x2_t a) EACH(uint8x16_t, a.word[i])
static inline uint64x2_t vreinterpretq_u64_u8(uint8x16_t a) EACH(uint64x2_t, a.word[i])
static inline uint8x16_t vmvnq_u8(uint8x16_t a) EACH(uint8x16_t, ~a.word[i])

#endif
