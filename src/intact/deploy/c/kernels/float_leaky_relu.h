/* LEAKY_RELU. */

static void run_float_leaky_relu(float alpha, const float *x, int32_t count, float *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = x[n] > 0.0f ? x[n] : alpha * x[n];
    }
}
