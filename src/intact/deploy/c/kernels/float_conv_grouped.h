/* CONV_2D in groups, and DEPTHWISE_CONV_2D that makes several channels of each: one output channel at a time.
   w is [output channel][tap][input channel of the group]. */

#include "float_dots.h"
#include "window.h"

typedef struct {
    float_channels out;
    window at;
    int16_t group_in, group_out; /* channels of a group */
} float_conv_grouped;

static void run_float_conv_grouped(const float_conv_grouped *p, row_range part, const float *x, float *y)
{
    const window *a = &p->at;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span down = inside(top, a->in_h, a->kernel_h, a->dilation_h);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const float *w = p->out.weight;
            for (int32_t channel = 0; channel < a->out_c; channel++) {
                const int32_t first = channel / p->group_out * p->group_in;
                float sum = p->out.bias[channel];
                for (int32_t ky = down.first; ky < down.end; ky++) {
                    const int32_t iy = (top + ky * a->dilation_h) % part.ring;
                    for (int32_t kx = across.first; kx < across.end; kx++) {
                        const float *from = x + (iy * a->in_w + left + kx * a->dilation_w) * a->in_c + first;
                        sum = float_dot_of_one(from, w + (ky * a->kernel_w + kx) * p->group_in, p->group_in, sum);
                    }
                }
                *y++ = bounded(&p->out.ends, sum);
                w += a->kernel_h * a->kernel_w * p->group_in;
            }
        }
    }
}
