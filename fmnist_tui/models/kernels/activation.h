/* ReLU and GELU of a value, and their gradients. Included by norm.c and norm_grad.c. */
#pragma once
#include "values.h"

enum { RELU = 0, GELU = 1 };

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
