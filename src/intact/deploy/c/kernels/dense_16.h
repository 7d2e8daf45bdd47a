/* FULLY_CONNECTED of 16-bit numbers, and CONV_2D with a kernel of 1 x 1: `count` rows of x [count, inputs] by each row of w. */

#include "dots_16.h"

typedef struct {
    channels_16 out;
    int32_t inputs;
    int32_t outputs;
} dense_16;

static void run_dense_16(const dense_16 *p, int32_t count, const int16_t *x, int16_t *y)
{
    const int32_t fours = p->outputs & ~3;
    const int8_t *w = p->out.weight;
    for (int32_t channel = 0; channel < fours; channel += 4) {
        const sums begun = begun_16(&p->out, channel);
        for (int32_t row = 0; row < count; row++) {
            const sums s = dot_16(x + row * p->inputs, w, p->inputs & ~3, p->inputs & 3, begun);
            give_16(&p->out, channel, s, y + row * p->outputs + channel);
        }
        w += 4 * p->inputs;
    }
    for (int32_t channel = fours; channel < p->outputs; channel++) {
        for (int32_t row = 0; row < count; row++) {
            const int32_t begun = begun_of_one_16(&p->out, channel);
            const int32_t sum = dot_of_one_16(x + row * p->inputs, w, p->inputs, begun);
            y[row * p->outputs + channel] = requantize_16(&p->out, channel, sum);
        }
        w += p->inputs;
    }
}
