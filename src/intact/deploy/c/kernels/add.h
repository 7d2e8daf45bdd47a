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

#ifdef INTACT_MVE
static inline int32x4_t in_unit(int32x4_t x, int32_t zero, int32_t multiplier, int32_t shift)
{
    const int32x4_t finer = vshlq_n_s32(vsubq_n_s32(x, zero), 20);
    return shifted_back(vqrdmulhq_n_s32(finer, multiplier), vdupq_n_s32(shift));
}

static inline int32x4_t four_added(const pairs *p, int32x4_t a, int32x4_t b, int32_t sign)
{
    const int32x4_t x = in_unit(a, p->zero_a, p->multiplier_a, p->shift_a), y = in_unit(b, p->zero_b, p->multiplier_b, p->shift_b);
    const int32x4_t sum = vmlaq_n_s32(x, y, sign);
    return clamped(rescaled(sum, vdupq_n_s32(p->multiplier), vdupq_n_s32(p->shift)), p->zero, p->low, p->high);
}
#endif

static void run_add(const pairs *p, int32_t sign, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        int32_t n = 0;
#ifdef INTACT_MVE
        if (p->step_a == 1 && p->step_b == 1) {
            for (; n + 4 <= p->count; n += 4, y += 4) {
                vstrbq_s32(y, four_added(p, vldrbq_s32(a + at.at[0] + n), vldrbq_s32(b + at.at[1] + n), sign));
            }
        }
#endif
        for (; n < p->count; n++) {
            *y++ = added(p, a[at.at[0] + n * p->step_a], b[at.at[1] + n * p->step_b], sign);
        }
    } while (next_run(p->loops, &at));
}
