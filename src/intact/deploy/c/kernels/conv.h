/* CONV_2D of four output channels or more, four at a time. A window is a few runs of numbers, which every channel reads. */

#include "dots.h"
#include "window.h"

typedef struct {
    channels out;
    window at;
    int16_t step;    /* numbers from one output pixel to the next */
    int16_t in_zero; /* zero point of the input: what padding counts as */
} conv;

/* The most runs of a window, numbers in one that is brought together, and input channels that padding stands beside. */
#ifndef INTACT_RUNS
#define INTACT_RUNS 1
#endif
#ifndef INTACT_GATHERED
#define INTACT_GATHERED 1
#endif
#ifndef INTACT_PADDING
#define INTACT_PADDING 1
#endif

typedef struct {
    const int8_t *x;
    int32_t count;
} run;

/* The runs of a window, taps in their order: as long as they lie side by side in the input, or one tap of padding. How many. */
static int32_t runs_of(const window *a, const int8_t *x, int32_t ring, int32_t top, int32_t left, const int8_t *padding, run *runs)
{
    const span across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
    int32_t count = 0;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const int32_t iy = top + ky * a->dilation_h;
        const bool in_row = iy >= 0 && iy < a->in_h;
        const int32_t begin = in_row ? iy % ring * a->in_w + left : 0;
        for (int32_t kx = 0; kx < a->kernel_w; count++) {
            const bool pads = !in_row || kx < across.first || kx >= across.end;
            const int32_t taps = pads || a->dilation_w != 1 ? 1 : across.end - kx;
            runs[count].x = pads ? padding : x + (begin + kx * a->dilation_w) * a->in_c;
            runs[count].count = taps * a->in_c;
            kx += taps;
        }
    }
    return count;
}

/* Brings a window together; how many numbers it has. */
static int32_t gather(const run *runs, int32_t count, int8_t *to)
{
    const int8_t *begin = to;
    for (; count > 0; count--, runs++) {
        for (int32_t n = 0; n < runs->count; n++) {
            *to++ = runs->x[n];
        }
    }
    return (int32_t)(to - begin);
}

static void run_conv(const conv *p, row_range part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    run runs[INTACT_RUNS];
    int8_t gathered[INTACT_GATHERED], padding[INTACT_PADDING];
    for (int32_t n = 0; n < INTACT_PADDING; n++) {
        padding[n] = (int8_t)p->in_zero;
    }
    for (int32_t oy = part.first; oy < part.end; oy++) {
        for (int32_t ox = 0; ox < a->out_w; ox++, y += p->step) {
            const int8_t *w = p->out.weight;
            int32_t rest = 0;
            const run *end = runs + runs_of(a, x, part.ring, oy * a->stride_h - a->pad_top, ox * a->stride_w - a->pad_left, padding, runs);
            if ((a->in_c & 3) != 0) {
                const int32_t count = gather(runs, (int32_t)(end - runs), gathered);
                rest = count & 3;
                runs[0].x = gathered;
                runs[0].count = count - rest;
                end = runs + 1;
            }
            for (int32_t c = 0; c < a->out_c; c += 4) {
                const int32_t channel = c + 4 <= a->out_c ? c : a->out_c - 4;
                sums s = biases(&p->out, channel);
                for (const run *r = runs; r < end; r++) {
                    s = dot(r->x, w, r->count, s);
                    w += 4 * r->count;
                }
                if (rest > 0) {
                    s = dot_of_rest(runs->x + runs->count, w, rest, s);
                    w += 4 * rest;
                }
                give(&p->out, channel, s, y + channel);
            }
        }
    }
}
