/* ctc.h - connectionist temporal classification (Graves et al., 2006): the loss of one sample.
 *
 * The labels l[0..n) are those of t that are not 0, taken from its front; class 0 is the blank.
 * After s steps phi[j] is the log probability that the first j labels have been given and a blank
 * (or nothing) came last, emit[j] that label j came last. A step goes
 *
 *     p[j + 1]    = log(e^phi[j + 1] + e^emit[j])     but for a label that the next one repeats
 *     emit'[j]    = log(e^p[j] + e^emit[j]) + log y[l[j]]
 *     phi'[j + 1] = log y[0] + p[j + 1],              for such a label log(.. + e^emit[j])
 *
 * and the loss is -log(e^phi[n] + e^emit[n - 1]) at the end. What cannot be costs 1e5 and not
 * infinitely much, as in Keras, so that labels that do not fit into the steps have a finite loss.
 * Of a sum log(e^a + e^b) the gradient by a is sigmoid(a - b): the backward pass walks the steps
 * back. Part of the ISA template.
 */
#define NEVER 1e5f

struct ctc {
    size_t n, row, classes;
    const int32_t *label;
    float *leave,
        *stay; /* what it costs to go on to the next label without a blank, and to blank */
    float *p, *phi, *emit; /* rows of the states before each step; of phi and emit after all */
    float *score;          /* a row: log y of each label in this step */
    float *d_p, *d_phi, *d_emit, *d_next; /* gradients of the loss by them, and by the next emit */
};

/* a - b; 0 for infinities that are equal. */
CDL_INLINE float ctc_lead(float a, float b) { return a == b ? 0.0f : a - b; }
CDL_INLINE float ctc_add(float a, float b) {
    return max_f(a, b) + log1p_unit_f(exp_down_f(-abs_f(ctc_lead(a, b))));
}

/* The class of label j; what is no class counts as the blank. */
CDL_INLINE size_t ctc_class(const struct ctc *c, size_t j) {
    const size_t class = (size_t)c->label[j];
    return class < c->classes ? class : 0;
}

static void ctc_scores(const struct ctc *c, const float *log_y) {
    for (size_t j = 0; j < c->n; j++) c->score[j] = log_y[ctc_class(c, j)];
}

static void ctc_step(const struct ctc *c, float blank, size_t s) {
    const size_t n = c->n;
    const float *phi = c->phi + s * c->row, *emit = c->emit + s * c->row;
    float *restrict p = c->p + s * c->row;
    float *restrict next_phi = c->phi + (s + 1) * c->row;
    float *restrict next_emit = c->emit + (s + 1) * c->row;
    p[0] = phi[0];
    for (size_t j = 0; j < n; j++) p[j + 1] = ctc_add(phi[j + 1], emit[j] - c->leave[j]);
    for (size_t j = 0; j < n; j++) next_emit[j] = ctc_add(p[j], emit[j]) + c->score[j];
    next_phi[0] = p[0] + blank;
    for (size_t j = 0; j < n; j++)
        next_phi[j + 1] = ctc_add(p[j + 1], emit[j] - c->stay[j]) + blank;
}

/* Gradients by the states before step s, from those after it; adds those by log y to `dy`. */
static void ctc_step_back(struct ctc *c, size_t s, float *dy) {
    const size_t n = c->n;
    const float *phi = c->phi + s * c->row, *emit = c->emit + s * c->row, *p = c->p + s * c->row;
    float *restrict d_p = c->d_p, *restrict d_phi = c->d_phi, *restrict d_emit = c->d_emit;
    const float *d_next = c->d_next;
    float blank = 0.0f;
    for (size_t j = 0; j <= n; j++) blank += d_phi[j];
    d_p[0] = d_phi[0];
    for (size_t j = 0; j < n; j++) {
        const float share = sigmoid_f(ctc_lead(p[j + 1], emit[j] - c->stay[j]));
        d_p[j + 1] = d_phi[j + 1] * share;
        d_emit[j] = d_phi[j + 1] * (1.0f - share);
    }
    for (size_t j = 0; j < n; j++) {
        const float share = sigmoid_f(ctc_lead(p[j], emit[j]));
        d_p[j] += d_next[j] * share;
        d_emit[j] += d_next[j] * (1.0f - share);
    }
    d_phi[0] = d_p[0];
    for (size_t j = 0; j < n; j++) {
        const float share = sigmoid_f(ctc_lead(phi[j + 1], emit[j] - c->leave[j]));
        d_phi[j + 1] = d_p[j + 1] * share;
        d_emit[j] += d_p[j + 1] * (1.0f - share);
    }
    dy[0] += blank;
    for (size_t j = 0; j < n; j++) dy[ctc_class(c, j)] += d_next[j];
    float *read = c->d_next;
    c->d_next = c->d_emit;
    c->d_emit = read;
}

/* Gradients by raw scores from those by their log_softmax: d - y sum d. */
static void ctc_through_softmax(size_t n, const float *log_y, float *dy) {
    const float sum = line_total(n, dy);
    for (size_t j = 0; j < cdl_padded(n); j++)
        dy[j] = j < n ? dy[j] - exp_down_f(log_y[j]) * sum : 0.0f;
}

static void ctc(const struct cdl_ctc *job) {
    const size_t steps = job->steps, n = job->n, ldy = job->ldy, labels = job->labels;
    const int32_t *t = job->t;
    const float scale = job->scale;
    float *log_y = job->scratch, *dy = job->dy;
    assert(are_padded(steps, n, job->y, ldy) && n > 0 && log_y && job->loss && (labels == 0 || t));
    log_softmax_rows(steps, n, job->y, ldy, log_y, ldy, NULL);
    const size_t row = cdl_ctc_row(labels);
    float *rest = log_y + cdl_round_up(steps * ldy, CDL_LINE);
    struct ctc c = {.row = row, .classes = n, .label = t};
    float **const rows[] = {&c.leave, &c.stay, &c.score, &c.d_p, &c.d_phi, &c.d_emit};
    for (size_t i = 0; i < 6; i++) *rows[i] = rest + i * row;
    c.p = rest + 6 * row;
    c.phi = c.p + steps * row;
    c.emit = c.phi + (steps + 1) * row;
    for (size_t j = 0; j < labels; j++) {
        const bool repeats = j + 1 < labels && t[j] == t[j + 1];
        c.n += t[j] != 0;
        c.leave[j] = repeats ? NEVER : 0.0f;
        c.stay[j] = repeats ? 0.0f : NEVER;
        c.phi[j + 1] = c.emit[j] = -NEVER;
    }
    c.phi[0] = 0.0f;
    for (size_t s = 0; s < steps; s++) {
        ctc_scores(&c, log_y + s * ldy);
        ctc_step(&c, log_y[s * ldy], s);
    }
    const float *phi = c.phi + steps * row, *emit = c.emit + steps * row;
    const float total = c.n ? ctc_add(phi[c.n], emit[c.n - 1]) : phi[0];
    *job->loss = -total;
    if (!dy) return;

    c.d_next = c.score; /* which is read no more */
    for (size_t j = 0; j <= c.n; j++) c.d_phi[j] = 0.0f;
    for (size_t j = 0; j < c.n; j++) c.d_next[j] = 0.0f;
    const float share = c.n ? sigmoid_f(ctc_lead(phi[c.n], emit[c.n - 1])) : 1.0f;
    c.d_phi[c.n] = -scale * share;
    if (c.n) c.d_next[c.n - 1] = -scale * (1.0f - share);
    for (size_t s = steps; s-- > 0;) {
        float *line = dy + s * ldy;
        for (size_t j = 0; j < cdl_padded(n); j++) line[j] = 0.0f;
        ctc_step_back(&c, s, line);
        ctc_through_softmax(n, log_y + s * ldy, line);
    }
}
