/* UNIDIRECTIONAL_SEQUENCE_LSTM of 16 bits: the gates of a unit are four channels that dots_16.h sums at once. */

#include "dots_16.h"
#include "lstm_cell.h"

typedef struct {
    channels_16 of_x, of_h; /* of the input and of the hidden state before */
    lstm_cell cell;
    int32_t steps, inputs, units;
} lstm_16;

/* Hidden and cell states before, `h` and `from`, are 0 where there are none; so are `last` and `cells` where nobody wants them. */
static void run_lstm_16(const lstm_16 *p, const int16_t *x, const int16_t *h, const int16_t *from, int16_t *y, int16_t *last,
                        int16_t *c, int16_t *cells)
{
    begin_cells(p->units, from, c);
    for (int32_t step = 0; step < p->steps; step++, x += p->inputs, h = y, y += p->units) {
        for (int32_t u = 0; u < p->units; u++) {
            int32_t gates[4];
            const int8_t *w = p->of_x.weight + 4 * u * p->inputs;
            sums s = dot_16(x, w, p->inputs & ~3, p->inputs & 3, begun_16(&p->of_x, 4 * u));
            for (int32_t n = 0; n < 4; n++) {
                gates[n] = requantize_16(&p->of_x, 4 * u + n, s.of[n]);
            }
            if (h != 0) {
                w = p->of_h.weight + 4 * u * p->units;
                s = dot_16(h, w, p->units & ~3, p->units & 3, begun_16(&p->of_h, 4 * u));
                for (int32_t n = 0; n < 4; n++) {
                    gates[n] = held_16(gates[n] + requantize_16(&p->of_h, 4 * u + n, s.of[n]));
                }
            }
            y[u] = (int16_t)held_16(next_cell(&p->cell, gates, c + u));
            if (cells != 0) {
                *cells++ = c[u];
            }
        }
    }
    for (int32_t u = 0; last != 0 && u < p->units; u++) {
        last[u] = h[u];
    }
}
