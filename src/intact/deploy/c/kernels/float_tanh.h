/* TANH. */

#include "float_exponential.h"

static void run_float_tanh(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = tanh_of(x[n]);
    }
}
