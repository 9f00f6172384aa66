/* Batch norm with its activation: forwards, backwards and in evaluation. */
#include "activation.h"
#include "values.h"

/* Pixels taken together, so that their values fill whole vectors where a pixel's do not. */
static long pixels_together(long channels) {
    long count = 1;
    while ((count * channels) % 32 || count * channels < 64) count++;
    return count * channels > WIDEST ? 1 : count;
}

static void repeat(float *restrict to, const float *restrict from, long channels, long times) {
    for (long i = 0; i < times; i++) memcpy(to + i * channels, from, channels * sizeof *to);
}

/* A worker's part of the rows: `first` to `last` in groups of `together`; the last worker has the rest as well. */
typedef struct {
    long together, width, first, last, rest, rows;
} Part;

static Part part_of(long rows, long channels) {
    long worker = omp_get_thread_num(), workers = omp_get_num_threads();
    long together = pixels_together(channels), groups = rows / together;
    Part part = {together, together * channels, groups * worker / workers, groups * (worker + 1) / workers, 0, rows};
    part.rest = worker == workers - 1 ? groups * together : rows;
    return part;
}

INLINE void scale_activate(const element *restrict x, element *restrict y, long count, const float *restrict scale,
                           const float *restrict shift, int kind) {
#pragma omp simd
    for (long i = 0; i < count; i++) y[i] = narrow(activate(widen(x[i]) * scale[i] + shift[i], kind));
}

INLINE void scale_activate_part(const element *x, element *y, long channels, Part part, const float *scale,
                                const float *shift, int kind) {
    for (long group = part.first; group < part.last; group++)
        scale_activate(x + group * part.width, y + group * part.width, part.width, scale, shift, kind);
    for (long row = part.rest; row < part.rows; row++)
        scale_activate(x + row * channels, y + row * channels, channels, scale, shift, kind);
}

/* Two sums of pixels that were taken together, to those of their channels. */
static void add_up(double *restrict sums, const float *restrict first, const float *restrict second, long channels,
                   long together) {
    for (long i = 0; i < together; i++)
        for (long c = 0; c < channels; c++) {
            sums[c] += first[i * channels + c];
            sums[channels + c] += second[i * channels + c];
        }
}

/* Sums of x - origin and of its square, channel by channel, for a worker's part. */
static void moments(const element *restrict x, long channels, Part part, const float *restrict origin,
                    double *restrict sums) {
    ALIGNED float sum[WIDEST], square[WIDEST];
    long width = part.width;
    memset(sums, 0, 2 * channels * sizeof *sums);
    for (long start = part.first; start < part.last; start += FLOAT_ROWS) {
        long end = start + FLOAT_ROWS < part.last ? start + FLOAT_ROWS : part.last, group = start;
        memset(sum, 0, width * sizeof *sum);
        memset(square, 0, width * sizeof *square);
        for (; group + 4 <= end; group += 4) {
            const element *restrict p = x + group * width;
#pragma omp simd
            for (long i = 0; i < width; i++) {
                float a = widen(p[i]) - origin[i], b = widen(p[i + width]) - origin[i];
                float c = widen(p[i + 2 * width]) - origin[i], d = widen(p[i + 3 * width]) - origin[i];
                sum[i] += (a + b) + (c + d);
                square[i] += (a * a + b * b) + (c * c + d * d);
            }
        }
        for (; group < end; group++) {
            const element *restrict p = x + group * width;
#pragma omp simd
            for (long i = 0; i < width; i++) {
                float a = widen(p[i]) - origin[i];
                sum[i] += a;
                square[i] += a * a;
            }
        }
        add_up(sums, sum, square, channels, part.together);
    }
    for (long row = part.rest; row < part.rows; row++)
        for (long c = 0; c < channels; c++) {
            double a = widen(x[row * channels + c]) - origin[c];
            sums[c] += a;
            sums[channels + c] += a * a;
        }
}

INLINE void move_statistics(float *running_mean, float *running_var, double mean, double variance, long rows,
                            double momentum) {
    *running_mean += momentum * (mean - *running_mean);
    *running_var += momentum * (variance * rows / (rows - 1) - *running_var);
}

/* A channel's scale, shift, mean and 1 / standard deviation, `channels` apart. */
INLINE void set_coefficients(float *coefficients, long channels, double mean, double variance, double weight,
                             double bias, double epsilon) {
    double deviation = 1 / sqrt(variance + epsilon);
    coefficients[0] = weight * deviation;
    coefficients[channels] = bias - mean * weight * deviation;
    coefficients[2 * channels] = mean;
    coefficients[3 * channels] = deviation;
}

/* Statistics of x, which move the running ones, by a team of threads; complete when it returns.
 * coefficients: 4 x channels, written: scale, shift, mean, 1 / standard deviation. sums: 2 x channels a thread. */
static void statistics(const element *x, long rows, long channels, const float *weight, const float *bias,
                       float *running_mean, float *running_var, double momentum, double epsilon, float *coefficients,
                       double *sums) {
    ALIGNED float origin[WIDEST];
    Part part = part_of(rows, channels);
    for (long i = 0; i < part.width; i++) origin[i] = widen(x[i % channels]);
    moments(x, channels, part, origin, sums + 2 * channels * omp_get_thread_num());
#pragma omp barrier
#pragma omp single
    for (long c = 0; c < channels; c++) {
        double sum = 0, square = 0;
        for (long i = 0; i < omp_get_num_threads(); i++) {
            sum += sums[2 * channels * i + c];
            square += sums[2 * channels * i + channels + c];
        }
        double distance = sum / rows, mean = distance + origin[c];
        double variance = square / rows - distance * distance;
        if (variance < 0) variance = 0;
        move_statistics(running_mean + c, running_var + c, mean, variance, rows, momentum);
        set_coefficients(coefficients + c, channels, mean, variance, weight[c], bias[c], epsilon);
    }
}

/* Batch norm's coefficients alone, for layers that use them in a pass of their own. */
void norm_statistics(const element *x, long rows, long channels, const float *weight, const float *bias,
                     float *running_mean, float *running_var, double momentum, double epsilon, float *coefficients,
                     double *sums, int threads) {
#pragma omp parallel num_threads(threads)
    statistics(x, rows, channels, weight, bias, running_mean, running_var, momentum, epsilon, coefficients, sums);
}

/* y = activation(batch norm of x); coefficients and sums as of `statistics`. */
void norm_forward(const element *x, element *y, long rows, long channels, const float *weight, const float *bias,
                  float *running_mean, float *running_var, double momentum, double epsilon, float *coefficients,
                  double *sums, int kind, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST];
        Part part = part_of(rows, channels);
        statistics(x, rows, channels, weight, bias, running_mean, running_var, momentum, epsilon, coefficients, sums);
        repeat(scale, coefficients, channels, part.together);
        repeat(shift, coefficients + channels, channels, part.together);
        if (kind == GELU)
            scale_activate_part(x, y, channels, part, scale, shift, GELU);
        else
            scale_activate_part(x, y, channels, part, scale, shift, RELU);
    }
}

/* The same with the running statistics, as in evaluation. */
void norm_evaluate(const element *x, element *y, long rows, long channels, const float *weight, const float *bias,
                   const float *running_mean, const float *running_var, double epsilon, int kind, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST];
        Part part = part_of(rows, channels);
        for (long i = 0; i < part.width; i++) {
            long c = i % channels;
            double factor = weight[c] / sqrt(running_var[c] + epsilon);
            scale[i] = factor;
            shift[i] = bias[c] - running_mean[c] * factor;
        }
        if (kind == GELU)
            scale_activate_part(x, y, channels, part, scale, shift, GELU);
        else
            scale_activate_part(x, y, channels, part, scale, shift, RELU);
    }
}

/* Sums of the gradient of batch norm's result, and of that times x - mean, for a worker's part. */
INLINE void gradient_sums(const element *restrict x, const element *restrict grad, long channels, Part part,
                          const float *restrict scale, const float *restrict shift, const float *restrict mean,
                          double *restrict sums, int kind) {
    ALIGNED float sum[WIDEST], product[WIDEST];
    long width = part.width;
    memset(sums, 0, 2 * channels * sizeof *sums);
    for (long start = part.first; start < part.last; start += FLOAT_ROWS) {
        long end = start + FLOAT_ROWS < part.last ? start + FLOAT_ROWS : part.last, group = start;
        memset(sum, 0, width * sizeof *sum);
        memset(product, 0, width * sizeof *product);
        for (; group + 2 <= end; group += 2) {
            const element *restrict p = x + group * width, *restrict q = grad + group * width;
#pragma omp simd
            for (long i = 0; i < width; i++) {
                float a = widen(p[i]), b = widen(p[i + width]);
                float c = activation_grad(a * scale[i] + shift[i], widen(q[i]), kind);
                float d = activation_grad(b * scale[i] + shift[i], widen(q[i + width]), kind);
                sum[i] += c + d;
                product[i] += c * (a - mean[i]) + d * (b - mean[i]);
            }
        }
        for (; group < end; group++) {
            const element *restrict p = x + group * width, *restrict q = grad + group * width;
#pragma omp simd
            for (long i = 0; i < width; i++) {
                float a = widen(p[i]), c = activation_grad(a * scale[i] + shift[i], widen(q[i]), kind);
                sum[i] += c;
                product[i] += c * (a - mean[i]);
            }
        }
        add_up(sums, sum, product, channels, part.together);
    }
    for (long row = part.rest; row < part.rows; row++)
        for (long c = 0; c < channels; c++) {
            float a = widen(x[row * channels + c]);
            float b = activation_grad(a * scale[c] + shift[c], widen(grad[row * channels + c]), kind);
            sums[c] += b;
            sums[channels + c] += (double)b * (a - mean[c]);
        }
}

/* What a channel's sums, 2 x channels a thread of the team, say of its gradients. */
typedef struct {
    double steep, level, weight_grad, bias_grad;
} Slope;

INLINE Slope slope_of(const double *sums, long c, long rows, long channels, const float *coefficients) {
    double sum = 0, product = 0, scale = coefficients[c], mean = coefficients[2 * channels + c];
    for (long i = 0; i < omp_get_num_threads(); i++) {
        sum += sums[2 * channels * i + c];
        product += sums[2 * channels * i + channels + c];
    }
    double deviation = coefficients[3 * channels + c];
    Slope slope = {-scale * deviation * deviation * product / rows, 0, product * deviation, sum};
    slope.level = -scale * sum / rows - slope.steep * mean;
    return slope;
}

/* dx = scale * g + slope * x + level, and `beside` where there is one; g is the gradient of batch norm's result. */
INLINE void input_grad(const element *restrict x, const element *restrict grad, const element *restrict beside,
                       element *restrict dx, long count, const float *restrict scale, const float *restrict shift,
                       const float *restrict slope, const float *restrict level, int kind) {
    if (beside) {
#pragma omp simd
        for (long i = 0; i < count; i++) {
            float a = widen(x[i]), b = activation_grad(a * scale[i] + shift[i], widen(grad[i]), kind);
            dx[i] = narrow((scale[i] * b + widen(beside[i])) + (slope[i] * a + level[i]));
        }
    } else {
#pragma omp simd
        for (long i = 0; i < count; i++) {
            float a = widen(x[i]), b = activation_grad(a * scale[i] + shift[i], widen(grad[i]), kind);
            dx[i] = narrow(scale[i] * b + (slope[i] * a + level[i]));
        }
    }
}

INLINE void input_grad_part(const element *x, const element *grad, const element *beside, long beside_stride,
                            element *dx, long channels, Part part, const float *scale, const float *shift,
                            const float *slope, const float *level, int kind) {
    ALIGNED element packed[WIDEST];
    for (long group = part.first; group < part.last; group++) {
        const element *other = 0;
        if (beside) { /* its pixels may lie apart, as a slice of wider ones does */
            const element *from = beside + group * part.together * beside_stride;
            for (long i = 0; i < part.together; i++)
                memcpy(packed + i * channels, from + i * beside_stride, channels * sizeof *packed);
            other = packed;
        }
        long at = group * part.width;
        input_grad(x + at, grad + at, other, dx + at, part.width, scale, shift, slope, level, kind);
    }
    for (long row = part.rest; row < part.rows; row++) {
        long at = row * channels;
        const element *other = beside ? beside + row * beside_stride : 0;
        input_grad(x + at, grad + at, other, dx + at, channels, scale, shift, slope, level, kind);
    }
}

/* By a team of threads: slope and level for `input_grad`, which are complete in each thread, and in parameter_grads
 * (2 x channels) weight's and bias's. scale, shift: repeated for the part. sums: 2 x channels a thread. */
static void gradient_slopes(const element *x, const element *grad, long channels, Part part, const float *coefficients,
                            const float *scale, const float *shift, float *slope, float *level,
                            float *parameter_grads, double *sums, int kind) {
    float *mean = slope;
    repeat(mean, coefficients + 2 * channels, channels, part.together);
    double *own = sums + 2 * channels * omp_get_thread_num();
    if (kind == GELU)
        gradient_sums(x, grad, channels, part, scale, shift, mean, own, GELU);
    else
        gradient_sums(x, grad, channels, part, scale, shift, mean, own, RELU);
#pragma omp barrier
    for (long c = 0; c < channels; c++) {
        Slope found = slope_of(sums, c, part.rows, channels, coefficients);
        slope[c] = found.steep;
        level[c] = found.level;
        if (omp_get_thread_num() == 0) {
            parameter_grads[c] = found.weight_grad;
            parameter_grads[channels + c] = found.bias_grad;
        }
    }
}

/* The gradients for norm_forward: dx, and in parameter_grads 2 x channels, weight's and bias's. `beside`, or null: a
 * gradient of x from elsewhere to be added, its pixels `beside_stride` values apart. */
void norm_backward(const element *x, const element *grad, const element *beside, long beside_stride, element *dx,
                   long rows, long channels, const float *coefficients, float *parameter_grads, double *sums,
                   int kind, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST], slope[WIDEST], level[WIDEST];
        Part part = part_of(rows, channels);
        repeat(scale, coefficients, channels, part.together);
        repeat(shift, coefficients + channels, channels, part.together);
        gradient_slopes(x, grad, channels, part, coefficients, scale, shift, slope, level, parameter_grads, sums, kind);
        for (long i = channels; i < part.width; i++) {
            slope[i] = slope[i - channels];
            level[i] = level[i - channels];
        }
        if (kind == GELU)
            input_grad_part(x, grad, beside, beside_stride, dx, channels, part, scale, shift, slope, level, GELU);
        else
            input_grad_part(x, grad, beside, beside_stride, dx, channels, part, scale, shift, slope, level, RELU);
    }
}

/* For layers that have dx in a pass of their own: scale, shift, slope and level (4 x channels) of batch norm with ReLU,
 * and parameter_grads as above. */
void norm_slopes(const element *x, const element *grad, long rows, long channels, const float *coefficients,
                 float *slopes, float *parameter_grads, double *sums, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST], slope[WIDEST], level[WIDEST];
        Part part = part_of(rows, channels);
        repeat(scale, coefficients, channels, part.together);
        repeat(shift, coefficients + channels, channels, part.together);
        gradient_slopes(x, grad, channels, part, coefficients, scale, shift, slope, level, parameter_grads, sums, RELU);
#pragma omp single
        {
            const float *found[] = {scale, shift, slope, level};
            for (int i = 0; i < 4; i++) memcpy(slopes + i * channels, found[i], channels * sizeof *slopes);
        }
    }
}
