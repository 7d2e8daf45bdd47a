/* A function of one 8-bit number: a table of all 256, by the number's bits. */

static void run_look_up(const uint8_t *x, const uint8_t *table, int32_t count, uint8_t *y)
{
    for (int32_t n = 0; n < count; n++) {
        y[n] = table[x[n]];
    }
}
