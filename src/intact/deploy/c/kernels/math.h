/* Fixed-point arithmetic as TensorFlow Lite Micro does it, bit for bit, in what C99 defines. */

/* x / 2^n towards minus infinity. C leaves open what >> makes of negative numbers; compilers make one shift of this. */
static inline int32_t floor_shift(int32_t x, int32_t n) { return x < 0 ? ~(~x >> n) : x >> n; }

static inline int64_t floor_shift_64(int64_t x, int32_t n) { return x < 0 ? ~(~x >> n) : x >> n; }

/* x * 2^n, held at the ends of int32. */
static inline int32_t shift_left_held(int32_t x, int32_t n)
{
    const int64_t y = (int64_t)x * ((int64_t)1 << n);
    return y > INT32_MAX ? INT32_MAX : y < INT32_MIN ? INT32_MIN : (int32_t)y;
}

/* a * b / 2^31, halves up. */
static inline int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)floor_shift_64((int64_t)a * b + ((int64_t)1 << 30), 31);
}

/* x / 2^n, halves away from zero, for x above INT32_MIN. */
static inline int32_t shift_right(int32_t x, int32_t n)
{
    if (n == 0) {
        return x;
    }
    const int32_t twice = floor_shift(x + floor_shift(x, 31), n - 1);
    return floor_shift(twice, 1) + (twice & 1);
}

/* x * multiplier * 2^(shift - 31) with its two roundings. */
static inline int32_t rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return high_product(x * ((int32_t)1 << shift), multiplier);
    }
    return shift_right(high_product(x, multiplier), -shift);
}

static inline int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

static inline int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    for (uint32_t bit = (uint32_t)1 << 31; bit != 0 && (x & bit) == 0; bit >>= 1) {
        n++;
    }
    return n;
}
