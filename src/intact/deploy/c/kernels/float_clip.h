/* RELU, RELU6 and their like. */

#include "float_math.h"

static void run_float_clip(const bounds *ends, const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = bounded(ends, x[n]);
    }
}
