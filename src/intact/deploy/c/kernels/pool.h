/* AVERAGE_POOL_2D and MAX_POOL_2D; padding is not counted, and never wins. */

#include "math.h"
#include "window.h"

typedef struct {
    window at;
    int16_t low, high;
} pool;

/* sum / count, halves away from zero. */
static inline int32_t average(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

static INTACT_SMALL void run_pool(const pool *p, bool largest, row_range part, const int8_t *x, int8_t *y)
{
    const window *a = &p->at;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span taken = inside(top, a->in_h, a->kernel_h, 1);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span columns = inside(left, a->in_w, a->kernel_w, 1);
            for (int32_t c = 0; c < a->in_c; c++) {
                int32_t sum = 0, most = -128;
                for (int32_t ky = taken.first; ky < taken.end; ky++) {
                    for (int32_t kx = columns.first; kx < columns.end; kx++) {
                        const int32_t v = x[(((top + ky) % part.ring) * a->in_w + left + kx) * a->in_c + c];
                        sum += v;
                        most = v > most ? v : most;
                    }
                }
                const int32_t count = (taken.end - taken.first) * (columns.end - columns.first);
                *y++ = (int8_t)clamp(largest ? most : average(sum, count), p->low, p->high);
            }
        }
    }
}
