/* The end of a Shake-Shake block: batch norm of both branches, their mixture, the shortcut and the next block's ReLU.
 *
 * `share`: of the first branch in the mixture, for each image; the second has the rest. Coefficients as of norm.c's
 * `statistics`. Backwards the share is another, and the gradient of both batch norms comes from one pass.
 */
#include "values.h"

/* sum = share * BN(first) + (1 - share) * BN(second) + shortcut; activated = ReLU(sum). */
void mixture_forward(const element *first, const element *second, const element *shortcut, element *sum,
                     element *activated, long images, long pixels, long channels, const float *share,
                     const float *first_coefficients, const float *second_coefficients, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long image = 0; image < images; image++) {
        ALIGNED float scale[MOST_CHANNELS], other_scale[MOST_CHANNELS], shift[MOST_CHANNELS];
        float own = share[image], rest = 1.0f - own;
        for (long c = 0; c < channels; c++) {
            scale[c] = own * first_coefficients[c];
            other_scale[c] = rest * second_coefficients[c];
            shift[c] = own * first_coefficients[channels + c] + rest * second_coefficients[channels + c];
        }
        for (long pixel = image * pixels; pixel < (image + 1) * pixels; pixel++) {
            long at = pixel * channels;
            const element *restrict p = first + at, *restrict q = second + at, *restrict r = shortcut + at;
            element *restrict to = sum + at, *restrict above = activated + at;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                float value = widen(p[c]) * scale[c] + widen(q[c]) * other_scale[c] + (shift[c] + widen(r[c]));
                element rounded = narrow(value);
                to[c] = rounded;
                above[c] = value < 0.0f ? 0 : rounded; /* not-a-number stays so */
            }
        }
    }
}

/* The sum's gradient of some pixels of an image, and sums of it and of it times each branch's distance from its mean. */
static void sum_grad(const element *restrict first, const element *restrict second, const element *restrict activated,
                     const element *restrict activated_grad, const element *restrict direct_grad,
                     element *restrict grad, long pixels, long channels, const float *restrict mean,
                     const float *restrict other_mean, float *restrict total, float *restrict product,
                     float *restrict other_product) {
    for (long pixel = 0; pixel < pixels; pixel++) {
        long at = pixel * channels;
        const element *restrict p = first + at, *restrict q = second + at, *restrict r = activated + at;
        const element *restrict from = activated_grad + at, *restrict direct = direct_grad ? direct_grad + at : 0;
        element *restrict to = grad + at;
        if (direct) {
#pragma omp simd
            for (long c = 0; c < channels; c++)
                to[c] = narrow((widen(r[c]) > 0.0f ? widen(from[c]) : 0.0f) + widen(direct[c]));
        } else {
#pragma omp simd
            for (long c = 0; c < channels; c++) to[c] = widen(r[c]) > 0.0f ? from[c] : 0;
        }
#pragma omp simd
        for (long c = 0; c < channels; c++) {
            float value = widen(to[c]);
            total[c] += value;
            product[c] += value * (widen(p[c]) - mean[c]);
            other_product[c] += value * (widen(q[c]) - other_mean[c]);
        }
    }
}

/* What the gradient of one branch is made of: scale * share * grad + slope * x + level. */
typedef struct {
    ALIGNED float scale[MOST_CHANNELS], slope[MOST_CHANNELS], level[MOST_CHANNELS];
} Line;

/* `sums`: those of the branch's gradient, then, `channels` on, of its product; 4 x channels a thread. */
static void line_of(Line *line, const float *coefficients, const double *sums, float *parameter_grads, long rows,
                    long channels) {
    for (long c = 0; c < channels; c++) {
        double sum = 0, product = 0, mean = coefficients[2 * channels + c], deviation = coefficients[3 * channels + c];
        for (long i = 0; i < omp_get_num_threads(); i++) {
            sum += sums[4 * channels * i + c];
            product += sums[4 * channels * i + channels + c];
        }
        double scale = coefficients[c], steep = -scale * deviation * deviation * product / rows;
        line->scale[c] = scale;
        line->slope[c] = steep;
        line->level[c] = -scale * sum / rows - steep * mean;
        if (omp_get_thread_num() == 0) {
            parameter_grads[c] = product * deviation;
            parameter_grads[channels + c] = sum;
        }
    }
}

INLINE void branch_grad(const element *restrict x, const element *restrict grad, element *restrict to, long pixels,
                        long channels, float share, const Line *line) {
    ALIGNED float scale[MOST_CHANNELS];
    for (long c = 0; c < channels; c++) scale[c] = share * line->scale[c];
    for (long pixel = 0; pixel < pixels; pixel++) {
        const element *restrict p = x + pixel * channels, *restrict q = grad + pixel * channels;
        element *restrict r = to + pixel * channels;
#pragma omp simd
        for (long c = 0; c < channels; c++)
            r[c] = narrow(scale[c] * widen(q[c]) + (line->slope[c] * widen(p[c]) + line->level[c]));
    }
}

/* The gradients for mixture_forward. `direct_grad` of the sum, or null, and `activated_grad` of its ReLU become `grad`,
 * the shortcut's. parameter_grads: 4 x channels, weight's and bias's of the first branch, then of the second.
 * sums: 4 x channels a thread. */
void mixture_backward(const element *first, const element *second, const element *activated,
                      const element *activated_grad, const element *direct_grad, element *grad, element *first_grad,
                      element *second_grad, long images, long pixels, long channels, const float *share,
                      const float *first_coefficients, const float *second_coefficients, float *parameter_grads,
                      double *sums, int threads) {
    long rows = images * pixels, size = pixels * channels;
#pragma omp parallel num_threads(threads)
    {
        ALIGNED float total[MOST_CHANNELS], product[MOST_CHANNELS], other_product[MOST_CHANNELS];
        Line line, other_line;
        const float *mean = first_coefficients + 2 * channels, *other_mean = second_coefficients + 2 * channels;
        double *own = sums + 4 * channels * omp_get_thread_num();
        memset(own, 0, 4 * channels * sizeof *own);
#pragma omp for schedule(static)
        for (long image = 0; image < images; image++) {
            float part = share[image], rest = 1.0f - part;
            for (long start = 0; start < pixels; start += FLOAT_ROWS) {
                long count = start + FLOAT_ROWS < pixels ? FLOAT_ROWS : pixels - start;
                long at = image * size + start * channels;
                memset(total, 0, channels * sizeof *total);
                memset(product, 0, channels * sizeof *product);
                memset(other_product, 0, channels * sizeof *other_product);
                sum_grad(first + at, second + at, activated + at, activated_grad + at,
                         direct_grad ? direct_grad + at : 0, grad + at, count, channels, mean, other_mean, total,
                         product, other_product);
                for (long c = 0; c < channels; c++) {
                    own[c] += (double)part * total[c];
                    own[channels + c] += (double)part * product[c];
                    own[2 * channels + c] += (double)rest * total[c];
                    own[3 * channels + c] += (double)rest * other_product[c];
                }
            }
        } /* all threads wait here */
        line_of(&line, first_coefficients, sums, parameter_grads, rows, channels);
        line_of(&other_line, second_coefficients, sums + 2 * channels, parameter_grads + 2 * channels, rows, channels);
#pragma omp for schedule(static)
        for (long image = 0; image < images; image++) {
            long at = image * size;
            branch_grad(first + at, grad + at, first_grad + at, pixels, channels, share[image], &line);
            branch_grad(second + at, grad + at, second_grad + at, pixels, channels, 1.0f - share[image], &other_line);
        }
    }
}
