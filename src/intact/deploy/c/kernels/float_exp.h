/* EXP. */

#include "float_exponential.h"

static void run_float_exp(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = exp_of(x[n]);
    }
}
