/* MUL. */

#include "pairs.h"

static void run_mul(const pairs *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t product = (a[at.at[0] + n * p->step_a] - p->zero_a) * (b[at.at[1] + n * p->step_b] - p->zero_b);
            *y++ = (int8_t)clamp(rescale(product, p->multiplier, p->shift) + p->zero, p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
