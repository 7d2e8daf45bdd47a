/* RESIZE_BILINEAR: where each row and column lies was worked out before. */

#include "float_math.h"

typedef struct {
    const int16_t *rows, *columns;         /* for each: the one before, and the one after */
    const float *past_rows, *past_columns; /* how far it is past the former */
    int16_t in_w, channels, out_h, out_w;
} float_resize_bilinear;

static inline float between(float a, float b, float part) { return add_product(a, b - a, part); }

static void run_float_resize_bilinear(const float_resize_bilinear *p, const float *x, float *y)
{
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        const int16_t *row = p->rows + 2 * oy;
        const float *above = x + row[0] * p->in_w * p->channels, *below = x + row[1] * p->in_w * p->channels;
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const int16_t *column = p->columns + 2 * ox;
            const float past = p->past_columns[ox];
            for (int32_t c = 0; c < p->channels; c++) {
                const int32_t left = column[0] * p->channels + c, right = column[1] * p->channels + c;
                const float upper = between(above[left], above[right], past), lower = between(below[left], below[right], past);
                *y++ = between(upper, lower, p->past_rows[oy]);
            }
        }
    }
}
