/* blocking.c - the blocks of each ISA, from the sizes of the caches and of its tile. */
#include "base/param.h"
#include "isa/isa.h"

/* A multiple of `unit` and no less; at most `most`. */
static size_t within(size_t n, size_t unit, size_t most) {
    const size_t whole = n / unit * unit;
    return cdl_min(whole < unit ? unit : whole, most / unit * unit);
}

static struct cdl_blocking blocking_of(const struct cdl_kernels *kernels,
                                       const struct cdl_caches *caches) {
    const size_t row = CDL_PANEL * sizeof(float); /* of a panel */
    const size_t l1 = caches->l1 / row, l2 = caches->l2 / row;
    return (struct cdl_blocking){
        .rows = within(l1 / 4, kernels->tile_rows, CDL_MOST_ROWS),
        .depth = within(l2 / 4, CDL_PANEL, CDL_MOST_DEPTH), /* whole panels of what is transposed */
        .samples = within(l1 * 2 / 3, CDL_LINE, CDL_MOST_SAMPLES),
        .strip_floats = cdl_min(caches->l2 / 2 / sizeof(float), CDL_MOST_STRIP_FLOATS),
        .sample_floats = caches->l2 / 4 / sizeof(float),
        .pair_blocks = within(l2 / 8 / CDL_PANEL, 1, CDL_MOST_PAIR_BLOCKS),
        .changed_floats = caches->l2 / 4 / sizeof(float),
    };
}

void cdl_isa_block(const struct cdl_caches *caches) {
#define MADE(NAME, RUNS) cdl_##NAME##_make();
#define ISA(NAME, RUNS)
#include "isa/isa.def"
#undef ISA
#undef MADE
    const struct cdl_kernels *kernels;
    for (int i = 0; (kernels = cdl_isa_kernels(i)); i++)
        *kernels->blocking = blocking_of(kernels, caches);
}
