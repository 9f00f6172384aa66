/* What goes in and out of a dense block's planes. */
#include "planes.h"

/* Channels turned together. */
#define TOGETHER 16

/* Floats of so many channels' planes. */
long planes_room(long rows, long channels) { return groups_of(rows) * channels * PIXELS; }

/* x (rows, channels) to the planes from `first` on, of `wide`; and unless `moments` is null there its mean and sum of
 * squared distances (channels, 2). own: 2 x channels a thread. */
void planes_append(const float *x, long rows, long channels, float *planes, long wide, long first, double *moments,
                   double *own, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        double *mine = own + 2 * channels * omp_get_thread_num();
        if (moments) memset(mine, 0, 2 * channels * sizeof *mine);
        for (long group = share.first; group < share.last; group++) {
            long count = pixels_of(rows, group);
            const float *from = x + group * PIXELS * channels;
            to_planes(from, channels, count, channels, planes + (group * wide + first) * PIXELS);
            if (moments) add_moments(mine, (group - share.first) * PIXELS, from, channels, count, channels);
        }
        if (moments) moments_of_all(own, rows, channels, moments);
    }
}

/* Batch norm's coefficients as of `statistics`, of moments or, without them, of the running statistics. */
void norm_coefficients(const double *moments, long rows, long channels, const float *weight, const float *bias,
                       float *running_mean, float *running_var, double momentum, double epsilon, float *coefficients) {
    for (long c = 0; c < channels; c++) {
        double mean = moments ? moments[2 * c] : running_mean[c];
        double variance = moments ? moments[2 * c + 1] / rows : running_var[c];
        if (moments) move_statistics(running_mean + c, running_var + c, mean, variance, rows, momentum);
        set_coefficients(coefficients + c, channels, mean, variance, weight[c], bias[c], epsilon);
    }
}

/* y (rows, wide) = ReLU(batch norm) of all planes. */
void planes_forward(const float *planes, long rows, long wide, const float *coefficients, float *y, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long group = 0; group < groups_of(rows); group++) {
        ALIGNED float normal[TOGETHER * PIXELS];
        float *to = y + group * PIXELS * wide;
        for (long c = 0; c < wide; c += TOGETHER) {
            long channels = wide - c < TOGETHER ? wide - c : TOGETHER;
            const float *scale = coefficients + c, *shift = scale + wide;
            normalise(planes + (group * wide + c) * PIXELS, channels, scale, shift, normal);
            from_planes(normal, pixels_of(rows, group), channels, to + c, wide);
        }
    }
}

/* The gradients for planes_forward: of the planes to `grad`, without what statistics bring, which goes to `later` (see
 * slopes_of_all). sums: 2 x wide a thread. */
void planes_backward(const float *planes, long rows, long wide, const float *coefficients, const float *y_grad,
                     float *grad, double *later, float *parameter_grads, double *sums, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float normal[TOGETHER * PIXELS], normal_grad[TOGETHER * PIXELS];
        Share share = share_of(rows);
        double *sum = sums + 2 * wide * omp_get_thread_num(), *product = sum + wide;
        memset(sum, 0, 2 * wide * sizeof *sum);
        for (long group = share.first; group < share.last; group++)
            for (long c = 0; c < wide; c += TOGETHER) {
                long channels = wide - c < TOGETHER ? wide - c : TOGETHER, at = (group * wide + c) * PIXELS;
                const float *scale = coefficients + c, *shift = scale + wide, *mean = shift + wide;
                normalise(planes + at, channels, scale, shift, normal);
                to_planes(y_grad + group * PIXELS * wide + c, wide, pixels_of(rows, group), channels, normal_grad);
                through_norm(planes + at, normal, normal_grad, channels, scale, mean, grad + at, 0, sum + c,
                             product + c);
            }
        slopes_of_all(sums, rows, wide, coefficients, later, parameter_grads);
    }
}

/* The gradient (rows, channels) of the planes from `first` on, with what `later` has for them. */
void planes_rest(const float *planes, const float *grad, long rows, long wide, long first, long channels,
                 const double *later, float *to, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long group = 0; group < groups_of(rows); group++) {
        ALIGNED float whole[PIXELS];
        long count = pixels_of(rows, group);
        for (long c = 0; c < channels; c++) {
            long at = (group * wide + first + c) * PIXELS;
            prefetch(grad + at + wide * PIXELS, PIXELS);
            prefetch(planes + at + wide * PIXELS, PIXELS);
            float slope = later[2 * (first + c)], level = later[2 * (first + c) + 1];
            for (long p = 0; p < PIXELS; p += LANES)
                store(whole + p, load(grad + at + p) + (slope * load(planes + at + p) + level));
            from_planes(whole, count, 1, to + group * PIXELS * channels + c, channels);
        }
    }
}
