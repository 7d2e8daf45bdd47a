/* SQUARED_DIFFERENCE: both in a common unit, 7 bits finer. */

#include "pairs.h"

static void run_squared_difference(const pairs *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t x = rescale((a[at.at[0] + n * p->step_a] - p->zero_a) * 128, p->multiplier_a, p->shift_a);
            const int32_t z = rescale((b[at.at[1] + n * p->step_b] - p->zero_b) * 128, p->multiplier_b, p->shift_b);
            const int32_t squared = rescale((x - z) * (x - z), p->multiplier, p->shift);
            *y++ = (int8_t)clamp(squared + p->zero, p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
