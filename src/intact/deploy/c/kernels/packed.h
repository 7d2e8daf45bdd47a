/* Weights of few numbers: indices of some bits, the lowest bit first, into a table of those numbers. */

#include "channels.h"

typedef struct {
    const uint8_t *indices;
    const int8_t *tables; /* one for all channels, or one for each */
    int32_t per_channel;  /* numbers from a channel's table to the next one's; 0: one for all */
    int32_t row, rows;    /* of one channel: numbers of a row, which are laid by fours, and rows */
    int32_t bits;
    int32_t at_once; /* channels of a block */
} packed;

static inline int8_t unpacked(const packed *p, uint32_t at, int32_t channel)
{
    const uint32_t bit = at * (uint32_t)p->bits, byte = bit >> 3;
    uint32_t taken = p->indices[byte];
    if ((bit & 7u) + (uint32_t)p->bits > 8u) {
        taken |= (uint32_t)p->indices[byte + 1] << 8;
    }
    const uint32_t index = (taken >> (bit & 7u)) & ((1u << p->bits) - 1u);
    return p->tables[channel * p->per_channel + (int32_t)index];
}

/* Block `block` of channels, the first of which is `channel`, as kernels read it. */
static void unpack(const packed *p, int32_t block, int32_t channel, int8_t *to)
{
    uint32_t at = (uint32_t)(p->at_once * block * p->rows * p->row);
    for (int32_t row = 0; row < p->rows; row++) {
        for (int32_t n = p->row; n > 0;) {
            const int32_t each = n >= 4 ? 4 : 1;
            for (int32_t c = 0; c < p->at_once; c++) {
                for (int32_t k = 0; k < each; k++) {
                    *to++ = unpacked(p, at++, channel + c);
                }
            }
            n -= each;
        }
    }
}

static inline void go_on(channels *c, const int8_t *weight, int32_t channel)
{
    c->weight = weight;
    c->bias += channel;
    c->multiplier += channel & c->each;
    c->right += channel & c->each;
}
