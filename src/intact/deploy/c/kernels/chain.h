/* Ops that run row by row: the last one that can makes its next row, until all have made theirs. */

typedef struct {
    int16_t rows;   /* of its output */
    int16_t stride; /* row r needs the first r * stride + reach rows of what it reads, or all `height` */
    int16_t reach;
    int16_t height;
    int8_t reads[2]; /* other stages, or -1 */
} stage;

static bool can_run(const stage *s, int32_t row, const int16_t *done)
{
    const int32_t reach = row * s->stride + s->reach, needed = reach < s->height ? reach : s->height;
    for (int32_t n = 0; n < 2; n++) {
        if (s->reads[n] >= 0 && done[s->reads[n]] < needed) {
            return false;
        }
    }
    return row < s->rows;
}

static int32_t next_stage(const stage *stages, int32_t count, const int16_t *done)
{
    int32_t n = count - 1;
    while (n >= 0 && !can_run(stages + n, done[n], done)) {
        n--;
    }
    return n;
}
