/* RSQRT. */

#include "float_exponential.h"

static void run_float_rsqrt(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = inverse_sqrt_of(x[n]);
    }
}
