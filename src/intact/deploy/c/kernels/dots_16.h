/* Sums of products of 16-bit numbers with 8-bit weights, for four output channels at once.

   w, aligned to four bytes, has four weights of each channel, in the order 0, 2, 1, 3, then the next four of each, for a count
   of `quads`: [quads / 4][channel][4]. The `rest` follows weight by weight: [rest][channel]. */

#include "channels_16.h"

#ifdef INTACT_DSP
static inline uint32_t two(const int16_t *x) { return ((const unaligned *)(const void *)x)->value; }
#endif

static inline sums dot_16(const int16_t *x, const int8_t *w, int32_t quads, int32_t rest, sums s)
{
#ifdef INTACT_DSP
    if (quads > 0) {
        int32_t s0 = s.of[0], s1 = s.of[1], s2 = s.of[2], s3 = s.of[3], n = quads;
        uint32_t first, second, a, b, c;
        __asm__("1: ldr %[first], [%[x]], #4\n\t"
                "ldr %[second], [%[x]], #4\n\t"
                "subs %[n], %[n], #4\n\t"
                "ldrd %[a], %[b], [%[w]], #8\n\t"
                "sxtb16 %[c], %[a]\n\t"
                "sxtb16 %[a], %[a], ror #8\n\t"
                "smlad %[s0], %[first], %[c], %[s0]\n\t"
                "smlad %[s0], %[second], %[a], %[s0]\n\t"
                "sxtb16 %[c], %[b]\n\t"
                "sxtb16 %[b], %[b], ror #8\n\t"
                "smlad %[s1], %[first], %[c], %[s1]\n\t"
                "smlad %[s1], %[second], %[b], %[s1]\n\t"
                "ldrd %[a], %[b], [%[w]], #8\n\t"
                "sxtb16 %[c], %[a]\n\t"
                "sxtb16 %[a], %[a], ror #8\n\t"
                "smlad %[s2], %[first], %[c], %[s2]\n\t"
                "smlad %[s2], %[second], %[a], %[s2]\n\t"
                "sxtb16 %[c], %[b]\n\t"
                "sxtb16 %[b], %[b], ror #8\n\t"
                "smlad %[s3], %[first], %[c], %[s3]\n\t"
                "smlad %[s3], %[second], %[b], %[s3]\n\t"
                "bgt 1b"
                : [x] "+r"(x), [w] "+r"(w), [n] "+r"(n), [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3),
                  [first] "=&r"(first), [second] "=&r"(second), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
                :
                : "cc", "memory");
        const sums made = {{s0, s1, s2, s3}};
        s = made;
    }
#else
    for (int32_t n = quads; n > 0; n -= 4) {
        const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        s.of[0] += x0 * w[0] + x2 * w[1] + x1 * w[2] + x3 * w[3];
        s.of[1] += x0 * w[4] + x2 * w[5] + x1 * w[6] + x3 * w[7];
        s.of[2] += x0 * w[8] + x2 * w[9] + x1 * w[10] + x3 * w[11];
        s.of[3] += x0 * w[12] + x2 * w[13] + x1 * w[14] + x3 * w[15];
        x += 4;
        w += 16;
    }
#endif
    for (int32_t n = rest; n > 0; n--) {
        const int32_t x0 = *x++;
        s.of[0] += x0 * w[0];
        s.of[1] += x0 * w[1];
        s.of[2] += x0 * w[2];
        s.of[3] += x0 * w[3];
        w += 4;
    }
    return s;
}

/* The same of one channel. */
static inline int32_t dot_of_one_16(const int16_t *x, const int8_t *w, int32_t count, int32_t sum)
{
    int32_t n = count;
    for (; n >= 4; n -= 4) {
#ifdef INTACT_DSP
        const uint32_t of = four(w);
        sum = add_both(two(x + 2), odd(of), add_both(two(x), even(of), sum));
#else
        sum += x[0] * w[0] + x[2] * w[1] + x[1] * w[2] + x[3] * w[3];
#endif
        x += 4;
        w += 4;
    }
    for (; n > 0; n--) {
        sum += *x++ * *w++;
    }
    return sum;
}
