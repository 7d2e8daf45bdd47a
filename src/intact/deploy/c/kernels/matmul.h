/* BATCH_MATMUL of two activations. */

#include "loops.h"
#include "math.h"

typedef struct {
    const loop *loops; /* over batches: steps of both inputs */
    int32_t rows, columns, count;
    int32_t a_row, a_step, b_column, b_step; /* from row to row and within one; from column to column and within one */
    int16_t zero_a, zero_b, zero, low, high;
    int32_t multiplier, shift;
} matmul;

static void run_matmul(const matmul *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t row = 0; row < p->rows; row++) {
            for (int32_t column = 0; column < p->columns; column++) {
                const int8_t *u = a + at.at[0] + row * p->a_row, *v = b + at.at[1] + column * p->b_column;
                int32_t sum = 0;
                for (int32_t n = 0; n < p->count; n++) {
                    sum += (u[n * p->a_step] - p->zero_a) * (v[n * p->b_step] - p->zero_b);
                }
                *y++ = (int8_t)clamp(rescale(sum, p->multiplier, p->shift) + p->zero, p->low, p->high);
            }
        }
    } while (next_run(p->loops, &at));
}
