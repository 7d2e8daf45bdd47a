/* L2_NORMALIZATION along the last axis. */

#include "math.h"

/* 1 / sqrt(x) of a whole number as a multiplier and a shift: five Newton steps. 0 and 1 both give 1. */
static int32_t inverse_sqrt(int32_t x, int32_t *shift)
{
    int32_t value = x, down = 0;
    *shift = 0;
    if (x <= 1) {
        return INT32_MAX;
    }
    while (value >= (int32_t)1 << 29) {
        value >>= 2;
        down++;
    }
    const int32_t pairs_left = ((leading_zeros((uint32_t)value) - 1) >> 1) - 1;
    const int32_t right = 11 + down - pairs_left;
    const int32_t half = shift_right((value * ((int32_t)1 << (2 * pairs_left))) >> 1, 1);
    int32_t y = (int32_t)1 << 28;
    for (int32_t n = 0; n < 5; n++) {
        const int32_t cube = shift_left_held(high_product(high_product(y, y), y), 6);
        y = shift_left_held(high_product(y, ((int32_t)1 << 28) + ((int32_t)1 << 27)) - high_product(half, cube), 3);
    }
    y = high_product(y, 1518500250);
    if (right < 0) {
        y = shift_left_held(y, -right);
    } else {
        *shift = -right;
    }
    return y;
}

static INTACT_SMALL void run_l2_normalization(int32_t zero, int32_t rows, int32_t count, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < rows; row++, x += count, y += count) {
        int32_t sum = 0, shift;
        for (int32_t n = 0; n < count; n++) {
            sum += (x[n] - zero) * (x[n] - zero);
        }
        const int32_t multiplier = inverse_sqrt(sum, &shift);
        for (int32_t n = 0; n < count; n++) {
            y[n] = (int8_t)clamp(rescale(x[n] - zero, multiplier, shift + 7), -128, 127);
        }
    }
}
