/* SOFTMAX along the last axis. */

#include "float_exponential.h"

static void run_float_softmax(float beta, int32_t rows, int32_t count, const float *x, float *y)
{
    for (int32_t row = 0; row < rows; row++, x += count, y += count) {
        float most = x[0], sum = 0.0f;
        for (int32_t n = 1; n < count; n++) {
            most = x[n] > most ? x[n] : most;
        }
        for (int32_t n = 0; n < count; n++) {
            y[n] = exp_of(beta * (x[n] - most));
            sum += y[n];
        }
        const float part = 1.0f / sum;
        for (int32_t n = 0; n < count; n++) {
            y[n] *= part;
        }
    }
}
