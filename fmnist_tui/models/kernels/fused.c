/* Layers in fewer passes over the images than torch makes, and convolutions in fewer multiplications, as one library.
 *
 * Images are in channels_last: `rows` pixels of `channels` values, bf16 or with FP32 float. Sums are taken in float
 * over some pixels and in double over those; every value is rounded once, where it is stored. The result depends on
 * the number of threads alone. Plain C for any compiler with OpenMP and vectors as gcc and clang have them; build.py
 * compiles it for the processor it is on. Nothing is checked here: the Python files of the same names call it with
 * what fits.
 */
#include "norm.c"
#include "norm_grad.c"
#include "pool.c"
#include "mixture.c"
/* In bf16 only with its products; where there are tiles of matrices (AMX), torch multiplies faster than this saves. */
#if defined FP32 || (defined __AVX512BF16__ && !defined __AMX_BF16__)
#include "winograd.c"
#endif
#ifdef FP32
#include "planes.c"
#include "pointwise.c"
#endif
