/* exp, log and 1 / x on fixed-point numbers, as gemmlowp has them. */

#include "math.h"

static INTACT_SMALL int32_t product(int32_t a, int32_t b) { return high_product(a, b); }

/* exp(x) without integer bits, for x <= 0 with 5 integer bits. */
static INTACT_SMALL int32_t exp_of_negative(int32_t x)
{
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = (int32_t)1 << 24;
    const int32_t below = (x & (quarter - 1)) - quarter;
    const int32_t u = below * 32 + ((int32_t)1 << 28);
    const int32_t u2 = product(u, u), u3 = product(u2, u), u4 = product(u2, u2);
    const int32_t series = shift_right(product(shift_right(u4, 2) + u3, 715827883) + u2, 1);
    int32_t y = 1895147668 + product(u + series, 1895147668);
    const int32_t rest = below - x;
    for (int32_t n = 0; n < 7; n++) {
        if ((rest & ((int32_t)1 << (24 + n))) != 0) {
            y = product(y, factors[n]);
        }
    }
    return x == 0 ? INT32_MAX : y;
}

/* 1 / (1 + x) for x in [0, 1): three Newton steps, with 2 integer bits inside. */
static INTACT_SMALL int32_t one_over_one_plus(int32_t x)
{
    const int32_t half = (int32_t)(((uint32_t)x + (uint32_t)INT32_MAX + 1u) >> 1);
    int32_t y = 1515870810 + product(half, -1010580540);
    for (int32_t n = 0; n < 3; n++) {
        y += shift_left_held(product(y, ((int32_t)1 << 29) - product(half, y)), 2);
    }
    return shift_left_held(y, 1);
}
