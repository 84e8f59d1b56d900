/* instantiate.h - the template: all kernels, compiled for the ISA that the including file sets.
 *
 * Parameters, defined before the #include:
 *   CDL_ISA              name of the ISA, a row of isa.def
 *   CDL_VLEN             floats in a register
 *   CDL_FUSED            if the ISA has fused multiply-adds
 *   CDL_GEMM_NV          registers in a row of the widest tile
 *   CDL_GEMM_ROWS(nv)    rows of a tile that is nv registers wide: accumulators, one row of b and
 *                        one broadcast must stay in registers
 *   CDL_MADE             if machines may multiply four bytes in a lane: the name of the ISA of
 * these
 */
#include "isa/isa.h"
#include "kernels/math.h"
#include "kernels/wide.h"
#include "kernels/kernels.h"
#include "kernels/vec.h"

#include "kernels/line.h"

/* The lists once more: this time for their formulas. */
#define CDL_TEMPLATE
#include "kernels/activations.h"
#include "kernels/losses.h"
#include "kernels/metrics.h"
#include "kernels/convert.h"
#include "kernels/optimizers.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

#include "kernels/move.h"
#include "kernels/gemm_micro.h"
#include "kernels/gemm.h"
#include "kernels/bf16.h"
#include "kernels/few_classes.h"
#include "kernels/loops.h"
#include "kernels/rowwise.h"
#include "kernels/ctc.h"
#include "kernels/around.h"
#include "kernels/columns.h"
#include "kernels/normalize.h"
#include "kernels/noise.h"
#include "kernels/map.h"
#include "kernels/running.h"
#include "kernels/draw.h"
#include "kernels/window.h"
#include "kernels/winograd.h"
#include "kernels/cells.h"
#include "kernels/integers.h"
#include "kernels/lanes.h"

#define CDL_STRING_(X) #X
#define CDL_STRING(X) CDL_STRING_(X)
#define CDL_TABLE_(X) cdl_kernels_##X
#define CDL_TABLE(X) CDL_TABLE_(X)
#define CDL_MAKE_(X) cdl_##X##_make
#define CDL_MAKE(X) CDL_MAKE_(X)

static struct cdl_blocking blocking; /* isa/blocking.c sets it */

extern const struct cdl_kernels CDL_TABLE(CDL_ISA);
const struct cdl_kernels CDL_TABLE(CDL_ISA) = {
    .isa = CDL_STRING(CDL_ISA),
    .tile_rows = CDL_GEMM_ROWS(CDL_GEMM_NV),
    .blocking = &blocking,
#define KERNEL(NAME, ARGS) .NAME = NAME,
#include "kernels/kernels.def"
#undef KERNEL
#define X(NAME, READS, PARAMS) [CDL_ACTIVATION_##NAME] = NAME##_loop,
    .activation = {CDL_ACTIVATIONS(X)},
#undef X
#define X(NAME, READS, PARAMS) [CDL_ACTIVATION_##NAME] = NAME##_gradient_loop,
    .activation_gradient = {CDL_ACTIVATIONS(X)},
#undef X
#define X(NAME) [CDL_ROWWISE_##NAME] = NAME##_rows,
    .rowwise = {CDL_ROWWISE(X)},
#undef X
#define X(NAME) [CDL_ROWWISE_##NAME] = NAME##_gradient_rows,
    .rowwise_gradient = {CDL_ROWWISE(X)},
#undef X
#define X(NAME, ...) [CDL_LOSS_##NAME] = NAME##_loss,
    .loss = {CDL_ELEMENT_LOSSES(X) CDL_LINE_LOSSES(X)},
#undef X
#define X(NAME, TARGET, PARAMS) [CDL_METRIC_##NAME] = NAME##_metric,
    .metric = {CDL_METRICS(X)},
#undef X
#define X(NAME, N_SLOTS, HYPERS, SLOTS) [CDL_OPTIMIZER_##NAME] = NAME##_loop_update,
    .update = {CDL_OPTIMIZERS(X)},
#undef X
#define X(NAME, N_SLOTS, HYPERS, SLOTS) [CDL_OPTIMIZER_##NAME] = NAME##_lanes_update,
    .update_lanes = {CDL_OPTIMIZERS(X)},
#undef X
#define X(NAME, TYPE, HOW) [CDL_DTYPE_##NAME] = convert_##NAME,
    .convert = {CDL_DTYPES(X)},
#undef X
#define X(NAME, TYPE, HOW) [CDL_DTYPE_##NAME] = convert_int_##NAME,
    .convert_int = {CDL_DTYPES(X)},
#undef X
};

#if defined(CDL_MADE)
extern struct cdl_kernels CDL_TABLE(CDL_MADE);
struct cdl_kernels CDL_TABLE(CDL_MADE);

void CDL_MAKE(CDL_MADE)(void) {
    CDL_TABLE(CDL_MADE) = CDL_TABLE(CDL_ISA);
    CDL_TABLE(CDL_MADE).isa = CDL_STRING(CDL_MADE);
    CDL_TABLE(CDL_MADE).int_product = fours_product;
}
#endif
