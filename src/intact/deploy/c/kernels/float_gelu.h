/* GELU, by the error function. Source: Abramowitz and Stegun, 7.1.26, to 1.5e-7. */

#include "float_exponential.h"

static inline float erf_of(float x)
{
    const float size = x < 0.0f ? -x : x, t = 1.0f / add_product(1.0f, 0.3275911f, size);
    float y = add_product(-1.453152027f, 1.061405429f, t);
    y = add_product(1.421413741f, y, t);
    y = add_product(-0.284496736f, y, t);
    y = add_product(0.254829592f, y, t) * t;
    y = 1.0f - y * exp_of(-size * size);
    return x < 0.0f ? -y : y;
}

static void run_float_gelu(const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = 0.5f * x[n] * (1.0f + erf_of(x[n] * 0.707106781f));
    }
}
