/* CONV_2D of four output channels or more, four at a time. Taps in the padding are left out, for they add nothing. */

#include "float_dots.h"
#include "window.h"

typedef struct {
    float_channels out;
    window at;
} float_conv;

/* The four output channels whose weights are the block from c on: the last ones are there once more. */
static inline int32_t float_first_of_four(const window *a, int32_t c) { return c + 4 <= a->out_c ? c : a->out_c - 4; }

/* Four channels of a window, of whose taps those in `down` and `across` are there; the first row is row `iy` of the ring. */
static inline float_sums float_convolved(const window *a, const float *x, int32_t left, int32_t iy, int32_t ring, span down,
                                         span across, const float *w, float_sums s)
{
    const int32_t taps = a->dilation_w == 1 ? across.end - across.first : 1;
    for (int32_t ky = down.first; ky < down.end; ky++) {
        for (int32_t kx = across.first; kx < across.end; kx += taps) {
            const float *from = x + (iy * a->in_w + left + kx * a->dilation_w) * a->in_c;
            s = float_dot(from, w + 4 * (ky * a->kernel_w + kx) * a->in_c, taps * a->in_c, s);
        }
        iy += a->dilation_h;
        iy -= iy >= ring ? ring : 0;
    }
    return s;
}

#ifdef INTACT_FLOAT_PAIRS
/* All channels of two whole windows beside each other. */
static void float_conv_both(const float_conv *p, const float *x, int32_t begin, int32_t ring, float *y)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c, apart = a->stride_w * a->in_c;
    const float *w = p->out.weight;
    for (int32_t c = 0; c < a->out_c; c += 4) {
        const int32_t channel = float_first_of_four(a, c);
        float_both s = {float_biases(&p->out, channel), float_biases(&p->out, channel)};
        for (int32_t ky = a->kernel_h, iy = begin; ky > 0; ky--, w += 4 * row) {
            const float *from = x + iy * a->in_w * a->in_c;
            s = float_dot_both(from, from + apart, w, row, s);
            iy += a->dilation_h;
            iy -= iy >= ring ? ring : 0;
        }
        float_give(&p->out, s.first, y + channel);
        float_give(&p->out, s.second, y + a->out_c + channel);
    }
}
#endif

static void run_float_conv(const float_conv *p, row_range part, const float *x, float *y)
{
    const window *a = &p->at;
    const int32_t count = a->kernel_h * a->kernel_w * a->in_c, ring = part.ring;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span down = inside(top, a->in_h, a->kernel_h, a->dilation_h);
        const int32_t begin = (top + down.first * a->dilation_h) % ring;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            const int32_t left = ox * a->stride_w - a->pad_left;
#ifdef INTACT_FLOAT_PAIRS
            const bool is_whole = a->dilation_w == 1 && left >= 0 && down.end - down.first == a->kernel_h;
            if (is_whole && ox + 1 < a->out_w && left + a->stride_w + a->kernel_w <= a->in_w) {
                float_conv_both(p, x + left * a->in_c, begin, ring, y);
                ox++;
                y += a->out_c;
                continue;
            }
#endif
            const span across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const float *w = p->out.weight;
            for (int32_t c = 0; c < a->out_c; c += 4, w += 4 * count) {
                const int32_t channel = float_first_of_four(a, c);
                const float_sums begun = float_biases(&p->out, channel);
                float_give(&p->out, float_convolved(a, x, left, begin, ring, down, across, w, begun), y + channel);
            }
        }
    }
}
