/* HARD_SWISH. */

#include "float_math.h"

static void run_float_hard_swish(const float *x, int32_t count, float *y)
{
    const bounds gate = {true, true, 0.0f, 6.0f};
    for (int32_t n = 0; n < count; n++) {
        y[n] = x[n] * bounded(&gate, x[n] + 3.0f) * 0.166666667f;
    }
}
