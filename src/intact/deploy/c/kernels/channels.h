/* What all channels of a weighted layer end with: a sum of products becomes 8 bits again. */

#include "math.h"
#include "simd.h"

typedef struct {
    const int8_t *weight;
    const int32_t *bias;       /* less what the input's zero point adds, per output channel */
    const int32_t *multiplier; /* per output channel: the sum is brought to the output's scale by multiplier / 2^(32 + right) */
    const int8_t *right;
    int16_t each; /* -1: a multiplier for each channel; 0: one for all */
    int16_t zero; /* zero point of the output */
    int16_t low;
    int16_t high;
} channels;

/* The generator has seen to it that twice a sum stays within int32, and defines INTACT_GROWS where a `right` is below 0. */
static inline int32_t in_steps(const channels *c, int32_t channel, int32_t sum)
{
    const int32_t multiplier = c->multiplier[channel & c->each], right = c->right[channel & c->each];
#ifdef INTACT_GROWS
    if (right < 0) {
        return high_product(sum * ((int32_t)1 << (-1 - right)), multiplier);
    }
#endif
    const int32_t x = small_product(sum, multiplier);
    /* x / 2^(right + 1), halves away from zero */
    return floor_shift(floor_shift(x + floor_shift(x, 31), right) + 1, 1);
}

static inline int8_t requantize(const channels *c, int32_t channel, int32_t sum)
{
    return (int8_t)clamp(in_steps(c, channel, sum) + c->zero, c->low, c->high);
}

typedef struct {
    int32_t of[4];
} sums;

static inline sums biases(const channels *c, int32_t channel)
{
    const int32_t *b = c->bias + channel;
    const sums s = {{b[0], b[1], b[2], b[3]}};
    return s;
}

#ifdef INTACT_MVE
static inline int32x4_t requantized(const channels *c, int32x4_t sum, int32x4_t multiplier, int32x4_t right)
{
    return clamped(rescaled(sum, multiplier, vmvnq_s32(right)), c->zero, c->low, c->high);
}
#endif

static inline void give(const channels *c, int32_t channel, sums s, int8_t *y)
{
#ifdef INTACT_MVE
    const int32x4_t sum = together(s.of[0], s.of[1], s.of[2], s.of[3]);
    if (c->each != 0) {
        vstrbq_s32(y, requantized(c, sum, vldrwq_s32(c->multiplier + channel), vldrbq_s32(c->right + channel)));
    } else {
        vstrbq_s32(y, requantized(c, sum, vdupq_n_s32(c->multiplier[0]), vdupq_n_s32(c->right[0])));
    }
#else
    const int8_t y0 = requantize(c, channel, s.of[0]), y1 = requantize(c, channel + 1, s.of[1]);
    const int8_t y2 = requantize(c, channel + 2, s.of[2]), y3 = requantize(c, channel + 3, s.of[3]);
    y[0] = y0;
    y[1] = y1;
    y[2] = y2;
    y[3] = y3;
#endif
}
