/* AVERAGE_POOL_2D and MAX_POOL_2D of 16-bit numbers; padding is not counted, and never wins. */

#include "math.h"
#include "window.h"

typedef struct {
    window at;
    int16_t low, high;
} pool_16;

static void run_pool_16(const pool_16 *p, bool largest, row_range part, const int16_t *x, int16_t *y)
{
    const window *a = &p->at;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span taken = inside(top, a->in_h, a->kernel_h, 1);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span columns = inside(left, a->in_w, a->kernel_w, 1);
            const int32_t count = (taken.end - taken.first) * (columns.end - columns.first), half = count / 2;
            for (int32_t c = 0; c < a->in_c; c++) {
                int32_t sum = 0, most = INT16_MIN;
                for (int32_t ky = taken.first; ky < taken.end; ky++) {
                    for (int32_t kx = columns.first; kx < columns.end; kx++) {
                        const int32_t v = x[((top + ky) % part.ring * a->in_w + left + kx) * a->in_c + c];
                        sum += v;
                        most = v > most ? v : most;
                    }
                }
                *y++ = (int16_t)clamp(largest ? most : (sum > 0 ? sum + half : sum - half) / count, p->low, p->high);
            }
        }
    }
}
