/* QUANTIZE where either side has 16 bits. */

#include "math.h"

typedef struct {
    int16_t zero_x, zero, low, high;
    int32_t multiplier;
    int8_t shift;
} convert;

static inline int32_t converted(const convert *p, int32_t x)
{
    return clamp(rescale(x - p->zero_x, p->multiplier, p->shift) + p->zero, p->low, p->high);
}

static inline void run_convert_16_to_16(const convert *p, int32_t count, const int16_t *x, int16_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = (int16_t)converted(p, x[n]);
    }
}

static inline void run_convert_16_to_8(const convert *p, int32_t count, const int16_t *x, int8_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = (int8_t)converted(p, x[n]);
    }
}

static inline void run_convert_8_to_16(const convert *p, int32_t count, const int8_t *x, int16_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = (int16_t)converted(p, x[n]);
    }
}
