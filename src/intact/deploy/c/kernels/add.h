/* ADD and SUB: both in a common unit, 20 bits finer; SUB has its second multiplier's numbers subtracted. */

#include "pairs.h"

static inline int8_t added(const pairs *p, int32_t a, int32_t b, int32_t sign)
{
    const int32_t x = rescale((a - p->zero_a) * (1 << 20), p->multiplier_a, p->shift_a);
    const int32_t y = rescale((b - p->zero_b) * (1 << 20), p->multiplier_b, p->shift_b);
    return (int8_t)clamp(rescale(x + sign * y, p->multiplier, p->shift) + p->zero, p->low, p->high);
}

static void run_add(const pairs *p, int32_t sign, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            *y++ = added(p, a[at.at[0] + n * p->step_a], b[at.at[1] + n * p->step_b], sign);
        }
    } while (next_run(p->loops, &at));
}
