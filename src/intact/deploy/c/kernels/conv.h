/* CONV_2D, four output channels at a time. Each row of a kernel's taps is one run of numbers in the input. */

#include "dots.h"
#include "window.h"

typedef struct {
    channels out;
    window at;
    int16_t in_zero; /* zero point of the input: what padding counts as */
} conv;

/* Numbers of a row that are brought together at once where it reaches into the padding. */
#define INTACT_GATHERED 32

/* Four channels of a window that lies within the input, from its first number on, which is in row `top` of the ring. */
static inline sums convolved(const conv *p, const int8_t *x, int32_t top, int32_t ring, const int8_t *w, sums s)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c, width = a->in_w * a->in_c;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        s = dot(x + top * width, w, row & ~3, row & 3, s);
        w += 4 * row;
        top += a->dilation_h;
        top -= top >= ring ? ring : 0;
    }
    return s;
}

/* Numbers `first` to `end` of a row of taps, wherever it lies. */
static void gather(const conv *p, const int8_t *x, int32_t ring, int32_t iy, int32_t left, span numbers, int8_t *to)
{
    const window *a = &p->at;
    const int32_t width = a->in_w * a->in_c;
    const int8_t *row = x + (iy < 0 ? 0 : iy % ring) * width;
    int32_t kx = numbers.first / a->in_c, channel = numbers.first % a->in_c;
    for (int32_t n = numbers.first; n < numbers.end; n++) {
        const int32_t ix = left + kx * a->dilation_w;
        const bool there = iy >= 0 && iy < a->in_h && ix >= 0 && ix < a->in_w;
        *to++ = (int8_t)(there ? row[ix * a->in_c + channel] : p->in_zero);
        if (++channel == a->in_c) {
            channel = 0;
            kx++;
        }
    }
}

/* Four channels of a window that reaches into the padding, or whose taps lie apart. */
static sums gathered(const conv *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, const int8_t *w, sums s)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c;
    int8_t part[INTACT_GATHERED];
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        for (int32_t n = 0; n < row; n += INTACT_GATHERED) {
            const int32_t end = n + INTACT_GATHERED < row ? n + INTACT_GATHERED : row;
            const span numbers = {n, end};
            gather(p, x, ring, top + ky * a->dilation_h, left, numbers, part);
            s = dot(part, w, (end - n) & ~3, (end - n) & 3, s);
            w += 4 * (end - n);
        }
    }
    return s;
}

/* What numbers that all are the input's zero point add. */
static sums dot_of_zero(const conv *p, const int8_t *w, int32_t quads, sums s)
{
#ifdef INTACT_DSP
    const uint32_t zeros = (uint16_t)p->in_zero * 0x10001u;
    for (int32_t n = quads; n > 0; n -= 4, w += 16) {
        uint32_t of = four(w);
        s.of[0] = add_both(zeros, odd(of), add_both(zeros, even(of), s.of[0]));
        of = four(w + 4);
        s.of[1] = add_both(zeros, odd(of), add_both(zeros, even(of), s.of[1]));
        of = four(w + 8);
        s.of[2] = add_both(zeros, odd(of), add_both(zeros, even(of), s.of[2]));
        of = four(w + 12);
        s.of[3] = add_both(zeros, odd(of), add_both(zeros, even(of), s.of[3]));
    }
#else
    for (int32_t n = quads; n > 0; n -= 4, w += 16) {
        s.of[0] += p->in_zero * (w[0] + w[1] + w[2] + w[3]);
        s.of[1] += p->in_zero * (w[4] + w[5] + w[6] + w[7]);
        s.of[2] += p->in_zero * (w[8] + w[9] + w[10] + w[11]);
        s.of[3] += p->in_zero * (w[12] + w[13] + w[14] + w[15]);
    }
#endif
    return s;
}

/* Four channels of a window that reaches into the padding, of input channels by fours: its rows are cut, not copied. */
static sums cut(const conv *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, span columns, const int8_t *w,
                sums s)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c, first = columns.first * a->in_c, end = columns.end * a->in_c;
    for (int32_t ky = 0; ky < a->kernel_h; ky++, w += 4 * row) {
        const int32_t iy = top + ky * a->dilation_h;
        if (iy < 0 || iy >= a->in_h) {
            s = dot_of_zero(p, w, row, s);
            continue;
        }
        s = dot_of_zero(p, w, first, s);
        s = dot(x + (((iy % ring) * a->in_w + left) * a->in_c + first), w + 4 * first, end - first, 0, s);
        s = dot_of_zero(p, w + 4 * end, row - end, s);
    }
    return s;
}

/* One channel, whose weights are not interleaved. */
static int32_t gathered_of_one(const conv *p, const int8_t *x, int32_t ring, int32_t top, int32_t left, const int8_t *w,
                               int32_t sum)
{
    const window *a = &p->at;
    const int32_t row = a->kernel_w * a->in_c;
    int8_t part[INTACT_GATHERED];
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        for (int32_t n = 0; n < row; n += INTACT_GATHERED) {
            const int32_t end = n + INTACT_GATHERED < row ? n + INTACT_GATHERED : row;
            const span numbers = {n, end};
            gather(p, x, ring, top + ky * a->dilation_h, left, numbers, part);
            sum = dot_of_one(part, w, end - n, sum);
            w += end - n;
        }
    }
    return sum;
}

static void run_conv(const conv *p, rows part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    const int32_t count = a->kernel_h * a->kernel_w * a->in_c, fours = a->out_c & ~3, ring = part.ring;
    const int32_t down = (a->kernel_h - 1) * a->dilation_h, right = a->kernel_w - 1;
    const bool by_fours = (a->in_c & 3) == 0 && a->dilation_w == 1;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const bool row_is_whole = top >= 0 && top + down < a->in_h && a->dilation_w == 1;
        const int32_t begin = row_is_whole ? top % ring : 0;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span columns = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const bool is_whole = row_is_whole && left >= 0 && left + right < a->in_w;
            const int8_t *from = x + (is_whole ? left * a->in_c : 0), *w = p->out.weight;
            for (int32_t channel = 0; channel < fours; channel += 4, w += 4 * count) {
                sums s = biases(&p->out, channel);
                if (is_whole) {
                    s = convolved(p, from, begin, ring, w, s);
                } else if (by_fours) {
                    s = cut(p, x, ring, top, left, columns, w, s);
                } else {
                    s = gathered(p, x, ring, top, left, w, s);
                }
                give(&p->out, channel, s, y + channel);
            }
            for (int32_t channel = fours; channel < a->out_c; channel++, w += count) {
                const int32_t sum = gathered_of_one(p, x, ring, top, left, w, p->out.bias[channel]);
                y[channel] = requantize(&p->out, channel, sum);
            }
        }
    }
}
