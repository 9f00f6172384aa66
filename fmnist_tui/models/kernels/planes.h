/* The channels of a dense block as pointwise.c takes them: (groups, channels, PIXELS), PIXELS pixels after PIXELS
 * pixels. What a layer reads, and the few channels that it appends, lie in one piece a group; pixels behind the last of
 * a batch are 0.
 *
 * In channels_last they would be parts of every pixel: reading 96 of 216 channels took longer than reading them all
 * (6.1 and 4.5 ms for 50,176 pixels on an AMD EPYC).
 */
#pragma once
#include "product.h"

/* Whole vectors, whole panels, and a multiple of ROWS. */
#define PIXELS (3 * PANEL)

/* A worker's groups, `first` to `last`. */
typedef struct {
    long first, last;
} Share;

static long groups_of(long rows) { return (rows + PIXELS - 1) / PIXELS; }

static Share share_of(long rows) {
    long worker = omp_get_thread_num(), workers = omp_get_num_threads(), groups = groups_of(rows);
    Share share = {groups * worker / workers, groups * (worker + 1) / workers};
    return share;
}

/* Pixels of a group; the last may have fewer. */
static long pixels_of(long rows, long group) {
    long left = rows - group * PIXELS;
    return left < PIXELS ? left : PIXELS;
}

/* Has so many numbers brought from memory while something else is computed; they need not be anyone's. */
INLINE void prefetch(const float *from, long count) {
    for (long i = 0; i < count; i += 16) __builtin_prefetch(from + i);
}

/* `count` pixels of some channels, `apart` from each other, turned to planes. */
static void to_planes(const float *restrict from, long apart, long count, long channels, float *restrict to) {
    for (long c = 0; c < channels; c++) {
        for (long p = 0; p < count; p++) to[c * PIXELS + p] = from[p * apart + c];
        for (long p = count; p < PIXELS; p++) to[c * PIXELS + p] = 0;
    }
}

static void from_planes(const float *restrict from, long count, long channels, float *restrict to, long apart) {
    for (long p = 0; p < count; p++)
        for (long c = 0; c < channels; c++) to[p * apart + c] = from[c * PIXELS + p];
}

/* A channel's mean and its sum of squared distances from it, and those of `more` other values (Chan et al.,
 * doi 10.2307/2683386). */
INLINE void merge(double *moments, double have, double mean, double squares, double more) {
    double distance = mean - moments[0], all = have + more;
    if (all == 0) return;
    moments[0] += distance * more / all;
    moments[1] += squares + distance * distance * have * more / all;
}

/* Into the moments of `have` pixels (channels, 2) those of some pixels x (rows, channels), which are `apart`. */
static void add_moments(double *moments, double have, const float *restrict x, long apart, long rows, long channels) {
    ALIGNED float sum[MOST_CHANNELS], square[MOST_CHANNELS];
    memset(sum, 0, channels * sizeof *sum);
    memset(square, 0, channels * sizeof *square);
    for (long row = 1; row < rows; row++) {
        const float *restrict pixel = x + row * apart;
#pragma omp simd
        for (long c = 0; c < channels; c++) {
            float distance = pixel[c] - x[c];
            sum[c] += distance;
            square[c] += distance * distance;
        }
    }
    for (long c = 0; c < channels; c++) {
        double distance = sum[c] / (double)rows;
        merge(moments + 2 * c, have, x[c] + distance, square[c] - distance * sum[c], rows);
    }
}

/* The workers' moments, each of its share of the rows, to those of all; by each of a team of threads. */
static void moments_of_all(const double *own, long rows, long channels, double *moments) {
#pragma omp barrier
#pragma omp single
    {
        long workers = omp_get_num_threads(), groups = groups_of(rows);
        memset(moments, 0, 2 * channels * sizeof *moments);
        for (long i = 0, have = 0; i < workers; i++) {
            long last = groups * (i + 1) / workers * PIXELS, more = (last < rows ? last : rows) - have;
            for (long c = 0; c < channels; c++) {
                const double *part = own + 2 * (i * channels + c);
                merge(moments + 2 * c, have, part[0], part[1], more);
            }
            have += more;
        }
    }
}

/* ReLU(batch norm) of some planes. */
INLINE void normalise(const float *planes, long channels, const float *scale, const float *shift, float *to) {
    for (long c = 0; c < channels; c++)
        for (long p = 0; p < PIXELS; p += LANES)
            store(to + c * PIXELS + p, relu(load(planes + c * PIXELS + p) * scale[c] + shift[c]));
}

INLINE float sum_of(vec numbers) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += numbers[i];
    return sum;
}

/* The gradient of some planes x from ReLU(batch norm of x) and its gradient, `normal` and `normal_grad`: without what
 * batch norm's statistics bring, and with `add` added to `grad`. Sums as of `gradient_sums` are added up. */
INLINE void through_norm(const float *x, const float *normal, const float *normal_grad, long channels,
                         const float *scale, const float *mean, float *grad, int add, double *sum, double *product) {
    for (long c = 0; c < channels; c++) {
        vec passed_sum = {0}, products = {0};
#pragma GCC unroll 6
        for (long at = c * PIXELS; at < (c + 1) * PIXELS; at += LANES) {
            vec passed = (vec)((bits_of_vec)load(normal_grad + at) & (load(normal + at) > 0));
            passed_sum += passed;
            products += passed * (load(x + at) - mean[c]);
            store(grad + at, (add ? load(grad + at) : (vec){0}) + scale[c] * passed);
        }
        sum[c] += sum_of(passed_sum);
        product[c] += sum_of(products);
    }
}

/* What the sums of a team's threads say: to `later` (channels, 2) the slope and the level that are still to be added to
 * the channels' gradients; and the gradients of norm's weight and bias, 2 x channels. */
static void slopes_of_all(const double *sums, long rows, long channels, const float *coefficients, double *later,
                          float *parameter_grads) {
#pragma omp barrier
#pragma omp single
    for (long c = 0; c < channels; c++) {
        Slope slope = slope_of(sums, c, rows, channels, coefficients);
        later[2 * c] += slope.steep;
        later[2 * c + 1] += slope.level;
        parameter_grads[c] = slope.weight_grad;
        parameter_grads[channels + c] = slope.bias_grad;
    }
}
