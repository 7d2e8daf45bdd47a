/* SOFTMAX of 16-bit numbers along the last axis, interpolated in tables of exp and 1 / (1 + x) of 513 places each. */

#include "math.h"

typedef struct {
    const int16_t *exp;     /* of -10 to 0 */
    const int16_t *inverse; /* of 1 to 2 */
    int32_t rows, count;
    int32_t multiplier, shift; /* differences to the largest as places in the table of exp */
} softmax_16;

static inline int32_t between_places(const int16_t *table, int32_t at)
{
    const int16_t *near = table + 256 + floor_shift(at, 7);
    return near[0] + floor_shift((near[1] - near[0]) * (at & 127) + 64, 7);
}

static void run_softmax_16(const softmax_16 *p, const int16_t *x, int16_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->count, y += p->count) {
        int32_t most = x[0], sum = 0;
        for (int32_t n = 1; n < p->count; n++) {
            most = x[n] > most ? x[n] : most;
        }
        for (int32_t n = 0; n < p->count; n++) {
            const int32_t at = rescale(x[n] - most, p->multiplier, p->shift) + INT16_MAX;
            y[n] = (int16_t)between_places(p->exp, clamp(at, INT16_MIN, INT16_MAX));
            sum += y[n];
        }
        const int32_t zeros = leading_zeros((uint32_t)sum), right = 31 - zeros;
        const int32_t over_one = (int32_t)((((int64_t)sum << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
        const int32_t inverse = between_places(p->inverse, clamp(over_one, INT16_MIN, INT16_MAX));
        for (int32_t n = 0; n < p->count; n++) {
            y[n] = (int16_t)clamp((y[n] * inverse + (1 << (right - 1))) >> right, 0, INT16_MAX);
        }
    }
}
