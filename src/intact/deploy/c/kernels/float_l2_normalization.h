/* L2_NORMALIZATION along the last axis; what is shorter than 1e-6 is divided by that. */

#include "float_exponential.h"

static void run_float_l2_normalization(int32_t rows, int32_t count, const float *x, float *y)
{
    for (int32_t row = 0; row < rows; row++, x += count, y += count) {
        float sum = 0.0f;
        for (int32_t n = 0; n < count; n++) {
            sum = add_product(sum, x[n], x[n]);
        }
        const float factor = sum > 1e-12f ? inverse_sqrt_of(sum) : 1e6f;
        for (int32_t n = 0; n < count; n++) {
            y[n] = x[n] * factor;
        }
    }
}
