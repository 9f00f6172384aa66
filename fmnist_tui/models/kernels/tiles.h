/* Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): images and filters to its tiles and back, for winograd.c.
 *
 * A tile is 6x6 numbers; as many planes have the tiles' numbers of one place each, (tiles, channels). A tile is
 * transformed along one axis and then along the other. Every transform has its transpose, for gradients.
 */
#pragma once
#include "product.h"

#define STEP 4
#define TILE 6
#define PLACES 36

/* 6 pixels to a tile's numbers: (4 0 -5 0 1 0; 0 -4 -4 1 1 0; 0 4 -4 -1 1 0; 0 -2 -1 2 1 0; 0 2 -1 -2 1 0;
 * 0 4 0 -5 0 1) */
INLINE void of_input(const vec *x, vec *y) {
    vec a = x[4] - 4 * x[2], b = x[3] - 4 * x[1], c = x[4] - x[2], d = 2 * (x[3] - x[1]);
    y[0] = 4 * x[0] - 5 * x[2] + x[4];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = 4 * x[1] - 5 * x[3] + x[5];
}

INLINE void to_input_grad(const vec *x, vec *y) {
    vec a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = 2 * (x[3] - x[4]);
    y[0] = 4 * x[0];
    y[1] = 4 * (x[5] - b) - d;
    y[2] = -5 * x[0] - 4 * a - c;
    y[3] = b + d - 5 * x[5];
    y[4] = x[0] + a + c;
    y[5] = x[5];
}

/* A tile's numbers to 4 pixels: (1 1 1 1 1 0; 0 1 -1 2 -2 0; 0 1 1 4 4 0; 0 1 -1 8 -8 1) */
INLINE void to_output(const vec *x, vec *y) {
    vec a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = b + 2 * d;
    y[2] = a + 4 * c;
    y[3] = b + 8 * d + x[5];
}

INLINE void of_output_grad(const vec *x, vec *y) {
    vec a = x[0] + x[2], b = x[1] + x[3], c = x[0] + 4 * x[2], d = 2 * x[1] + 8 * x[3];
    y[0] = x[0];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[3];
}

/* 3 weights to 6: (1/4 0 0; -1/6 -1/6 -1/6; -1/6 1/6 -1/6; 1/24 1/12 1/6; 1/24 -1/12 1/6; 0 0 1) */
INLINE void of_filter(const vec *x, vec *y) {
    vec a = (x[0] + x[2]) * (-1.0f / 6), b = x[1] * (-1.0f / 6);
    vec c = x[0] * (1.0f / 24) + x[2] * (1.0f / 6), d = x[1] * (1.0f / 12);
    y[0] = x[0] * 0.25f;
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[2];
}

INLINE void to_filter_grad(const vec *x, vec *y) {
    vec a = (x[1] + x[2]) * (-1.0f / 6), b = (x[1] - x[2]) * (-1.0f / 6), c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] * 0.25f + a + c * (1.0f / 24);
    y[1] = b + d * (1.0f / 12);
    y[2] = a + c * (1.0f / 6) + x[5];
}

/* One of them along both axes: x (from, from) to y (to, to). */
#define BOTH_WAYS(transform, from, to, x, y)                                                                   \
    do {                                                                                                       \
        vec half[to][from];                                                                                    \
        for (int j = 0; j < (from); j++) {                                                                     \
            vec column[from], turned[to];                                                                      \
            for (int i = 0; i < (from); i++) column[i] = (x)[i][j];                                            \
            transform(column, turned);                                                                         \
            for (int i = 0; i < (to); i++) half[i][j] = turned[i];                                             \
        }                                                                                                      \
        for (int i = 0; i < (to); i++) transform(half[i], (y)[i]);                                             \
    } while (0)

/* The tiles of some images of so many channels, whose pixels are `apart`: planes `plane` numbers apart, in which a tile
 * has `stride` of them. With `scale` and `shift` the images are batch norm's input, the tiles of ReLU's result. */
typedef struct {
    float *numbers;
    long height, width, down, across, channels, stride, plane, apart;
    const float *scale, *shift;
} Tiles;

static long whole_panels(long channels) { return (channels + PANEL - 1) / PANEL * PANEL; }

/* Numbers from one plane to the next: an odd number of cache lines, so that a tile's places have different ones. */
static long plane_of(long rows, long stride) { return ((rows * stride + 15) / 16 | 1) * 16; }

static Tiles tiles_of(long images, long height, long width, long channels) {
    long down = (height + STEP - 1) / STEP, across = (width + STEP - 1) / STEP, stride = whole_panels(channels);
    long plane = plane_of(images * down * across, stride);
    Tiles tiles = {0, height, width, down, across, channels, stride, plane, channels, 0, 0};
    return tiles;
}

/* Where the lines of pixels of a row of tiles begin, in images x: STEP of them, or TILE with those around; null of those
 * that are outside of the image. */
INLINE void lines_of(const float *x, const Tiles *tiles, long row, int count, const float **lines) {
    for (int i = 0; i < count; i++) {
        long down = row % tiles->down * STEP + i - (count - STEP) / 2;
        int outside = down < 0 || down >= tiles->height;
        lines[i] = outside ? 0 : x + (row / tiles->down * tiles->height + down) * tiles->width * tiles->apart;
    }
}

INLINE float *tile(const Tiles *tiles, long row, long column) {
    return tiles->numbers + (row * tiles->across + column) * tiles->stride;
}

/* Tiles of a row that are transformed together, so that what lies between the two axes stays in the nearest cache, and
 * the columns of their pixels. */
#define BESIDE 8
#define COLUMNS (BESIDE * STEP + TILE - STEP)

/* Up to LANES channels, from c on, of `count` tiles of a row from `first` on. */
INLINE void tiles_of_input(const float *lines[TILE], const Tiles *tiles, long first, long count, long c, long channels,
                           float *to, int normalised) {
    vec half[TILE][COLUMNS], scale, shift;
    if (normalised) {
        scale = load_some(tiles->scale + c, channels);
        shift = load_some(tiles->shift + c, channels);
    }
    for (long j = 0; j < count * STEP + TILE - STEP; j++) {
        long across = first * STEP - 1 + j;
        vec column[TILE], turned[TILE];
        for (int i = 0; i < TILE; i++) {
            column[i] = (vec){0};
            if (!lines[i] || across < 0 || across >= tiles->width) continue;
            column[i] = load_some(lines[i] + across * tiles->apart + c, channels);
            if (normalised) column[i] = relu(column[i] * scale + shift);
        }
        of_input(column, turned);
        for (int i = 0; i < TILE; i++) half[i][j] = turned[i];
    }
    for (long k = 0; k < count; k++)
        for (int i = 0; i < TILE; i++) {
            vec numbers[TILE];
            of_input(half[i] + k * STEP, numbers);
            for (int j = 0; j < TILE; j++) store(to + k * tiles->stride + (i * TILE + j) * tiles->plane, numbers[j]);
        }
}

/* A row of tiles, of images x: with the pixels around them, those of the tiles beside them or zeros. */
static void row_of_input(const float *x, Tiles tiles, long row) {
    const float *lines[TILE];
    lines_of(x, &tiles, row, TILE, lines);
    for (long first = 0; first < tiles.across; first += BESIDE) {
        long count = tiles.across - first < BESIDE ? tiles.across - first : BESIDE, c = 0;
        float *to = tile(&tiles, row, first);
        for (; c + LANES <= tiles.channels; c += LANES)
            if (tiles.scale)
                tiles_of_input(lines, &tiles, first, count, c, LANES, to + c, 1);
            else
                tiles_of_input(lines, &tiles, first, count, c, LANES, to + c, 0);
        if (c < tiles.channels) tiles_of_input(lines, &tiles, first, count, c, tiles.channels - c, to + c, !!tiles.scale);
    }
}

/* The transpose: what up to LANES channels, from c on, of some tiles of a row say of the pixels. Those of the row above
 * have said what they do: it is added to. */
INLINE void tiles_to_input_grad(const float *lines[TILE], const Tiles *tiles, long row, long first, long count, long c,
                                long channels) {
    vec half[TILE][COLUMNS] = {0};
    const float *from = tile(tiles, row, first) + c;
    for (long k = 0; k < count; k++)
        for (int i = 0; i < TILE; i++) {
            vec numbers[TILE], turned[TILE];
            for (int j = 0; j < TILE; j++) numbers[j] = load(from + k * tiles->stride + (i * TILE + j) * tiles->plane);
            to_input_grad(numbers, turned);
            for (int j = 0; j < TILE; j++) half[i][k * STEP + j] += turned[j];
        }
    for (long j = 0; j < count * STEP + TILE - STEP; j++) {
        long across = first * STEP - 1 + j;
        if (across < 0 || across >= tiles->width) continue;
        vec column[TILE], turned[TILE];
        for (int i = 0; i < TILE; i++) column[i] = half[i][j];
        to_input_grad(column, turned);
        for (int i = 0; i < TILE; i++) {
            if (!lines[i]) continue;
            float *to = (float *)lines[i] + across * tiles->apart + c;
            int before = (i < TILE - STEP && row % tiles->down > 0) || (j < TILE - STEP && first > 0);
            store_some(to, before ? load_some(to, channels) + turned[i] : turned[i], channels);
        }
    }
}

/* Of a row of tiles, the channels from `first` to `last`: to dx, or where the row above has written it added to it. */
static void row_to_input_grad(Tiles tiles, float *dx, long row, long first, long last) {
    const float *lines[TILE];
    lines_of(dx, &tiles, row, TILE, lines);
    for (long column = 0; column < tiles.across; column += BESIDE) {
        long count = tiles.across - column < BESIDE ? tiles.across - column : BESIDE, c = first;
        for (; c + LANES <= last; c += LANES) tiles_to_input_grad(lines, &tiles, row, column, count, c, LANES);
        if (c < last) tiles_to_input_grad(lines, &tiles, row, column, count, c, last - c);
    }
}

/* A row of tiles to the 4x4 pixels of each, as many of them as are in the image. */
static void row_to_output(Tiles tiles, float *y, long row) {
    const float *lines[STEP];
    lines_of(y, &tiles, row, STEP, lines);
    for (long column = 0; column < tiles.across; column++) {
        const float *from = tile(&tiles, row, column);
        for (long c = 0; c < tiles.channels; c += LANES) {
            vec numbers[TILE][TILE], pixels[STEP][STEP];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) numbers[i][j] = load(from + (i * TILE + j) * tiles.plane + c);
            BOTH_WAYS(to_output, TILE, STEP, numbers, pixels);
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++) {
                    long across = column * STEP + j;
                    if (!lines[i] || across >= tiles.width) continue;
                    store_some((float *)lines[i] + across * tiles.apart + c, pixels[i][j], tiles.channels - c);
                }
        }
    }
}

/* The transpose: a row of tiles, of the gradient of what they became. */
static void row_of_output_grad(const float *grad, Tiles tiles, long row) {
    const float *lines[STEP];
    lines_of(grad, &tiles, row, STEP, lines);
    for (long column = 0; column < tiles.across; column++) {
        float *to = tile(&tiles, row, column);
        for (long c = 0; c < tiles.channels; c += LANES) {
            vec pixels[STEP][STEP], numbers[TILE][TILE];
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++) {
                    long across = column * STEP + j;
                    int outside = !lines[i] || across >= tiles.width;
                    pixels[i][j] = outside ? (vec){0}
                                           : load_some(lines[i] + across * tiles.apart + c, tiles.channels - c);
                }
            BOTH_WAYS(of_output_grad, STEP, TILE, pixels, numbers);
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) store(to + (i * TILE + j) * tiles.plane + c, numbers[i][j]);
        }
    }
}
