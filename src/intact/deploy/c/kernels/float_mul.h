/* MUL. */

#include "float_pairs.h"

static inline float mul_of(float a, float b) { return a * b; }

static void run_float_mul(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, mul_of, a, b, y);
}
