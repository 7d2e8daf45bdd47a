/* MINIMUM. */

#include "float_pairs.h"

static inline float minimum_of(float a, float b) { return a < b ? a : b; }

static void run_float_minimum(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, minimum_of, a, b, y);
}
