/* Padding: one value everywhere, before what is not padding is copied over it. */

static void run_fill(const uint8_t *value, int32_t bytes, int32_t count, uint8_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        for (int32_t byte = 0; byte < bytes; byte++) {
            *y++ = value[byte];
        }
    }
}
