/* winograd.c - blocks of 2 x 2 places, some of them at a time, through the 16 products. */
#include "products/winograd.h"

#include "kernels/kernels.h"

enum { ELEMENTS = 16, SIDE = 4 };

/* Least input columns: fewer do not make up for the transforms. */
enum { LEAST_COLUMNS = 32, MANY_COLUMNS = 128, MOST_COLUMNS = 256 };

/* Sizes: blocks of places at a time, rows of the products, and output columns. The weights are to
 * stay in L2, of 2 MB, beside what the products read and give. With 64 input columns they are 256
 * KB, the rest 200 KB; with 128 and more 512 KB and 200 to 300. */
static size_t blocks_of(size_t read) { return read > MANY_COLUMNS ? 12 : 24; }
static size_t panel_of(size_t read) { return read > MANY_COLUMNS ? CDL_PANEL / 2 : CDL_PANEL; }

/* Rows of transposed weights at a time. */
enum { TRANSPOSED = 16 };

/* Arithmetic between two polls of the watch: some 0.2 ms. */
#define LOOK_FLOPS 2e7

static size_t read_by(const struct cdl_convolution *job, bool back) {
    return back ? job->map.columns : job->image.columns;
}

/* Pairs (tap, place) of an axis whose tap lies inside. */
static size_t pairs_of(const struct cdl_window_axis *axis) {
    size_t pairs = 0;
    for (ptrdiff_t tap = 0; tap < 3; tap++) {
        const ptrdiff_t low = axis->before - tap, high = low + (ptrdiff_t)axis->image;
        const ptrdiff_t map = (ptrdiff_t)axis->map, end = high < map ? high : map;
        pairs += end > (low > 0 ? low : 0) ? (size_t)(end - (low > 0 ? low : 0)) : 0;
    }
    return pairs;
}

/* Do the products and transforms of all blocks take less time than the products of all pairs? On
 * AVX-512, in the time of a multiplication by a tile: of a block's 16 products of `read` by `width`
 * numbers, 7.5 / width more transform the image and 6.2 / read transform back, 2,000 find it. */
static bool pays(const struct cdl_convolution *job, bool back, size_t read, size_t given) {
    const struct cdl_window_axis *axis = job->window->axis;
    const size_t y = back ? axis[1].image : axis[1].map, x = back ? axis[2].image : axis[2].map;
    const double pairs = (double)pairs_of(&axis[1]) * (double)pairs_of(&axis[2]);
    const double blocks = (double)((y + 1) / 2) * (double)((x + 1) / 2);
    const double width = (double)cdl_min(given, panel_of(read));
    const double changes = 1.0 + 7.5 / width + 6.2 / (double)read;
    return pairs > blocks * (ELEMENTS * 1.07 * changes + 2000.0 / (width * (double)read));
}

bool cdl_winograds(const struct cdl_convolution *job, bool back) {
    const struct cdl_window_axis *axis = job->window->axis;
    const size_t read = read_by(job, back);
    const size_t given = back ? job->image.columns : job->map.columns;
    bool fits = job->groups == 1 && axis[0].taps == 1 && axis[0].image == axis[0].map &&
                axis[0].before == 0 && axis[0].stride == 1;
    for (int d = 1; d < CDL_AXES; d++) {
        const size_t places = back ? axis[d].image : axis[d].map;
        fits &= axis[d].taps == 3 && axis[d].stride == 1 && axis[d].dilation == 1 && places > 2;
    }
    fits &= read >= LEAST_COLUMNS && read <= MOST_COLUMNS && given >= LEAST_COLUMNS;
    return fits && pays(job, back, read, given);
}

/* Product in progress, from one field to another: place o sees numbers from o - before on. */
struct winograd_job {
    const struct cdl_context *ctx;
    const struct cdl_field *from, *to;
    size_t size[2], places[2]; /* of the two axes: size of the input, end of the output */
    size_t first;              /* of the first axis: start of the output */
    ptrdiff_t before[2];
    const struct cdl_epilogue *epilogue;
    const float *init;
    bool cuts;
    size_t at, width; /* output columns */
    const float *weights;
    float *numbers, *products;
    size_t ld, together; /* stride of lines of `numbers`; blocks at a time */
};

/* Position of a block: its sample (and number of the outermost axis), and its first place. */
struct winograd_block {
    size_t sample, y, x;
};

static size_t blocks_along(const struct winograd_job *job, int d) {
    return (job->places[d] - (d == 0 ? job->first : 0) + 1) / 2;
}

static struct winograd_block block_at(const struct winograd_job *job, size_t i) {
    const size_t across = blocks_along(job, 1), down = blocks_along(job, 0);
    return (struct winograd_block){i / (across * down), job->first + i / across % down * 2,
                                   i % across * 2};
}

/* Transforms a block's input to 16 lines, as many lines apart as there are blocks at a time. */
static void change_image(const struct winograd_job *job, struct winograd_block block, float *to) {
    static const float zeros[MOST_COLUMNS];
    const float *d[ELEMENTS];
    const float *lines = job->from->lines + block.sample * job->from->pitch[0];
    for (size_t e = 0; e < ELEMENTS; e++) {
        const ptrdiff_t y = (ptrdiff_t)(block.y + e / SIDE) - job->before[0];
        const ptrdiff_t x = (ptrdiff_t)(block.x + e % SIDE) - job->before[1];
        const bool inside =
            y >= 0 && y < (ptrdiff_t)job->size[0] && x >= 0 && x < (ptrdiff_t)job->size[1];
        d[e] = inside ? lines + (size_t)y * job->from->pitch[1] + (size_t)x * job->from->pitch[2]
                      : zeros;
    }
    job->ctx->kernels->winograd_image(cdl_padded(job->from->columns), d, to,
                                      job->together * job->ld);
}

/* Transforms the products back, to those places of a block that exist. */
static void change_back(const struct winograd_job *job, struct winograd_block block,
                        const float *from) {
    float nowhere[CDL_PANEL]; /* places beyond the last */
    float *y[4];
    float *first = job->to->lines + block.sample * job->to->pitch[0] + block.y * job->to->pitch[1] +
                   block.x * job->to->pitch[2] + job->at;
    const size_t rows = cdl_min(2, job->places[0] - block.y);
    const size_t columns = cdl_min(2, job->places[1] - block.x);
    for (size_t p = 0; p < 4; p++) {
        const bool there = p / 2 < rows && p % 2 < columns;
        y[p] = there ? first + p / 2 * job->to->pitch[1] + p % 2 * job->to->pitch[2] : nowhere;
    }
    job->ctx->kernels->winograd_map(job->width, from, job->together * CDL_PANEL, job->init,
                                    job->cuts, y);
    if (job->cuts) return;
    for (size_t r = 0; r < rows; r++) {
        float *row = first + r * job->to->pitch[1];
        cdl_finish(job->ctx->kernels, job->epilogue, columns, job->width,
                   (size_t)(row - job->to->lines), row, job->to->ld, job->to->ld);
    }
}

static void multiply(const struct winograd_job *job, size_t first, size_t n) {
    const size_t depth = job->from->columns;
    for (size_t i = 0; i < n; i++)
        change_image(job, block_at(job, first + i), job->numbers + i * job->ld);
    for (size_t e = 0; e < ELEMENTS; e++) {
        struct cdl_product p = {.m = n, .n = job->width, .k = depth, .init = {cdl_zeros, 0}};
        p.a = (struct cdl_matrix){job->numbers + e * job->together * job->ld, job->ld};
        p.b = (struct cdl_matrix){job->weights + e * depth * job->width, job->width};
        p.c = (struct cdl_output){job->products + e * job->together * CDL_PANEL, CDL_PANEL};
        job->ctx->kernels->gemm(&p);
    }
    for (size_t i = 0; i < n; i++)
        change_back(job, block_at(job, first + i), job->products + i * CDL_PANEL);
}

/* Transforms the weights from `depth` input columns to `width` output columns, from `at` on. */
static void change_weights(const struct cdl_convolution *job, bool back,
                           const struct cdl_kernels *kernels, size_t at, size_t live, size_t width,
                           float *transposed, float *to) {
    const size_t depth = read_by(job, back);
    const size_t step = depth * width;
    if (!back) {
        const size_t panel = at / CDL_PANEL * CDL_PANEL, ld = cdl_panel_width(job->w->cols, panel);
        kernels->winograd_weights(depth, width, job->w->w + panel * job->w->rows + (at - panel), ld,
                                  (ptrdiff_t)(depth * ld), to, step);
        return;
    }
    for (size_t f = 0, rows; f < depth; f += rows) { /* transposed: the last tap comes first */
        rows = cdl_min(depth - f, TRANSPOSED);
        const ptrdiff_t tap = (ptrdiff_t)(rows * width);
        cdl_transpose_weights(job, kernels, at, live, width, f, rows, transposed);
        kernels->winograd_weights(rows, width, transposed + 8 * tap, width, -tap, to + f * width,
                                  step);
    }
}

static size_t weights_floats(size_t read) { return ELEMENTS * read * panel_of(read); }

size_t cdl_winograd_floats(const struct cdl_convolution *job, bool back) {
    if (!cdl_winograds(job, back)) return 0;
    const size_t read = read_by(job, back);
    const size_t lines = ELEMENTS * blocks_of(read) * (cdl_stride(read) + CDL_PANEL);
    return weights_floats(read) + lines + (back ? 9 * TRANSPOSED * CDL_PANEL : 0);
}

size_t cdl_winograd_weights_floats(const struct cdl_convolution *job) {
    return cdl_winograds(job, false) ? ELEMENTS * job->image.columns * cdl_padded(job->map.columns)
                                     : 0;
}

/* Smaller sizes, for an L2 cache of less than 2 MB. */
static size_t panel_here(const struct cdl_kernels *kernels, size_t read) {
    size_t panel = panel_of(read);
    while (panel > CDL_LINE && ELEMENTS * read * panel > kernels->blocking->changed_floats)
        panel /= 2;
    return panel;
}

void cdl_winograd_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                          float *to) {
    const size_t read = job->image.columns, panel = panel_here(kernels, read);
    const size_t all = job->map.columns;
    for (size_t at = 0; at < all; at += panel) {
        const size_t live = cdl_min(all - at, panel), width = cdl_round_up(live, CDL_LINE);
        change_weights(job, false, kernels, at, live, width, NULL, to + ELEMENTS * read * at);
    }
}

void cdl_winograd(const struct cdl_convolution *conv, bool back, const struct cdl_context *ctx,
                  size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                  float *scratch) {
    const struct cdl_window_axis *axis = conv->window->axis;
    const size_t read = read_by(conv, back), panel = panel_here(ctx->kernels, read);
    const float *made = back ? NULL : conv->winograd_weights;
    float init[CDL_PANEL];
    struct winograd_job job = {.ctx = ctx,
                               .from = back ? &conv->map : &conv->image,
                               .to = back ? &conv->image : &conv->map,
                               .epilogue = epilogue,
                               .init = init,
                               .cuts = cdl_cuts(epilogue),
                               .ld = cdl_stride(read),
                               .together = blocks_of(read)};
    for (int d = 0; d < 2; d++) {
        const struct cdl_window_axis *a = &axis[d + 1];
        job.size[d] = back ? a->map : a->image;
        job.places[d] = back ? a->image : a->map;
        job.before[d] = back ? 2 - a->before : a->before;
    }
    if (conv->band) { /* band of the first axis: samples have one such image each */
        job.first = conv->band->first;
        job.places[0] = conv->band->end;
    }
    job.numbers = scratch + weights_floats(read);
    job.products = job.numbers + ELEMENTS * job.together * job.ld;
    float *transposed = job.products + ELEMENTS * job.together * CDL_PANEL;
    const size_t blocks = samples * axis[0].image * blocks_along(&job, 0) * blocks_along(&job, 1);
    for (size_t live; job.at < job.to->columns; job.at += live) {
        live = cdl_min(job.to->columns - job.at, panel);
        job.width = cdl_round_up(live, CDL_LINE);
        job.weights = made ? made + ELEMENTS * read * job.at : scratch;
        if (!made)
            change_weights(conv, back, ctx->kernels, job.at, live, job.width, transposed, scratch);
        memset(init, 0, sizeof init);
        if (bias) memcpy(init, bias + job.at, live * sizeof(float));
        double work = 0.0;
        for (size_t i = 0; i < blocks; i += job.together) {
            work += 2.0 * ELEMENTS * (double)(job.together * read * job.width);
            if (work >= LOOK_FLOPS) {
                if (cdl_stopped(ctx)) return;
                work = 0.0;
            }
            multiply(&job, i, cdl_min(blocks - i, job.together));
        }
    }
}
