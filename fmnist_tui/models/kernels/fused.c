/* Layers in fewer passes over the images than torch makes, as one library.
 *
 * Images are bf16 in channels_last: `rows` pixels of `channels` values. Sums are taken in float over some pixels and
 * in double over those; every value is rounded once, where it is stored. The result depends on the number of threads
 * alone. Plain C for any compiler with OpenMP; build.py compiles it for the processor it is on. Nothing is checked
 * here: the Python files of the same names call it with what fits.
 */
#include "norm.c"
#include "pool.c"
#include "mixture.c"
