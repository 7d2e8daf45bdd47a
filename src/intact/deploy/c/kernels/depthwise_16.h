/* DEPTHWISE_CONV_2D of 16-bit numbers with one output channel for each input channel, four at a time. w is [tap][channel]. */

#include "dots_16.h"
#include "window.h"

typedef struct {
    channels_16 out;
    window at;
} depthwise_16;

#ifdef INTACT_DSP
/* sum + a.high * b.low, and sum + a.low * b.high */
static inline int32_t add_high_low(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t y;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}

static inline int32_t add_low_high(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t y;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
    return y;
}
#endif

static inline sums add_tap_16(const int16_t *x, const int8_t *w, sums s)
{
#ifdef INTACT_DSP
    const uint32_t x0 = two(x), x2 = two(x + 2), of = four(w), w0 = even(of), w1 = odd(of);
    s.of[0] = add_low(x0, w0, s.of[0]);
    s.of[1] = add_high_low(x0, w1, s.of[1]);
    s.of[2] = add_low_high(x2, w0, s.of[2]);
    s.of[3] = add_high(x2, w1, s.of[3]);
#else
    s.of[0] += x[0] * w[0];
    s.of[1] += x[1] * w[1];
    s.of[2] += x[2] * w[2];
    s.of[3] += x[3] * w[3];
#endif
    return s;
}

static void run_depthwise_16(const depthwise_16 *p, row_range part, const int16_t *x, int16_t *y)
{
    const window *a = &p->at;
    const int32_t fours = a->in_c & ~3, ring = part.ring, step = a->dilation_w * a->in_c;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span down = inside(top, a->in_h, a->kernel_h, a->dilation_h);
        const int32_t begin = (top + down.first * a->dilation_h) % ring;
        for (int32_t ox = 0; ox < a->out_w; ox++, y += a->out_c) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span across = inside(left, a->in_w, a->kernel_w, a->dilation_w);
            const int32_t column = (left + across.first * a->dilation_w) * a->in_c;
            for (int32_t c = 0; c < a->in_c; c += c < fours ? 4 : 1) {
                int32_t iy = begin;
                sums s = {{begun_of_one_16(&p->out, c), 0, 0, 0}};
                if (c < fours) {
                    s = begun_16(&p->out, c);
                }
                for (int32_t ky = down.first; ky < down.end; ky++) {
                    const int16_t *from = x + iy * a->in_w * a->in_c + column + c;
                    const int8_t *w = p->out.weight + (ky * a->kernel_w + across.first) * a->in_c + c;
                    for (int32_t kx = across.first; kx < across.end; kx++, from += step, w += a->in_c) {
                        if (c < fours) {
                            s = add_tap_16(from, w, s);
                        } else {
                            s.of[0] += from[0] * w[0];
                        }
                    }
                    iy += a->dilation_h;
                    iy -= iy >= ring ? ring : 0;
                }
                if (c < fours) {
                    give_16(&p->out, c, s, y + c);
                } else {
                    y[c] = requantize_16(&p->out, c, s.of[0]);
                }
            }
        }
    }
}
