/* DEPTHWISE_CONV_2D with one output channel for each input channel, four at a time. w is [tap][channel]. */

#include "float_dots.h"
#include "window.h"

typedef struct {
    float_channels out;
    window at;
} float_depthwise;

/* The taps of a window that are there: rows and columns, the first row being row `iy` of a ring. */
typedef struct {
    span down, across;
    int32_t left, iy, ring;
} float_taps;

static inline float_sums float_add_tap(const float *x, const float *w, float_sums s)
{
    s.of[0] = add_product(s.of[0], x[0], w[0]);
    s.of[1] = add_product(s.of[1], x[1], w[1]);
    s.of[2] = add_product(s.of[2], x[2], w[2]);
    s.of[3] = add_product(s.of[3], x[3], w[3]);
    return s;
}

static inline float_sums float_of_four(const window *a, float_taps t, const float *x, const float *w, float_sums s)
{
    const int32_t step = a->dilation_w * a->in_c;
    for (int32_t ky = t.down.first, iy = t.iy; ky < t.down.end; ky++) {
        int32_t at = (iy * a->in_w + t.left + t.across.first * a->dilation_w) * a->in_c;
        int32_t of = (ky * a->kernel_w + t.across.first) * a->in_c;
        for (int32_t kx = t.across.first; kx < t.across.end; kx++) {
            s = float_add_tap(x + at, w + of, s);
            at += step;
            of += a->in_c;
        }
        iy += a->dilation_h;
        iy -= iy >= t.ring ? t.ring : 0;
    }
    return s;
}

/* One channel alone. */
static float float_of_one(const window *a, float_taps t, const float *x, const float *w, float sum)
{
    for (int32_t ky = t.down.first, iy = t.iy; ky < t.down.end; ky++) {
        for (int32_t kx = t.across.first; kx < t.across.end; kx++) {
            const float *from = x + (iy * a->in_w + t.left + kx * a->dilation_w) * a->in_c;
            sum = add_product(sum, *from, w[(ky * a->kernel_w + kx) * a->in_c]);
        }
        iy += a->dilation_h;
        iy -= iy >= t.ring ? t.ring : 0;
    }
    return sum;
}

static void run_float_depthwise(const float_depthwise *p, row_range part, const float *x, float *y)
{
    const window *a = &p->at;
    const int32_t fours = a->in_c & ~3;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        float_taps t = {inside(top, a->in_h, a->kernel_h, a->dilation_h), {0, 0}, 0, 0, part.ring};
        t.iy = (top + t.down.first * a->dilation_h) % part.ring;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            t.left = ox * a->stride_w - a->pad_left;
            t.across = inside(t.left, a->in_w, a->kernel_w, a->dilation_w);
            for (int32_t c = 0; c < fours; c += 4) {
                float_give(&p->out, float_of_four(a, t, x + c, p->out.weight + c, float_biases(&p->out, c)), y + c);
            }
            for (int32_t c = fours; c < a->in_c; c++) {
                y[c] = bounded(&p->out.ends, float_of_one(a, t, x + c, p->out.weight + c, p->out.bias[c]));
            }
        }
    }
}
