/* GATHER and EMBEDDING_LOOKUP at places that are computed. A place outside is taken for the nearest inside. */

#include "math.h"

typedef struct {
    int32_t outer, size, count, bytes; /* x is [outer, size, bytes]; y is [outer, count, bytes] */
} gather;

static void run_gather(const gather *p, const uint8_t *x, const int32_t *index, uint8_t *y)
{
    for (int32_t outer = 0; outer < p->outer; outer++) {
        for (int32_t n = 0; n < p->count; n++) {
            const uint8_t *from = x + (outer * p->size + clamp(index[n], 0, p->size - 1)) * p->bytes;
            for (int32_t byte = 0; byte < p->bytes; byte++) {
                *y++ = from[byte];
            }
        }
    }
}
