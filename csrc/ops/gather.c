/* gather.c - rows of a table by number: y[e] = table[index e]. Embedding, take.
 *
 * Inputs: row numbers, a line of y for each; and the table, unless it is a parameter: a shared
 * value whose lines are the rows. A number outside the table is a fault and gives a row of zeros;
 * with `wraps` negative numbers count from the end.
 *
 * The gradient of a row is the sum of the gradients of its lines in y, in their order. Each thread
 * looks through the whole batch for the rows of its share of the table, so that any number of
 * threads gives the same bits. Where a gradient of 0 changes nothing, only rows that were read
 * learn; where it does, others may owe steps (program/owed.c).
 */
#include "ops/lines.h"

#include "learn/learn.h"

enum { WRAPS }; /* numbers */
enum { TABLE }; /* params */
enum { INDEX, VALUE };
enum { TOGETHER = 256 }; /* rows resolved before the kernel runs */

static size_t indices(const struct cdl_node *node) {
    return node->in[INDEX]->lines * node->in[INDEX]->width;
}
static size_t size_of_row(const struct cdl_node *node) { return node->out[0]->width; }
static size_t rows_of_table(const struct cdl_node *node) {
    return node->n_in > VALUE ? node->in[VALUE]->lines
                              : node->param[TABLE]->cols / size_of_row(node);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0], *index = node->in[INDEX];
    const struct cdl_param *w = node->param[TABLE];
    CDL_EXPECT(!cdl_is_int(y) && y->lines == indices(node),
               "output: expected a line of floats an index");
    CDL_EXPECT(y->shared == index->shared, "output: expected it to be shared as the index is");
    CDL_EXPECT((node->n_in > VALUE) != (w != NULL), "table: expected a weight, or a second input");
    CDL_EXPECT(rows_of_table(node) <= CDL_EXACT, "table: expected at most 2^24 rows");
    if (w) {
        CDL_EXPECT(!w->matrix && w->cols % y->width == 0,
                   "table: expected rows of the output's width, and no matrix of panels");
        return NULL;
    }
    const struct cdl_tensor *table = node->in[VALUE];
    CDL_EXPECT(table->shared && !cdl_is_int(table) && table->width == y->width,
               "table: expected shared floats, in rows of the output's width");
    return NULL;
}

static float number_at(const struct cdl_node *node, size_t i) {
    const struct cdl_tensor *index = node->in[INDEX];
    const size_t at = i / index->width * index->ld + i % index->width;
    return cdl_is_int(index) ? (float)((const int32_t *)(void *)index->data)[at] : index->data[at];
}

/* Notes the faults among the indices [first, first + count): `rows` is negative for an index
 * outside the table. */
static void note_faults(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                        size_t count, const int32_t *rows) {
    const size_t limit = rows_of_table(node);
    for (size_t i = 0; i < count; i++) {
        if (rows[i] >= 0) continue;
        const float number = number_at(node, first + i);
        const bool wrapped = node->numbers[WRAPS] != 0 && number < 0.0f;
        cdl_fault_note(node->fault, ctx->start + (first + i) / indices(node),
                       wrapped ? number + (float)limit : number, limit);
    }
}

/* Numbers of the rows of up to TOGETHER indices from `first` on (counted over the batch); -1 for
 * those outside [low, high). Whether all are inside. */
static bool resolve(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t count, size_t low, size_t high, int32_t *rows) {
    const struct cdl_tensor *index = node->in[INDEX];
    float numbers[TOGETHER];
    const bool packed = !cdl_is_int(index) && index->ld == index->width;
    for (size_t i = 0; i < count && !packed; i++) numbers[i] = number_at(node, first + i);
    ctx->kernels->row_numbers(count, packed ? index->data + first : numbers,
                              node->numbers[WRAPS] != 0, (int32_t)rows_of_table(node), (int32_t)low,
                              (int32_t)high, rows);
    int32_t all = 0;
    for (size_t i = 0; i < count; i++) all |= rows[i];
    return all >= 0;
}

/* A parameter's gradients, and a mark for each of its blocks: the steps of ctx->owed that it has
 * made, or -1 less these if the batch reads it. All are 0 between runs. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    if (!node->trained[TABLE]) return 0;
    const size_t floats = cdl_param_floats(node->param[TABLE]);
    return floats + floats / CDL_PANEL + 1;
}

static float *marks_of(const struct cdl_node *node) {
    return node->scratch + cdl_param_floats(node->param[TABLE]);
}

static bool owes(const struct cdl_node *node, const struct cdl_context *ctx) {
    return node->owes && ctx->owed;
}

/* A row, once it has made the steps that it owes: by whoever reads it, of a copy. */
static void read_ahead(const struct cdl_node *node, const struct cdl_context *ctx, size_t row,
                       float *y) {
    const size_t first = row * size_of_row(node), last = first + size_of_row(node);
    for (size_t at = first, end; at < last; at = end) {
        const size_t b = at / CDL_PANEL, made = (size_t)marks_of(node)[b];
        end = cdl_min(last, (b + 1) * CDL_PANEL);
        if (made == ctx->n_owed) continue;
        const size_t line = at / CDL_LINE * CDL_LINE;
        _Alignas(64) float w[CDL_PANEL];
        cdl_learn_ahead(node->trained[TABLE], ctx, line, cdl_round_up(end - line, CDL_LINE), made,
                        w);
        memcpy(y + (at - first), w + (at - line), (end - at) * sizeof *y);
    }
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_tensor *value = node->n_in > VALUE ? node->in[VALUE] : NULL;
    int32_t rows[TOGETHER];
    for (size_t i = first * indices(node); i < last * indices(node); i += TOGETHER) {
        const size_t left = last * indices(node) - i, count = cdl_min(left, TOGETHER);
        if (!resolve(node, ctx, i, count, 0, rows_of_table(node), rows) && node->fault)
            note_faults(node, ctx, i, count, rows);
        ctx->kernels->gather_rows(count, y->width, rows,
                                  value ? value->data : node->param[TABLE]->w,
                                  value ? value->ld : y->width, y->data + i * y->ld, y->ld);
        for (size_t j = 0; j < count && ctx->n_owed && owes(node, ctx); j++)
            if (rows[j] >= 0) read_ahead(node, ctx, (size_t)rows[j], y->data + (i + j) * y->ld);
    }
}

/* The gradients of rows [low, high) of the table, added to what is in `sums`. */
static void add_share(const struct cdl_node *node, const struct cdl_context *ctx,
                      struct cdl_rows samples, size_t low, size_t high, float *sums, size_t ld) {
    const struct cdl_tensor *y = node->out[0];
    const size_t first = samples.first * indices(node), end = first + samples.n * indices(node);
    int32_t rows[TOGETHER];
    for (size_t i = first; i < end && low < high; i += TOGETHER) {
        const size_t count = cdl_min(end - i, TOGETHER);
        resolve(node, ctx, i, count, low, high, rows);
        ctx->kernels->add_rows(count, y->width, rows, y->grad + i * y->ld, y->ld, sums, ld);
    }
}

static bool gives(const struct cdl_node *node, int k) { return k == VALUE; }

/* Gradient of a table that is a value. */
static void backward(CDL_PASS) {
    const struct cdl_tensor *table = node->in[VALUE];
    const struct cdl_range own = cdl_own(ctx, table->lines);
    memset(table->grad + own.first * table->ld, 0,
           (own.last - own.first) * table->ld * sizeof(float));
    add_share(node, ctx, (struct cdl_rows){.n = ctx->rows}, own.first, own.last, table->grad,
              table->ld);
}

/* The gradients of all samples are there behind it. */
static void wait(CDL_PASS) {}

/* Blocks that are a thread's share, cut where a row begins. */
static struct cdl_range share_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    /* The fewest panels that are whole rows: a panel is a power of two, so what it shares with the
     * size of a row is the row's lowest bit. */
    const size_t size = size_of_row(node), bit = size & (~size + 1);
    const size_t together = size / (cdl_min(bit, CDL_PANEL));
    return cdl_own_blocks(ctx, together, cdl_blocks(node->param[TABLE]));
}

/* Marks the blocks of the rows [low, high) that the batch reads. */
static void mark(const struct cdl_node *node, const struct cdl_context *ctx,
                 struct cdl_rows samples, size_t low, size_t high) {
    const size_t first = samples.first * indices(node), end = first + samples.n * indices(node);
    const size_t n = size_of_row(node);
    int32_t rows[TOGETHER];
    for (size_t i = first; i < end; i += TOGETHER) {
        const size_t count = cdl_min(end - i, TOGETHER);
        resolve(node, ctx, i, count, low, high, rows);
        for (size_t j = 0; j < count; j++) {
            const size_t at = rows[j] < 0 ? 0 : (size_t)rows[j] * n;
            for (size_t b = at / CDL_PANEL; b <= (at + n - 1) / CDL_PANEL && rows[j] >= 0; b++) {
                float *mark = &marks_of(node)[b];
                if (*mark >= 0.0f) *mark = -1.0f - *mark;
            }
        }
    }
}

/* The steps that block b owes, of which it has made some. */
static void make_block(const struct cdl_node *node, const struct cdl_context *ctx, size_t b,
                       float made) {
    const struct cdl_block block = cdl_block_at(node->param[TABLE], b);
    if ((size_t)made < ctx->n_owed)
        cdl_learn_owed(node->trained[TABLE], ctx, block.column, block.width, (size_t)made);
}

static void make_owed(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct cdl_range own = share_of(node, ctx);
    for (size_t b = own.first; b < own.last; b++) {
        make_block(node, ctx, b, marks_of(node)[b]);
        marks_of(node)[b] = 0.0f;
    }
}

static bool may_owe(const struct cdl_node *node, size_t rows) {
    return node->trained[TABLE] && cdl_blocks(node->param[TABLE]) >= 2 * rows * indices(node);
}

/* A block's gradient learns, and is 0 again. */
static void learn_block(const struct cdl_node *node, const struct cdl_context *ctx,
                        const struct cdl_sink *to, size_t b) {
    const struct cdl_block block = cdl_block_at(node->param[TABLE], b);
    float *sums = node->scratch + block.column;
    cdl_learn(node->trained[TABLE], ctx, to, block, sums);
    memset(sums, 0, block.width * sizeof(float));
    marks_of(node)[b] = owes(node, ctx) ? 1.0f + (float)ctx->n_owed : 0.0f;
}

static void update(CDL_UPDATE) {
    const struct cdl_range own = share_of(node, ctx);
    const size_t n = size_of_row(node), limit = rows_of_table(node);
    const size_t low = own.first * CDL_PANEL / n, end = own.last * CDL_PANEL / n;
    const size_t high = own.last < cdl_blocks(node->param[TABLE]) ? end : limit;
    const bool skips_zero = owes(node, ctx) || cdl_learn_skips_zero(node->trained[TABLE], ctx);
    if (skips_zero) mark(node, ctx, rows, low, high);
    add_share(node, ctx, rows, low, high, node->scratch, n);
    for (size_t b = own.first; b < own.last; b++) {
        if (skips_zero && marks_of(node)[b] >= 0.0f) continue;
        if (owes(node, ctx)) make_block(node, ctx, b, -1.0f - marks_of(node)[b]);
        learn_block(node, ctx, to, b);
    }
}

const struct cdl_op cdl_op_gather = {
    .role = CDL_TABLE,
    .check = check,
    .scratch_floats = scratch_floats,
    .number_flops = 8.0, /* it waits for memory, and learns where it was read */
    .forward = forward,
    .backward = {{wait}, {backward, CDL_THREADS}},
    .update = update,
    .may_owe = may_owe,
    .make_owed = make_owed,
    .gives = gives,
    .all_inputs = true,
    .mixes = true,
    .may_fault = true,
    .parts = CDL_BY_ROWS,
};
