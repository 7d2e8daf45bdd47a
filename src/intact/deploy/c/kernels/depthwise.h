/* DEPTHWISE_CONV_2D with one output channel for each input channel. w is [tap][channel]. */

#include "channels.h"
#include "window.h"

typedef struct {
    channels out;
    window at;
    int16_t in_zero;
    int16_t count; /* channels from x and y on, which may be a part of a pixel's */
} depthwise;

/* The window of an output pixel: its first row and column, which may be padding, and how many rows of the input there are. */
typedef struct {
    int32_t top, left, ring;
    int32_t begin; /* where its first row lies, if that is one of the input's */
    bool is_whole; /* it lies within the input */
} corner;

/* One row of a window's taps: where its first lies in the input, and the taps that lie within it. */
typedef struct {
    int32_t at;
    span there;
} tap_row;

static inline tap_row row_of(const window *a, corner from, int32_t ky)
{
    const int32_t iy = from.top + ky * a->dilation_h;
    const bool in_row = iy >= 0 && iy < a->in_h;
    tap_row r = {((in_row ? iy % from.ring : 0) * a->in_w + from.left) * a->in_c, {0, 0}};
    if (in_row) {
        r.there = inside(from.left, a->in_w, a->kernel_w, a->dilation_w);
    }
    return r;
}

#ifdef INTACT_MVE
/* Sums of sixteen channels: in of[n] those of channels n, n + 4, n + 8 and n + 12. */
typedef struct {
    int32x4_t of[4];
} many_sums;

static inline many_sums add_tap(int8x16_t x, int8x16_t w, many_sums s)
{
    const int16x8_t even = vmullbq_int_s8(x, w), odd = vmulltq_int_s8(x, w);
    s.of[0] = vaddq_s32(s.of[0], vmovlbq_s16(even));
    s.of[1] = vaddq_s32(s.of[1], vmovlbq_s16(odd));
    s.of[2] = vaddq_s32(s.of[2], vmovltq_s16(even));
    s.of[3] = vaddq_s32(s.of[3], vmovltq_s16(odd));
    return s;
}

static inline many_sums whole(const depthwise *p, const int8_t *x, corner from, const int8_t *w, mve_pred16_t there, many_sums s)
{
    const window *a = &p->at;
    const int32_t step = a->dilation_w * a->in_c, width = a->in_w * a->in_c;
    for (int32_t ky = 0, iy = from.begin; ky < a->kernel_h; ky++) {
        const int8_t *at = x + iy * width + from.left * a->in_c;
        for (int32_t kx = a->kernel_w; kx > 0; kx--) {
            s = add_tap(vldrbq_z_s8(at, there), vldrbq_z_s8(w, there), s);
            at += step;
            w += p->count;
        }
        iy += a->dilation_h;
        iy -= iy >= from.ring ? from.ring : 0;
    }
    return s;
}

static many_sums partial(const depthwise *p, const int8_t *x, corner from, const int8_t *w, mve_pred16_t there, many_sums s)
{
    const window *a = &p->at;
    const int8x16_t padding = vdupq_n_s8((int8_t)p->in_zero);
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const tap_row r = row_of(a, from, ky);
        for (int32_t kx = 0, at = r.at; kx < a->kernel_w; kx++, w += p->count, at += a->dilation_w * a->in_c) {
            const bool pads = kx < r.there.first || kx >= r.there.end;
            s = add_tap(pads ? padding : vldrbq_z_s8(x + at, there), vldrbq_z_s8(w, there), s);
        }
    }
    return s;
}

static void run_pixel(const depthwise *p, const int8_t *x, corner from, int8_t *y)
{
    const channels *c = &p->out;
    for (int32_t channel = 0; channel < p->count; channel += 16) {
        const int32_t left = p->count - channel;
        const mve_pred16_t there = vctp8q((uint32_t)left);
        const int8_t *w = c->weight + channel;
        uint32x4_t at[4];
        many_sums s;
        for (uint32_t n = 0; n < 4; n++) {
            /* Lanes behind the last channel read its numbers once more. */
            at[n] = vminq_u32(vidupq_n_u32(n, 4), vdupq_n_u32((uint32_t)left - 1u));
            s.of[n] = vldrwq_gather_shifted_offset_s32(c->bias + channel, at[n]);
        }
        s = from.is_whole ? whole(p, x + channel, from, w, there, s) : partial(p, x + channel, from, w, there, s);
        for (int32_t n = 0; n < 4; n++) {
            const uint32x4_t of = vandq_u32(at[n], vdupq_n_u32((uint32_t)c->each));
            const int32x4_t multiplier = vldrwq_gather_shifted_offset_s32(c->multiplier + (channel & c->each), of);
            s.of[n] = requantized(c, s.of[n], multiplier, vldrbq_gather_offset_s32(c->right + (channel & c->each), of));
        }
        const int16x8_t even = vmovntq_s32(vreinterpretq_s16_s32(s.of[0]), s.of[2]);
        const int16x8_t odd = vmovntq_s32(vreinterpretq_s16_s32(s.of[1]), s.of[3]);
        vstrbq_p_s8(y + channel, vmovntq_s16(vreinterpretq_s8_s16(even), odd), there);
    }
}
#else
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

/* Four channels of a window that lies within the input. */
static inline sums whole(const depthwise *p, const int8_t *x, corner from, const int8_t *w, sums s)
{
    const window *a = &p->at;
    const int32_t step = a->dilation_w * a->in_c, width = a->in_w * a->in_c;
    for (int32_t ky = 0, iy = from.begin; ky < a->kernel_h; ky++) {
        int32_t at = iy * width;
        for (int32_t kx = a->kernel_w; kx > 0; kx--) {
            s = add_tap(x + at, w, s);
            at += step;
            w += p->count;
        }
        iy += a->dilation_h;
        iy -= iy >= from.ring ? from.ring : 0;
    }
    return s;
}

/* The same of a window that reaches into the padding. */
static sums partial(const depthwise *p, const int8_t *x, corner from, const int8_t *w, sums s)
{
    const window *a = &p->at;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const tap_row r = row_of(a, from, ky);
        for (int32_t kx = 0, at = r.at; kx < a->kernel_w; kx++, w += p->count, at += a->dilation_w * a->in_c) {
            const bool pads = kx < r.there.first || kx >= r.there.end;
            s = pads ? add_same(p->in_zero, w, s) : add_tap(x + at, w, s);
        }
    }
    return s;
}

/* One channel alone. */
static int32_t of_one(const depthwise *p, const int8_t *x, corner from, const int8_t *w, int32_t sum)
{
    const window *a = &p->at;
    for (int32_t ky = 0; ky < a->kernel_h; ky++) {
        const tap_row r = row_of(a, from, ky);
        for (int32_t kx = 0, at = r.at; kx < a->kernel_w; kx++, w += p->count, at += a->dilation_w * a->in_c) {
            const bool pads = kx < r.there.first || kx >= r.there.end;
            sum += (pads ? p->in_zero : x[at]) * *w;
        }
    }
    return sum;
}

static inline void run_pixel(const depthwise *p, const int8_t *x, corner from, int8_t *y)
{
    const channels *c = &p->out;
    const int32_t fours = p->count & ~3;
    const int8_t *begin = x + (from.is_whole ? from.left * p->at.in_c : 0);
    for (int32_t channel = 0; channel < fours; channel += 4) {
        const int8_t *w = c->weight + channel;
        const sums s = biases(c, channel);
        give(c, channel, from.is_whole ? whole(p, begin + channel, from, w, s) : partial(p, x + channel, from, w, s), y + channel);
    }
    for (int32_t channel = fours; channel < p->count; channel++) {
        y[channel] = requantize(c, channel, of_one(p, x + channel, from, c->weight + channel, c->bias[channel]));
    }
}
#endif

static void run_depthwise(const depthwise *p, row_range part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    const int32_t down = (a->kernel_h - 1) * a->dilation_h, right = (a->kernel_w - 1) * a->dilation_w;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const bool in_rows = top >= 0 && top + down < a->in_h;
        corner from = {top, -a->pad_left, part.ring, in_rows ? top % part.ring : 0, false};
        for (int32_t ox = 0; ox < a->out_w; ox++, from.left += a->stride_w, y += a->out_c) {
            from.is_whole = in_rows && from.left >= 0 && from.left + right < a->in_w;
            run_pixel(p, x, from, y);
        }
    }
}
