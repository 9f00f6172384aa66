/* Batch norm with its activation, and 2x2 max pooling, in one pass each over the images where torch needs several.
 *
 * Images are bf16 in channels_last: `rows` pixels of `channels` values. Sums are taken in float over some pixels and
 * in double over those; every value is rounded once, where it is stored. The result depends on the number of threads
 * alone. Plain C for any compiler with OpenMP; build.py compiles it for the processor it is on. Nothing is checked
 * here: fused.py calls it with what fits.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

enum { RELU = 0, GELU = 1 };

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
/* Values a worker's arrays hold, and pixels summed in float. */
#define WIDEST 8192
#define FLOAT_ROWS 64

INLINE float widen(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* To the nearest, ties to even; not-a-number stays so. */
INLINE bf16 narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)(value != value ? 0x7fc0u : rounded);
}

/* exp(-x) for x >= 0, relative error below 2e-7; from x = 87 on that of 87. */
INLINE float exp_minus(float x) {
    float power = x > 87.0f ? -87.0f * 1.44269504f : x * -1.44269504f;
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float shifted = power + shift;
    int32_t whole;
    memcpy(&whole, &shifted, sizeof whole);
    float part = power - (shifted - shift);
    /* 2^part on [-0.5, 0.5]: Taylor's terms of exp(part * log 2) */
    float value = 1.54035304e-4f;
    value = value * part + 1.33335581e-3f;
    value = value * part + 9.61812911e-3f;
    value = value * part + 5.55041087e-2f;
    value = value * part + 2.40226507e-1f;
    value = value * part + 6.93147181e-1f;
    value = value * part + 1.0f;
    uint32_t scale_bits = (uint32_t)(whole - 0x4b400000 + 127) << 23;
    float scale;
    memcpy(&scale, &scale_bits, sizeof scale);
    return value * scale;
}

/* The normal distribution's function (absolute error 1e-7: Abramowitz and Stegun 7.1.26) and density. */
INLINE float normal(float z, float *density) {
    float size = z < 0.0f ? -z : z;
    float bell = exp_minus(0.5f * z * z);
    float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * size);
    float tail = 1.061405429f;
    tail = tail * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = 0.5f * tail * t * bell;
    *density = 0.39894228f * bell;
    return z < 0.0f ? tail : 1.0f - tail;
}

INLINE float activate(float z, int kind) {
    if (kind == GELU) {
        float density;
        return z * normal(z, &density);
    }
    return z < 0.0f ? 0.0f : z; /* not-a-number stays so */
}

/* `grad` of the activation's result as one of its argument. */
INLINE float activation_grad(float z, float grad, int kind) {
    if (kind == GELU) {
        float density, below = normal(z, &density);
        return grad * (below + z * density);
    }
    return z > 0.0f ? grad : 0.0f;
}

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

INLINE void scale_activate(const bf16 *restrict x, bf16 *restrict y, long count, const float *restrict scale,
                           const float *restrict shift, int kind) {
#pragma omp simd
    for (long i = 0; i < count; i++) y[i] = narrow(activate(widen(x[i]) * scale[i] + shift[i], kind));
}

INLINE void scale_activate_part(const bf16 *x, bf16 *y, long channels, Part part, const float *scale,
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
static void moments(const bf16 *restrict x, long channels, Part part, const float *restrict origin,
                    double *restrict sums) {
    ALIGNED float sum[WIDEST], square[WIDEST];
    long width = part.width;
    memset(sums, 0, 2 * channels * sizeof *sums);
    for (long start = part.first; start < part.last; start += FLOAT_ROWS) {
        long end = start + FLOAT_ROWS < part.last ? start + FLOAT_ROWS : part.last, group = start;
        memset(sum, 0, width * sizeof *sum);
        memset(square, 0, width * sizeof *square);
        for (; group + 4 <= end; group += 4) {
            const bf16 *restrict p = x + group * width;
#pragma omp simd
            for (long i = 0; i < width; i++) {
                float a = widen(p[i]) - origin[i], b = widen(p[i + width]) - origin[i];
                float c = widen(p[i + 2 * width]) - origin[i], d = widen(p[i + 3 * width]) - origin[i];
                sum[i] += (a + b) + (c + d);
                square[i] += (a * a + b * b) + (c * c + d * d);
            }
        }
        for (; group < end; group++) {
            const bf16 *restrict p = x + group * width;
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

/* y = activation(batch norm of x), with x's own statistics, which move the running ones.
 * coefficients: 4 x channels, written: scale, shift, mean, 1 / standard deviation. sums: 2 x channels a thread. */
void norm_forward(const bf16 *x, bf16 *y, long rows, long channels, const float *weight, const float *bias,
                  float *running_mean, float *running_var, double momentum, double epsilon, float *coefficients,
                  double *sums, int kind, int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST];
        Part part = part_of(rows, channels);
        float *origin = scale;
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
            double deviation = 1 / sqrt(variance + epsilon);
            running_mean[c] += momentum * (mean - running_mean[c]);
            running_var[c] += momentum * (variance * rows / (rows - 1) - running_var[c]);
            coefficients[c] = weight[c] * deviation;
            coefficients[channels + c] = bias[c] - mean * weight[c] * deviation;
            coefficients[2 * channels + c] = mean;
            coefficients[3 * channels + c] = deviation;
        }
        repeat(scale, coefficients, channels, part.together);
        repeat(shift, coefficients + channels, channels, part.together);
        if (kind == GELU)
            scale_activate_part(x, y, channels, part, scale, shift, GELU);
        else
            scale_activate_part(x, y, channels, part, scale, shift, RELU);
    }
}

/* The same with the running statistics, as in evaluation. */
void norm_evaluate(const bf16 *x, bf16 *y, long rows, long channels, const float *weight, const float *bias,
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
INLINE void gradient_sums(const bf16 *restrict x, const bf16 *restrict grad, long channels, Part part,
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
            const bf16 *restrict p = x + group * width, *restrict q = grad + group * width;
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
            const bf16 *restrict p = x + group * width, *restrict q = grad + group * width;
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

/* dx = scale * g + slope * x + level, and `beside` where there is one; g is the gradient of batch norm's result. */
INLINE void input_grad(const bf16 *restrict x, const bf16 *restrict grad, const bf16 *restrict beside,
                       bf16 *restrict dx, long count, const float *restrict scale, const float *restrict shift,
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

INLINE void input_grad_part(const bf16 *x, const bf16 *grad, const bf16 *beside, long beside_stride, bf16 *dx,
                            long channels, Part part, const float *scale, const float *shift, const float *slope,
                            const float *level, int kind) {
    ALIGNED bf16 packed[WIDEST];
    for (long group = part.first; group < part.last; group++) {
        const bf16 *other = 0;
        if (beside) { /* its pixels may lie apart, as a slice of wider ones does */
            const bf16 *from = beside + group * part.together * beside_stride;
            for (long i = 0; i < part.together; i++)
                memcpy(packed + i * channels, from + i * beside_stride, channels * sizeof *packed);
            other = packed;
        }
        long at = group * part.width;
        input_grad(x + at, grad + at, other, dx + at, part.width, scale, shift, slope, level, kind);
    }
    for (long row = part.rest; row < part.rows; row++) {
        long at = row * channels;
        const bf16 *other = beside ? beside + row * beside_stride : 0;
        input_grad(x + at, grad + at, other, dx + at, channels, scale, shift, slope, level, kind);
    }
}

/* The gradients for norm_forward: dx, and in parameter_grads 2 x channels, weight's and bias's. `beside`, or null: a
 * gradient of x from elsewhere to be added, its pixels `beside_stride` values apart. */
void norm_backward(const bf16 *x, const bf16 *grad, const bf16 *beside, long beside_stride, bf16 *dx, long rows,
                   long channels, const float *coefficients, float *parameter_grads, double *sums, int kind,
                   int threads) {
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float scale[WIDEST], shift[WIDEST], slope[WIDEST], level[WIDEST];
        Part part = part_of(rows, channels);
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
            double sum = 0, product = 0, center = coefficients[2 * channels + c];
            for (long i = 0; i < omp_get_num_threads(); i++) {
                sum += sums[2 * channels * i + c];
                product += sums[2 * channels * i + channels + c];
            }
            double deviation = coefficients[3 * channels + c];
            double steep = -scale[c] * deviation * deviation * product / rows;
            slope[c] = steep;
            level[c] = -scale[c] * sum / rows - steep * center;
            if (omp_get_thread_num() == 0) {
                parameter_grads[c] = product * deviation;
                parameter_grads[channels + c] = sum;
            }
        }
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

/* Whether `next` takes the maximum's place: the first of equals stays, and not-a-number wins, as in torch. */
INLINE int exceeds(float next, float highest) { return next > highest || next != next; }

/* (images, height, width, channels) to (images, height / 2, width / 2, channels): the largest of 2 x 2. */
void pool_forward(const bf16 *x, bf16 *y, long images, long height, long width, long channels, int threads) {
    long half_height = height / 2, half_width = width / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long line = 0; line < images * half_height; line++) {
        const bf16 *source = x + ((line / half_height) * height + 2 * (line % half_height)) * width * channels;
        for (long column = 0; column < half_width; column++) {
            const bf16 *restrict p = source + 2 * column * channels, *restrict q = p + width * channels;
            bf16 *restrict to = y + (line * half_width + column) * channels;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                float highest = widen(p[c]), second = widen(p[c + channels]);
                float third = widen(q[c]), fourth = widen(q[c + channels]);
                highest = exceeds(second, highest) ? second : highest;
                highest = exceeds(third, highest) ? third : highest;
                highest = exceeds(fourth, highest) ? fourth : highest;
                to[c] = narrow(highest);
            }
        }
    }
}

/* The gradient for pool_forward: that of each result goes to the first of its largest, the others get 0. */
void pool_backward(const bf16 *x, const bf16 *grad, bf16 *dx, long images, long height, long width, long channels,
                   int threads) {
    long half_height = height / 2, half_width = width / 2, line_size = width * channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long image = 0; image < images; image++) {
        for (long line = 0; line < half_height; line++) {
            long above = (image * height + 2 * line) * line_size;
            for (long column = 0; column < half_width; column++) {
                long at = above + 2 * column * channels;
                const bf16 *restrict p = x + at, *restrict q = p + line_size;
                const bf16 *restrict g = grad + ((image * half_height + line) * half_width + column) * channels;
                bf16 *restrict to = dx + at, *restrict below = dx + at + line_size;
#pragma omp simd
                for (long c = 0; c < channels; c++) {
                    float highest = widen(p[c]), second = widen(p[c + channels]);
                    float third = widen(q[c]), fourth = widen(q[c + channels]);
                    int place = 0;
                    place = exceeds(second, highest) ? 1 : place;
                    highest = place == 1 ? second : highest;
                    place = exceeds(third, highest) ? 2 : place;
                    highest = place == 2 ? third : highest;
                    place = exceeds(fourth, highest) ? 3 : place;
                    to[c] = place == 0 ? g[c] : 0;
                    to[c + channels] = place == 1 ? g[c] : 0;
                    below[c] = place == 2 ? g[c] : 0;
                    below[c + channels] = place == 3 ? g[c] : 0;
                }
            }
            if (width % 2)
                for (long i = 0; i < 2; i++)
                    memset(dx + above + (i + 1) * line_size - channels, 0, channels * sizeof *dx);
        }
        if (height % 2) memset(dx + ((image + 1) * height - 1) * line_size, 0, line_size * sizeof *dx);
    }
}
