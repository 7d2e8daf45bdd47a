/* Sums of products for four output channels at once.

   w has four numbers of each channel, then the next four of each, for a count of `quads`: [quads / 4][channel][4]. The `rest`
   follows number by number: [rest][channel]. */

#include "channels.h"

static inline sums dot(const int8_t *x, const int8_t *w, int32_t quads, int32_t rest, sums s)
{
    for (int32_t n = quads; n > 0; n -= 4) {
#ifdef INTACT_DSP
        const uint32_t given = four(x), x0 = even(given), x1 = odd(given);
        uint32_t of = four(w);
        s.of[0] = add_both(x1, odd(of), add_both(x0, even(of), s.of[0]));
        of = four(w + 4);
        s.of[1] = add_both(x1, odd(of), add_both(x0, even(of), s.of[1]));
        of = four(w + 8);
        s.of[2] = add_both(x1, odd(of), add_both(x0, even(of), s.of[2]));
        of = four(w + 12);
        s.of[3] = add_both(x1, odd(of), add_both(x0, even(of), s.of[3]));
#else
        const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        s.of[0] += x0 * w[0] + x1 * w[1] + x2 * w[2] + x3 * w[3];
        s.of[1] += x0 * w[4] + x1 * w[5] + x2 * w[6] + x3 * w[7];
        s.of[2] += x0 * w[8] + x1 * w[9] + x2 * w[10] + x3 * w[11];
        s.of[3] += x0 * w[12] + x1 * w[13] + x2 * w[14] + x3 * w[15];
#endif
        x += 4;
        w += 16;
    }
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
