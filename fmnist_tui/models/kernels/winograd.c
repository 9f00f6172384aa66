/* 3x3 convolutions of stride 1 between images of one size, by Winograd's F(4x4, 3x3): 36 products for 144.
 *
 * Some images at a time are turned into tiles, the tiles' 36 planes are multiplied with the filters' 36, and the
 * products are turned back. All of that stays in the cache: the threads share each part of it, or, where the filters
 * are so few that each can have all of them (`alone`), each thread has images of its own. No sum depends on how many
 * they are. Filters are (outputs, 3, 3, channels), as channels_last has them.
 */
#include "tiles.h"

/* Rows of a product that one thread computes at a time, and channels of an image whose gradient it puts together. */
#define PRODUCT_ROWS 96
#define GRAD_CHANNELS 64
/* Parts of a batch that have sums of the filters' gradient of their own, where threads are alone. */
#define SLICES 16

static long smaller(long a, long b) { return a < b ? a : b; }

/* The filters' transforms in panels, for products with them: 36 planes of panels of (depth, PANEL), of weights
 * (3, 3, depth, columns) whose taps are `tap` apart and rows `row`. Columns that fill up the last panel are 0. */
static void panel_of_filters(const float *weight, long tap, long row, float *panels, long panel, long depth,
                             long columns) {
    long plane = plane_of(depth, whole_panels(columns));
    for (long d = 0; d < depth; d++)
        for (long k = panel * PANEL; k < (panel + 1) * PANEL; k += LANES) {
            const float *from = weight + d * row + k;
            float *to = panels + (panel * depth + d) * PANEL + k % PANEL;
            vec taps[3][3], numbers[TILE][TILE];
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++)
                    taps[i][j] = k < columns ? load_some(from + (i * 3 + j) * tap, columns - k) : (vec){0};
            BOTH_WAYS(of_filter, 3, TILE, taps, numbers);
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) store(to + (i * TILE + j) * plane, numbers[i][j]);
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

/* A share of the products of tiles (rows, depth) with panels: `task` of PLACES * shares. */
static void multiply_share(Tiles from, const float *panels, Tiles to, long task, long shares, long rows) {
    long place = task / shares, first = task % shares * PRODUCT_ROWS, depth = from.channels;
    Factor a = {from.numbers + place * from.plane + first * from.stride, from.stride, 1, 0};
    Factor b = {panels + place * plane_of(depth, to.stride), PANEL, 1, depth * PANEL};
    float *at = to.numbers + place * to.plane + first * to.stride;
    multiply(a, b, at, to.stride, smaller(PRODUCT_ROWS, rows - first), to.stride, depth, 0);
}

/* A share of the gradient of the filters' transforms, added up over all images. */
static void filters_share(Tiles grads, Tiles inputs, float *sums, long task, long shares, long rows, int add) {
    long place = task / shares, first = task % shares * PRODUCT_ROWS, outputs = grads.channels;
    Factor a = {grads.numbers + place * grads.plane + first, 1, grads.stride, 0};
    Factor b = {inputs.numbers + place * inputs.plane, inputs.stride, 1, PANEL};
    float *to = sums + place * plane_of(outputs, inputs.stride) + first * inputs.stride;
    multiply(a, b, to, inputs.stride, smaller(PRODUCT_ROWS, outputs - first), inputs.stride, rows, add);
}

/* What convolutions need beside their arguments, as a number of floats. `backward`: the two gradients'. */
long winograd_room(long together, long height, long width, long channels, long outputs, int alone, int threads,
                   int backward) {
    long tiles = tiles_of(together, height, width, channels).plane + tiles_of(together, height, width, outputs).plane;
    long filters = plane_of(channels, whole_panels(outputs)), grads = plane_of(outputs, whole_panels(channels));
    return PLACES * ((alone ? threads : 1) * tiles + (backward ? (1 + (alone ? SLICES : 1)) * grads : filters));
}

static Tiles normalised(Tiles tiles, const float *coefficients) {
    tiles.scale = coefficients;
    tiles.shift = coefficients ? coefficients + tiles.channels : 0;
    return tiles;
}

/* y of some images x by one thread. */
static void forward_alone(const float *x, const float *panels, float *y, Tiles inputs, Tiles results, long count) {
    long rows = count * inputs.down * inputs.across, shares = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (long row = 0; row < count * inputs.down; row++) row_of_input(x, inputs, row);
    for (long task = 0; task < PLACES * shares; task++) multiply_share(inputs, panels, results, task, shares, rows);
    for (long row = 0; row < count * inputs.down; row++) row_to_output(results, y, row);
}

/* y (images, height, width, outputs), its pixels `apart`, of x, `together` images at a time; with coefficients (scale
 * and shift) of ReLU(batch norm of x). `weight` is (3, 3, channels, outputs) here. */
void winograd_forward(const float *x, const float *coefficients, const float *weight, float *y, long apart, float *room,
                      long images, long together, long height, long width, long channels, long outputs, int alone,
                      int threads) {
    Tiles inputs = normalised(tiles_of(together, height, width, channels), coefficients);
    Tiles results = tiles_of(together, height, width, outputs);
    long area = inputs.down * inputs.across, tiles = PLACES * (inputs.plane + results.plane);
    results.apart = apart;
    float *panels = room + (alone ? threads : 1) * tiles;
#pragma omp parallel num_threads(threads) firstprivate(inputs, results)
    {
        inputs.numbers = room + (alone ? omp_get_thread_num() * tiles : 0);
        results.numbers = inputs.numbers + PLACES * inputs.plane;
#pragma omp for schedule(static)
        for (long panel = 0; panel < results.stride / PANEL; panel++)
            panel_of_filters(weight, channels * outputs, outputs, panels, panel, channels, outputs);
#pragma omp for schedule(static)
        for (long start = 0; start < (alone ? images : 0); start += together) {
            long at = start * height * width, count = smaller(together, images - start);
            forward_alone(x + at * channels, panels, y + at * apart, inputs, results, count);
        }
        for (long start = 0; start < (alone ? 0 : images); start += together) {
            long count = smaller(together, images - start), at = start * height * width, rows = count * area;
            long shares = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
#pragma omp for schedule(static)
            for (long row = 0; row < count * inputs.down; row++) row_of_input(x + at * channels, inputs, row);
#pragma omp for schedule(static)
            for (long task = 0; task < PLACES * shares; task++)
                multiply_share(inputs, panels, results, task, shares, rows);
#pragma omp for schedule(static)
            for (long row = 0; row < count * inputs.down; row++) row_to_output(results, y + at * apart, row);
        }
    }
}

/* An image's gradient from its tiles': the channels of one block of GRAD_CHANNELS. */
static void image_grad(Tiles tiles, float *dx, long image, long block) {
    long first = block * GRAD_CHANNELS, last = smaller(first + GRAD_CHANNELS, tiles.channels);
    for (long row = image * tiles.down; row < (image + 1) * tiles.down; row++)
        row_to_input_grad(tiles, dx, row, first, last);
}

/* Both gradients of some images by one thread; those of the filters' transforms are added to `sums`, or with `add` 0
 * put there. */
static void backward_alone(const float *x, const float *grad, const float *panels, float *dx, float *sums,
                           Tiles inputs, Tiles grads, long count, int add) {
    long rows = count * inputs.down * inputs.across, shares = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    long sum_shares = (grads.channels + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (long row = 0; row < count * grads.down; row++) {
        row_of_output_grad(grad, grads, row);
        if (sums) row_of_input(x, inputs, row);
    }
    for (long task = 0; task < (sums ? PLACES * sum_shares : 0); task++)
        filters_share(grads, inputs, sums, task, sum_shares, rows, add);
    if (!dx) return;
    for (long task = 0; task < PLACES * shares; task++) multiply_share(grads, panels, inputs, task, shares, rows);
    for (long image = 0; image < count; image++)
        for (long first = 0; first < inputs.channels; first += GRAD_CHANNELS)
            image_grad(inputs, dx, image, first / GRAD_CHANNELS);
}

/* The gradients of x (of ReLU's result, with coefficients) and of the filters, each unless it is null. `weight` is
 * (outputs, 3, 3, channels). */
void winograd_backward(const float *x, const float *coefficients, const float *weight, const float *grad, float *dx,
                       float *weight_grad, float *room, long images, long together, long height, long width,
                       long channels, long outputs, int alone, int threads) {
    Tiles inputs = normalised(tiles_of(together, height, width, channels), coefficients);
    Tiles grads = tiles_of(together, height, width, outputs);
    long area = inputs.down * inputs.across, blocks = (channels + GRAD_CHANNELS - 1) / GRAD_CHANNELS;
    long tiles = PLACES * (inputs.plane + grads.plane), filters = PLACES * plane_of(outputs, inputs.stride);
    long slices = alone ? smaller(SLICES, images) : 1, sum_shares = (outputs + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    float *panels = room + (alone ? threads : 1) * tiles, *sums = panels + filters;
#pragma omp parallel num_threads(threads) firstprivate(inputs, grads)
    {
        inputs.numbers = room + (alone ? omp_get_thread_num() * tiles : 0);
        grads.numbers = inputs.numbers + PLACES * inputs.plane;
#pragma omp for schedule(static)
        for (long panel = 0; panel < (dx ? inputs.stride / PANEL : 0); panel++)
            panel_of_filters(weight, channels, 9 * channels, panels, panel, outputs, channels);
#pragma omp for schedule(static)
        for (long slice = 0; slice < (alone ? slices : 0); slice++) {
            long first = images * slice / slices, last = images * (slice + 1) / slices;
            for (long start = first; start < last; start += together) {
                long at = start * height * width, count = smaller(together, last - start);
                backward_alone(x + at * channels, grad + at * outputs, panels, dx ? dx + at * channels : 0,
                               weight_grad ? sums + slice * filters : 0, inputs, grads, count, start > first);
            }
        }
        for (long start = 0; start < (alone ? 0 : images); start += together) {
            long count = smaller(together, images - start), at = start * height * width, rows = count * area;
            long shares = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
#pragma omp for schedule(static)
            for (long row = 0; row < count * grads.down; row++) {
                row_of_output_grad(grad + at * outputs, grads, row);
                if (weight_grad) row_of_input(x + at * channels, inputs, row);
            }
#pragma omp for schedule(static)
            for (long task = 0; task < (weight_grad ? PLACES * sum_shares : 0); task++)
                filters_share(grads, inputs, sums, task, sum_shares, rows, start > 0);
#pragma omp for schedule(static)
            for (long task = 0; task < (dx ? PLACES * shares : 0); task++)
                multiply_share(grads, panels, inputs, task, shares, rows);
#pragma omp for schedule(static)
            for (long task = 0; task < (dx ? count * blocks : 0); task++)
                image_grad(inputs, dx + at * channels, task / blocks, task % blocks);
        }
#pragma omp for schedule(static)
        for (long at = 0; at < (weight_grad && slices > 1 ? filters : 0); at += LANES)
            for (long slice = 1; slice < slices; slice++)
                store(sums + at, load(sums + at) + load(sums + slice * filters + at));
#pragma omp for schedule(static)
        for (long k = 0; k < (weight_grad ? outputs : 0); k++) filter_grad(sums, weight_grad, k, outputs, channels);
    }
}
