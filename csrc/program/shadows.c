/* shadows.c - weights rounded to the dtype in which instructions read them.
 *
 * The weight itself stays float32 and is what learns. Nodes see its shadow as their parameter, so
 * no op knows of it. A shadow is stale once the weight has another version, and after each step.
 */
#include <stdlib.h>

#include "learn/learn.h"
#include "program/steps.h"

cdl_status cdl_shadow_of(struct cdl_program *program, struct cdl_param *param, enum cdl_dtype dtype,
                         bool pairs, struct cdl_param **out) {
    for (int i = 0; i < program->n_shadows; i++) {
        const struct cdl_shadow *shadow = &program->shadows[i];
        const bool fits = pairs == (shadow->rounded->pairs != NULL);
        if (shadow->param == param && shadow->dtype == dtype && fits) {
            *out = shadow->rounded;
            return CDL_OK;
        }
    }
    CDL_TRY(pairs ? cdl_param_create_pairs(param->rows, param->cols, out)
                  : cdl_param_create(param->rows, param->cols, param->matrix, out));
    program->shadows[program->n_shadows++] =
        (struct cdl_shadow){.param = param, .rounded = *out, .dtype = dtype};
    return CDL_OK;
}

void cdl_destroy_shadows(struct cdl_program *program) {
    for (int i = 0; i < program->n_shadows; i++) cdl_param_destroy(program->shadows[i].rounded);
    free(program->shadows);
}

/* They are made block by block as the weight learns, if blocks learn as they come: one for each
 * weight, and any other afterwards. */
void cdl_link_shadows(struct cdl_program *program) {
    for (int i = 0; i < program->n_shadows; i++) {
        struct cdl_shadow *shadow = &program->shadows[i];
        shadow->changes = program->settles;
        for (int t = 0; t < program->n_trained && program->n_groups; t++) {
            struct cdl_trained *trained = &program->trained[t];
            if (trained->param != shadow->param) continue;
            shadow->changes = true;
            if (trained->rounded || program->keeps_grads || program->settles) continue;
            shadow->learned = true;
            trained->rounded = shadow->rounded;
            trained->rounds_to = shadow->dtype;
        }
    }
}

static bool is_stale(const struct cdl_shadow *shadow) {
    return shadow->version != shadow->param->version;
}

void cdl_round_shadows(const struct cdl_program *program, int thread, int threads, bool all) {
    for (int i = 0; i < program->n_shadows; i++) {
        const struct cdl_shadow *shadow = &program->shadows[i];
        const bool made = !shadow->changes || shadow->learned;
        if (!is_stale(shadow) && (!all || made)) continue;
        const size_t blocks = cdl_blocks(shadow->param);
        const size_t end = blocks * (size_t)(thread + 1) / (size_t)threads;
        for (size_t b = blocks * (size_t)thread / (size_t)threads; b < end; b++)
            cdl_round_block(program->kernels, shadow->param, shadow->dtype, shadow->rounded,
                            cdl_block_at(shadow->param, b));
    }
}

void cdl_shadows_are_fresh(const struct cdl_program *program) {
    for (int i = 0; i < program->n_shadows; i++) {
        struct cdl_shadow *shadow = &program->shadows[i];
        if (is_stale(shadow)) shadow->rounded->version++; /* so is what a node keeps of it */
        shadow->version = shadow->param->version;
    }
}

static void round_stale(void *program, struct cdl_team *team, int thread) {
    cdl_round_shadows(program, thread, team->size, false);
}

void cdl_refresh_shadows(struct cdl_program *program) {
    enum { WORTH = 1 << 20 }; /* floats, to wake threads for */
    size_t floats = 0;
    for (int i = 0; i < program->n_shadows; i++) {
        const struct cdl_shadow *shadow = &program->shadows[i];
        if (is_stale(shadow)) floats += cdl_param_floats(shadow->param);
    }
    if (floats == 0) return;
    cdl_region(floats < WORTH ? 1 : cdl_team_size(program), round_stale, program);
    cdl_shadows_are_fresh(program);
}
