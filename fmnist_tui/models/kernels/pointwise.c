/* Batch norm, ReLU and a 1x1 convolution as one operation on images of fp32 whose pixels may lie apart.
 *
 * Some pixels at a time are normalised into a thread's own room, where they stay in its cache until they are multiplied:
 * what lies between the layers is never written to memory, nor kept for the gradients. Those come the same way.
 */
#include "product.h"

/* Pixels taken together, a multiple of ROWS. */
#define PIXELS 48

/* A worker's pixels: whole groups of PIXELS, `first` to `last`. */
typedef struct {
    long first, last;
} Share;

static Share share_of(long rows) {
    long worker = omp_get_thread_num(), workers = omp_get_num_threads(), groups = (rows + PIXELS - 1) / PIXELS;
    Share share = {groups * worker / workers * PIXELS, groups * (worker + 1) / workers * PIXELS};
    if (share.last > rows) share.last = rows;
    return share;
}

/* A channel's mean and its sum of squared distances from it, and those of `more` other values (Chan et al.,
 * doi 10.2307/2683386). */
INLINE void merge(double *moments, double have, double mean, double squares, double more) {
    double distance = mean - moments[0], all = have + more;
    if (all == 0) return;
    moments[0] += distance * more / all;
    moments[1] += squares + distance * distance * have * more / all;
}

/* Into the moments of `have` pixels (channels, 2) those of the pixels x, which are `apart`. */
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
        long workers = omp_get_num_threads(), groups = (rows + PIXELS - 1) / PIXELS;
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

/* Mean and sum of squared distances (channels, 2) of pixels that are `apart`. own: 2 x channels a thread. */
void channel_moments(const float *x, long apart, long rows, long channels, double *moments, double *own, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        double *mine = own + 2 * channels * omp_get_thread_num();
        memset(mine, 0, 2 * channels * sizeof *mine);
        for (long row = share.first; row < share.last; row += PIXELS) {
            long count = share.last - row < PIXELS ? share.last - row : PIXELS;
            add_moments(mine, row - share.first, x + row * apart, apart, count, channels);
        }
        moments_of_all(own, rows, channels, moments);
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

/* The filters (outputs, channels) in panels for products with them: of outputs, (channels, PANEL) each. */
static void panels_of_outputs(const float *weight, float *panels, long channels, long outputs) {
    for (long k = 0; k < whole_panels(outputs); k++)
        for (long c = 0; c < channels; c++)
            panels[(k / PANEL * channels + c) * PANEL + k % PANEL] = k < outputs ? weight[k * channels + c] : 0;
}

/* The same of channels, (outputs, PANEL) each. */
static void panels_of_channels(const float *weight, float *panels, long channels, long outputs) {
    for (long c = 0; c < whole_panels(channels); c++)
        for (long k = 0; k < outputs; k++)
            panels[(c / PANEL * outputs + k) * PANEL + c % PANEL] = c < channels ? weight[k * channels + c] : 0;
}

/* Some pixels of x, normalised and activated, to `to`, where they are in whole panels; the rest of the last is 0. */
static void normalise(const float *x, long apart, long rows, long channels, const float *coefficients, float *to) {
    long stride = whole_panels(channels);
    const float *restrict scale = coefficients, *restrict shift = coefficients + channels;
    for (long row = 0; row < rows; row++) {
        const float *restrict pixel = x + row * apart;
        float *restrict into = to + row * stride;
#pragma omp simd
        for (long c = 0; c < channels; c++) into[c] = activate(pixel[c] * scale[c] + shift[c], RELU);
        memset(into + channels, 0, (stride - channels) * sizeof *into);
    }
}

/* Room for `threads` threads, as a number of floats. `backward`: the gradients'. */
long pointwise_room(long channels, long outputs, int threads, int backward) {
    long wide = whole_panels(channels), results = whole_panels(outputs);
    if (!backward) return channels * results + threads * PIXELS * (wide + results);
    return outputs * wide + threads * (PIXELS * (2 * wide + outputs) + outputs * wide);
}

/* y (rows, outputs) = ReLU(batch norm of x) times the filters (outputs, channels), and unless it is null y's moments.
 * x's pixels are `apart`; own: 2 x outputs a thread. */
void pointwise_forward(const float *x, long apart, long rows, long channels, const float *coefficients,
                       const float *weight, float *y, long outputs, double *moments, double *own, float *room,
                       int threads) {
    long wide = whole_panels(channels), results = whole_panels(outputs);
    panels_of_outputs(weight, room, channels, outputs);
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        float *normal = room + channels * results + omp_get_thread_num() * PIXELS * (wide + results);
        float *products = normal + PIXELS * wide;
        double *mine = own + 2 * outputs * omp_get_thread_num();
        if (moments) memset(mine, 0, 2 * outputs * sizeof *mine);
        for (long row = share.first; row < share.last; row += PIXELS) {
            long count = share.last - row < PIXELS ? share.last - row : PIXELS;
            Factor a = {normal, wide, 1, 0}, b = {room, PANEL, 1, channels * PANEL};
            normalise(x + row * apart, apart, count, channels, coefficients, normal);
            multiply(a, b, products, results, count, results, channels, 0);
            for (long i = 0; i < count; i++)
                memcpy(y + (row + i) * outputs, products + i * results, outputs * sizeof *y);
            if (moments) add_moments(mine, row - share.first, products, results, count, outputs);
        }
        if (moments) moments_of_all(own, rows, outputs, moments);
    }
}

/* The gradient of x from that of what it became, added to `before` and put in `grad`, both of whose pixels are `apart`
 * like x's. Sums as of `gradient_sums` are added up. */
static void through_norm(const float *x, long apart, long rows, long channels, const float *coefficients,
                         const float *normal, const float *normal_grad, const float *before, float *grad,
                         double *sums) {
    ALIGNED float sum[MOST_CHANNELS], product[MOST_CHANNELS];
    const float *restrict scale = coefficients, *restrict mean = coefficients + 2 * channels;
    long stride = whole_panels(channels);
    memset(sum, 0, channels * sizeof *sum);
    memset(product, 0, channels * sizeof *product);
    for (long row = 0; row < rows; row++) {
        const float *restrict value = normal + row * stride, *restrict from = normal_grad + row * stride;
        const float *restrict pixel = x + row * apart, *past = before + row * apart;
        float *to = grad + row * apart;
#pragma omp simd
        for (long c = 0; c < channels; c++) {
            float passed = activation_grad(value[c], from[c], RELU);
            sum[c] += passed;
            product[c] += passed * (pixel[c] - mean[c]);
            to[c] = past[c] + scale[c] * passed;
        }
    }
    for (long c = 0; c < channels; c++) {
        sums[c] += sum[c];
        sums[channels + c] += product[c];
    }
}

/* The gradients for pointwise_forward of that of ReLU(batch norm of y), for which `after` has 4 x outputs coefficients
 * (scale, shift, slope, level; as of norm_slopes).
 *
 * grad: of x, without what batch norm's statistics bring, which is a slope and a level a channel: those are added to
 * `later` (channels, 2). It is `before` and this layer's part. parameter_grads: 2 x channels, of norm's weight and bias.
 * sums: 2 x channels a thread. */
void pointwise_backward(const float *x, long apart, long rows, long channels, const float *coefficients,
                        const float *weight, const float *y, const float *activated_grad, const float *after,
                        long outputs, const float *before, float *grad, double *later, float *parameter_grads,
                        float *weight_grad, double *sums, float *room, int threads) {
    long wide = whole_panels(channels);
    long each = PIXELS * (2 * wide + outputs) + outputs * wide;
    panels_of_channels(weight, room, channels, outputs);
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        float *normal = room + outputs * wide + omp_get_thread_num() * each, *normal_grad = normal + PIXELS * wide;
        float *own_weight_grad = normal_grad + PIXELS * wide, *y_grad = own_weight_grad + outputs * wide;
        double *mine = sums + 2 * channels * omp_get_thread_num();
        memset(mine, 0, 2 * channels * sizeof *mine);
        memset(own_weight_grad, 0, outputs * wide * sizeof *own_weight_grad);
        for (long row = share.first; row < share.last; row += PIXELS) {
            long count = share.last - row < PIXELS ? share.last - row : PIXELS;
            for (long i = 0, at = row * outputs; i < count; i++, at += outputs)
                input_grad(y + at, activated_grad + at, 0, y_grad + i * outputs, outputs, after, after + outputs,
                           after + 2 * outputs, after + 3 * outputs, RELU);
            normalise(x + row * apart, apart, count, channels, coefficients, normal);
            Factor across = {y_grad, 1, outputs, 0}, normals = {normal, wide, 1, PANEL};
            multiply(across, normals, own_weight_grad, wide, outputs, wide, count, 1);
            Factor grads = {y_grad, outputs, 1, 0}, filters = {room, PANEL, 1, outputs * PANEL};
            multiply(grads, filters, normal_grad, wide, count, wide, outputs, 0);
            through_norm(x + row * apart, apart, count, channels, coefficients, normal, normal_grad,
                         before + row * apart, grad + row * apart, mine);
        }
#pragma omp barrier
        long workers = omp_get_num_threads();
#pragma omp for schedule(static)
        for (long k = 0; k < outputs; k++)
            for (long c = 0; c < channels; c++) {
                float sum = 0;
                for (long i = 0; i < workers; i++)
                    sum += room[outputs * wide + i * each + 2 * PIXELS * wide + k * wide + c];
                weight_grad[k * channels + c] = sum;
            }
#pragma omp single
        for (long c = 0; c < channels; c++) {
            Slope slope = slope_of(sums, c, rows, channels, coefficients);
            later[2 * c] += slope.steep;
            later[2 * c + 1] += slope.level;
            parameter_grads[c] = slope.weight_grad;
            parameter_grads[channels + c] = slope.bias_grad;
        }
    }
}

/* Some channels' gradient, packed: with what `later` has for them. x and grad point to the first of them. */
void pointwise_rest(const float *x, const float *grad, long apart, long rows, long channels, const double *later,
                    float *to, int threads) {
    ALIGNED float slope[MOST_CHANNELS], level[MOST_CHANNELS];
    for (long c = 0; c < channels; c++) {
        slope[c] = later[2 * c];
        level[c] = later[2 * c + 1];
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long row = 0; row < rows; row++) {
        const float *restrict pixel = x + row * apart, *restrict from = grad + row * apart;
        float *restrict into = to + row * channels;
#pragma omp simd
        for (long c = 0; c < channels; c++) into[c] = from[c] + (slope[c] * pixel[c] + level[c]);
    }
}
