/* RELU, LEAKY_RELU and ABS of 16-bit numbers: what is below zero has a multiplier of its own. */

#include "math.h"

typedef struct {
    int32_t multiplier, multiplier_below;
    int8_t shift, shift_below;
    int8_t sign_x, sign_y; /* of what is below zero, before and after it is multiplied */
    int16_t low, high;
} scaled_16;

static void run_scaled_16(const scaled_16 *p, int32_t count, const int16_t *x, int16_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        const int32_t v = x[n];
        const int32_t z = v >= 0 ? rescale(v, p->multiplier, p->shift)
                                 : p->sign_y * rescale(p->sign_x * v, p->multiplier_below, p->shift_below);
        y[n] = (int16_t)clamp(z, p->low, p->high);
    }
}
