/* GATHER_ND at places that are computed. A place outside is taken for the nearest inside. */

#include "math.h"

typedef struct {
    int32_t count, depth, bytes;
    int32_t size[4];
} gather_nd;

static void run_gather_nd(const gather_nd *p, const uint8_t *x, const int32_t *index, uint8_t *y)
{
    for (int32_t n = 0; n < p->count; n++) {
        int32_t row = 0;
        for (int32_t axis = 0; axis < p->depth; axis++) {
            row = row * p->size[axis] + clamp(*index++, 0, p->size[axis] - 1);
        }
        for (int32_t byte = 0; byte < p->bytes; byte++) {
            *y++ = x[row * p->bytes + byte];
        }
    }
}
