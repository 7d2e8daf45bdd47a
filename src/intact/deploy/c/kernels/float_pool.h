/* AVERAGE_POOL_2D and MAX_POOL_2D; padding is not counted, and never wins. */

#include "float_math.h"
#include "window.h"

typedef struct {
    window at;
    bounds ends;
} float_pool;

static void run_float_pool(const float_pool *p, bool largest, row_range part, const float *x, float *y)
{
    const window *a = &p->at;
    for (int32_t oy = part.first; oy < part.end; oy++) {
        const int32_t top = oy * a->stride_h - a->pad_top;
        const span down = inside(top, a->in_h, a->kernel_h, 1);
        for (int32_t ox = 0; ox < a->out_w; ox++) {
            const int32_t left = ox * a->stride_w - a->pad_left;
            const span across = inside(left, a->in_w, a->kernel_w, 1);
            const float part_of_sum = 1.0f / (float)((down.end - down.first) * (across.end - across.first));
            for (int32_t c = 0; c < a->in_c; c++) {
                float made = largest ? -3.40282347e38f : 0.0f;
                for (int32_t ky = down.first; ky < down.end; ky++) {
                    const int32_t row = (top + ky) % part.ring * a->in_w + left;
                    for (int32_t kx = across.first; kx < across.end; kx++) {
                        const float v = x[(row + kx) * a->in_c + c];
                        if (largest) {
                            made = v > made ? v : made;
                        } else {
                            made += v;
                        }
                    }
                }
                *y++ = bounded(&p->ends, largest ? made : made * part_of_sum);
            }
        }
    }
}
