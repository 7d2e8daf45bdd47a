/* REDUCE_MAX and REDUCE_MIN. */

#include "loops.h"

static void run_float_reduce_extreme(const loop *outer, const loop *inner, bool largest, const float *x, float *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        place at = {{to.at[0], 0, 0}, {0, 0, 0, 0}};
        float found = x[to.at[0]];
        do {
            const float v = x[at.at[0]];
            found = (v > found) == largest ? v : found;
        } while (next_run(inner, &at));
        *y++ = found;
    } while (next_run(outer, &to));
}
