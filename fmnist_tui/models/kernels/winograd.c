/* 3x3 convolutions of stride 1 between images of one size, by Winograd's F(4x4, 3x3): 36 products for 144.
 *
 * Some images at a time are turned into tiles, the tiles' 36 planes are multiplied with the filters' 36, and the
 * products are turned back. All of that stays in the cache: the threads share each part of it, or, where the filters
 * are so few that each can have all of them (`alone`), each thread has images of its own. No sum depends on how many
 * they are. Filters are (outputs, 3, 3, channels), as channels_last has them, and float for images of bf16 too: of
 * those the tiles' numbers and the filters' are rounded to bf16, each once, where they are multiplied.
 */
#include "tiles.h"

/* Rows of a product that one thread computes at a time, and channels of an image whose gradient it puts together. */
#define PRODUCT_ROWS 96
#define GRAD_CHANNELS 64
/* Parts of a batch that have sums of the filters' gradient of their own, where threads are alone. */
#define SLICES 16

static long smaller(long a, long b) { return a < b ? a : b; }

/* The transforms of up to LANES filters' weights of one channel, 0 where there is no channel. */
INLINE void numbers_of_filter(const float *from, long tap, long count, vec numbers[TILE][TILE]) {
    vec taps[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) taps[i][j] = count > 0 ? load_some(from + (i * 3 + j) * tap, count) : (vec){0};
    BOTH_WAYS(of_filter, 3, TILE, taps, numbers);
}

/* The filters' transforms in panels, for products with them: 36 planes of panels of (words of depth, PANEL), of weights
 * (3, 3, depth, columns) whose taps are `tap` apart and rows `row`. Columns that fill up the last panel are 0. */
static void panel_of_filters(const float *weight, long tap, long row, float *panels, long panel, long depth,
                             long columns) {
    long words = words_of(depth), plane = plane_of(words, whole_panels(columns));
    for (long d = 0; d < depth; d++)
        for (long k = panel * PANEL; k < (panel + 1) * PANEL; k += LANES) {
            float *to = panels + (panel * words + d / WORD) * PANEL + k % PANEL;
            vec numbers[TILE][TILE];
            numbers_of_filter(weight + d * row + k, tap, columns - k, numbers);
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) put(to + (i * TILE + j) * plane, 0, numbers[i][j], BY_IMAGE, d);
        }
}

/* The gradient of filter k's weights from that of its transform: 36 planes of (outputs, channels in whole panels). */
static void filter_grad(const float *planes, float *grad, long k, long outputs, long channels) {
    long stride = whole_panels(channels), plane = plane_of(outputs, stride);
    for (long c = 0; c < channels; c += LANES) {
        vec numbers[TILE][TILE], taps[3][3];
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) numbers[i][j] = load(planes + (i * TILE + j) * plane + k * stride + c);
        BOTH_WAYS(to_filter_grad, TILE, 3, numbers, taps);
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                store_some(grad + (k * 9 + i * 3 + j) * channels + c, taps[i][j], channels - c);
    }
}

/* A share of the products of tiles, by channel, with panels: `task` of PLACES * shares. */
static void multiply_share(Tiles from, const float *panels, Tiles to, long task, long shares, long rows) {
    long place = task / shares, first = task % shares * PRODUCT_ROWS, depth = words_of(from.channels);
    long columns = whole_panels(to.channels);
    Factor a = {from.words + place * from.plane + first * from.stride, from.stride, 1, 0};
    Factor b = {panels + place * plane_of(depth, columns), PANEL, 1, depth * PANEL};
    float *at = to.words + place * to.plane + first * to.stride;
    multiply(a, b, at, to.stride, smaller(PRODUCT_ROWS, rows - first), to.channels, depth, 0);
}

/* A share of the gradient of the filters' transforms, of tiles by image, added up over all images. */
static void filters_share(Tiles grads, Tiles inputs, float *sums, long task, long shares, long rows, int add) {
    long place = task / shares, first = task % shares * PRODUCT_ROWS, outputs = grads.channels;
    long columns = whole_panels(inputs.channels);
    Factor a = {grads.words + place * grads.plane + first, 1, grads.stride, 0};
    Factor b = {inputs.words + place * inputs.plane, inputs.stride, 1, PANEL};
    float *to = sums + place * plane_of(outputs, columns) + first * columns;
    multiply(a, b, to, columns, smaller(PRODUCT_ROWS, outputs - first), inputs.channels, rows, add);
}

static Tiles normalised(Tiles tiles, const float *coefficients) {
    tiles.scale = coefficients;
    tiles.shift = coefficients ? coefficients + tiles.channels : 0;
    return tiles;
}

/* What a thread, or all of them, has of images at a time, and where: forwards tiles of x by channel and the sums that y
 * is made of; backwards tiles of x by image, of y's gradient in both layouts, and the sums that x's gradient is made
 * of. In fp32 layouts are one; the sums of x's gradient lie where the tiles of x did. */
typedef struct {
    Tiles inputs, results, grads, paired, sums;
    long words;
} Work;

static Work forward_work(long together, long beside, long height, long width, long channels, long outputs) {
    Work work = {.inputs = tiles_of(together, beside, height, width, channels, BY_CHANNEL),
                 .results = tiles_of(together, beside, height, width, outputs, SUMS)};
    work.words = PLACES * (work.inputs.plane + work.results.plane);
    return work;
}

static Work backward_work(long together, long beside, long height, long width, long channels, long outputs) {
    Work work = {.inputs = tiles_of(together, beside, height, width, channels, BY_IMAGE),
                 .sums = tiles_of(together, beside, height, width, channels, SUMS),
                 .grads = tiles_of(together, beside, height, width, outputs, BY_CHANNEL),
                 .paired = tiles_of(together, beside, height, width, outputs, BY_IMAGE)};
    work.words = PLACES * (work.sums.plane + work.grads.plane + (WORD > 1 ? work.paired.plane : 0));
    return work;
}

/* The same for the images of some sheets, of which so many are left. */
static Work with_images(Work work, long images) {
    work.inputs.images = work.results.images = work.grads.images = work.paired.images = work.sums.images = images;
    return work;
}

static void place_forward(Work *work, float *room) {
    work->inputs.words = room;
    work->results.words = room + PLACES * work->inputs.plane;
}

static void place_backward(Work *work, float *room) {
    work->inputs.words = work->sums.words = room;
    work->grads.words = room + PLACES * work->sums.plane;
    work->paired.words = work->grads.words + (WORD > 1 ? PLACES * work->grads.plane : 0);
}

/* What convolutions need beside their arguments, as a number of floats. `backward`: the two gradients'. */
long winograd_room(long together, long beside, long height, long width, long channels, long outputs, int alone, int threads,
                   int backward) {
    Work work = (backward ? backward_work : forward_work)(together, beside, height, width, channels, outputs);
    long panels = backward ? plane_of(words_of(outputs), whole_panels(channels))
                           : plane_of(words_of(channels), whole_panels(outputs));
    long sums = backward ? (alone ? SLICES : 1) * plane_of(outputs, whole_panels(channels)) : 0;
    return (alone ? threads : 1) * work.words + PLACES * (panels + sums);
}

/* Rows of tiles of the images that share words, one after the other: `task` of words_of(count) * down. */
INLINE void rows_of_input(const element *x, const Tiles *tiles, long task, long count) {
    for (long image = task / tiles->down * WORD, i = 0; i < WORD && image + i < count; i++)
        row_of_input(x, tiles, (image + i) * tiles->down + task % tiles->down, BY_IMAGE);
}

INLINE void rows_of_output_grad(const element *grad, const Work *work, long task, long count, int by_channel,
                                int by_image) {
    Tiles first = work->grads, second = work->paired;
    if (!by_channel) first.words = 0;
    if (!by_image || (WORD == 1 && by_channel)) second.words = 0;
    for (long image = task / first.down * WORD, i = 0; i < WORD && image + i < count; i++)
        row_of_output_grad(grad, first, second, (image + i) * first.down + task % first.down);
}

/* y of some images x by one thread. */
static void forward_alone(const element *x, const float *panels, element *y, const Work *work, long count) {
    long rows = count * work->inputs.down, tiles = rows * work->inputs.across;
    long shares = (tiles + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (long row = 0; row < rows; row++) row_of_input(x, &work->inputs, row, BY_CHANNEL);
    for (long task = 0; task < PLACES * shares; task++)
        multiply_share(work->inputs, panels, work->results, task, shares, tiles);
    for (long row = 0; row < rows; row++) row_to_output(work->results, y, row);
}

/* y (images, height, width, outputs), its pixels `apart`, of x, `together` images at a time; with coefficients (scale
 * and shift) of ReLU(batch norm of x). `weight` is (3, 3, channels, outputs) here. */
void winograd_forward(const element *x, const float *coefficients, const float *weight, element *y, long apart,
                      float *room, long images, long together, long beside, long height, long width, long channels,
                      long outputs, int alone, int threads) {
    Work work = forward_work(together, beside, height, width, channels, outputs);
    long area = work.inputs.down * work.inputs.across, each = beside * beside, sheets = (images + each - 1) / each;
    float *panels = room + (alone ? threads : 1) * work.words;
    work.inputs = normalised(work.inputs, coefficients);
    work.results.apart = apart;
#pragma omp parallel num_threads(threads) firstprivate(work)
    {
        place_forward(&work, room + (alone ? omp_get_thread_num() * work.words : 0));
#pragma omp for schedule(static)
        for (long panel = 0; panel < whole_panels(outputs) / PANEL; panel++)
            panel_of_filters(weight, channels * outputs, outputs, panels, panel, channels, outputs);
#pragma omp for schedule(static)
        for (long start = 0; start < (alone ? sheets : 0); start += together) {
            long at = start * each * height * width, count = smaller(together, sheets - start);
            work = with_images(work, images - start * each);
            forward_alone(x + at * channels, panels, y + at * apart, &work, count);
        }
        for (long start = 0; start < (alone ? 0 : sheets); start += together) {
            long count = smaller(together, sheets - start), at = start * each * height * width, tiles = count * area;
            long shares = (tiles + PRODUCT_ROWS - 1) / PRODUCT_ROWS, rows = count * work.inputs.down;
            work = with_images(work, images - start * each);
#pragma omp for schedule(static)
            for (long row = 0; row < rows; row++) row_of_input(x + at * channels, &work.inputs, row, BY_CHANNEL);
#pragma omp for schedule(static)
            for (long task = 0; task < PLACES * shares; task++)
                multiply_share(work.inputs, panels, work.results, task, shares, tiles);
#pragma omp for schedule(static)
            for (long row = 0; row < rows; row++) row_to_output(work.results, y + at * apart, row);
        }
    }
}

/* An image's gradient from its tiles' sums: the channels of one block of GRAD_CHANNELS. */
static void image_grad(Tiles sums, element *dx, long image, long block) {
    long first = block * GRAD_CHANNELS, last = smaller(first + GRAD_CHANNELS, sums.channels);
    for (long row = image * sums.down; row < (image + 1) * sums.down; row++)
        row_to_input_grad(sums, dx, row, first, last);
}

/* Both gradients of some images by one thread; those of the filters' transforms are added to `sums`, or with `add` 0
 * put there. */
static void backward_alone(const element *x, const element *grad, const float *panels, element *dx, float *sums,
                           const Work *work, long count, int add) {
    long down = work->grads.down, area = down * work->grads.across, tiles = count * area;
    long shares = (tiles + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    long sum_shares = (work->grads.channels + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (long task = 0; task < words_of(count) * down; task++) {
        rows_of_output_grad(grad, work, task, count, dx != 0, sums != 0);
        if (sums) rows_of_input(x, &work->inputs, task, count);
    }
    for (long task = 0; task < (sums ? PLACES * sum_shares : 0); task++)
        filters_share(work->paired, work->inputs, sums, task, sum_shares, words_of(count) * area, add);
    if (!dx) return;
    for (long task = 0; task < PLACES * shares; task++)
        multiply_share(work->grads, panels, work->sums, task, shares, tiles);
    for (long image = 0; image < count; image++)
        for (long first = 0; first < work->sums.channels; first += GRAD_CHANNELS)
            image_grad(work->sums, dx, image, first / GRAD_CHANNELS);
}

/* The gradients of x (of ReLU's result, with coefficients) and of the filters, each unless it is null. `weight` is
 * (outputs, 3, 3, channels). */
void winograd_backward(const element *x, const float *coefficients, const float *weight, const element *grad,
                       element *dx, float *weight_grad, float *room, long images, long together, long beside,
                       long height, long width, long channels, long outputs, int alone, int threads) {
    Work work = backward_work(together, beside, height, width, channels, outputs);
    long each = beside * beside, sheets = (images + each - 1) / each;
    long down = work.grads.down, area = down * work.grads.across, columns = whole_panels(channels);
    long blocks = (channels + GRAD_CHANNELS - 1) / GRAD_CHANNELS, filters = PLACES * plane_of(outputs, columns);
    long slices = alone ? smaller(SLICES, sheets) : 1, sum_shares = (outputs + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    float *panels = room + (alone ? threads : 1) * work.words;
    float *sums = panels + PLACES * plane_of(words_of(outputs), columns);
    work.inputs = normalised(work.inputs, coefficients);
#pragma omp parallel num_threads(threads) firstprivate(work)
    {
        place_backward(&work, room + (alone ? omp_get_thread_num() * work.words : 0));
#pragma omp for schedule(static)
        for (long panel = 0; panel < (dx ? columns / PANEL : 0); panel++)
            panel_of_filters(weight, channels, 9 * channels, panels, panel, outputs, channels);
#pragma omp for schedule(static)
        for (long slice = 0; slice < (alone ? slices : 0); slice++) {
            long first = sheets * slice / slices, last = sheets * (slice + 1) / slices;
            for (long start = first; start < last; start += together) {
                long at = start * each * height * width, count = smaller(together, last - start);
                work = with_images(work, images - start * each);
                backward_alone(x + at * channels, grad + at * outputs, panels, dx ? dx + at * channels : 0,
                               weight_grad ? sums + slice * filters : 0, &work, count, start > first);
            }
        }
        for (long start = 0; start < (alone ? 0 : sheets); start += together) {
            long count = smaller(together, sheets - start), at = start * each * height * width, tiles = count * area;
            long shares = (tiles + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
            work = with_images(work, images - start * each);
#pragma omp for schedule(static)
            for (long task = 0; task < words_of(count) * down; task++) {
                rows_of_output_grad(grad + at * outputs, &work, task, count, dx != 0, weight_grad != 0);
                if (weight_grad) rows_of_input(x + at * channels, &work.inputs, task, count);
            }
#pragma omp for schedule(static)
            for (long task = 0; task < (weight_grad ? PLACES * sum_shares : 0); task++)
                filters_share(work.paired, work.inputs, sums, task, sum_shares, words_of(count) * area, start > 0);
#pragma omp for schedule(static)
            for (long task = 0; task < (dx ? PLACES * shares : 0); task++)
                multiply_share(work.grads, panels, work.sums, task, shares, tiles);
#pragma omp for schedule(static)
            for (long task = 0; task < (dx ? count * blocks : 0); task++)
                image_grad(work.sums, dx + at * channels, task / blocks, task % blocks);
        }
#pragma omp for schedule(static)
        for (long at = 0; at < (weight_grad && slices > 1 ? filters : 0); at += LANES)
            for (long slice = 1; slice < slices; slice++)
                store(sums + at, load(sums + at) + load(sums + slice * filters + at));
#pragma omp for schedule(static)
        for (long k = 0; k < (weight_grad ? outputs : 0); k++) filter_grad(sums, weight_grad, k, outputs, channels);
    }
}
