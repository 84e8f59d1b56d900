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

#define KERNEL(NAME, ARGS) .NAME = NAME,
#define ACTIVATION(NAME, ...) [CDL_ACTIVATION_##NAME] = NAME##_loop,
#define ACTIVATION_GRADIENT(NAME, ...) [CDL_ACTIVATION_##NAME] = NAME##_gradient_loop,
#define OF_ROWS(NAME) [CDL_ROWWISE_##NAME] = NAME##_rows,
#define GRADIENT_OF_ROWS(NAME) [CDL_ROWWISE_##NAME] = NAME##_gradient_rows,
#define LOSS(NAME, ...) [CDL_LOSS_##NAME] = NAME##_loss,
#define METRIC_OF(NAME, ...) [CDL_METRIC_##NAME] = NAME##_metric,
#define UPDATE(NAME, ...) [CDL_OPTIMIZER_##NAME] = NAME##_loop_update,
#define UPDATE_LANES(NAME, ...) [CDL_OPTIMIZER_##NAME] = NAME##_lanes_update,
#define REST(NAME, ...) [CDL_OPTIMIZER_##NAME] = NAME##_rest,
#define CONVERT(NAME, ...) [CDL_DTYPE_##NAME] = convert_##NAME,
#define CONVERT_INT(NAME, ...) [CDL_DTYPE_##NAME] = convert_int_##NAME,

extern const struct cdl_kernels CDL_TABLE(CDL_ISA);
const struct cdl_kernels CDL_TABLE(CDL_ISA) = {
    .isa = CDL_STRING(CDL_ISA),
    .tile_rows = CDL_GEMM_ROWS(CDL_GEMM_NV),
    .line_registers = CDL_LINE / CDL_VLEN,
    .blocking = &blocking,
#include "kernels/kernels.def"
    .activation = {CDL_ACTIVATIONS(ACTIVATION)},
    .activation_gradient = {CDL_ACTIVATIONS(ACTIVATION_GRADIENT)},
    .rowwise = {CDL_ROWWISE(OF_ROWS)},
    .rowwise_gradient = {CDL_ROWWISE(GRADIENT_OF_ROWS)},
    .loss = {CDL_ELEMENT_LOSSES(LOSS) CDL_LINE_LOSSES(LOSS)},
    .metric = {CDL_METRICS(METRIC_OF)},
    .update = {CDL_OPTIMIZERS(UPDATE)},
    .update_lanes = {CDL_OPTIMIZERS(UPDATE_LANES)},
    .rest = {CDL_RESTING(REST)},
    .convert = {CDL_DTYPES(CONVERT)},
    .convert_int = {CDL_DTYPES(CONVERT_INT)},
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
