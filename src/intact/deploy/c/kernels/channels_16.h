/* What all channels of a weighted layer of 16-bit numbers end with. Products are summed in 32 bits where they fit, biases have
   64 or, where the file has such, 32. */

#include "channels.h"

typedef struct {
    const int8_t *weight;
    const int64_t *bias;
    const int32_t *multiplier; /* per output channel; of 15 bits for biases of 64, of 31 for those of 32 */
    const int8_t *shift;       /* to the right for biases of 64; to the left for those of 32 */
    int32_t each;              /* -1: a multiplier for each channel; 0: one for all */
    bool is_narrow;            /* biases of 32 bits */
    int16_t low, high;
} channels_16;

/* The generator has seen to it that nothing overflows on the way. */
static inline int16_t requantize_16(const channels_16 *c, int32_t channel, int64_t sum)
{
    const int32_t multiplier = c->multiplier[channel & c->each], shift = c->shift[channel & c->each];
    const int32_t y = c->is_narrow ? rescale((int32_t)sum, multiplier, shift)
                                   : (int32_t)floor_shift_64(sum * multiplier + ((int64_t)1 << (shift - 1)), shift);
    return (int16_t)clamp(y, c->low, c->high);
}

static inline void give_16(const channels_16 *c, int32_t channel, sums s, int16_t *y)
{
    for (int32_t n = 0; n < 4; n++) {
        y[n] = requantize_16(c, channel + n, c->bias[channel + n] + s.of[n]);
    }
}
