/* FULLY_CONNECTED, and CONV_2D with a kernel of 1 x 1: `count` rows of x [count, inputs] by each row of w [outputs, inputs]. */

#include "float_dots.h"

typedef struct {
    float_channels out;
    int32_t inputs;
    int32_t outputs;
} float_dense;

static void run_float_dense(const float_dense *p, int32_t count, const float *x, float *y)
{
    const int32_t fours = p->outputs & ~3;
    const float *w = p->out.weight;
    for (int32_t channel = 0; channel < fours; channel += 4) {
        const float_sums begun = float_biases(&p->out, channel);
        int32_t row = 0;
#ifdef INTACT_FLOAT_PAIRS
        for (; row + 1 < count; row += 2) {
            const float *from = x + row * p->inputs;
            float *to = y + row * p->outputs + channel;
            const float_both alike = {begun, begun}, s = float_dot_both(from, from + p->inputs, w, p->inputs, alike);
            float_give(&p->out, s.first, to);
            float_give(&p->out, s.second, to + p->outputs);
        }
#endif
        for (; row < count; row++) {
            const float_sums s = float_dot(x + row * p->inputs, w, p->inputs, begun);
            float_give(&p->out, s, y + row * p->outputs + channel);
        }
        w += 4 * p->inputs;
    }
    for (int32_t channel = fours; channel < p->outputs; channel++) {
        for (int32_t row = 0; row < count; row++) {
            const float sum = float_dot_of_one(x + row * p->inputs, w, p->inputs, p->out.bias[channel]);
            y[row * p->outputs + channel] = bounded(&p->out.ends, sum);
        }
        w += p->inputs;
    }
}
