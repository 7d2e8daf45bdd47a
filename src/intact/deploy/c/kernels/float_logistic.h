/* LOGISTIC. */

#include "float_exponential.h"

static void run_float_logistic(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = 1.0f / (1.0f + exp_of(-x[n]));
    }
}
