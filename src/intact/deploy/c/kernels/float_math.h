/* Real numbers in single precision. */

/* Between which ends an activation lies, as far as it has ends. */
typedef struct {
    bool has_low, has_high;
    float low, high;
} bounds;

static inline float bounded(const bounds *b, float x)
{
    if (b->has_low && x < b->low) {
        return b->low;
    }
    return b->has_high && x > b->high ? b->high : x;
}

/* sum + a * b: one instruction where the core has one. */
static inline float add_product(float sum, float a, float b)
{
#if defined(__ARM_FEATURE_FMA) && defined(__GNUC__)
    return __builtin_fmaf(a, b, sum);
#else
    return sum + a * b;
#endif
}
