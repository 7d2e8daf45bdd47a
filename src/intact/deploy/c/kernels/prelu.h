/* PRELU. */

#include "pairs.h"

static void run_prelu(const pairs *p, const int8_t *x, const int8_t *alpha, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t u = x[at.at[0] + n * p->step_a] - p->zero_a, v = alpha[at.at[1] + n * p->step_b] - p->zero_b;
            const int32_t z = u >= 0 ? rescale(u, p->multiplier_a, p->shift_a) : rescale(u * v, p->multiplier, p->shift);
            *y++ = (int8_t)clamp(z + p->zero, p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
