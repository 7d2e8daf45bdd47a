/* PAD of images' rows and columns, row by row. */

#include "window.h"

typedef struct {
    int32_t in_h, top;           /* rows of the input, and rows above it */
    int32_t before, row, behind; /* bytes of a row: left of what is there, of that, and right of it */
    uint8_t zero;                /* what padding is stored as */
} pad;

static void run_pad(const pad *p, row_range part, const uint8_t *x, uint8_t *y)
{
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t iy = oy - p->top;
        const bool is_there = iy >= 0 && iy < p->in_h;
        const uint8_t *from = x + (is_there ? iy % part.ring * p->row : 0);
        for (int32_t n = -p->before; n < p->row + p->behind; n++) {
            *y++ = is_there && n >= 0 && n < p->row ? from[n] : p->zero;
        }
    }
}
