/* SUB. */

#include "float_pairs.h"

static inline float sub_of(float a, float b) { return a - b; }

static void run_float_sub(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, sub_of, a, b, y);
}
