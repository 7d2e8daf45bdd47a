/* BATCH_MATMUL of two activations of 16 bits. */

#include "loops.h"
#include "math.h"

typedef struct {
    const loop *loops; /* over batches: steps of both inputs */
    int32_t rows, columns, count;
    int32_t a_row, a_step, b_column, b_step; /* from row to row and within one; from column to column and within one */
    int16_t low, high;
    int32_t multiplier, right; /* a sum is brought to the output's scale by multiplier / 2^right */
} matmul_16;

static void run_matmul_16(const matmul_16 *p, const int16_t *a, const int16_t *b, int16_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t row = 0; row < p->rows; row++) {
            for (int32_t column = 0; column < p->columns; column++) {
                const int16_t *u = a + at.at[0] + row * p->a_row, *v = b + at.at[1] + column * p->b_column;
                int64_t sum = 0;
                for (int32_t n = 0; n < p->count; n++) {
                    sum += u[n * p->a_step] * v[n * p->b_step];
                }
                const int64_t z = floor_shift_64(sum * p->multiplier + ((int64_t)1 << (p->right - 1)), p->right);
                *y++ = (int16_t)clamp((int32_t)z, p->low, p->high);
            }
        }
    } while (next_run(p->loops, &at));
}
