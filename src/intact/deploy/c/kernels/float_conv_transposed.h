/* TRANSPOSE_CONV: for each output pixel the taps that reach it. w is [output channel][tap][input channel]. */

#include "float_dots.h"
#include "window.h"

typedef struct {
    float_channels out;
    window at;
} float_conv_transposed;

static void run_float_conv_transposed(const float_conv_transposed *p, const float *x, float *y)
{
    const window *a = &p->at;
    for (int32_t oy = 0; oy < a->out_h; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const float *w = p->out.weight;
            for (int32_t channel = 0; channel < a->out_c; channel++) {
                float sum = p->out.bias[channel];
                for (int32_t ky = 0; ky < a->kernel_h; ky++) {
                    const int32_t down = oy + a->pad_top - ky, iy = down / a->stride_h;
                    const bool in_row = down >= 0 && down % a->stride_h == 0 && iy < a->in_h;
                    for (int32_t kx = 0; kx < a->kernel_w; kx++, w += a->in_c) {
                        const int32_t right = ox + a->pad_left - kx, ix = right / a->stride_w;
                        if (in_row && right >= 0 && right % a->stride_w == 0 && ix < a->in_w) {
                            sum = float_dot_of_one(x + (iy * a->in_w + ix) * a->in_c, w, a->in_c, sum);
                        }
                    }
                }
                *y++ = bounded(&p->out.ends, sum);
            }
        }
    }
}
