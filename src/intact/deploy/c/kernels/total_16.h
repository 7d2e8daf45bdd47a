/* MEAN and SUM of 16-bit numbers. For each output the loops visit what it sums; the multiplier of MEAN holds 1 / count. */

#include "math.h"
#include "loops.h"

typedef struct {
    const loop *outer; /* over outputs: steps of the input */
    const loop *inner; /* over what one of them sums */
    int16_t low, high;
    int32_t multiplier;
    int8_t shift;
} total_16;

static void run_total_16(const total_16 *p, const int16_t *x, int16_t *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        place at = {{to.at[0], 0, 0}, {0, 0, 0, 0}};
        int32_t sum = 0;
        do {
            sum += x[at.at[0]];
        } while (next_run(p->inner, &at));
        *y++ = (int16_t)clamp(rescale(sum, p->multiplier, p->shift), p->low, p->high);
    } while (next_run(p->outer, &to));
}
