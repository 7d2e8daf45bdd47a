/* BATCH_MATMUL of two activations. */

#include "float_math.h"
#include "loops.h"

typedef struct {
    const loop *loops; /* over matrices */
    int32_t rows, columns, count;
    int32_t a_row, a_step, b_column, b_step;
} float_matmul;

static void run_float_matmul(const float_matmul *p, const float *a, const float *b, float *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t row = 0; row < p->rows; row++) {
            for (int32_t column = 0; column < p->columns; column++) {
                const float *u = a + at.at[0] + row * p->a_row, *v = b + at.at[1] + column * p->b_column;
                float sum = 0.0f;
                for (int32_t n = 0; n < p->count; n++) {
                    sum = add_product(sum, u[n * p->a_step], v[n * p->b_step]);
                }
                *y++ = sum;
            }
        }
    } while (next_run(p->loops, &at));
}
