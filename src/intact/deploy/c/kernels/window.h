/* Where a window of taps lies on its input: padding is no numbers, but places that no tap reads. */

/* INTACT_EXTENT: the largest number in any window. */
#if INTACT_EXTENT < 256
typedef uint8_t extent;
#elif INTACT_EXTENT < 32768
typedef int16_t extent;
#else
typedef int32_t extent;
#endif

typedef struct {
    extent in_h, in_w, in_c;
    extent out_h, out_w, out_c;
    extent kernel_h, kernel_w;
    extent stride_h, stride_w;
    extent dilation_h, dilation_w;
    extent pad_top, pad_left;
} window;

/* The output rows to make, and how many rows of the input there are: row n lies where row n % ring does. */
typedef struct {
    int32_t first, end, ring;
} row_range;

/* Of `taps` along one axis, the first and the one behind the last that lie within `size`. */
typedef struct {
    int32_t first;
    int32_t end;
} span;

static inline span inside(int32_t start, int32_t size, int32_t taps, int32_t dilation)
{
    span s = {0, taps};
    if (start < 0) {
        s.first = (dilation - 1 - start) / dilation;
    }
    if (start + (taps - 1) * dilation >= size) {
        s.end = size <= start ? 0 : (size - start + dilation - 1) / dilation;
    }
    if (s.first > s.end) {
        s.first = s.end;
    }
    return s;
}
