/* UNIDIRECTIONAL_SEQUENCE_LSTM of 8 bits: the gates of a unit are four channels that dots.h sums at once. */

#include "dots.h"
#include "lstm_cell.h"

typedef struct {
    channels of_x, of_h; /* of the input and of the hidden state before */
    lstm_cell cell;
    int32_t steps, inputs, units;
    int16_t zero; /* of the hidden state */
} lstm;

/* Hidden and cell states before, `h` and `from`, are 0 where there are none; so are `last` and `cells` where nobody wants them. */
static void run_lstm(const lstm *p, const int8_t *x, const int8_t *h, const int16_t *from, int8_t *y, int8_t *last, int16_t *c,
                     int16_t *cells)
{
    begin_cells(p->units, from, c);
    for (int32_t step = 0; step < p->steps; step++, x += p->inputs, h = y, y += p->units) {
        for (int32_t u = 0; u < p->units; u++) {
            int32_t gates[4];
            const int8_t *w = p->of_x.weight + 4 * u * p->inputs;
            sums s = dot_of_all(x, w, p->inputs, biases(&p->of_x, 4 * u));
            for (int32_t n = 0; n < 4; n++) {
                gates[n] = held_16(in_steps(&p->of_x, 4 * u + n, s.of[n]));
            }
            if (h != 0) {
                s = dot_of_all(h, p->of_h.weight + 4 * u * p->units, p->units, biases(&p->of_h, 4 * u));
                for (int32_t n = 0; n < 4; n++) {
                    gates[n] = held_16(gates[n] + held_16(in_steps(&p->of_h, 4 * u + n, s.of[n])));
                }
            }
            y[u] = (int8_t)clamp(next_cell(&p->cell, gates, c + u) + p->zero, -128, 127);
            if (cells != 0) {
                *cells++ = c[u];
            }
        }
    }
    for (int32_t u = 0; last != 0 && u < p->units; u++) {
        last[u] = h[u];
    }
}
