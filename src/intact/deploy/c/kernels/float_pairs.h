/* ADD, SUB, MUL and their like: two tensors that broadcast against each other, element by element. */

#include "float_math.h"
#include "loops.h"

typedef struct {
    const loop *loops; /* steps of both inputs */
    int32_t step_a, step_b;   /* within a run */
    int32_t count;            /* of a run */
    bounds ends;
} float_pairs;

static inline void float_by_pairs(const float_pairs *p, float (*of)(float, float), const float *a, const float *b, float *y)
{
    place at = {{0, 0, 0}, {0, 0, 0, 0}};
    do {
        const float *u = a + at.at[0], *v = b + at.at[1];
        for (int32_t n = 0; n < p->count; n++) {
            *y++ = bounded(&p->ends, of(u[n * p->step_a], v[n * p->step_b]));
        }
    } while (next_run(p->loops, &at));
}
