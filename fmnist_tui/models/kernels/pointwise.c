/* Batch norm, ReLU and a 1x1 convolution of the planes of a dense block as one operation, with gradients.
 *
 * Some channels of some pixels at a time are normalised into a thread's own room, where they stay in its cache until
 * they are multiplied: what lies between the layers is never written to memory, nor kept for the gradients.
 */
#include "planes.h"

/* Channels whose products are added up in registers; a multiple of ROWS. */
#define DEPTH 48

/* Room for `threads` threads, as a number of floats. `backward`: the gradients'. */
long pointwise_room(long channels, long outputs, int threads, int backward) {
    long results = whole_panels(outputs), filters = channels * results;
    if (!backward) return filters + threads * PIXELS * (DEPTH + results);
    return filters + threads * (PIXELS * (2 * ROWS + 2 * results) + filters);
}

/* The filters (outputs, channels) the other way round, in whole panels of outputs. */
static void turn_filters(const float *weight, float *turned, long channels, long outputs) {
    long results = whole_panels(outputs);
    for (long c = 0; c < channels; c++)
        for (long k = 0; k < results; k++) turned[c * results + k] = k < outputs ? weight[k * channels + c] : 0;
}

/* y (rows, outputs) = ReLU(batch norm of the first `channels` of `wide` planes) times the filters (outputs, channels),
 * and unless it is null y's moments. own: 2 x outputs a thread. */
void pointwise_forward(const float *planes, long wide, long rows, long channels, const float *coefficients,
                       const float *weight, float *y, long outputs, double *moments, double *own, float *room,
                       int threads) {
    long results = whole_panels(outputs);
    const float *scale = coefficients, *shift = coefficients + channels;
    turn_filters(weight, room, channels, outputs);
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        float *normal = room + channels * results + omp_get_thread_num() * PIXELS * (DEPTH + results);
        float *products = normal + PIXELS * DEPTH;
        double *mine = own + 2 * outputs * omp_get_thread_num();
        if (moments) memset(mine, 0, 2 * outputs * sizeof *mine);
        for (long group = share.first; group < share.last; group++) {
            long count = pixels_of(rows, group);
            for (long c = 0; c < channels; c += DEPTH) {
                long depth = channels - c < DEPTH ? channels - c : DEPTH;
                Factor a = {normal, 1, PIXELS, 0}, b = {room + c * results, results, 1, PANEL};
                normalise(planes + (group * wide + c) * PIXELS, depth, scale + c, shift + c, normal);
                multiply(a, b, products, results, PIXELS, outputs, depth, c > 0);
            }
            for (long i = 0; i < count; i++)
                memcpy(y + (group * PIXELS + i) * outputs, products + i * results, outputs * sizeof *y);
            if (moments) add_moments(mine, (group - share.first) * PIXELS, products, results, count, outputs);
        }
        if (moments) moments_of_all(own, rows, outputs, moments);
    }
}

/* The gradients for pointwise_forward of that of ReLU(batch norm of y), for which `after` has 4 x outputs coefficients
 * (scale, shift, slope, level; as of norm_slopes).
 *
 * grad: of the planes, to which this layer's part is added but for what batch norm's statistics bring; that goes to
 * `later`, see slopes_of_all. sums: 2 x channels a thread. */
void pointwise_backward(const float *planes, long wide, long rows, long channels, const float *coefficients,
                        const float *weight, const float *y, const float *activated_grad, const float *after,
                        long outputs, float *grad, double *later, float *parameter_grads, float *weight_grad,
                        double *sums, float *room, int threads) {
    long results = whole_panels(outputs), filters = channels * results;
    long each = PIXELS * (2 * ROWS + 2 * results) + filters;
    const float *scale = coefficients, *shift = scale + channels, *mean = shift + channels;
    turn_filters(weight, room, channels, outputs);
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(rows);
        float *own_weight_grad = room + filters + omp_get_thread_num() * each, *normal = own_weight_grad + filters;
        float *normal_grad = normal + ROWS * PIXELS, *y_grad = normal_grad + ROWS * PIXELS;
        float *y_planes = y_grad + PIXELS * results;
        double *sum = sums + 2 * channels * omp_get_thread_num(), *product = sum + channels;
        memset(sum, 0, 2 * channels * sizeof *sum);
        memset(own_weight_grad, 0, filters * sizeof *own_weight_grad);
        memset(y_grad, 0, PIXELS * results * sizeof *y_grad);
        for (long group = share.first; group < share.last; group++) {
            long count = pixels_of(rows, group);
            memset(y_grad + count * results, 0, (PIXELS - count) * results * sizeof *y_grad);
            for (long i = 0, at = group * PIXELS * outputs; i < count; i++, at += outputs)
                input_grad(y + at, activated_grad + at, 0, y_grad + i * results, outputs, after, after + outputs,
                           after + 2 * outputs, after + 3 * outputs, RELU);
            to_planes(y_grad, results, PIXELS, outputs, y_planes);
            for (long c = 0; c < channels; c += ROWS) {
                long some = channels - c < ROWS ? channels - c : ROWS, at = (group * wide + c) * PIXELS;
                Factor normals = {normal, PIXELS, 1, 0}, grads = {y_grad, results, 1, PANEL};
                Factor across = {room + c * results, results, 1, 0}, grad_planes = {y_planes, PIXELS, 1, PANEL};
                prefetch(grad + at, some * PIXELS);
                prefetch(planes + at + some * PIXELS, some * PIXELS);
                normalise(planes + at, some, scale + c, shift + c, normal);
                multiply(normals, grads, own_weight_grad + c * results, results, some, outputs, PIXELS, 1);
                multiply(across, grad_planes, normal_grad, PIXELS, some, PIXELS, outputs, 0);
                through_norm(planes + at, normal, normal_grad, some, scale + c, mean + c, grad + at, 1, sum + c,
                             product + c);
            }
        }
        slopes_of_all(sums, rows, channels, coefficients, later, parameter_grads);
        long workers = omp_get_num_threads();
#pragma omp for schedule(static)
        for (long k = 0; k < outputs; k++)
            for (long c = 0; c < channels; c++) {
                float total = 0;
                for (long i = 0; i < workers; i++) total += room[filters + i * each + c * results + k];
                weight_grad[k * channels + c] = total;
            }
    }
}
