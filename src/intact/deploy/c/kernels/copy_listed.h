/* What only moves numbers in no order that loops describe: output element n is input element from[n]. */

static void run_copy_listed(const uint8_t *x, const int32_t *from, int32_t count, int32_t bytes, uint8_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        for (int32_t byte = 0; byte < bytes; byte++) {
            *y++ = x[from[n] * bytes + byte];
        }
    }
}
