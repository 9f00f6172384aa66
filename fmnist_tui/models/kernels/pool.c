/* 2x2 max pooling. */
#include "values.h"

/* Whether `next` takes the maximum's place: the first of equals stays, and not-a-number wins, as in torch. */
INLINE int exceeds(float next, float highest) { return next > highest || next != next; }

/* (images, height, width, channels) to (images, height / 2, width / 2, channels): the largest of 2 x 2. */
void pool_forward(const element *x, element *y, long images, long height, long width, long channels, int threads) {
    long half_height = height / 2, half_width = width / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long line = 0; line < images * half_height; line++) {
        const element *source = x + ((line / half_height) * height + 2 * (line % half_height)) * width * channels;
        for (long column = 0; column < half_width; column++) {
            const element *restrict p = source + 2 * column * channels, *restrict q = p + width * channels;
            element *restrict to = y + (line * half_width + column) * channels;
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
void pool_backward(const element *x, const element *grad, element *dx, long images, long height, long width,
                   long channels, int threads) {
    long half_height = height / 2, half_width = width / 2, line_size = width * channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long image = 0; image < images; image++) {
        for (long line = 0; line < half_height; line++) {
            long above = (image * height + 2 * line) * line_size;
            for (long column = 0; column < half_width; column++) {
                long at = above + 2 * column * channels;
                const element *restrict p = x + at, *restrict q = p + line_size;
                const element *restrict g = grad + ((image * half_height + line) * half_width + column) * channels;
                element *restrict to = dx + at, *restrict below = dx + at + line_size;
#pragma omp simd
                for (long c = 0; c < channels; c++) {
                    float highest = widen(p[c]), second = widen(p[c + channels]);
                    float third = widen(q[c]), fourth = widen(q[c + channels]);
                    element from = g[c];
                    int place = 0;
                    place = exceeds(second, highest) ? 1 : place;
                    highest = place == 1 ? second : highest;
                    place = exceeds(third, highest) ? 2 : place;
                    highest = place == 2 ? third : highest;
                    place = exceeds(fourth, highest) ? 3 : place;
                    to[c] = keep(from, place == 0);
                    to[c + channels] = keep(from, place == 1);
                    below[c] = keep(from, place == 2);
                    below[c + channels] = keep(from, place == 3);
                }
            }
            if (width % 2)
                for (long i = 0; i < 2; i++)
                    memset(dx + above + (i + 1) * line_size - channels, 0, channels * sizeof *dx);
        }
        if (height % 2) memset(dx + ((image + 1) * height - 1) * line_size, 0, line_size * sizeof *dx);
    }
}
