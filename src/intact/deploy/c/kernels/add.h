/* ADD and SUB: both in a common unit, 20 bits finer; SUB has its second multiplier's numbers subtracted. */

#include "pairs.h"
#include "simd.h"

static inline int8_t added(const pairs *p, int32_t a, int32_t b, int32_t sign)
{
    const int32_t x = shift_right(small_product((a - p->zero_a) * (1 << 20), p->multiplier_a), -p->shift_a);
    const int32_t y = shift_right(small_product((b - p->zero_b) * (1 << 20), p->multiplier_b), -p->shift_b);
    const int32_t sum = x + sign * y, shift = p->shift;
    const int32_t z = shift > 0 ? rescale(sum, p->multiplier, shift) : shift_right(small_product(sum, p->multiplier), -shift);
    return (int8_t)clamp(z + p->zero, p->low, p->high);
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
