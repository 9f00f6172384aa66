/* Products of matrices, for winograd.c and pointwise.c: small ones, and many of them.
 *
 * A matrix consists of words of 32 bits: floats, or for bf16 two numbers, the first in the lower half, whose products
 * with another word's are added to one sum in one instruction. Sums are floats.
 */
#pragma once
#include "values.h"
#ifndef FP32
#include <immintrin.h>
#endif

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

/* Numbers of a word, and what two words add to a sum. */
#ifdef FP32
#define WORD 1

INLINE vec add_product(vec sum, float word, vec words) { return sum + word * words; }
#else
#define WORD 2
typedef element halves __attribute__((vector_size(2 * LANES), aligned(2)));

INLINE vec add_product(vec sum, float word, vec words) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(word), (__m512bh)words);
}

/* Each number, rounded, in a half of its own word: the lower one or the upper one. */
INLINE bits_of_vec half_words(vec numbers, int upper) {
    bits_of_vec words = (bits_of_vec)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)numbers));
    return upper ? words << 16 : words;
}
#endif

/* Up to LANES elements of an image as floats, the others 0; and back, the others left alone. */
INLINE vec load_pixel(const element *from, long count) {
#ifdef FP32
    return load_some(from, count);
#else
    halves numbers = {0};
    if (count >= LANES)
        numbers = *(const halves *)from;
    else
        memcpy(&numbers, from, count * sizeof *from);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)numbers), 16);
#endif
}

INLINE void store_pixel(element *to, vec numbers, long count) {
#ifdef FP32
    store_some(to, numbers, count);
#else
    halves rounded = (halves)_mm512_cvtneps_pbh((__m512)numbers);
    if (count >= LANES)
        *(halves *)to = rounded;
    else
        memcpy(to, &rounded, count * sizeof *to);
#endif
}

/* As `activate` has it: not-a-number stays so. */
INLINE vec relu(vec z) { return (vec)((bits_of_vec)z & ~(z < 0)); }

/* A matrix of a product, and how far it is from row to row, from column to column, from panel to panel of columns. */
typedef struct {
    const float *values; /* words */
    long row, column, panel;
} Factor;

/* `rows` rows of a panel of a * b, or unless `wide` of its first half, added to what is there or in its place. */
INLINE void block(Factor a, Factor b, float *to, long to_row, long depth, int rows, int add, int wide) {
    vec left[ROWS], right[ROWS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        left[i] = add ? load(to + i * to_row) : (vec){0};
        right[i] = add && wide ? load(to + i * to_row + LANES) : (vec){0};
    }
    for (long d = 0; d < depth; d++) {
        vec first = load(b.values + d * b.row), second = wide ? load(b.values + d * b.row + LANES) : first;
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            float factor = a.values[i * a.row + d * a.column];
            left[i] = add_product(left[i], factor, first);
            if (wide) right[i] = add_product(right[i], factor, second);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        store(to + i * to_row, left[i]);
        if (wide) store(to + i * to_row + LANES, right[i]);
    }
}

INLINE void multiply_panel(Factor a, Factor b, float *to, long to_row, long rows, long depth, int add, int wide) {
    for (; rows >= ROWS; rows -= ROWS, a.values += ROWS * a.row, to += ROWS * to_row)
        block(a, b, to, to_row, depth, ROWS, add, wide);
    switch (rows) { /* each number of rows has its own loop */
    case 1: block(a, b, to, to_row, depth, 1, add, wide); break;
    case 2: block(a, b, to, to_row, depth, 2, add, wide); break;
    case 3: block(a, b, to, to_row, depth, 3, add, wide); break;
    case 4: block(a, b, to, to_row, depth, 4, add, wide); break;
    case 5: block(a, b, to, to_row, depth, 5, add, wide); break;
    }
}

/* a (rows, depth) * b (depth, columns), depth in words, to `to`, its rows `to_row` apart. Where columns fill no half of
 * a panel, b and the result have room for one. */
static void multiply(Factor a, Factor b, float *to, long to_row, long rows, long columns, long depth, int add) {
    for (long column = 0; column < columns; column += PANEL) {
        Factor panel = {b.values + column / PANEL * b.panel, b.row, 1, 0};
        if (columns - column > LANES)
            multiply_panel(a, panel, to + column, to_row, rows, depth, add, 1);
        else
            multiply_panel(a, panel, to + column, to_row, rows, depth, add, 0);
    }
}
