/* Sums of products for four output channels at once.

   w, aligned to four bytes, has four numbers of each channel, then the next four of each, for a count of `quads`: [quads / 4][channel][4]. The `rest`
   follows number by number: [rest][channel]. */

#include "channels.h"

static inline sums dot(const int8_t *x, const int8_t *w, int32_t quads, sums s)
{
#ifdef INTACT_MVE
    int32_t s0 = s.of[0], s1 = s.of[1], s2 = s.of[2], s3 = s.of[3];
    const int32_t rows = quads >> 4, left = quads & 12;
    __asm__("wls lr, %[n], 2f\n\t"
            "1: vldrb.8 q0, [%[x]], #16\n\t"
            "vld40.32 {q1, q2, q3, q4}, [%[w]]\n\t"
            "vld41.32 {q1, q2, q3, q4}, [%[w]]\n\t"
            "vld42.32 {q1, q2, q3, q4}, [%[w]]\n\t"
            "vld43.32 {q1, q2, q3, q4}, [%[w]]!\n\t"
            "vmladava.s8 %[s0], q0, q1\n\t"
            "vmladava.s8 %[s1], q0, q2\n\t"
            "vmladava.s8 %[s2], q0, q3\n\t"
            "vmladava.s8 %[s3], q0, q4\n\t"
            "le lr, 1b\n\t"
            "2:"
            : [x] "+r"(x), [w] "+r"(w), [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3)
            : [n] "r"(rows)
            : "q0", "q1", "q2", "q3", "q4", "lr", "cc", "memory");
    if (left > 0) {
        const uint32x4_t each = vmulq_n_u32(vidupq_n_u32(0, 4), 4), at = vaddq_n_u32(each, (uint32_t)w);
        __asm__("wlstp.8 lr, %[n], 2f\n\t"
                "1: vldrb.8 q0, [%[x]]\n\t"
                "vldrw.u32 q1, [%q[at]]\n\t"
                "vmladava.s8 %[s0], q0, q1\n\t"
                "vldrw.u32 q2, [%q[at], #4]\n\t"
                "vmladava.s8 %[s1], q0, q2\n\t"
                "vldrw.u32 q3, [%q[at], #8]\n\t"
                "vmladava.s8 %[s2], q0, q3\n\t"
                "vldrw.u32 q4, [%q[at], #12]\n\t"
                "vmladava.s8 %[s3], q0, q4\n\t"
                "letp lr, 1b\n\t"
                "2:"
                : [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3)
                : [n] "r"(left), [x] "r"(x), [at] "w"(at)
                : "q0", "q1", "q2", "q3", "q4", "lr", "cc", "memory");
    }
    const sums made = {{s0, s1, s2, s3}};
    s = made;
#elif defined(INTACT_DSP)
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
    return s;
}

static inline sums dot_of_rest(const int8_t *x, const int8_t *w, int32_t rest, sums s)
{
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

static inline sums dot_of_all(const int8_t *x, const int8_t *w, int32_t count, sums s)
{
    const int32_t quads = count & ~3;
    return dot_of_rest(x + quads, w + 4 * quads, count & 3, dot(x, w, quads, s));
}

/* The same of one channel, which is not interleaved. */
static inline int32_t dot_of_one(const int8_t *x, const int8_t *w, int32_t count, int32_t sum)
{
    int32_t n = count;
#ifdef INTACT_MVE
    for (; n > 3; n -= 16) {
        const mve_pred16_t there = vctp8q((uint32_t)n);
        sum = vmladavaq_s8(sum, vldrbq_z_s8(x, there), vldrbq_z_s8(w, there));
        x += 16;
        w += 16;
    }
#endif
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
