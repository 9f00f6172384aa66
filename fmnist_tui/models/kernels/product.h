/* Products of matrices of float, for winograd.c: small ones, and many of them. */
#pragma once
#include "values.h"

/* Floats of a vector; where the processor's are narrower, the compiler takes several. */
#ifndef LANES
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#endif
/* Columns and rows of a product that are computed together, so that twelve sums stay in registers. */
#define PANEL (2 * LANES)
#define ROWS 6

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t bits_of_vec __attribute__((vector_size(4 * LANES), aligned(4)));

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec numbers) { *(vec *)to = numbers; }

/* The first `count` of a vector; the others are 0, and are left alone. */
INLINE vec load_some(const float *from, long count) {
    vec numbers = {0};
    if (count >= LANES) return load(from);
    memcpy(&numbers, from, count * sizeof *from);
    return numbers;
}

INLINE void store_some(float *to, vec numbers, long count) {
    if (count >= LANES)
        store(to, numbers);
    else
        memcpy(to, &numbers, count * sizeof *to);
}

/* As `activate` has it: not-a-number stays so. */
INLINE vec relu(vec z) { return (vec)((bits_of_vec)z & ~(z < 0)); }

/* A matrix of a product, and how far it is from row to row, from column to column, from panel to panel of columns. */
typedef struct {
    const float *values;
    long row, column, panel;
} Factor;

/* `rows` rows of a panel of a * b, added to what is there or in its place. */
INLINE void block(Factor a, Factor b, float *to, long to_row, long depth, int rows, int add) {
    vec left[ROWS], right[ROWS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        left[i] = add ? load(to + i * to_row) : (vec){0};
        right[i] = add ? load(to + i * to_row + LANES) : (vec){0};
    }
    for (long d = 0; d < depth; d++) {
        vec first = load(b.values + d * b.row), second = load(b.values + d * b.row + LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            float factor = a.values[i * a.row + d * a.column];
            left[i] += factor * first;
            right[i] += factor * second;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        store(to + i * to_row, left[i]);
        store(to + i * to_row + LANES, right[i]);
    }
}

/* a (rows, depth) * b (depth, columns) to `to`, its rows `to_row` apart; columns are whole panels. */
static void multiply(Factor a, Factor b, float *to, long to_row, long rows, long columns, long depth, int add) {
    for (long column = 0; column < columns; column += PANEL) {
        Factor panel = {b.values + column / PANEL * b.panel, b.row, 1, 0}, part = a;
        float *at = to + column;
        long left = rows;
        for (; left >= ROWS; left -= ROWS, part.values += ROWS * a.row, at += ROWS * to_row)
            block(part, panel, at, to_row, depth, ROWS, add);
        switch (left) { /* each number of rows has its own loop */
        case 1: block(part, panel, at, to_row, depth, 1, add); break;
        case 2: block(part, panel, at, to_row, depth, 2, add); break;
        case 3: block(part, panel, at, to_row, depth, 3, add); break;
        case 4: block(part, panel, at, to_row, depth, 4, add); break;
        case 5: block(part, panel, at, to_row, depth, 5, add); break;
        }
    }
}
