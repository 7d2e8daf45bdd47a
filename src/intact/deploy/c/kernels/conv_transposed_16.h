/* TRANSPOSE_CONV of 16-bit numbers: for each output pixel the taps that reach it. w is [output channel][tap][input channel]. */

#include "channels_16.h"
#include "window.h"

typedef struct {
    channels_16 out;
    window at;
} conv_transposed_16;

static void run_conv_transposed_16(const conv_transposed_16 *p, const int16_t *x, int16_t *y)
{
    const window *a = &p->at;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int8_t *w = p->out.weight;
            for (int32_t channel = 0; channel < a->out_c; channel++) {
                int64_t sum = p->out.wide_bias[channel];
                for (int32_t ky = 0; ky < a->kernel_h; ky++) {
                    const int32_t down = oy + a->pad_top - ky, iy = down / a->stride_h;
                    const bool in_row = down >= 0 && down % a->stride_h == 0 && iy < a->in_h;
                    for (int32_t kx = 0; kx < a->kernel_w; kx++, w += a->in_c) {
                        const int32_t right = ox + a->pad_left - kx, ix = right / a->stride_w;
                        if (!in_row || right < 0 || right % a->stride_w != 0 || ix >= a->in_w) {
                            continue;
                        }
                        const int16_t *from = x + (iy * a->in_w + ix) * a->in_c;
                        for (int32_t n = 0; n < a->in_c; n++) {
                            sum += from[n] * w[n];
                        }
                    }
                }
                *y++ = from_wide(&p->out, channel, sum);
            }
        }
    }
}
