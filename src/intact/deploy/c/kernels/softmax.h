/* SOFTMAX along the last axis. */

#include "exponential.h"

typedef struct {
    int32_t rows, count;
    int32_t multiplier, shift, radius; /* differences to the largest as fixed-point numbers; below -radius exp counts as 0 */
    int16_t zero, low, high;
} softmax;

static inline int32_t exp_of_difference(const softmax *p, int32_t difference)
{
    return exp_of_negative(product(difference * ((int32_t)1 << p->shift), p->multiplier));
}

static INTACT_SMALL void run_softmax(const softmax *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->count, y += p->count) {
        int32_t most = x[0], sum = 0;
        for (int32_t n = 1; n < p->count; n++) {
            most = x[n] > most ? x[n] : most;
        }
        for (int32_t n = 0; n < p->count; n++) {
            if (x[n] - most >= -p->radius) {
                sum += shift_right(exp_of_difference(p, x[n] - most), 12);
            }
        }
        const int32_t zeros = leading_zeros((uint32_t)sum);
        const int32_t inverse = one_over_one_plus((int32_t)(((uint32_t)sum << zeros) - ((uint32_t)1 << 31)));
        for (int32_t n = 0; n < p->count; n++) {
            int32_t v = p->zero;
            if (x[n] - most >= -p->radius) {
                v += shift_right(product(inverse, exp_of_difference(p, x[n] - most)), 12 - zeros + 31 - 8);
            }
            y[n] = (int8_t)clamp(v, p->low, p->high);
        }
    }
}
