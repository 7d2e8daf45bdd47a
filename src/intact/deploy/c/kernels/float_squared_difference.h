/* SQUARED_DIFFERENCE. */

#include "float_pairs.h"

static inline float squared_difference_of(float a, float b) { return (a - b) * (a - b); }

static void run_float_squared_difference(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, squared_difference_of, a, b, y);
}
