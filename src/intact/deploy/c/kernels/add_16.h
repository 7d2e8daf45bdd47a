/* ADD and SUB of 16-bit numbers: both in a common unit, 15 bits finer. */

#include "pairs.h"
#include "simd.h"

static void run_add_16(const pairs *p, int32_t sign, const int16_t *a, const int16_t *b, int16_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t u = a[at.at[0] + n * p->step_a] * (1 << 15), v = b[at.at[1] + n * p->step_b] * (1 << 15);
            const int32_t x = shift_right(small_product(u, p->multiplier_a), -p->shift_a);
            const int32_t z = shift_right(small_product(v, p->multiplier_b), -p->shift_b);
            const int32_t sum = shift_right(small_product(x + sign * z, p->multiplier), -p->shift);
            *y++ = (int16_t)clamp(sum, p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
