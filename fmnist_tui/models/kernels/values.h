/* The elements of images, bf16 or with FP32 float, and what all loops share. Included by the files beside it. */
#pragma once
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
/* Channels at most (switch.py's WIDEST), values a worker's arrays hold, and pixels summed in float. */
#define MOST_CHANNELS 4096
#define WIDEST 8192
#define FLOAT_ROWS 64

#ifdef FP32
typedef float element;
typedef uint32_t bits_of_element;

INLINE float widen(element number) { return number; }
INLINE element narrow(float number) { return number; }
#else
typedef uint16_t element;
typedef uint16_t bits_of_element;

INLINE float widen(element number) {
    uint32_t bits = (uint32_t)number << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* To the nearest, ties to even; not-a-number stays so. */
INLINE element narrow(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (element)(number != number ? 0x7fc0u : rounded);
}
#endif

/* The number, or 0. A conditional store takes 4 to 17 times as long (AMD EPYC with AVX2), and gcc makes one of `?:`. */
INLINE element keep(element number, int condition) {
    bits_of_element bits;
    memcpy(&bits, &number, sizeof bits);
    bits &= 0u - (unsigned)condition;
    memcpy(&number, &bits, sizeof bits);
    return number;
}
