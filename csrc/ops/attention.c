/* attention.c - y = softmax(scale q k^T + bias) v for each head, without the matrix of all scores.
 *
 * q is (queries, heads, width), k (keys, shared, width), v (keys, shared, any width), and each run
 * of heads / shared heads of q has one of k and v. The scores of a block of queries stand in a
 * thread's scratch, in L1 or L2; heads are lines a stride apart, so nothing is copied but k, which
 * is transposed, once a head. Backward makes the weights of each block again, but for those of the
 * first heads of a batch, which are kept: 32 MB (Dao et al., 2022, keep none). For a block, with P
 * its softmax and dP = dy v^T:
 *   dS = P (dP - sum P dP),   dq = scale dS k,   dk = scale dS^T q,   dv = P^T dy
 * where scale is put into k^T and v^T. Keys that no query of the block sees, of the future or of
 * the padding, are left out. Each element of dk and dv is one chain of sums over the queries in
 * order, whichever block they fall in.
 *
 * A query that sees no key, since its bias is below HIDDEN everywhere, gets the mean of all values,
 * or nothing, and its scores no gradient.
 *
 * In training, or always, a weight is 0 with probability `rate`, else divided by 1 - rate: y = D(P)
 * v with the mask of a dropout op on the matrix (heads, queries, keys). It is drawn again in
 * backward, where dv = D(P)^T dy and dP = D(dy v^T).
 */
#include "ops/lines.h"
#include "products/matmul_values.h"

/* Numbers: whether query i sees keys 0 to i alone; whether one that sees none gets nothing; whether
 * weights are dropped in predictions too. */
enum { CAUSAL, EMPTY, ALWAYS, SEED, USER_DRAW }; /* numbers */
enum { SCALE, RATE };                            /* attributes */
enum { Q, K, V, BIAS }; /* inputs; bias: (heads or 1, queries or 1, keys) */

#define LOWEST -2.38196633e38f /* -0.7 times the largest float, as Keras on JAX hides scores */
#define HIDDEN -2.1e38f

/* Scores of a block: they and their softmax fill half an L2 of 512 KB. Blocks of half as many
 * floats took 3 to 13 % longer where there are a thousand keys and more, since sums for dk and dv
 * are read and written once a block. */
enum { BLOCK_FLOATS = 32768, LEAST_ROWS = 8, MOST_ROWS = 128 };

/* Weights that are kept for the pass back: writing and reading them costs less than making them
 * again, even beyond the caches. */
enum { KEPT_FLOATS = 1 << 23 };

struct attention_shape {
    size_t queries, keys, heads, shared;
    size_t block, blocks; /* queries of a block, and how many blocks there are */
    size_t ld;            /* of scores */
};

static struct attention_shape shape_of(const struct cdl_node *node) {
    const struct cdl_tensor *q = node->in[Q], *k = node->in[K];
    struct attention_shape s = {q->dims[0], k->dims[0], q->dims[1], k->dims[1], 0, 0, 0};
    s.ld = cdl_stride(s.keys);
    const size_t most = cdl_max(LEAST_ROWS, cdl_min(MOST_ROWS, BLOCK_FLOATS / s.ld));
    s.blocks = (s.queries + most - 1) / most;
    s.block = (s.queries + s.blocks - 1) / s.blocks;
    s.blocks = (s.queries + s.block - 1) / s.block;
    return s;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *q = node->in[Q], *k = node->in[K], *v = node->in[V];
    const struct cdl_tensor *y = node->out[0];
    for (int i = 0; i < node->n_in; i++)
        CDL_EXPECT(!cdl_is_int(node->in[i]) && node->in[i]->n_dims == 3,
                   "q, k, v, bias: expected floats of three axes");
    CDL_EXPECT(k->dims[0] == v->dims[0] && k->dims[1] == v->dims[1],
               "v: expected the keys and heads of k");
    CDL_EXPECT(q->width == k->width && q->width > 1 && v->width > 1 && k->dims[0] > 1,
               "k: expected the width of q, and all widths and keys above 1");
    CDL_EXPECT(q->dims[1] % k->dims[1] == 0, "k: expected heads that divide those of q");
    CDL_EXPECT(y->n_dims == 3 && y->dims[0] == q->dims[0] && y->dims[1] == q->dims[1] &&
                   y->width == v->width,
               "output: expected the lines of q, the width of v");
    CDL_EXPECT(q->shared == k->shared && q->shared == v->shared && q->shared == y->shared,
               "q, k, v, output: expected all or none shared");
    CDL_EXPECT(node->attribute[RATE] >= 0.0f && node->attribute[RATE] <= 1.0f,
               "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, SEED));
    if (node->n_in <= BIAS) return NULL;
    const struct cdl_tensor *bias = node->in[BIAS];
    CDL_EXPECT((bias->dims[0] == 1 || bias->dims[0] == q->dims[1]) &&
                   (bias->dims[1] == 1 || bias->dims[1] == q->dims[0]) &&
                   bias->width == k->dims[0] && (bias->shared || !q->shared),
               "bias: expected (heads or 1, queries or 1, keys)");
    return NULL;
}

static double flops(const struct cdl_node *node) {
    const struct attention_shape s = shape_of(node);
    const double scores = (double)s.heads * (double)s.queries * (double)s.keys;
    return 2.0 * scores * (double)(node->in[Q]->width + node->in[V]->width);
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct attention_shape s = shape_of(node);
    const size_t transposed = node->in[K]->width + (training ? node->in[V]->width : 0);
    return (transposed + 2 * s.block) * s.ld + cdl_round_up(s.block, CDL_LINE);
}

/* Weights of a head, and the tops of its queries. */
static size_t kept_floats(const struct attention_shape *s) {
    return s->queries * s->ld + cdl_round_up(s->queries, CDL_LINE);
}

/* Heads of a batch whose weights are kept. */
static size_t kept_heads(const struct cdl_node *node, const struct attention_shape *s) {
    return node->goes_back && !node->loop ? KEPT_FLOATS / kept_floats(s) : 0;
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    const struct attention_shape s = shape_of(node);
    return cdl_min(rows * s.heads, kept_heads(node, &s)) * kept_floats(&s);
}

/* One head of a sample from query `row` on, where its lines are and how far apart, and a thread's
 * scratch. */
struct head {
    const struct cdl_kernels *kernels;
    struct attention_shape shape;
    struct cdl_matrix q, k, v;
    const float *bias; /* may be NULL */
    size_t step_bias;
    float *k_transposed, *v_transposed, *scores, *weights, *tops;
    bool kept;  /* weights and tops are */
    bool low;   /* products are those of bfloat16 */
    bool drops; /* then, of the weights: what they are drawn by, and the number of query 0 */
    struct cdl_key key;
    size_t line;
};

/* Head h of a sample's value, `t` its tensor. */
static size_t place_of(const struct cdl_tensor *t, size_t sample, size_t h) {
    return sample * t->row_floats + h * t->ld;
}

static struct head head_of(const struct cdl_node *node, const struct cdl_context *ctx,
                           size_t sample, size_t h, size_t row) {
    const struct cdl_tensor *q = node->in[Q], *k = node->in[K], *v = node->in[V];
    const struct attention_shape s = shape_of(node);
    const size_t g = h / (s.heads / s.shared);
    struct head head = {.kernels = ctx->kernels,
                        .shape = s,
                        .q = {q->data + place_of(q, sample, h), s.heads * q->ld},
                        .k = {k->data + place_of(k, sample, g), s.shared * k->ld},
                        .v = {v->data + place_of(v, sample, g), s.shared * v->ld},
                        .k_transposed = ctx->scratch,
                        .low = node->arithmetic == CDL_BY_TILES};
    head.drops = node->attribute[RATE] > 0.0f && (ctx->training || node->numbers[ALWAYS]);
    const size_t above = ctx->training ? ctx->first : ctx->start;
    head.line = ((above + sample) * s.heads + h) * s.queries;
    head.scores = head.k_transposed + k->width * s.ld;
    head.weights = head.scores + s.block * s.ld;
    head.tops = head.weights + s.block * s.ld;
    head.v_transposed = head.tops + cdl_round_up(s.block, CDL_LINE);
    const size_t before = sample * s.heads + h;
    head.kept = before < kept_heads(node, &s);
    if (head.kept) {
        float *kept = node->scratch + before * kept_floats(&s);
        head.weights = kept + row * s.ld, head.tops = kept + s.queries * s.ld + row;
    }
    if (head.drops) head.key = cdl_node_key(node, ctx, SEED);
    if (node->n_in > BIAS) {
        const struct cdl_tensor *bias = node->in[BIAS];
        head.bias = cdl_rows(bias, sample);
        if (bias->dims[0] > 1) head.bias += h * bias->dims[1] * bias->ld;
        head.step_bias = bias->dims[1] > 1 ? bias->ld : 0;
    }
    return head;
}

static void turn(const struct head *head, size_t width, float scale, struct cdl_matrix lines,
                 float *to) {
    head->kernels->transpose(head->shape.keys, width, lines.at, lines.ld, to, head->shape.ld);
    head->kernels->scale(width * head->shape.ld, scale, to);
}

/* How many keys there are up to the last one that a mask of keys alone shows, all if it shows none;
 * and, for queries up to `last`, that is not of their future. */
static size_t shown_keys(const struct head *head, const struct cdl_node *node, size_t last) {
    const size_t keys = head->shape.keys;
    size_t n = keys;
    while (head->bias && !head->step_bias && n > 0 && head->bias[n - 1] < HIDDEN) n--;
    n = n == 0 ? keys : cdl_max(n, 2);
    return node->numbers[CAUSAL] ? cdl_min(n, cdl_max(last, 2)) : n;
}

/* c[rows, n] = a[rows, depth] b, b's lines as they lie. */
static void multiply(const struct head *head, size_t rows, size_t depth, size_t n,
                     struct cdl_matrix a, struct cdl_matrix b, struct cdl_output c) {
    struct cdl_values product = {.m = rows, .k = depth, .n = n, .c = c};
    product.a = (struct cdl_side){a.at, a.ld, false, head->low};
    product.b = (struct cdl_side){b.at, b.ld, false, head->low};
    cdl_matmul_values(head->kernels, &product);
}

/* c[keys, n] += a[rows, keys]^T b[rows, n], to nothing yet if it is `new` */
static void accumulate(const struct head *head, bool new, size_t rows, size_t keys, size_t n,
                       const float *a, struct cdl_matrix b, struct cdl_output c) {
    struct cdl_values product = {.m = keys, .k = rows, .n = n, .c = c};
    product.a = (struct cdl_side){a, head->shape.ld, true, head->low};
    product.b = (struct cdl_side){b.at, b.ld, false, head->low};
    if (!new) product.init = (struct cdl_matrix){c.at, c.ld};
    cdl_matmul_values(head->kernels, &product);
}

/* True for a row of scores with that maximum. A NaN counts as a key, so that it shows in y. */
static bool sees_a_key(float top) { return !(top <= HIDDEN); }

static bool all_see(const struct head *head, size_t rows) {
    for (size_t r = 0; head->bias && r < rows; r++) {
        if (!sees_a_key(head->tops[r])) return false;
    }
    return true;
}

/* How many keys the weights of queries [first, first + rows) are of, whose tops are known. */
static size_t seen_keys(const struct head *head, const struct cdl_node *node, size_t first,
                        size_t rows) {
    return all_see(head, rows) ? shown_keys(head, node, first + rows) : head->shape.keys;
}

static void fill(float *x, size_t first, size_t last, float value) {
    for (size_t j = first; j < last; j++) x[j] = value;
}

/* The weights of queries [first, first + rows) for keys [0, n), of which n is given back: all
 * others are 0. Rows that see no key have a top of at most HIDDEN. */
static size_t weigh(const struct head *head, const struct cdl_node *node, size_t first,
                    size_t rows) {
    const bool causal = node->numbers[CAUSAL] != 0;
    const struct cdl_kernels *kernels = head->kernels;
    const size_t ld = head->shape.ld, keys = head->shape.keys;
    size_t n = shown_keys(head, node, first + rows);
    const struct cdl_matrix q = {head->q.at + first * head->q.ld, head->q.ld};
    multiply(head, rows, node->in[Q]->width, n, q, (struct cdl_matrix){head->k_transposed, ld},
             (struct cdl_output){head->scores, ld});
    for (size_t r = 0; r < rows; r++) {
        float *score = head->scores + r * ld;
        if (head->bias) kernels->add(n, head->bias + (first + r) * head->step_bias, score);
        if (causal) fill(score, first + r + 1, n, LOWEST);
    }
    if (head->bias)
        kernels->reduce_lines(CDL_REDUCTION_max, rows, 1, n, head->scores, ld, head->tops);
    const bool see = all_see(head, rows);
    for (size_t r = 0; r < rows && !see; r++) {
        const bool sees = sees_a_key(head->tops[r]);
        fill(head->scores + r * ld, sees ? n : 0, keys, sees ? LOWEST : 0.0f);
    }
    if (!see) n = keys;
    kernels->rowwise[CDL_ROWWISE_softmax](rows, n, head->scores, ld, head->weights, ld, NULL);
    for (size_t r = 0; r < rows && !see && node->numbers[EMPTY]; r++)
        if (!sees_a_key(head->tops[r])) fill(head->weights + r * ld, 0, n, 0.0f);
    return n;
}

/* Dropout of what belongs to the weights of queries [first, first + rows) for keys [0, n). */
static void drop(const struct head *head, const struct cdl_node *node, size_t first, size_t rows,
                 size_t n, const float *from, float *to) {
    const double kept = 1.0 - (double)node->attribute[RATE];
    const struct cdl_drop drop = {cdl_keep_of(kept), cdl_keep_scale(kept), 0.0f, 0.0f};
    head->kernels->dropout(rows, n, head->key, (uint32_t)(head->line + first), &drop,
                           (struct cdl_matrix){from, head->shape.ld},
                           (struct cdl_output){to, head->shape.ld});
}

static void forward_pieces(CDL_PASS) {
    const struct cdl_tensor *k = node->in[K], *v = node->in[V], *y = node->out[0];
    const struct attention_shape s = shape_of(node);
    const float *transposed = NULL; /* whose transpose there is */
    for (size_t p = first; p < last && !cdl_stopped(ctx); p++) {
        const size_t sample = p / s.blocks / s.heads, h = p / s.blocks % s.heads;
        const size_t row = p % s.blocks * s.block, rows = cdl_min(s.block, s.queries - row);
        const struct head head = head_of(node, ctx, sample, h, row);
        if (transposed != head.k.at)
            turn(&head, k->width, node->attribute[SCALE], head.k, head.k_transposed);
        transposed = head.k.at;
        const size_t n = weigh(&head, node, row, rows);
        const float *weights = head.drops ? head.scores : head.weights;
        if (head.drops) drop(&head, node, row, rows, n, head.weights, head.scores);
        const size_t ldy = s.heads * y->ld;
        multiply(&head, rows, n, v->width, (struct cdl_matrix){weights, s.ld}, head.v,
                 (struct cdl_output){y->data + place_of(y, sample, h) + row * ldy, ldy});
    }
}

static size_t pieces(const struct cdl_node *node, size_t rows, bool back) {
    const struct attention_shape s = shape_of(node);
    return rows * (back ? s.shared : s.heads * s.blocks);
}

static void forward(CDL_PASS) {
    const size_t each = pieces(node, 1, false);
    forward_pieces(node, ctx, first * each, last * each);
}

/* Clears `n` lines, or their pads alone, which are `step` apart. */
static void clear(const struct cdl_tensor *t, float *lines, size_t n, size_t step, bool pads) {
    const size_t from = pads ? t->width : 0, to = cdl_padded(t->width);
    for (size_t l = 0; l < n && from < to; l++) memset(lines + l * step + from, 0, (to - from) * 4);
}

/* The gradients of one head; those of k and v are added to, unless they are `new`. */
static void head_backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t sample,
                          size_t h, bool new, float *dk, float *dv) {
    const struct cdl_tensor *q = node->in[Q], *k = node->in[K], *v = node->in[V];
    const struct cdl_tensor *y = node->out[0];
    const struct attention_shape s = shape_of(node);
    const size_t ldy = s.heads * y->ld;
    struct cdl_matrix dy = {y->grad + place_of(y, sample, h), ldy};
    for (size_t row = 0; row < s.queries; row += s.block, dy.at += s.block * ldy) {
        const size_t rows = cdl_min(s.block, s.queries - row);
        const struct head of_row = head_of(node, ctx, sample, h, row), *head = &of_row;
        const size_t n =
            head->kept ? seen_keys(head, node, row, rows) : weigh(head, node, row, rows);
        const struct cdl_matrix q_rows = {head->q.at + row * head->q.ld, head->q.ld};
        float *slopes = head->scores;
        const bool first = new && row == 0;
        if (dv && first) clear(v, dv + n * head->v.ld, s.keys - n, head->v.ld, false);
        if (dk && first) clear(k, dk + n * head->k.ld, s.keys - n, head->k.ld, false);
        multiply(head, rows, v->width, n, dy, (struct cdl_matrix){head->v_transposed, s.ld},
                 (struct cdl_output){slopes, s.ld});
        if (head->drops) drop(head, node, row, rows, n, slopes, slopes);
        const struct cdl_matrix weights = {head->weights, s.ld};
        head->kernels->rowwise_gradient[CDL_ROWWISE_softmax](
            rows, n, weights, weights, (struct cdl_matrix){slopes, s.ld},
            (struct cdl_output){slopes, s.ld}, NULL);
        for (size_t r = 0; r < rows && head->bias; r++)
            if (!sees_a_key(head->tops[r])) fill(slopes + r * s.ld, 0, n, 0.0f);
        if (node->needs[Q]) {
            float *dq = q->grad + place_of(q, sample, h) + row * head->q.ld;
            multiply(head, rows, n, q->width, (struct cdl_matrix){slopes, s.ld}, head->k,
                     (struct cdl_output){dq, head->q.ld});
            clear(q, dq, rows, head->q.ld, true);
        }
        if (dk)
            accumulate(head, first, rows, n, q->width, slopes, q_rows,
                       (struct cdl_output){dk, head->k.ld});
        const float *kept = head->drops ? slopes : head->weights;
        if (head->drops) drop(head, node, row, rows, n, head->weights, slopes);
        if (dv)
            accumulate(head, first, rows, n, v->width, kept, dy,
                       (struct cdl_output){dv, head->v.ld});
    }
}

static void backward_pieces(CDL_PASS) {
    const struct cdl_tensor *k = node->in[K], *v = node->in[V];
    const struct attention_shape s = shape_of(node);
    const size_t group = s.heads / s.shared;
    for (size_t p = first; p < last && !cdl_stopped(ctx); p++) {
        const size_t sample = p / s.shared, g = p % s.shared;
        const struct head one = head_of(node, ctx, sample, g * group, 0);
        const struct head last_head = head_of(node, ctx, sample, (g + 1) * group - 1, 0);
        float *dk = node->needs[K] ? k->grad + place_of(k, sample, g) : NULL;
        float *dv = node->needs[V] ? v->grad + place_of(v, sample, g) : NULL;
        if (!last_head.kept) turn(&one, k->width, node->attribute[SCALE], one.k, one.k_transposed);
        turn(&one, v->width, node->attribute[SCALE], one.v, one.v_transposed);
        for (size_t h = g * group; h < (g + 1) * group; h++)
            head_backward(node, ctx, sample, h, h == g * group, dk, dv);
        if (dk) clear(k, dk, s.keys, one.k.ld, true);
        if (dv) clear(v, dv, s.keys, one.v.ld, true);
    }
}

static void backward(CDL_PASS) {
    const size_t each = pieces(node, 1, true);
    backward_pieces(node, ctx, first * each, last * each);
}

static void run_pieces(CDL_PASS, bool back) {
    (back ? backward_pieces : forward_pieces)(node, ctx, first, last);
}

static bool gives(const struct cdl_node *node, int k) { return k != BIAS; }

const struct cdl_op cdl_op_attention = {
    .check = check,
    .flops = flops,
    .scratch_floats = scratch_floats,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = backward,
    .pieces = pieces,
    .run_pieces = run_pieces,
    .gives = gives,
    .all_inputs = true,
    .mixes = true,
    .polls = true,
};
