/* Sums of products for four output channels at once.

   w, aligned to four bytes, has four numbers of each channel, then the next four of each, for a count of `quads`: [quads / 4][channel][4]. The `rest`
   follows number by number: [rest][channel]. */

#include "channels.h"

static inline sums dot(const int8_t *x, const int8_t *w, int32_t quads, int32_t rest, sums s)
{
#ifdef INTACT_DSP
    if (quads > 0) {
        int32_t s0 = s.of[0], s1 = s.of[1], s2 = s.of[2], s3 = s.of[3], n = quads;
        uint32_t even, odd, a, b, c;
        /* By hand, since compilers run out of registers here, one way or the other. */
        __asm__("1: ldr %[a], [%[x]], #4\n\t"
                "subs %[n], %[n], #4\n\t"
                "sxtb16 %[even], %[a]\n\t"
                "sxtb16 %[odd], %[a], ror #8\n\t"
                "ldrd %[a], %[b], [%[w]], #8\n\t"
                "sxtb16 %[c], %[a]\n\t"
                "sxtb16 %[a], %[a], ror #8\n\t"
                "smlad %[s0], %[even], %[c], %[s0]\n\t"
                "smlad %[s0], %[odd], %[a], %[s0]\n\t"
                "sxtb16 %[c], %[b]\n\t"
                "sxtb16 %[b], %[b], ror #8\n\t"
                "smlad %[s1], %[even], %[c], %[s1]\n\t"
                "smlad %[s1], %[odd], %[b], %[s1]\n\t"
                "ldrd %[a], %[b], [%[w]], #8\n\t"
                "sxtb16 %[c], %[a]\n\t"
                "sxtb16 %[a], %[a], ror #8\n\t"
                "smlad %[s2], %[even], %[c], %[s2]\n\t"
                "smlad %[s2], %[odd], %[a], %[s2]\n\t"
                "sxtb16 %[c], %[b]\n\t"
                "sxtb16 %[b], %[b], ror #8\n\t"
                "smlad %[s3], %[even], %[c], %[s3]\n\t"
                "smlad %[s3], %[odd], %[b], %[s3]\n\t"
                "bgt 1b"
                : [x] "+r"(x), [w] "+r"(w), [n] "+r"(n), [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3),
                  [even] "=&r"(even), [odd] "=&r"(odd), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
                :
                : "cc", "memory");
        const sums made = {{s0, s1, s2, s3}};
        s = made;
    }
#else
    for (int32_t n = quads; n > 0; n -= 4) {
        const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        s.of[0] += x0 * w[0] + x1 * w[1] + x2 * w[2] + x3 * w[3];
        s.of[1] += x0 * w[4] + x1 * w[5] + x2 * w[6] + x3 * w[7];
        s.of[2] += x0 * w[8] + x1 * w[9] + x2 * w[10] + x3 * w[11];
        s.of[3] += x0 * w[12] + x1 * w[13] + x2 * w[14] + x3 * w[15];
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

/* The same of one channel, which is not interleaved. */
static inline int32_t dot_of_one(const int8_t *x, const int8_t *w, int32_t count, int32_t sum)
{
    int32_t n = count;
    for (; n >= 4; n -= 4) {
#ifdef INTACT_DSP
        const uint32_t given = four(x), of = four(w);
        sum = add_both(odd(given), odd(of), add_both(even(given), even(of), sum));
#else
        sum += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
#endif
        x += 4;
        w += 4;
    }
    for (; n > 0; n--) {
        sum += *x++ * *w++;
    }
    return sum;
}
