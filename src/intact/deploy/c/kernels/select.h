/* SELECT_V2: one of two tensors of one scale, as a condition says. */

#include "loops.h"

typedef struct {
    const loop *loops; /* steps of the condition and of both tensors */
    int32_t count;            /* of a run */
    int32_t step_c, step_a, step_b;
    int32_t bytes;
} select;

static void run_select(const select *p, const bool *c, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        for (int32_t n = 0; n < p->count; n++) {
            const bool first = c[at.at[0] + n * p->step_c];
            const uint8_t *from = first ? a + (at.at[1] + n * p->step_a) * p->bytes : b + (at.at[2] + n * p->step_b) * p->bytes;
            for (int32_t byte = 0; byte < p->bytes; byte++) {
                *y++ = from[byte];
            }
        }
    } while (next_run(p->loops, &at));
}
