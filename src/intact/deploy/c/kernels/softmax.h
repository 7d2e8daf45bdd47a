/* SOFTMAX along the last axis. */

#include "differences.h"

typedef struct {
    int32_t rows, count;
    int32_t multiplier, shift, radius; /* differences to the largest as fixed-point numbers; below -radius exp counts as 0 */
    int16_t zero, low, high;
} softmax;

static INTACT_SMALL void run_softmax(const softmax *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->count, y += p->count) {
        const int32_t most = largest(x, p->count);
        const int32_t sum = sum_of_exp(x, p->count, most, p->multiplier, p->shift, p->radius);
        const int32_t zeros = leading_zeros((uint32_t)sum);
        const int32_t inverse = one_over_one_plus((int32_t)(((uint32_t)sum << zeros) - ((uint32_t)1 << 31)));
        for (int32_t n = 0; n < p->count; n++) {
            int32_t v = p->zero;
            if (x[n] - most >= -p->radius) {
                const int32_t part = exp_of_negative(scaled_difference(x[n] - most, p->multiplier, p->shift));
                v += shift_right(product(inverse, part), 12 - zeros + 31 - 8);
            }
            y[n] = (int8_t)clamp(v, p->low, p->high);
        }
    }
}
