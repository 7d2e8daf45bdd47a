/* REDUCE_MAX and REDUCE_MIN, of one scale. */

#include "loops.h"

static void run_reduce_extreme(const loop *outer, const loop *inner, bool largest, const int8_t *x, int8_t *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        place at = {{to.at[0], 0, 0}, {0, 0, 0, 0}};
        int8_t found = x[to.at[0]];
        do {
            const int8_t v = x[at.at[0]];
            found = (v > found) == largest ? v : found;
        } while (next_run(inner, &at));
        *y++ = found;
    } while (next_run(outer, &to));
}
