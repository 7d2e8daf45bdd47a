/* FULLY_CONNECTED, and CONV_2D with a kernel of 1 x 1: `count` rows of x [count, inputs] by each row of w [outputs, inputs]. */

#include "dots.h"

typedef struct {
    channels out;
    int32_t inputs;
    int32_t outputs;
    int32_t step; /* numbers from one row of y to the next */
} dense;

static void run_dense(const dense *p, int32_t count, const int8_t *x, int8_t *y)
{
    const int32_t fours = p->outputs & ~3;
    const int8_t *w = p->out.weight;
    for (int32_t channel = 0; channel < fours; channel += 4) {
        const sums begun = biases(&p->out, channel);
        for (int32_t row = 0; row < count; row++) {
            const sums s = dot_of_all(x + row * p->inputs, w, p->inputs, begun);
            give(&p->out, channel, s, y + row * p->step + channel);
        }
        w += 4 * p->inputs;
    }
    for (int32_t channel = fours; channel < p->outputs; channel++) {
        for (int32_t row = 0; row < count; row++) {
            const int32_t sum = dot_of_one(x + row * p->inputs, w, p->inputs, p->out.bias[channel]);
            y[row * p->step + channel] = requantize(&p->out, channel, sum);
        }
        w += p->inputs;
    }
}
