/* DEPTHWISE_CONV_2D with one output channel for each input channel, four at a time. w is [tap][channel]. */

#include "channels.h"
#include "window.h"

typedef struct {
    channels out;
    window at;
    int16_t in_zero;
} depthwise;

static inline sums add_tap(const int8_t *x, const int8_t *w, sums s)
{
#ifdef INTACT_DSP
    const uint32_t given = four(x), of = four(w);
    const uint32_t x0 = even(given), x1 = odd(given), w0 = even(of), w1 = odd(of);
    s.of[0] = add_low(x0, w0, s.of[0]);
    s.of[1] = add_low(x1, w1, s.of[1]);
    s.of[2] = add_high(x0, w0, s.of[2]);
    s.of[3] = add_high(x1, w1, s.of[3]);
#else
    s.of[0] += x[0] * w[0];
    s.of[1] += x[1] * w[1];
    s.of[2] += x[2] * w[2];
    s.of[3] += x[3] * w[3];
#endif
    return s;
}

static inline sums add_same(int32_t value, const int8_t *w, sums s)
{
    s.of[0] += value * w[0];
    s.of[1] += value * w[1];
    s.of[2] += value * w[2];
    s.of[3] += value * w[3];
    return s;
}

/* Four channels of a window that lies within the input, from its first number on, which is in row `top` of the ring. */
static inline sums whole(const window *a, const int8_t *x, int32_t top, int32_t ring, const int8_t *w, sums s)
{
    const int32_t step = a->dilation_w * a->in_c, width = a->in_w * a->in_c;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        int32_t at = top * width;
        for (int32_t kx = a->kernel_w; kx > 0; kx--) {
            s = add_tap(x + at, w, s);
            at += step;
            w += a->in_c;
        }
        top += a->dilation_h;
        top -= top >= ring ? ring : 0;
    }
    return s;
}

/* The same of a window that reaches into the padding. */
static sums partial(const depthwise *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, const int8_t *w, sums s)
{
    const window *a = &p->at;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t iy = top + ky * a->dilation_h;
        for (int32_t kx = 0; kx < a->kernel_w; kx++, w += a->in_c) {
            const int32_t ix = left + kx * a->dilation_w;
            if (iy >= 0 && iy < a->in_h && ix >= 0 && ix < a->in_w) {
                s = add_tap(x + ((iy % ring) * a->in_w + ix) * a->in_c, w, s);
            } else {
                s = add_same(p->in_zero, w, s);
            }
        }
    }
    return s;
}

/* One channel alone. */
static int32_t of_one(const depthwise *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, const int8_t *w, int32_t sum)
{
    const window *a = &p->at;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t iy = top + ky * a->dilation_h;
        for (int32_t kx = 0; kx < a->kernel_w; kx++, w += a->in_c) {
            const int32_t ix = left + kx * a->dilation_w;
            const bool there = iy >= 0 && iy < a->in_h && ix >= 0 && ix < a->in_w;
            sum += (there ? x[((iy % ring) * a->in_w + ix) * a->in_c] : p->in_zero) * *w;
        }
    }
    return sum;
}

static void run_depthwise(const depthwise *p, row_range part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    const int32_t down = (a->kernel_h - 1) * a->dilation_h, right = (a->kernel_w - 1) * a->dilation_w;
    const int32_t fours = a->in_c & ~3, ring = part.ring;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top, begin = top >= 0 ? top % ring : 0;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const bool is_whole = top >= 0 && left >= 0 && top + down < a->in_h && left + right < a->in_w;
            const int8_t *from = x + (is_whole ? left * a->in_c : 0);
            for (int32_t c = 0; c < fours; c += 4) {
                const int8_t *w = p->out.weight + c;
                const sums biased = biases(&p->out, c);
                const sums s = is_whole ? whole(a, from + c, begin, ring, w, biased) : partial(p, x + c, ring, top, left, w, biased);
                give(&p->out, c, s, y + c);
            }
            for (int32_t c = fours; c < a->in_c; c++) {
                const int32_t sum = of_one(p, x + c, ring, top, left, p->out.weight + c, p->out.bias[c]);
                y[c] = requantize(&p->out, c, sum);
            }
        }
    }
}
