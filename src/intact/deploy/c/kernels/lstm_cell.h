/* What an LSTM makes of the sums of a unit's four gates: input, forget, cell and output, in 1/4096 and 16 bits. */

#include "sigmoid_16.h"

typedef struct {
    sigmoid_16 gate, cell;                    /* how sums of gates are looked up, and cell states */
    int32_t multiplier_new, multiplier_given; /* products of two gates in steps of the cell state, and of the hidden state */
    int8_t shift_new, shift_given;
    int16_t clip; /* the largest cell state; 0: any */
} lstm_cell;

static inline int32_t held_16(int32_t x) { return clamp(x, INT16_MIN, INT16_MAX); }

/* Moves the cell state on and gives the hidden state, less its zero point. */
static inline int32_t next_cell(const lstm_cell *p, const int32_t *sums_of, int16_t *c)
{
    const int32_t kept = rescale(logistic_of(&p->gate, sums_of[1]) * *c, (int32_t)1 << 30, -14);
    const int32_t made = logistic_of(&p->gate, sums_of[0]) * tanh_of(&p->gate, sums_of[2]);
    int32_t state = held_16(held_16(kept) + held_16(rescale(made, p->multiplier_new, p->shift_new)));
    if (p->clip > 0) {
        state = clamp(state, -p->clip, p->clip);
    }
    *c = (int16_t)state;
    return rescale(tanh_of(&p->cell, state) * logistic_of(&p->gate, sums_of[3]), p->multiplier_given, p->shift_given);
}

/* What the cell states of a call begin at. */
static inline void begin_cells(int32_t units, const int16_t *from, int16_t *c)
{
    for (int32_t n = 0; n < units; n++) {
        c[n] = from == 0 ? (int16_t)0 : from[n];
    }
}
