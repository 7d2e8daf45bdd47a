/* Four products at once where the core has them (Cortex-M4, M7, M33 and their kin), sixteen where it has vectors (Cortex-M55 and its kin);
   -DINTACT_PORTABLE does without. */

#include "math.h"

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(INTACT_PORTABLE)
#define INTACT_DSP 1

typedef struct __attribute__((packed, may_alias)) {
    uint32_t value;
} unaligned;

static inline uint32_t four(const int8_t *x) { return ((const unaligned *)(const void *)x)->value; }

/* Bytes 0 and 2, and bytes 1 and 3, as two numbers of 16 bits. */
static inline uint32_t even(uint32_t x)
{
    uint32_t y;
    __asm__("sxtb16 %0, %1" : "=r"(y) : "r"(x));
    return y;
}

static inline uint32_t odd(uint32_t x)
{
    uint32_t y;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(y) : "r"(x));
    return y;
}

/* sum + a.low * b.low + a.high * b.high */
static inline int32_t add_both(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t y;
    __asm__("smlad %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}

static inline int32_t add_low(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t y;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}

static inline int32_t add_high(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t y;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}
#endif

/* high_product(a, b) for a of at most 30 bits. */
static inline int32_t small_product(int32_t a, int32_t b)
{
#ifdef INTACT_DSP
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(2 * a), "r"(b));
    return y;
#else
    return high_product(a, b);
#endif
}

#if defined(__ARM_FEATURE_MVE) && defined(INTACT_DSP)
#define INTACT_MVE 1
#include <arm_mve.h>

/* shift_right of each, by -shift where that is above 0. */
static inline int32x4_t shifted_back(int32x4_t x, int32x4_t shift)
{
    const int32x4_t back = vminq_s32(shift, vdupq_n_s32(0));
    return vrshlq_s32(vaddq_s32(x, vshrq_n_s32(vandq_s32(x, back), 31)), back);
}

/* rescale of each. */
static inline int32x4_t rescaled(int32x4_t x, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t left = vmaxq_s32(shift, vdupq_n_s32(0));
    return shifted_back(vqrdmulhq_s32(vshlq_s32(x, left), multiplier), shift);
}

static inline int32x4_t together(int32_t a, int32_t b, int32_t c, int32_t d)
{
    int32x4_t y;
    __asm__("vmov %q0[2], %q0[0], %1, %3\n\tvmov %q0[3], %q0[1], %2, %4" : "=&w"(y) : "r"(a), "r"(b), "r"(c), "r"(d));
    return y;
}

static inline int32x4_t clamped(int32x4_t x, int32_t zero, int32_t low, int32_t high)
{
    return vminq_s32(vmaxq_s32(vaddq_n_s32(x, zero), vdupq_n_s32(low)), vdupq_n_s32(high));
}
#endif
