/* ADD. */

#include "float_pairs.h"

static inline float add_of(float a, float b) { return a + b; }

static void run_float_add(const float_pairs *p, const float *a, const float *b, float *y)
{
    float_by_pairs(p, add_of, a, b, y);
}
