/* MUL of 16-bit numbers. */

#include "pairs.h"

static void run_mul_16(const pairs *p, const int16_t *a, const int16_t *b, int16_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t product = a[at.at[0] + n * p->step_a] * b[at.at[1] + n * p->step_b];
            *y++ = (int16_t)clamp(rescale(product, p->multiplier, p->shift), p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
