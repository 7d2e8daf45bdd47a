/* MAXIMUM and MINIMUM of 16-bit numbers, of one scale. */

#include "pairs.h"

static void run_extreme_16(const pairs *p, bool largest, const int16_t *a, const int16_t *b, int16_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int16_t u = a[at.at[0] + n * p->step_a], v = b[at.at[1] + n * p->step_b];
            *y++ = (u > v) == largest ? u : v;
        }
    } while (next_run(p->loops, &at));
}
