/* CONV_2D of four output channels or more, four at a time. Each row of a kernel's taps is one run of numbers in the input. */

#include "dots.h"
#include "window.h"

typedef struct {
    channels out;
    window at;
    int32_t step;    /* numbers from one output pixel to the next */
    int16_t in_zero; /* zero point of the input: what padding counts as */
} conv;

/* The most numbers in a window that is brought together, and the most input channels that padding stands beside. */
#ifndef INTACT_GATHERED
#define INTACT_GATHERED 4
#endif
#ifndef INTACT_PADDING
#define INTACT_PADDING 4
#endif

/* Taps of a window that are there: rows and columns. */
typedef struct {
    span down, across;
} taps;

/* A whole window, row after row. */
static void gather(const conv *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, taps there, int8_t *to)
{
    const window *a = &p->at;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const bool in_row = ky >= there.down.first && ky < there.down.end;
        const int32_t iy = in_row ? (top + ky * a->dilation_h) % ring : 0;
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const bool is_there = in_row && kx >= there.across.first && kx < there.across.end;
            const int8_t *from = x + (is_there ? (iy * a->in_w + left + kx * a->dilation_w) * a->in_c : 0);
            for (int32_t channel = 0; channel < a->in_c; channel++) {
                *to++ = (int8_t)(is_there ? from[channel] : p->in_zero);
            }
        }
    }
}

/* Four channels of a window that lies within the input. */
static inline sums convolved(const conv *p, const int8_t *x, int32_t iy, int32_t ring, const int8_t *w, sums s)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c, width = a->in_w * a->in_c;
    for (int32_t ky = a->kernel_h; ky > 0; ky--) {
        s = dot(x + iy * width, w, row, 0, s);
        w += 4 * row;
        iy += a->dilation_h;
        iy -= iy >= ring ? ring : 0;
    }
    return s;
}

/* The same of one that reaches into the padding, of which there is enough for one tap. */
static sums padded(const conv *p, const int8_t *x, int32_t iy, int32_t left, int32_t ring, taps there, const int8_t *padding,
                   const int8_t *w, sums s)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const bool in_row = ky >= there.down.first && ky < there.down.end;
        const int32_t first = in_row ? there.across.first * a->in_c : row, end = in_row ? there.across.end * a->in_c : row;
        for (int32_t n = 0; n < row;) {
            const bool pads = n < first || n >= end;
            const int32_t count = pads ? a->in_c : end - first;
            s = dot(pads ? padding : x + ((iy * a->in_w + left) * a->in_c + first), w, count, 0, s);
            w += 4 * count;
            n += count;
        }
        if (in_row) {
            iy += a->dilation_h;
            iy -= iy >= ring ? ring : 0;
        }
    }
    return s;
}

static void run_conv(const conv *p, row_range part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    const int32_t count = a->kernel_h * a->kernel_w * a->in_c, ring = part.ring;
    const bool gathers = (a->in_c & 3) != 0 || a->dilation_w != 1;
    int8_t gathered[INTACT_GATHERED], padding[INTACT_PADDING];
    for (int32_t n = 0; n < INTACT_PADDING; n++) {
        padding[n] = (int8_t)p->in_zero;
    }
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        taps there = {inside(top, a->in_h, a->kernel_h, a->dilation_h), {0, 0}};
        const int32_t begin = (top + there.down.first * a->dilation_h) % ring;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += p->step) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const int8_t *w = p->out.weight;
            there.across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const int32_t down = there.down.end - there.down.first, across = there.across.end - there.across.first;
            const bool is_whole = down == a->kernel_h && across == a->kernel_w;
            if (gathers) {
                gather(p, x, ring, top, left, there, gathered);
            }
            for (int32_t c = 0; c < a->out_c; c += 4, w += 4 * count) {
                const int32_t channel = c + 4 <= a->out_c ? c : a->out_c - 4;
                sums s = biases(&p->out, channel);
                if (gathers) {
                    s = dot(gathered, w, count & ~3, count & 3, s);
                } else if (is_whole) {
                    s = convolved(p, x + left * a->in_c, begin, ring, w, s);
                } else {
                    s = padded(p, x, begin, left, ring, there, padding, w, s);
                }
                give(&p->out, channel, s, y + channel);
            }
        }
    }
}
