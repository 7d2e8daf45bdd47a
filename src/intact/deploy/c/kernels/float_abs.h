/* ABS. */

#include "float_math.h"

static void run_float_abs(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = x[n] < 0.0f ? -x[n] : x[n];
    }
}
