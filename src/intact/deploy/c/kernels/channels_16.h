/* What all channels of a weighted layer of 16-bit numbers end with: a sum of products becomes 16 bits again. */

#include "channels.h"

typedef struct {
    const int8_t *weight;
    const int32_t *bias;      /* per output channel, where all sums fit 32 bits; else there is the next */
    const int64_t *wide_bias;
    const int32_t *multiplier; /* per output channel: with `bias`, sums are brought to the output's scale by multiplier / 2^32 */
    const int8_t *shift;       /* else, where biases have 64 bits, by multiplier / 2^shift; where 32, as rescale() does */
    int32_t each;              /* -1: a multiplier for each channel; 0: one for all */
    bool is_narrow;            /* biases have 32 bits */
    int16_t low, high;
} channels_16;

/* The generator has seen to it that nothing overflows on the way. */
static inline int16_t from_wide(const channels_16 *c, int32_t channel, int64_t sum)
{
    const int32_t multiplier = c->multiplier[channel & c->each], shift = c->shift[channel & c->each];
    const int32_t y = c->is_narrow ? rescale((int32_t)sum, multiplier, shift)
                                   : (int32_t)floor_shift_64(sum * multiplier + ((int64_t)1 << (shift - 1)), shift);
    return (int16_t)clamp(y, c->low, c->high);
}

/* What sums of four channels begin at. */
static inline sums begun_16(const channels_16 *c, int32_t channel)
{
    const sums none = {{0, 0, 0, 0}};
    if (c->bias == 0) {
        return none;
    }
    const int32_t *b = c->bias + channel;
    const sums s = {{b[0], b[1], b[2], b[3]}};
    return s;
}

/* a * b / 2^32, halves up. */
static inline int32_t higher_product(int32_t a, int32_t b)
{
#ifdef INTACT_DSP
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(a), "r"(b));
    return y;
#else
    return (int32_t)floor_shift_64((int64_t)a * b + ((int64_t)1 << 31), 32);
#endif
}

static inline int16_t requantize_16(const channels_16 *c, int32_t channel, int32_t sum)
{
    if (c->bias == 0) {
        return from_wide(c, channel, c->wide_bias[channel] + sum);
    }
    return (int16_t)clamp(higher_product(sum, c->multiplier[channel & c->each]), c->low, c->high);
}

static inline void give_16(const channels_16 *c, int32_t channel, sums s, int16_t *y)
{
    const int16_t y0 = requantize_16(c, channel, s.of[0]), y1 = requantize_16(c, channel + 1, s.of[1]);
    const int16_t y2 = requantize_16(c, channel + 2, s.of[2]), y3 = requantize_16(c, channel + 3, s.of[3]);
    y[0] = y0;
    y[1] = y1;
    y[2] = y2;
    y[3] = y3;
}

/* The same of one channel. */
static inline int32_t begun_of_one_16(const channels_16 *c, int32_t channel) { return c->bias == 0 ? 0 : c->bias[channel]; }
