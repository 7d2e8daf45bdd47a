/* What SOFTMAX and LOG_SOFTMAX make of a row first: how far its numbers are below the largest, and the sum of their exp. */

#include "exponential.h"

static inline int32_t largest(const int8_t *x, int32_t count)
{
    int32_t most = x[0];
    for (int32_t n = 1; n < count; n++) {
        most = x[n] > most ? x[n] : most;
    }
    return most;
}

/* x - most as a fixed-point number of 5 integer bits. */
static inline int32_t scaled_difference(int32_t below, int32_t multiplier, int32_t shift)
{
    return product(below * ((int32_t)1 << shift), multiplier);
}

/* With 12 integer bits. Numbers further than radius below most count as 0. */
static inline int32_t sum_of_exp(const int8_t *x, int32_t count, int32_t most, int32_t multiplier, int32_t shift, int32_t radius)
{
    int32_t sum = 0;
    for (int32_t n = 0; n < count; n++) {
        if (x[n] - most >= -radius) {
            sum += shift_right(exp_of_negative(scaled_difference(x[n] - most, multiplier, shift)), 12);
        }
    }
    return sum;
}
