/* Four products at once where the core has them (Cortex-M4, M7, M33 and their kin); -DINTACT_PORTABLE does without. */

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
