/* The gradients of batch norm with its activation. */
#include "activation.h"
#include "values.h"

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

/* By a team of threads: what `input_grad` takes, complete in each thread (scale and shift repeated for the part), and
 * in parameter_grads (2 x channels) weight's and bias's. sums: 2 x channels a thread. */
static void gradient_slopes(const element *x, const element *grad, long channels, Part part, const float *coefficients,
                            float *scale, float *shift, float *slope, float *level,
                            float *parameter_grads, double *sums, int kind) {
    float *mean = slope;
    repeat(scale, coefficients, channels, part.together);
    repeat(shift, coefficients + channels, channels, part.together);
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
        gradient_slopes(x, grad, channels, part, coefficients, scale, shift, slope, level, parameter_grads, sums, RELU);
#pragma omp single
        {
            const float *found[] = {scale, shift, slope, level};
            for (int i = 0; i < 4; i++) memcpy(slopes + i * channels, found[i], channels * sizeof *slopes);
        }
    }
}
