/* The loop of a run. Invariant: whatever kills it, the folder's checkpoint is whole, no more than save_every steps old,
 * and the logs hold every step up to it. */
#include "train/journal.h"
#include "train/loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run {
    float *memories;                /* [n_carried] of the step that runs; NULL without state passing */
    struct train *t;
    int64_t *places;                /* [batch, longest] of the step that runs; NULL without jumps */
    float *nll;                     /* [micro_batch, longest]; this and the next two: NULL unless the hardest are chosen */
    double *hardness;               /* [hardest * batch] mean loss of each sequence */
    bool *keep;                     /* [hardest * batch] */
    struct data_batch batch;
    struct journal log, evals;
    char *checkpoint, *best;        /* paths */
    double began;                   /* clock when state.seconds was 0 */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *path_in(const char *folder, const char *name)
{
    struct strbuf b = {0};
    char *path;
    strbuf_printf(&b, "%s/%s", folder, name);
    return strbuf_take(&b, &path, NULL, NULL) ? NULL : path;
}

static const char checkpoint_name[] = "checkpoint.safetensors", best_name[] = "best.safetensors";

bool train_has_checkpoint(const char *folder)
{
    char *path = path_in(folder, checkpoint_name);
    bool there = path && file_exists(path);
    free(path);
    return there;
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

/* What is random about a step: it may go on with memories of the one before, without a gradient into them, and begin at
 * another place than 0 (arXiv 2404.09173, appendix B); memories may be blurred on their way from block to block. */
static int64_t begin_step(const struct train *t)
{
    const struct train_options *o = &t->options;
    enum { FARTHEST = 62831, STEP_STREAM = 4243 };
    struct rng rng;
    rng_seed(&rng, o->seed, (uint64_t)STEP_STREAM << 32 | (uint64_t)t->state.step);
    bool carried = rng_uniform(&rng) < o->state_passing && t->state.step > o->passing_after, offset = rng_below(&rng, 2);
    if (t->state.carried) grad_set_memory(t->grad, carried ? t->state.carried : NULL);
    grad_set_noise(t->grad, o->memory_noise, rng_u64(&rng));
    return o->position_offset && offset ? (int64_t)rng_below(&rng, FARTHEST + 1) : 0;
}

static double recent_mean(const struct train_state *s)
{
    double mean = 0;
    for (int i = 0; i < TRAIN_RECENT; i++) mean += s->recent[i] / TRAIN_RECENT;
    return s->step >= TRAIN_RECENT ? mean : (double)INFINITY;
}

/* Positions that skip: the same content at distances that say nothing, up to ones that longer inputs have. */
static void draw_places(const struct run *r, int64_t position)
{
    enum { MOST_JUMPS = 4, JUMP_STREAM = 4244 };
    const struct train_options *o = &r->t->options;
    const struct data_batch *b = &r->batch;
    struct rng rng;
    struct train_state *s = &r->t->state;
    s->jumping |= o->jumps_below <= 0 || recent_mean(s) < o->jumps_below;
    rng_seed(&rng, o->seed, (uint64_t)JUMP_STREAM << 32 | (uint64_t)r->t->state.step);
    for (int64_t seq = 0; seq < b->n_seqs; seq++) {
        int64_t *places = r->places + seq * b->n_tokens;
        uint64_t n_jumps = s->jumping ? rng_below(&rng, MOST_JUMPS + 1) : 0;
        for (int64_t t = 0; t < b->n_tokens; t++) places[t] = t > 0 ? 1 : position;
        for (uint64_t i = 0; i < n_jumps; i++)
            places[rng_below(&rng, (uint64_t)b->n_tokens)] += (int64_t)rng_below(&rng, (uint64_t)o->position_jumps + 1);
        for (int64_t t = 1; t < b->n_tokens; t++) places[t] += places[t - 1];
    }
}

/* The first sequence's memories, once its part of the batch went through; they are passed on when the step is over. */
static void take_memories(struct run *r)
{
    if (r->memories) memcpy(r->memories, grad_memory(r->t->grad), r->t->state.n_carried * sizeof *r->memories);
}

static void end_step(struct run *r)
{
    struct train_state *s = &r->t->state;
    if (r->memories) memcpy(s->carried, r->memories, s->n_carried * sizeof *s->carried);
    grad_set_memory(r->t->grad, NULL);   /* evaluations begin afresh, and without noise */
    grad_set_noise(r->t->grad, 0, 0);
    grad_set_places(r->t->grad, NULL, NULL);
}

/* The mean loss of each sequence of the batch over its weights, as the model is now. */
static snellen_status measure_each(struct run *r, snellen_error *err)
{
    const struct data_batch *b = &r->batch;
    int64_t n_seqs = r->t->options.micro_batch, n = b->n_tokens;
    double loss, weight;
    for (int64_t i = 0; i < b->n_seqs; i += n_seqs) {
        const float *weights = b->weights + i * n;
        TRY(grad_step(r->t->grad, b->tokens + i * n, weights, n_seqs, n, 0, 0, &loss, &weight, r->nll, err));
        for (int64_t seq = 0; seq < n_seqs; seq++) {
            loss = weight = 0;
            for (int64_t t = seq * n; t < (seq + 1) * n; t++) loss += (double)(weights[t] * r->nll[t]), weight += (double)weights[t];
            r->hardness[i + seq] = weight > 0 ? loss / weight : 0;
        }
    }
    return SNELLEN_OK;
}

/* Of a batch that is `hardest` times as large those of largest loss stay (online hard example mining, arXiv 1604.03540):
 * where nearly all is right, a step over a plain batch learns nearly nothing. */
static snellen_status keep_hardest(struct run *r, snellen_error *err)
{
    TRY(measure_each(r, err));
    memset(r->keep, 0, (size_t)r->batch.n_seqs);
    for (int64_t n = 0; n < r->t->options.batch; n++) {
        int64_t most = -1;
        for (int64_t i = 0; i < r->batch.n_seqs; i++)
            if (!r->keep[i] && (most < 0 || r->hardness[i] > r->hardness[most])) most = i;
        r->keep[most] = true;
    }
    data_batch_keep(&r->batch, r->keep);
    return SNELLEN_OK;
}

/* Gradients of the batch's mean loss over its weights. */
static snellen_status gradients(struct run *r, double *loss, snellen_error *err)
{
    struct train *t = r->t;
    int64_t position = begin_step(t);
    const struct data_batch *b = &r->batch;
    int64_t n_seqs = t->options.micro_batch;
    double sum = 0, part, weight, scale = b->weight > 0 ? 1 / b->weight : 0;
    params_zero_grads(t->params);
    if (r->places) draw_places(r, position);
    for (int64_t i = 0; i < b->n_seqs; i += n_seqs) {
        TRY(grad_set_places(t->grad, r->places ? r->places + i * b->n_tokens : NULL, err));
        TRY(grad_step(t->grad, b->tokens + i * b->n_tokens, b->weights + i * b->n_tokens, n_seqs, b->n_tokens, position,
                      scale, &part, &weight, NULL, err));
        if (!i) take_memories(r);
        sum += part;
    }
    end_step(r);
    *loss = sum * scale;
    return SNELLEN_OK;
}

static snellen_status diverged(const struct run *r, const char *what, double value, double lr, snellen_error *err)
{
    const struct train *t = r->t;
    char kept[160] = "no checkpoint was written yet";
    if (t->saved_step >= 0)
        snprintf(kept, sizeof kept, "the checkpoint of step %" PRId64 " is kept (--resume goes on from it)",
                 t->saved_step);
    FAIL(SNELLEN_E_OVERFLOW,
         "%s: step %" PRId64 ": the %s is %s; %s; try a lower train.lr (it was %g here), a longer train.warmup, or a "
         "%s", t->folder, t->state.step + 1, what, isnan(value) ? "not a number" : "infinite", kept, lr,
         t->options.clip > 0 ? "smaller train.clip" : "limit on the gradients (train.clip=1)");
}

static snellen_status step(struct run *r, snellen_error *err)
{
    struct train *t = r->t;
    struct train_state *s = &t->state;
    double lr = schedule_lr(&t->options.schedule, s->step), loss;
    TRY(data_batch_fill(&r->batch, t->source, t->options.batch * MAX(t->options.hardest, 1), err));
    if (t->options.hardest > 1) TRY(keep_hardest(r, err));
    TRY(gradients(r, &loss, err));
    if (!isfinite(loss)) return diverged(r, "loss", loss, lr, err);
    double norm = optim_grad_norm(t->optim);
    if (!isfinite(norm)) return diverged(r, "norm of the gradients", norm, lr, err);
    optim_step(t->optim, lr, optim_clip_factor(norm, t->options.clip));
    if (t->source->learned) t->source->learned(t->source, loss);
    s->recent[s->step % TRAIN_RECENT] = loss;
    s->step++;
    s->loss = loss;
    s->tokens += r->batch.n_real;
    s->seconds = now() - r->began;
    return journal_add(&r->log, json_pack("{s:I, s:f, s:f, s:f, s:I, s:f}", "step", (json_int_t)s->step, "loss", loss,
                                          "lr", lr, "grad_norm", norm, "tokens", (json_int_t)s->tokens, "seconds",
                                          s->seconds), err);
}

/* ---- between steps ----------------------------------------------------------------------------------------------- */

static snellen_status save(struct run *r, snellen_error *err)
{
    struct train *t = r->t;
    if (t->saved_step == t->state.step) return SNELLEN_OK;
    TRY(journal_sync(&r->log, err));
    TRY(journal_sync(&r->evals, err));
    snellen_status status = checkpoint_save(r->checkpoint, &t->state, t->optim, t->params, t->source, err);
    if (status && t->saved_step >= 0)
        return error_prefix(err, status, "step %" PRId64 " is not saved, the checkpoint of step %" PRId64 " stays",
                            t->state.step, t->saved_step);
    TRY(status);
    t->saved_step = t->state.step;
    return SNELLEN_OK;
}

static snellen_status evaluate(struct run *r, snellen_error *err)
{
    struct train *t = r->t;
    struct train_state *s = &t->state;
    double measure;
    json_t *numbers = json_object();
    snellen_status status = t->evaluator->measure(t->evaluator, s->step, &measure, numbers, err);
    if (status) {
        json_decref(numbers);
        return status;
    }
    bool better = isnan(s->best) || measure < s->best;
    json_t *line = json_pack("{s:I, s:f, s:b}", "step", (json_int_t)s->step, "measure", measure, "best", (int)better);
    if (line) json_object_update_missing(line, numbers);
    json_decref(numbers);
    TRY(journal_add(&r->evals, line, err));
    s->evals_since_best = better ? 0 : s->evals_since_best + 1;
    if (better) {
        s->best = measure;
        s->best_step = s->step;
        TRY(values_save(r->best, t->params, t->about, err));
    }
    return SNELLEN_OK;
}

/* Has the run reached an end before its last step? */
static bool ends_early(struct train *t)
{
    const struct train_state *s = &t->state;
    if (t->options.stop_loss > 0 && recent_mean(s) < t->options.stop_loss) t->end = TRAIN_STOPPED_LOSS;
    if (t->options.patience && s->evals_since_best >= t->options.patience) t->end = TRAIN_STOPPED_PATIENCE;
    return t->end != TRAIN_DONE;
}

static bool go_on(const struct train *t)
{
    char what[64] = "steps";
    if (!t->progress || !t->progress->step) return true;
    if (t->state.step) snprintf(what, sizeof what, "steps, loss %.4g", t->state.loss);
    return t->progress->step(t->progress->user, what, (uint64_t)t->state.step, (uint64_t)t->options.schedule.steps);
}

static snellen_status loop(struct run *r, snellen_error *err)
{
    struct train *t = r->t;
    const struct train_options *o = &t->options;
    while (t->state.step < o->schedule.steps && !ends_early(t)) {
        if (!go_on(t)) {
            TRY(save(r, err));
            FAIL(SNELLEN_E_CANCELLED, "stopped after step %" PRId64 ", which is saved", t->state.step);
        }
        TRY(step(r, err));
        bool last = t->state.step == o->schedule.steps || ends_early(t);
        if (t->evaluator && (last || t->state.step % o->eval_every == 0)) TRY(evaluate(r, err));
        if (last || ends_early(t) || t->state.step % o->save_every == 0) TRY(save(r, err));
    }
    go_on(t);
    return SNELLEN_OK;
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

/* n = numbers of [n_seqs, longest]. */
static snellen_status numbers_of(const struct train *t, int64_t n_seqs, uint64_t *n, snellen_error *err)
{
    FAIL_IF(!size_mul((uint64_t)n_seqs, (uint64_t)t->source->longest, n), SNELLEN_E_MEMORY, "too many tokens");
    return SNELLEN_OK;
}

static snellen_status start(struct run *r, bool resume, snellen_error *err)
{
    uint64_t n;
    struct train *t = r->t;
    r->checkpoint = path_in(t->folder, checkpoint_name);
    r->best = path_in(t->folder, best_name);
    FAIL_IF(!r->checkpoint || !r->best, SNELLEN_E_MEMORY, "%s: memory ran out", t->folder);
    t->state = (struct train_state){.best = (double)NAN};
    t->saved_step = -1;
    if (t->options.state_passing > 0) {
        t->state.n_carried = grad_memory_size(t->grad);
        TRY(NEW_ARRAY(&t->state.carried, t->state.n_carried, "memories", err));
        TRY(NEW_ARRAY(&r->memories, t->state.n_carried, "memories", err));
    }
    if (t->options.position_jumps > 0) {
        TRY(numbers_of(t, t->options.batch, &n, err));
        TRY(NEW_ARRAY(&r->places, n, "places", err));
    }
    if (t->options.hardest > 1) {
        uint64_t n_drawn = (uint64_t)(t->options.batch * t->options.hardest);
        TRY(numbers_of(t, t->options.micro_batch, &n, err));
        TRY(NEW_ARRAY(&r->nll, n, "losses of tokens", err));
        TRY(NEW_ARRAY(&r->hardness, n_drawn, "losses of sequences", err));
        TRY(NEW_ARRAY(&r->keep, n_drawn, "sequences to keep", err));
    }
    if (resume) {
        TRY(checkpoint_load(r->checkpoint, &t->state, t->optim, t->params, t->source, err));
        t->saved_step = t->state.step;
    }
    TRY(journal_open(&r->log, t->folder, "log.jsonl", t->state.step, err));
    TRY(journal_open(&r->evals, t->folder, "eval.jsonl", t->state.step, err));
    r->began = now() - t->state.seconds;
    return SNELLEN_OK;
}

snellen_status train_run(struct train *t, bool resume, snellen_error *err)
{
    struct run r = {.t = t};
    t->end = TRAIN_DONE;
    snellen_status status = start(&r, resume, err);
    if (!status) status = loop(&r, err);
    journal_close(&r.log);
    journal_close(&r.evals);
    data_batch_free(&r.batch);
    mem_free(t->state.carried);
    mem_free(r.memories);
    mem_free(r.places);
    mem_free(r.nll);
    mem_free(r.hardness);
    mem_free(r.keep);
    t->state.carried = NULL;
    free(r.checkpoint);
    free(r.best);
    return status;
}

/* ---- held-out loss ----------------------------------------------------------------------------------------------- */

snellen_status train_measure(struct grad *grad, struct source *source, int64_t n, int64_t batch, double *loss,
                             snellen_error *err)
{
    struct data_batch b = {0};
    double sum = 0, weights = 0;
    snellen_status status = SNELLEN_OK;
    for (int64_t i = 0; i < n && !status; i += batch) {
        double part, weight;
        status = data_batch_fill(&b, source, MIN(batch, n - i), err);
        if (!status)
            status = grad_step(grad, b.tokens, b.weights, b.n_seqs, b.n_tokens, 0, 0, &part, &weight, NULL, err);
        if (!status) sum += part, weights += weight;
    }
    data_batch_free(&b);
    TRY(status);
    *loss = weights > 0 ? sum / weights : 0;
    return SNELLEN_OK;
}
