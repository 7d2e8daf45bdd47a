/* ARG_MAX and ARG_MIN: the first of those that are equal. */

#include "loops.h"

static void run_float_arg(const loop *outer, int32_t count, int32_t step, bool largest, const float *x, int32_t *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        int32_t found = 0;
        for (int32_t n = 1; n < count; n++) {
            const float v = x[to.at[0] + n * step], best = x[to.at[0] + found * step];
            if (largest ? v > best : v < best) {
                found = n;
            }
        }
        *y++ = found;
    } while (next_run(outer, &to));
}
