/* MUL. */

#include "pairs.h"
#include "simd.h"

static void run_mul(const pairs *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        int32_t n = 0;
#ifdef INTACT_MVE
        if (p->step_a == 1 && p->step_b <= 1) {
            for (; n + 4 <= p->count; n += 4, y += 4) {
                const int8_t *of = b + at.at[1] + n * p->step_b;
                const int32x4_t u = vldrbq_s32(a + at.at[0] + n), v = p->step_b == 1 ? vldrbq_s32(of) : vdupq_n_s32(*of);
                const int32x4_t product = vmulq_s32(vsubq_n_s32(u, p->zero_a), vsubq_n_s32(v, p->zero_b));
                const int32x4_t scaled = rescaled(product, vdupq_n_s32(p->multiplier), vdupq_n_s32(p->shift));
                vstrbq_s32(y, clamped(scaled, p->zero, p->low, p->high));
            }
        }
#endif
        for (; n < p->count; n++) {
            const int32_t product = (a[at.at[0] + n * p->step_a] - p->zero_a) * (b[at.at[1] + n * p->step_b] - p->zero_b);
            *y++ = (int8_t)clamp(rescale(product, p->multiplier, p->shift) + p->zero, p->low, p->high);
        }
    } while (next_run(p->loops, &at));
}
