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

/* The points of the interpolation are 0, A, -A, B, -B and infinity. With 3/4 and 3/2 the rounding of a tile's numbers
 * is half as bad as with the usual 1 and 2, and no sum longer. */
#define A 0.75f
#define B 1.5f
#define OF_A (1 / (2 * A * A * (A * A - B * B)))
#define OF_B (1 / (2 * B * B * (B * B - A * A)))

/* 6 pixels to a tile's numbers: the coefficients of (x - B)(x + B) x (x + A) and so on, each without one point. */
INLINE void of_input(const vec *x, vec *y) {
    vec a = x[4] - B * B * x[2], b = A * (x[3] - B * B * x[1]), c = x[4] - A * A * x[2], d = B * (x[3] - A * A * x[1]);
    y[0] = A * A * B * B * x[0] - (A * A + B * B) * x[2] + x[4];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = A * A * B * B * x[1] - (A * A + B * B) * x[3] + x[5];
}

INLINE void to_input_grad(const vec *x, vec *y) {
    vec a = x[1] + x[2], b = A * (x[1] - x[2]), c = x[3] + x[4], d = B * (x[3] - x[4]);
    y[0] = A * A * B * B * x[0];
    y[1] = A * A * B * B * x[5] - B * B * b - A * A * d;
    y[2] = -(A * A + B * B) * x[0] - B * B * a - A * A * c;
    y[3] = b + d - (A * A + B * B) * x[5];
    y[4] = x[0] + a + c;
    y[5] = x[5];
}

/* A tile's numbers to 4 pixels: the polynomial's coefficients from its values, (1 1 1 1 1 0; 0 A -A B -B 0; ...). */
INLINE void to_output(const vec *x, vec *y) {
    vec a = x[1] + x[2], b = A * (x[1] - x[2]), c = x[3] + x[4], d = B * (x[3] - x[4]);
    y[0] = x[0] + a + c;
    y[1] = b + d;
    y[2] = A * A * a + B * B * c;
    y[3] = A * A * b + B * B * d + x[5];
}

INLINE void of_output_grad(const vec *x, vec *y) {
    vec a = x[0] + A * A * x[2], b = A * (x[1] + A * A * x[3]), c = x[0] + B * B * x[2], d = B * (x[1] + B * B * x[3]);
    y[0] = x[0];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[3];
}

/* 3 weights to 6: their polynomial's values at the points, over the product of a point's distances from the others. */
INLINE void of_filter(const vec *x, vec *y) {
    vec a = OF_A * (x[0] + A * A * x[2]), b = OF_A * A * x[1], c = OF_B * (x[0] + B * B * x[2]), d = OF_B * B * x[1];
    y[0] = x[0] * (1 / (A * A * B * B));
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[2];
}

INLINE void to_filter_grad(const vec *x, vec *y) {
    vec a = OF_A * (x[1] + x[2]), b = OF_A * A * (x[1] - x[2]), c = OF_B * (x[3] + x[4]), d = OF_B * B * (x[3] - x[4]);
    y[0] = x[0] * (1 / (A * A * B * B)) + a + c;
    y[1] = b + d;
    y[2] = A * A * a + B * B * c + x[5];
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

/* The tiles of some images of so many channels, whose pixels are `apart`: planes `plane` words apart, in which tiles
 * are `stride` apart. With `scale` and `shift` the images are batch norm's input, the tiles of ReLU's result.
 *
 * Sheets are tiled, of `beside` images across and as many down, with a line of zeros between them, which is every one's
 * border: 9 images of 14x14 make 11x11 tiles where alone they make 9 times 4x4. The last sheet may lack some. */
typedef struct {
    float *words;
    long images, height, width, beside, down, across, channels, stride, plane, apart;
    const float *scale, *shift;
} Tiles;

/* How numbers are put into words: those of a product's sums are floats, those of its factors share a word with the
 * next channel's or the next image's number, as what the product adds up. In fp32 it is all one. */
typedef enum { SUMS, BY_CHANNEL, BY_IMAGE } Layout;

static long whole_panels(long channels) { return (channels + PANEL - 1) / PANEL * PANEL; }
static long words_of(long numbers) { return (numbers + WORD - 1) / WORD; }

/* Room for so many words in an odd number of cache lines: what lies so far apart has different ones in a cache. */
static long odd_lines(long words) { return ((words + 15) / 16 | 1) * 16; }

/* Words from one plane to the next. */
static long plane_of(long rows, long stride) { return odd_lines(rows * stride); }

static Tiles tiles_of(long sheets, long beside, long height, long width, long channels, Layout layout) {
    long down = (beside * (height + 1) - 1 + STEP - 1) / STEP, across = (beside * (width + 1) - 1 + STEP - 1) / STEP;
    long panels = whole_panels(channels), stride = odd_lines(layout == BY_CHANNEL ? panels / WORD : panels);
    long layers = layout == BY_IMAGE ? words_of(sheets) : sheets;
    long plane = plane_of(layers * down * across, stride);
    Tiles tiles = {0, 0, height, width, beside, down, across, channels, stride, plane, channels, 0, 0};
    return tiles;
}

/* The words of LANES channels of a tile, from c on, are to have these numbers of them. */
INLINE void put(float *words, long c, vec numbers, Layout layout, long sheet) {
#ifdef FP32
    store(words + c, numbers);
#else
    if (layout == BY_CHANNEL)
        store_pixel((element *)words + c, numbers, LANES);
    else if (sheet % WORD == 0)
        store(words + c, (vec)half_words(numbers, 0));
    else
        store(words + c, (vec)((bits_of_vec)load(words + c) | half_words(numbers, 1)));
#endif
}

/* Lines of pixels across a sheet: where they begin in their first image, and how many elements the images that they
 * cross have from there on, 0 where the line is in none. */
typedef struct {
    element *first[TILE];
    unsigned long room[TILE];
} Lines;

/* Those of a row of tiles, in images x: STEP of them, or TILE with those around. */
INLINE Lines lines_of(const element *x, const Tiles *tiles, long row, int count) {
    Lines lines;
    long line = tiles->height + 1, area = tiles->height * tiles->width;
    for (int i = 0; i < count; i++) {
        long down = row % tiles->down * STEP + i - (count - STEP) / 2;
        long image = (row / tiles->down * tiles->beside + down / line) * tiles->beside, there = tiles->images - image;
        if (there > tiles->beside) there = tiles->beside;
        int outside = down < 0 || down >= tiles->beside * line || down % line == tiles->height || there <= 0;
        lines.first[i] = (element *)x + (outside ? 0 : (image * area + down % line * tiles->width) * tiles->apart);
        lines.room[i] = outside ? 0 : there * area * tiles->apart;
    }
    return lines;
}

/* How far the pixels of a line from `across` on are from its beginning, in elements; beyond any room, where none is. */
INLINE void columns_of(const Tiles *tiles, long across, long count, unsigned long *columns) {
    long image = across < 0 ? -1 : across / (tiles->width + 1), column = across - image * (tiles->width + 1);
    for (long j = 0; j < count; j++) {
        columns[j] = (image * tiles->height * tiles->width + column) * tiles->apart;
        if (column == tiles->width || image >= tiles->beside) columns[j] = -1UL;
        if (++column > tiles->width) column = 0, image++;
    }
}

/* A tile of a row of some sheet; rows of sheets that share words are the first one's. */
INLINE float *tile(const Tiles *tiles, long row, long column, Layout layout) {
    if (layout == BY_IMAGE) row = row / tiles->down / WORD * tiles->down + row % tiles->down;
    return tiles->words + (row * tiles->across + column) * tiles->stride;
}

/* Tiles of a row that are transformed together, so that what lies between the two axes stays in the nearest cache, and
 * the columns of their pixels. */
#define BESIDE 8
#define COLUMNS (BESIDE * STEP + TILE - STEP)

/* Up to LANES channels, from c on, of `count` tiles of a row from `first` on. */
INLINE void tiles_of_input(const Lines *lines, const unsigned long *columns, const Tiles *tiles, long row, long first,
                           long count, long c, long channels, Layout layout, int normalised) {
    vec half[TILE][COLUMNS], scale, shift;
    float *to = tile(tiles, row, first, layout);
    if (normalised) {
        scale = load_some(tiles->scale + c, channels);
        shift = load_some(tiles->shift + c, channels);
    }
    for (long j = 0; j < count * STEP + TILE - STEP; j++) {
        vec column[TILE], turned[TILE];
        for (int i = 0; i < TILE; i++) {
            column[i] = (vec){0};
            if (columns[j] >= lines->room[i]) continue;
            column[i] = load_pixel(lines->first[i] + columns[j] + c, channels);
            if (normalised) column[i] = relu(column[i] * scale + shift);
        }
        of_input(column, turned);
        for (int i = 0; i < TILE; i++) half[i][j] = turned[i];
    }
    for (long k = 0; k < count; k++, to += tiles->stride)
        for (int i = 0; i < TILE; i++) {
            vec numbers[TILE];
            of_input(half[i] + k * STEP, numbers);
            for (int j = 0; j < TILE; j++)
                put(to + (i * TILE + j) * tiles->plane, c, numbers[j], layout, row / tiles->down);
        }
}

/* A row of tiles, of images x: with the pixels around them, those of the tiles beside them or zeros. */
INLINE void row_of_input(const element *x, const Tiles *tiles, long row, Layout layout) {
    Lines lines = lines_of(x, tiles, row, TILE);
    for (long first = 0; first < tiles->across; first += BESIDE) {
        long count = tiles->across - first < BESIDE ? tiles->across - first : BESIDE, c = 0, left = tiles->channels;
        unsigned long at[COLUMNS];
        columns_of(tiles, first * STEP - 1, count * STEP + TILE - STEP, at);
        for (; left >= LANES; c += LANES, left -= LANES)
            if (tiles->scale)
                tiles_of_input(&lines, at, tiles, row, first, count, c, LANES, layout, 1);
            else
                tiles_of_input(&lines, at, tiles, row, first, count, c, LANES, layout, 0);
        if (left) tiles_of_input(&lines, at, tiles, row, first, count, c, left, layout, !!tiles->scale);
    }
}

/* The transpose: what up to LANES channels, from c on, of some tiles of a row say of the pixels. Those of the row above
 * have said what they do: it is added to. */
INLINE void tiles_to_input_grad(const Lines *lines, const unsigned long *columns, const Tiles *tiles, long row,
                                long first, long count, long c, long channels) {
    vec half[TILE][COLUMNS] = {0};
    const float *from = tile(tiles, row, first, SUMS) + c;
    for (long k = 0; k < count; k++)
        for (int i = 0; i < TILE; i++) {
            vec numbers[TILE], turned[TILE];
            for (int j = 0; j < TILE; j++) numbers[j] = load(from + k * tiles->stride + (i * TILE + j) * tiles->plane);
            to_input_grad(numbers, turned);
            for (int j = 0; j < TILE; j++) half[i][k * STEP + j] += turned[j];
        }
    for (long j = 0; j < count * STEP + TILE - STEP; j++) {
        if (columns[j] == -1UL) continue;
        vec column[TILE], turned[TILE];
        for (int i = 0; i < TILE; i++) column[i] = half[i][j];
        to_input_grad(column, turned);
        for (int i = 0; i < TILE; i++) {
            if (columns[j] >= lines->room[i]) continue;
            element *to = lines->first[i] + columns[j] + c;
            int before = (i < TILE - STEP && row % tiles->down > 0) || (j < TILE - STEP && first > 0);
            store_pixel(to, before ? load_pixel(to, channels) + turned[i] : turned[i], channels);
        }
    }
}

/* Of a row of tiles, the channels from `first` to `last`: to dx, or where the row above has written it added to it. */
static void row_to_input_grad(Tiles tiles, element *dx, long row, long first, long last) {
    Lines lines = lines_of(dx, &tiles, row, TILE);
    for (long column = 0; column < tiles.across; column += BESIDE) {
        long count = tiles.across - column < BESIDE ? tiles.across - column : BESIDE, c = first;
        unsigned long at[COLUMNS];
        columns_of(&tiles, column * STEP - 1, count * STEP + TILE - STEP, at);
        for (; c + LANES <= last; c += LANES) tiles_to_input_grad(&lines, at, &tiles, row, column, count, c, LANES);
        if (c < last) tiles_to_input_grad(&lines, at, &tiles, row, column, count, c, last - c);
    }
}

/* A row of tiles to the 4x4 pixels of each, as many of them as are in the image. */
static void row_to_output(Tiles tiles, element *y, long row) {
    Lines lines = lines_of(y, &tiles, row, STEP);
    for (long column = 0; column < tiles.across; column++) {
        const float *from = tile(&tiles, row, column, SUMS);
        unsigned long at[STEP];
        columns_of(&tiles, column * STEP, STEP, at);
        for (long c = 0; c < tiles.channels; c += LANES) {
            vec numbers[TILE][TILE], pixels[STEP][STEP];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) numbers[i][j] = load(from + (i * TILE + j) * tiles.plane + c);
            BOTH_WAYS(to_output, TILE, STEP, numbers, pixels);
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++)
                    if (at[j] < lines.room[i])
                        store_pixel(lines.first[i] + at[j] + c, pixels[i][j], tiles.channels - c);
        }
    }
}

INLINE void put_tile(const Tiles *tiles, long row, long column, long c, vec numbers[TILE][TILE], Layout layout) {
    float *to = tile(tiles, row, column, layout);
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            put(to + (i * TILE + j) * tiles->plane, c, numbers[i][j], layout, row / tiles->down);
}

/* The transpose: a row of tiles, of the gradient of what they became, in both layouts, each unless null. */
static void row_of_output_grad(const element *grad, Tiles by_channel, Tiles by_image, long row) {
    const Tiles *tiles = &by_channel;
    Lines lines = lines_of(grad, tiles, row, STEP);
    for (long column = 0; column < tiles->across; column++) {
        unsigned long at[STEP];
        columns_of(tiles, column * STEP, STEP, at);
        for (long c = 0; c < tiles->channels; c += LANES) {
            vec pixels[STEP][STEP], numbers[TILE][TILE];
            for (int i = 0; i < STEP; i++)
                for (int j = 0; j < STEP; j++) {
                    pixels[i][j] = (vec){0};
                    if (at[j] < lines.room[i])
                        pixels[i][j] = load_pixel(lines.first[i] + at[j] + c, tiles->channels - c);
                }
            BOTH_WAYS(of_output_grad, STEP, TILE, pixels, numbers);
            if (by_channel.words) put_tile(&by_channel, row, column, c, numbers, BY_CHANNEL);
            if (by_image.words) put_tile(&by_image, row, column, c, numbers, BY_IMAGE);
        }
    }
}
