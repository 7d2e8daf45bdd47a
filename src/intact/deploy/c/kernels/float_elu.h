/* ELU. */

#include "float_exponential.h"

static void run_float_elu(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = x[n] > 0.0f ? x[n] : exp_of(x[n]) - 1.0f;
    }
}
