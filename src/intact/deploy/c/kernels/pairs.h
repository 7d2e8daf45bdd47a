/* ADD, SUB, MUL and their like: two tensors that broadcast against each other, element by element. */

#include "math.h"
#include "loops.h"

typedef struct {
    const loop *loops; /* steps of both inputs */
    int32_t step_a, step_b;   /* within a run */
    int32_t count;            /* of a run */
    int16_t zero_a, zero_b, zero, low, high;
    int32_t multiplier_a, multiplier_b, multiplier;
    int8_t shift_a, shift_b, shift;
} pairs;
