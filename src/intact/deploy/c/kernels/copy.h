/* What only moves numbers: runs of `bytes` that lie apart. */

#include "loops.h"

typedef struct {
    const loop *loops; /* steps of the output and of the input, in bytes */
    int32_t to, from, bytes;
} copy;

static void run_copy(const copy *p, const uint8_t *x, uint8_t *y)
{
    place at = {{p->to, p->from, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->bytes; n++) {
            y[at.at[0] + n] = x[at.at[1] + n];
        }
    } while (next_run(p->loops, &at));
}
