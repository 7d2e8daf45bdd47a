/* MEAN and SUM. For each output the loops visit what it sums. */

#include "loops.h"

typedef struct {
    const loop *outer; /* over outputs: steps of the input */
    const loop *inner; /* over what one of them sums */
    float factor;             /* of the sum */
} float_total;

static void run_float_total(const float_total *p, const float *x, float *y)
{
    place to = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        place at = {{to.at[0], 0, 0}, {0, 0, 0, 0}};
        float sum = 0.0f;
        do {
            sum += x[at.at[0]];
        } while (next_run(p->inner, &at));
        *y++ = sum * p->factor;
    } while (next_run(p->outer, &to));
}
