/* Up to four loops around a run of numbers, and how far each steps in every tensor that takes part; a count of 0 ends them. */

#define INTACT_LOOPS 4
#define INTACT_PARTS 3

typedef struct {
    int32_t count;
    int32_t step[INTACT_PARTS];
} loop;

typedef struct {
    int32_t at[INTACT_PARTS]; /* where the run is */
    int32_t turn[INTACT_LOOPS];
} place;

/* Go on to the next run; false behind the last. The innermost loop is the first. */
static inline bool next_run(const loop *loops, place *p)
{
    for (int32_t n = 0; loops[n].count != 0; n++) {
        for (int32_t part = 0; part < INTACT_PARTS; part++) {
            p->at[part] += loops[n].step[part];
        }
        if (++p->turn[n] < loops[n].count) {
            return true;
        }
        for (int32_t part = 0; part < INTACT_PARTS; part++) {
            p->at[part] -= loops[n].count * loops[n].step[part];
        }
        p->turn[n] = 0;
    }
    return false;
}
