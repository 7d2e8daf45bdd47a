/* LOGISTIC and TANH of 16-bit numbers: interpolated in a table of the logistic function, 24 places for 1.0. */

#include "math.h"

typedef struct {
    const uint16_t *table; /* 256 places from 0 on, in 1/65536 */
    int32_t multiplier;    /* stored numbers as places in the table, by multiplier / 2^right */
    int32_t half;          /* of 2^right, where that is more than 1 */
    int32_t right;
} sigmoid_16;

static inline int32_t table_place(const sigmoid_16 *p, int32_t x) { return floor_shift(x * p->multiplier + p->half, p->right); }

/* Between places 2^bits apart, which are as many bits finer; `end` behind the last. */
static inline int32_t interpolated(const uint16_t *table, int32_t at, int32_t bits, int32_t end)
{
    if (at >> bits >= 255) {
        return end;
    }
    const int32_t below = table[at >> bits], above = table[(at >> bits) + 1];
    return below * (1 << bits) + (at & ((1 << bits) - 1)) * (above - below);
}

static inline int16_t logistic_of(const sigmoid_16 *p, int32_t x)
{
    const int32_t at = table_place(p, x), y = interpolated(p->table, at < 0 ? -at : at, 9, 0x7FFF * (1 << 10));
    return (int16_t)((at >= 0 ? y + 512 : (1 << 25) + 511 - y) >> 10);
}

static inline int16_t tanh_of(const sigmoid_16 *p, int32_t x)
{
    const int32_t at = table_place(p, x), y = interpolated(p->table, at < 0 ? -at : at, 8, 0xFFFF * (1 << 8));
    return (int16_t)floor_shift(at >= 0 ? y - (1 << 23) + 128 : (1 << 23) + 127 - y, 8);
}

static inline void run_logistic_16(const sigmoid_16 *p, int32_t count, const int16_t *x, int16_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = logistic_of(p, x[n]);
    }
}

static inline void run_tanh_16(const sigmoid_16 *p, int32_t count, const int16_t *x, int16_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = tanh_of(p, x[n]);
    }
}
