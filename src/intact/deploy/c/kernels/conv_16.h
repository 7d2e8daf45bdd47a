/* CONV_2D of 16-bit numbers, four output channels at a time. Each row of a kernel's taps is one run of numbers in the input;
   taps in the padding are left out. */

#include "dots_16.h"
#include "window.h"

typedef struct {
    channels_16 out;
    window at;
} conv_16;

/* The most numbers in a window that is brought together. */
#ifndef INTACT_GATHERED_16
#define INTACT_GATHERED_16 4
#endif

/* A whole window, row after row. */
static void gather_16(const window *a, const int16_t *x, int32_t ring, int32_t top, int32_t left, int16_t *to)
{
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t iy = top + ky * a->dilation_h;
        for (int32_t kx = 0; kx < a->kernel_w; kx++) {
            const int32_t ix = left + kx * a->dilation_w;
            const bool is_there = iy >= 0 && iy < a->in_h && ix >= 0 && ix < a->in_w;
            const int16_t *from = x + (is_there ? (iy % ring * a->in_w + ix) * a->in_c : 0);
            for (int32_t channel = 0; channel < a->in_c; channel++) {
                *to++ = is_there ? from[channel] : (int16_t)0;
            }
        }
    }
}

/* Four channels of a window, of which the taps of `down` and `across` are there; `iy` is the first of these rows. */
static inline sums convolved_16(const window *a, const int16_t *x, int32_t iy, int32_t ring, int32_t left, span down, span across,
                                const int8_t *w, sums s)
{
    const int32_t taps = a->dilation_w == 1 ? across.end - across.first : 1; /* that lie side by side */
    for (int32_t ky = down.first; ky < down.end; ky++) {
        for (int32_t kx = across.first; kx < across.end; kx += taps) {
            const int16_t *from = x + (iy * a->in_w + left + kx * a->dilation_w) * a->in_c;
            s = dot_16(from, w + 4 * (ky * a->kernel_w + kx) * a->in_c, taps * a->in_c, 0, s);
        }
        iy += a->dilation_h;
        iy -= iy >= ring ? ring : 0;
    }
    return s;
}

static void run_conv_16(const conv_16 *p, row_range part, const int16_t *x, int16_t *y)
{
    const window *a = &p->at;
    const int32_t count = a->kernel_h * a->kernel_w * a->in_c, ring = part.ring;
    const bool gathers = (a->in_c & 3) != 0;
    int16_t gathered[INTACT_GATHERED_16];
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span down = inside(top, a->in_h, a->kernel_h, a->dilation_h);
        const int32_t begin = (top + down.first * a->dilation_h) % ring;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const int8_t *w = p->out.weight;
            if (gathers) {
                gather_16(a, x, ring, top, left, gathered);
            }
            for (int32_t c = 0; c < a->out_c; c += 4, w += 4 * count) {
                const int32_t channel = c + 4 <= a->out_c ? c : a->out_c - 4;
                const sums begun = begun_16(&p->out, channel);
                const sums s = gathers ? dot_16(gathered, w, count & ~3, count & 3, begun)
                                       : convolved_16(a, x, begin, ring, left, down, across, w, begun);
                give_16(&p->out, channel, s, y + channel);
            }
        }
    }
}
