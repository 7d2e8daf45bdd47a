/* RESIZE_BILINEAR: where each row and column lies, in 1024ths, was worked out before. */

#include "math.h"

typedef struct {
    const int16_t *rows, *columns; /* for each: the one before, the one after, and how far it is past the former */
    int16_t in_w, channels, out_h, out_w;
} resize_bilinear;

static void run_resize_bilinear(const resize_bilinear *p, const int8_t *x, int8_t *y)
{
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        const int16_t *row = p->rows + 3 * oy;
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const int16_t *column = p->columns + 3 * ox;
            for (int32_t c = 0; c < p->channels; c++) {
                const int32_t a = x[(row[0] * p->in_w + column[0]) * p->channels + c];
                const int32_t b = x[(row[0] * p->in_w + column[1]) * p->channels + c];
                const int32_t d = x[(row[1] * p->in_w + column[0]) * p->channels + c];
                const int32_t e = x[(row[1] * p->in_w + column[1]) * p->channels + c];
                const int32_t above = a * (1024 - column[2]) + b * column[2], below = d * (1024 - column[2]) + e * column[2];
                *y++ = (int8_t)clamp(shift_right(above * (1024 - row[2]) + below * row[2], 20), -128, 127);
            }
        }
    }
}
