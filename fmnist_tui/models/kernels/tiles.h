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

static const float nothing[MOST_CHANNELS];

/* A pixel's channels in x, of which tiles has a row of tiles, or zeros where it lies outside of the image. */
INLINE const float *pixel(const float *x, const Tiles *tiles, long row, long down, long across) {
    if (down < 0 || down >= tiles->height || across < 0 || across >= tiles->width) return nothing;
    return x + ((row / tiles->down * tiles->height + down) * tiles->width + across) * tiles->apart;
}

INLINE float *tile(const Tiles *tiles, long row, long column) {
    return tiles->numbers + (row * tiles->across + column) * tiles->stride;
}

/* Batch norm and ReLU of channels of a pixel, as `activate` has it: not-a-number stays so. */
INLINE vec normal_relu(vec x, const float *scale, const float *shift, long count) {
    vec z = x * load_some(scale, count) + load_some(shift, count);
    return (vec)((bits_of_vec)z & ~(z < 0));
}

INLINE void tile_of_input(const float *from[TILE][TILE], const Tiles *tiles, float *to, int normalised) {
    for (long c = 0; c < tiles->channels; c += LANES) {
        long count = tiles->channels - c;
        vec pixels[TILE][TILE], numbers[TILE][TILE];
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) {
                pixels[i][j] = load_some(from[i][j] + c, count);
                if (normalised && from[i][j] != nothing)
                    pixels[i][j] = normal_relu(pixels[i][j], tiles->scale + c, tiles->shift + c, count);
            }
        BOTH_WAYS(of_input, TILE, TILE, pixels, numbers);
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) store(to + (i * TILE + j) * tiles->plane + c, numbers[i][j]);
    }
}

/* A row of tiles, of images x: with the pixels around them, those of the tiles beside them or zeros. */
static void row_of_input(const float *x, Tiles tiles, long row) {
    for (long column = 0; column < tiles.across; column++) {
        const float *from[TILE][TILE];
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++)
                from[i][j] = pixel(x, &tiles, row, row % tiles.down * STEP - 1 + i, column * STEP - 1 + j);
        if (tiles.scale)
            tile_of_input(from, &tiles, tile(&tiles, row, column), 1);
        else
            tile_of_input(from, &tiles, tile(&tiles, row, column), 0);
    }
}

/* The transpose: adds to dx what the channels from `first` to `last` of a row of tiles say of the pixels. */
static void row_to_input_grad(Tiles tiles, float *dx, long row, long first, long last) {
    for (long column = 0; column < tiles.across; column++) {
        const float *from = tile(&tiles, row, column);
        for (long c = first; c < last; c += LANES) {
            vec numbers[TILE][TILE], pixels[TILE][TILE];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) numbers[i][j] = load(from + (i * TILE + j) * tiles.plane + c);
            BOTH_WAYS(to_input_grad, TILE, TILE, numbers, pixels);
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) {
                    long down = row % tiles.down * STEP - 1 + i, across = column * STEP - 1 + j;
                    float *to = (float *)pixel(dx, &tiles, row, down, across);
                    if (to == nothing) continue;
                    store_some(to + c, load_some(to + c, last - c) + pixels[i][j], last - c);
                }
        }
    }
}

/* A row of tiles to the 4x4 pixels of each, as many of them as are in the image. */
static void row_to_output(Tiles tiles, float *y, long row) {
    for (long column = 0; column < tiles.across; column++) {
        const float *from = tile(&tiles, row, column);
        for (long c = 0; c < tiles.channels; c += LANES) {
            vec numbers[TILE][TILE], pixels[STEP][STEP];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) numbers[i][j] = load(from + (i * TILE + j) * tiles.plane + c);
            BOTH_WAYS(to_output, TILE, STEP, numbers, pixels);
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++) {
                    float *to = (float *)pixel(y, &tiles, row, row % tiles.down * STEP + i, column * STEP + j);
                    if (to != nothing) store_some(to + c, pixels[i][j], tiles.channels - c);
                }
        }
    }
}

/* The transpose: a row of tiles, of the gradient of what they became. */
static void row_of_output_grad(const float *grad, Tiles tiles, long row) {
    for (long column = 0; column < tiles.across; column++) {
        const float *from[STEP][STEP];
        float *to = tile(&tiles, row, column);
        for (int i = 0; i < STEP; i++)
            for (int j = 0; j < STEP; j++)
                from[i][j] = pixel(grad, &tiles, row, row % tiles.down * STEP + i, column * STEP + j);
        for (long c = 0; c < tiles.channels; c += LANES) {
            vec pixels[STEP][STEP], numbers[TILE][TILE];
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++) pixels[i][j] = load_some(from[i][j] + c, tiles.channels - c);
            BOTH_WAYS(of_output_grad, STEP, TILE, pixels, numbers);
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) store(to + (i * TILE + j) * tiles.plane + c, numbers[i][j]);
        }
    }
}
