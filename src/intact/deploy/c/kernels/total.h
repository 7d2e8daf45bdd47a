/* MEAN and SUM. For each output the loops visit what it sums; the multiplier of MEAN holds 1 / count. */

#include "math.h"
#include "loops.h"

typedef struct {
    const loop *outer; /* over outputs: steps of the input */
    const loop *inner; /* over what one of them sums */
    int16_t zero_x, zero, low, high;
    int32_t multiplier;
    int8_t shift;
} total;

static INTACT_SMALL void run_total(const total *p, const int8_t *x, int8_t *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        place at = {{to.at[0], 0, 0}, {0, 0, 0, 0}};
        int32_t sum = 0;
        do {
            sum += x[at.at[0]] - p->zero_x;
        } while (next_run(p->inner, &at));
        *y++ = (int8_t)clamp(rescale(sum, p->multiplier, p->shift) + p->zero, p->low, p->high);
    } while (next_run(p->outer, &to));
}
