/* exp, log and their kin to about 1e-7 of themselves. Source of the polynomials: Cephes, single precision. */

#include "float_math.h"

typedef union {
    float value;
    uint32_t bits;
} float_bits;

static inline float power_of_two(int32_t n)
{
    const float_bits made = {.bits = (uint32_t)(n + 127) << 23};
    return made.value;
}

static inline float infinity(void)
{
    const float_bits made = {.bits = 0x7F800000u};
    return made.value;
}

/* 2^n times the exponential of what is left, which is at most half of log 2. */
static inline float exp_of(float x)
{
    if (!(x < 88.8f)) {
        return x + infinity();
    }
    if (x < -103.0f) {
        return 0.0f;
    }
    const float turns = x * 1.44269504f;
    const int32_t n = (int32_t)(turns < 0.0f ? turns - 0.5f : turns + 0.5f), half = n / 2;
    const float r = add_product(add_product(x, (float)n, -0.693359375f), (float)n, 2.12194440e-4f);
    float y = add_product(1.3981999507e-3f, 1.9875691500e-4f, r);
    y = add_product(8.3334519073e-3f, y, r);
    y = add_product(4.1665795894e-2f, y, r);
    y = add_product(1.6666665459e-1f, y, r);
    y = add_product(5.0000001201e-1f, y, r);
    y = add_product(r, y, r * r) + 1.0f;
    return y * power_of_two(half) * power_of_two(n - half);
}

/* Of x = m 2^n with m from sqrt(1/2) to sqrt(2): log m + n log 2. */
static inline float log_of(float x)
{
    float_bits given = {x};
    int32_t n = 0;
    if (!(x > 0.0f)) {
        return x < 0.0f ? infinity() - infinity() : x - infinity();
    }
    if (given.bits == 0x7F800000u) {
        return x;
    }
    if (given.bits < 0x00800000u) {
        given.value *= 8388608.0f;
        n = -23;
    }
    n += (int32_t)(given.bits >> 23) - 126;
    given.bits = (given.bits & 0x007FFFFFu) | 0x3F000000u;
    if (given.value < 0.707106781f) {
        given.value += given.value;
        n--;
    }
    const float r = given.value - 1.0f, square = r * r;
    float y = add_product(-1.1514610310e-1f, 7.0376836292e-2f, r);
    y = add_product(1.1676998740e-1f, y, r);
    y = add_product(-1.2420140846e-1f, y, r);
    y = add_product(1.4249322787e-1f, y, r);
    y = add_product(-1.6668057665e-1f, y, r);
    y = add_product(2.0000714765e-1f, y, r);
    y = add_product(-2.4999993993e-1f, y, r);
    y = add_product(3.3333331174e-1f, y, r) * r * square;
    y = add_product(add_product(y, (float)n, -2.12194440e-4f), -0.5f, square);
    return add_product(r + y, (float)n, 0.693359375f);
}

static inline float tanh_of(float x)
{
    const float size = x < 0.0f ? -x : x;
    if (size > 0.625f) {
        const float y = 1.0f - 2.0f / (exp_of(size + size) + 1.0f);
        return x < 0.0f ? -y : y;
    }
    const float square = x * x;
    float y = add_product(2.06390887954e-2f, -5.70498872745e-3f, square);
    y = add_product(-5.37397155531e-2f, y, square);
    y = add_product(1.33314422036e-1f, y, square);
    y = add_product(-3.33332819422e-1f, y, square) * square;
    return add_product(x, y, x);
}

/* 1 / sqrt(x): an estimate by the bits, and three Newton steps. */
static inline float inverse_sqrt_of(float x)
{
    if (!(x > 0.0f)) {
        return x < 0.0f ? infinity() - infinity() : x + infinity();
    }
    float_bits made = {x};
    made.bits = 0x5F3759DFu - (made.bits >> 1);
    for (int32_t n = 0; n < 3; n++) {
        made.value *= add_product(1.5f, -0.5f * x * made.value, made.value);
    }
    return made.value;
}
