/* CONV_2D of 16-bit numbers in groups, DEPTHWISE_CONV_2D that makes several channels of each, and any layer whose products
   leave 32 bits: one output channel at a time. w is [output channel][tap][input channel of the group]. */

#include "channels_16.h"
#include "window.h"

typedef struct {
    channels_16 out;
    window at;
    int16_t group_in, group_out; /* channels of a group */
} conv_grouped_16;

static void run_conv_grouped_16(const conv_grouped_16 *p, row_range part, const int16_t *x, int16_t *y)
{
    const window *a = &p->at;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int8_t *w = p->out.weight;
            for (int32_t channel = 0; channel < a->out_c; channel++) {
                const int32_t first = channel / p->group_out * p->group_in;
                int64_t sum = p->out.wide_bias[channel];
                for (int32_t ky = 0; ky < a->kernel_h; ky++) {
                    const int32_t iy = oy * a->stride_h - a->pad_top + ky * a->dilation_h;
                    for (int32_t kx = 0; kx < a->kernel_w; kx++, w += p->group_in) {
                        const int32_t ix = ox * a->stride_w - a->pad_left + kx * a->dilation_w;
                        if (iy < 0 || iy >= a->in_h || ix < 0 || ix >= a->in_w) {
                            continue;
                        }
                        const int16_t *from = x + (iy % part.ring * a->in_w + ix) * a->in_c + first;
                        for (int32_t n = 0; n < p->group_in; n++) {
                            sum += from[n] * w[n];
                        }
                    }
                }
                *y++ = from_wide(&p->out, channel, sum);
            }
        }
    }
}
