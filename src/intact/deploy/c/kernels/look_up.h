/* A function of one 8-bit number: a table of all 256, by the number's bits. */

#include "simd.h"

static void run_look_up(const uint8_t *x, const uint8_t *table, int32_t count, uint8_t *y)
{
    int32_t n = 0;
#ifdef INTACT_MVE
    for (; n + 16 <= count; n += 16) {
        vstrbq_u8(y + n, vldrbq_gather_offset_u8(table, vldrbq_u8(x + n)));
    }
#endif
    for (; n < count; n++) {
        y[n] = table[x[n]];
    }
}
