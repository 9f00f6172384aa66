/* bf16 and what all loops share. Included by the files beside it. */
#pragma once
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
/* Channels at most (switch.py's WIDEST), values a worker's arrays hold, and pixels summed in float. */
#define MOST_CHANNELS 4096
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
