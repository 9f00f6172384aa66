/* Batch norm with its activation: in training and in evaluation; norm_grad.c has the gradients. */
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
