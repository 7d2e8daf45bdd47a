/* GELU, approximated by tanh. */

#include "float_exponential.h"

static void run_float_gelu_tanh(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = 0.5f * x[n] * (1.0f + tanh_of(0.797884561f * add_product(x[n], 0.044715f * x[n] * x[n], x[n])));
    }
}
