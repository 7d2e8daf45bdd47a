/* PRELU. */

#include "float_pairs.h"

static inline float prelu_of(float a, float b) { return a > 0.0f ? a : a * b; }

static void run_float_prelu(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, prelu_of, a, b, y);
}
