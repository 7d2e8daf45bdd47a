/* LOG_SOFTMAX along the last axis. */

#include "differences.h"

typedef struct {
    int32_t rows, count;
    int32_t multiplier, shift, radius;
    int32_t back_multiplier, back_shift; /* from fixed-point numbers to differences */
} log_softmax;

/* log(x) with 5 integer bits for x >= 1 with 12. */
static int32_t log_of(uint32_t x)
{
    const int32_t sqrt_half = 1518500250, quarter = (int32_t)1 << 23, fourth_root_half = 1805811301;
    int32_t zeros = leading_zeros(x);
    const uint32_t held = zeros == 0 ? x >> 1 : x << (zeros - 1);
    const int32_t first = shift_left_held(high_product(held > (uint32_t)INT32_MAX ? INT32_MAX : (int32_t)held, sqrt_half), 1);
    const int32_t first_power = shift_left_held(12 - zeros, 25) + quarter;
    zeros = leading_zeros((uint32_t)high_product((int32_t)x, sqrt_half)) - 1;
    const uint64_t wide = (uint64_t)x << zeros;
    const int32_t second = wide > (uint64_t)INT32_MAX ? INT32_MAX : (int32_t)wide;
    const int32_t second_power = shift_left_held(12 - zeros, 25) - quarter;
    const int32_t r = first < second ? first : second, power = first_power > second_power ? first_power : second_power;
    const int32_t p = (int32_t)(((uint32_t)r + (uint32_t)fourth_root_half + 1u) >> 1);
    const int32_t q = 2 * (r - fourth_root_half);
    const int32_t square = high_product(q, q);
    const int32_t over = high_product(q, r) + high_product(high_product(q, square), 117049297);
    const int32_t under = high_product(p, q + high_product(square, 127690142) + 1057819769) + high_product(q, 638450708);
    const int32_t fraction = high_product(shift_right(over, 6), one_over_one_plus(under));
    return shift_left_held(high_product(power, 1488522236) + fraction, 1);
}

static INTACT_SMALL void run_log_softmax(const log_softmax *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->count, y += p->count) {
        const int32_t most = largest(x, p->count);
        const int32_t log = log_of((uint32_t)sum_of_exp(x, p->count, most, p->multiplier, p->shift, p->radius));
        int32_t lowest = rescale(log - INT32_MAX - 1, p->back_multiplier, p->back_shift);
        lowest = lowest < -p->radius - 1 ? -p->radius - 1 : lowest;
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t below = x[n] - most;
            int32_t z = -128;
            if (below > lowest) {
                const int32_t held = below < -p->radius ? -p->radius : below;
                z = clamp(shift_right(scaled_difference(held, p->multiplier, p->shift) - log, 22) + 127, -128, 127);
            }
            y[n] = (int8_t)z;
        }
    }
}
