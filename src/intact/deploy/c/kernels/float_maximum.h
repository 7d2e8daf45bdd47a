/* MAXIMUM. */

#include "float_pairs.h"

static inline float maximum_of(float a, float b) { return a > b ? a : b; }

static void run_float_maximum(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, maximum_of, a, b, y);
}
