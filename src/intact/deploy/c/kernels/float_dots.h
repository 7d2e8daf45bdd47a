/* Sums of products for four output channels at once. w has one number of each channel after the other: [count][4]. */

#include "float_math.h"

typedef struct {
    const float *weight;
    const float *bias;
    bounds ends;
} float_channels;

typedef struct {
    float of[4];
} float_sums;

static inline float_sums float_biases(const float_channels *c, int32_t channel)
{
    const float *b = c->bias + channel;
    const float_sums s = {{b[0], b[1], b[2], b[3]}};
    return s;
}

static inline void float_give(const float_channels *c, float_sums s, float *y)
{
    y[0] = bounded(&c->ends, s.of[0]);
    y[1] = bounded(&c->ends, s.of[1]);
    y[2] = bounded(&c->ends, s.of[2]);
    y[3] = bounded(&c->ends, s.of[3]);
}

static inline float_sums float_add_four(float x, const float *w, float_sums s)
{
    s.of[0] = add_product(s.of[0], x, w[0]);
    s.of[1] = add_product(s.of[1], x, w[1]);
    s.of[2] = add_product(s.of[2], x, w[2]);
    s.of[3] = add_product(s.of[3], x, w[3]);
    return s;
}

static inline float_sums float_dot(const float *x, const float *w, int32_t count, float_sums s)
{
    int32_t n = count;
    for (; n >= 4; n -= 4) {
        s = float_add_four(x[0], w, s);
        s = float_add_four(x[1], w + 4, s);
        s = float_add_four(x[2], w + 8, s);
        s = float_add_four(x[3], w + 12, s);
        x += 4;
        w += 16;
    }
    for (; n > 0; n--) {
        s = float_add_four(*x++, w, s);
        w += 4;
    }
    return s;
}

/* The same of two positions at once, so that each weight is read once for both: where floats have registers of their own. */
#if !defined(__arm__) || defined(__ARM_FP)
#define INTACT_FLOAT_PAIRS 1

typedef struct {
    float_sums first, second;
} float_both;

static inline float_both float_dot_both(const float *x, const float *z, const float *w, int32_t count, float_both s)
{
    int32_t n = count;
    for (; n >= 4; n -= 4) {
        s.first = float_add_four(x[0], w, s.first);
        s.second = float_add_four(z[0], w, s.second);
        s.first = float_add_four(x[1], w + 4, s.first);
        s.second = float_add_four(z[1], w + 4, s.second);
        s.first = float_add_four(x[2], w + 8, s.first);
        s.second = float_add_four(z[2], w + 8, s.second);
        s.first = float_add_four(x[3], w + 12, s.first);
        s.second = float_add_four(z[3], w + 12, s.second);
        x += 4;
        z += 4;
        w += 16;
    }
    for (; n > 0; n--) {
        s.first = float_add_four(*x++, w, s.first);
        s.second = float_add_four(*z++, w, s.second);
        w += 4;
    }
    return s;
}
#endif

/* One position and one channel. */
static inline float float_dot_of_one(const float *x, const float *w, int32_t count, float sum)
{
    for (int32_t n = count; n > 0; n--) {
        sum = add_product(sum, *x++, *w++);
    }
    return sum;
}
