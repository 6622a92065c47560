/* What training takes: memory, asked before it is begun, and time, measured. */
#include "study/training.h"

#include <omp.h>
#include <string.h>
#include <time.h>

static snellen_status optimizer_named(const char *name, enum optim_kind *kind, snellen_error *err)
{
    for (*kind = 0; *kind < OPTIM_COUNT; ++*kind)
        if (!strcmp(name, optim_names[*kind])) return SNELLEN_OK;
    FAIL(SNELLEN_E_USAGE, "optimizer '%s': adamw, adafactor or sgd expected", name);
}

static struct grad_options grad_options_of(const snellen_model_memory *m, const snellen_train_shape *shape)
{
    const snellen_memory_kind kind = m->kind;
    const bool rmt = kind == SNELLEN_MEMORY_RMT, fam = kind == SNELLEN_MEMORY_FAM, xl = kind == SNELLEN_MEMORY_XL;
    struct grad_options o = {.n_seqs = shape->n_seqs, .n_tokens = shape->n_tokens, .checkpoint = shape->recompute,
                             .rmt = rmt, .n_threads = shape->n_threads};
    if (kind == SNELLEN_MEMORY_SWA) o.window = m->window;
    if (fam || rmt || xl || kind == SNELLEN_MEMORY_BSWA) o.block = m->block;
    if (o.block && !rmt) o.segments = m->segments;
    if (xl) o.block_window = m->window;
    if (!fam && !rmt) return o;
    o.fam = m->fam;
    o.fam_blocks = m->fam_blocks;
    o.fam_positions = m->fam_positions;
    return o;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void list_shape(struct params *out, int n_dims, int64_t rows, int64_t columns)
{
    struct param *p = &out->list[out->n++];
    *p = (struct param){.n_dims = n_dims, .shape = {rows, columns}, .n = (uint64_t)(rows * columns)};
    out->n_values += p->n;
}

/* Shapes of what would be trained, without values. */
static snellen_status list_shapes(const snellen_model *model, int64_t rank, struct params *out, snellen_error *err)
{
    struct weight_entry e;
    size_t n = 0;
    for (size_t i = 0; weights_next(model, &i, &e);) n++;
    TRY(NEW_ARRAY(&out->list, 2 * n + 1, "shapes", err));
    for (size_t i = 0; weights_next(model, &i, &e);) {
        const int64_t factors[2][2] = {{rank, e.shape[1]}, {e.shape[0], rank}};
        if (rank && (e.layer < 0 || e.n_dims != 2)) continue;
        for (int k = 0; k < (rank ? 2 : 1); k++) {
            const int64_t *shape = rank ? factors[k] : e.shape;
            list_shape(out, e.n_dims, shape[0], shape[1]);
        }
    }
    if (model->memory.prompt) list_shape(out, 2, model->memory.prompt_rows, model->desc.d_model);
    return SNELLEN_OK;
}

snellen_status snellen_train_cost_of(const snellen_model *model, const snellen_train_shape *shape,
                                     snellen_train_cost *cost, snellen_error *err)
{
    enum optim_kind kind;
    TRY(optimizer_named(shape->optimizer, &kind, err));
    FAIL_IF(shape->lora_rank < 0 || shape->lora_rank > 65536, SNELLEN_E_USAGE, "rank %lld, 0 to 65536 expected",
            (long long)shape->lora_rank);
    const struct grad_options grad = grad_options_of(&model->memory, shape);
    struct params params = {0};
    snellen_train_cost c = {.model_bytes = model->info.weight_bytes};
    TRY(grad_bytes(model, &grad, &c.step_bytes, err));
    snellen_status status = list_shapes(model, shape->lora_rank, &params, err);
    if (!status && (!size_mul(params.n_values, 2 * sizeof(float), &c.param_bytes) ||
                    !optim_bytes(kind, false, &params, &c.moment_bytes)))
        status = error_set(err, SNELLEN_E_MEMORY, "training: more than any machine holds");
    mem_free(params.list);
    if (!status) *cost = c;
    return status;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

struct speed {
    struct params *params;
    struct optim *optim;
    struct grad **grads;        /* [n] one for each memory */
    uint32_t n;
    int32_t *tokens;            /* [n_seqs, n_tokens] */
    float *weights;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static snellen_status speed_open(struct speed *s, snellen_model *model, const snellen_train_shape *shape,
                                 const snellen_model_memory *memories, snellen_error *err)
{
    struct optim_options optim = optim_options_default();
    const struct lora_options lora = {.rank = shape->lora_rank, .seed = 1};
    struct rng r;
    uint64_t n;
    TRY(optimizer_named(shape->optimizer, &optim.kind, err));
    TRY(shape->lora_rank ? params_lora(model, &lora, &s->params, err) : params_full(model, &s->params, err));
    TRY(optim_new(&optim, s->params, &s->optim, err));
    TRY(NEW_ARRAY(&s->grads, s->n, "steps", err));
    for (uint32_t i = 0; i < s->n; i++) {
        const struct grad_options grad = grad_options_of(&memories[i], shape);
        TRY(grad_new(model, &grad, &s->grads[i], err));
    }
    FAIL_IF(!size_mul((uint64_t)shape->n_seqs, (uint64_t)shape->n_tokens, &n), SNELLEN_E_USAGE, "too many tokens");
    TRY(NEW_ARRAY(&s->tokens, n, "tokens", err));
    TRY(NEW_ARRAY(&s->weights, n, "weights", err));
    rng_seed(&r, 1, 0);
    for (uint64_t i = 0; i < n; i++) {
        s->tokens[i] = (int32_t)rng_below(&r, (uint64_t)model->desc.n_vocab);
        s->weights[i] = 1;
    }
    return SNELLEN_OK;
}

static snellen_status speed_step(const struct speed *s, struct grad *grad, const snellen_train_shape *shape,
                                 snellen_error *err)
{
    double loss, weight, scale = 1 / (double)(shape->n_seqs * shape->n_tokens);
    params_zero_grads(s->params);
    TRY(grad_step(grad, s->tokens, s->weights, shape->n_seqs, shape->n_tokens, 0, scale, &loss, &weight, NULL, err));
    optim_step(s->optim, 1e-4, optim_clip_factor(optim_grad_norm(s->optim), 1));
    return SNELLEN_OK;
}

/* The memories in turn, so that a machine that slows down slows all of them down. */
static snellen_status measure(const struct speed *s, const snellen_train_shape *shape, uint32_t n_steps,
                              const snellen_progress *progress, double *seconds, snellen_error *err)
{
    uint64_t total = (uint64_t)(n_steps + 1) * s->n;
    for (uint64_t i = 0; i < total; i++) {
        uint64_t step = i / s->n, which = i % s->n;
        bool go_on = !progress || !progress->step || progress->step(progress->user, "steps", i, total);
        FAIL_IF(!go_on, SNELLEN_E_CANCELLED, "interrupted");
        double start = now();
        TRY(speed_step(s, s->grads[which], shape, err));
        if (step) seconds[which * n_steps + step - 1] = now() - start;
    }
    return SNELLEN_OK;
}

snellen_status snellen_train_speed(snellen_model *model, const snellen_train_shape *shape,
                                   const snellen_model_memory *memories, uint32_t n_memories, uint32_t n_steps,
                                   const snellen_progress *progress, double *seconds, snellen_error *err)
{
    struct speed s = {.n = n_memories ? n_memories : 1};
    int threads = omp_get_max_threads();
    omp_set_num_threads(shape->n_threads ? shape->n_threads : snellen_default_threads());
    snellen_status status = speed_open(&s, model, shape, n_memories ? memories : &model->memory, err);
    if (!status) status = measure(&s, shape, n_steps, progress, seconds, err);
    omp_set_num_threads(threads);
    for (uint32_t i = 0; s.grads && i < s.n; i++) grad_free(s.grads[i]);
    mem_free(s.grads);
    optim_free(s.optim);
    mem_free(s.tokens);
    mem_free(s.weights);
    return status;
}
