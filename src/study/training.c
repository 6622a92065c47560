/* The parts of a run from its settings. */
#include "study/training.h"
#include "study/line_source.h"
#include "study/reader_source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int index_of(const char *name, const char *const *names)
{
    int i = 0;
    while (strcmp(name, names[i])) i++;   /* the settings hold known names only */
    return i;
}

static const char *const place_names[] = {"last", "float", "zero", NULL};   /* by snellen_fam_positions */

enum { PROMPT_STREAM = 4242 };   /* of the seed's random numbers, apart from the weights' */

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static struct data_options data_options_of(const struct training *t)
{
    const struct settings *s = t->settings;
    return (struct data_options){
        .jsonl = or_null(s->data.jsonl), .text = or_null(s->data.text), .length = s->data.length, .cut = s->data.cut,
        .shuffle = s->data.shuffle, .skip_bad_lines = s->data.skip_bad_lines, .end = s->data.end, .repeat = s->data.repeat,
        .repeat_prompt = s->data.repeat_prompt, .repeat_weight = s->data.repeat_weight, .seed = t->seed,
        .tokenizer = t->model->tokenizer, .no_tokenizer = t->model->no_tokenizer, .n_vocab = t->model->desc.n_vocab,
        .n_context = t->model->desc.n_context};
}

static snellen_status open_samples(const struct training *t, bool train, struct source **out, snellen_error *err)
{
    const struct settings *s = t->settings;
    int64_t step = s->data.step ? s->data.step : s->memory.block ? s->memory.block : 1;
    FAIL_IF(*s->data.mix.task || s->data.spacing || s->data.cycle, SNELLEN_E_USAGE,
            "data.mix, data.spacing and data.cycle go with tasks of symbols, %s is one of long memory", s->data.task);
    const struct reader_source_options o = {
        .task = s->data.task, .sample = long_options_of(s, train, t->seed), .shortest = s->data.lengths.v[0],
        .longest = s->data.lengths.v[1], .step = step, .first_longest = train ? s->data.curriculum : 0,
        .raise_below = s->data.raise_below, .raise_by = s->data.raise_by, .by_log = s->data.log_lengths, .again = s->data.again};
    return reader_source_open(&o, t->model, out, err);
}

/* Lines of the task; those of the test set for measuring, none of which is trained on. */
static snellen_status open_lines(const struct training *t, bool train, struct source **out, snellen_error *err)
{
    const struct settings *s = t->settings;
    struct line_source_options o = {
        .main = {s->data.task, or_null(s->data.format), s->data.lengths.v[0], s->data.lengths.v[1]},
        .line = line_options_of(s), .first_longest = train ? s->data.curriculum : 0,
        .raise_below = s->data.raise_below, .raise_by = s->data.raise_by, .by_log = s->data.log_lengths, .train = train, .seed = t->seed};
    if (train && *s->data.mix.task) {
        const struct int_row *lengths = &s->data.mix.lengths;
        o.mixed = (struct line_kind){s->data.mix.task, or_null(s->data.mix.format), lengths->v[0], lengths->v[1]};
        o.mixed_share = s->data.mix.share;
    }
    return line_source_open(&o, t->model, out, err);
}

static snellen_status open_task(const struct training *t, bool train, struct source **out, snellen_error *err)
{
    return (is_long_task(t->settings) ? open_samples : open_lines)(t, train, out, err);
}

static snellen_status measure_held_out(struct evaluator *evaluator, int64_t step, double *measure, json_t *numbers,
                                       snellen_error *err)
{
    struct held_out *h = (struct held_out *)evaluator;
    (void)step, (void)numbers;
    TRY(h->source->seek(h->source, h->start, err));
    return train_measure(h->grad, h->source, h->n, h->batch, measure, err);
}

static snellen_status open_evaluator(struct training *t, snellen_error *err)
{
    const struct settings *s = t->settings;
    struct held_out *h = &t->held_out;
    if (s->eval.exact) {
        written_init(&t->written, s, t->model, t->n_threads);
        t->train.evaluator = &t->written.evaluator;
        return SNELLEN_OK;
    }
    if (!*s->eval.jsonl && !*s->eval.text && !*s->data.task) return SNELLEN_OK;
    struct data_options o = data_options_of(t);
    o.jsonl = or_null(s->eval.jsonl);
    o.text = or_null(s->eval.text);
    o.shuffle = false;
    o.repeat = 0;   /* the loss of the text alone */
    if (o.jsonl || o.text) TRY(source_open(&o, &h->source, err));
    else TRY(open_task(t, false, &h->source, err));
    h->evaluator.measure = measure_held_out;
    h->start = h->source->position(h->source);
    FAIL_IF(!h->start, SNELLEN_E_MEMORY, "evaluation: memory ran out");
    h->n = h->source->n ? (int64_t)MIN((uint64_t)s->eval.samples, h->source->n) : s->eval.samples;
    h->batch = t->train.options.micro_batch;
    h->grad = t->train.grad;
    t->train.evaluator = &h->evaluator;
    return SNELLEN_OK;
}

/* ---- the optimiser and the step ---------------------------------------------------------------------------------- */

static struct optim_options optim_options_of(const struct settings *s)
{
    return (struct optim_options){
        .kind = (enum optim_kind)index_of(s->train.optimizer, optim_names), .beta1 = s->train.betas[0],
        .beta2 = s->train.betas[1], .eps = s->train.eps, .weight_decay = s->train.weight_decay,
        .momentum = s->train.momentum, .relative_step = s->train.relative_step};
}

static struct train_options train_options_of(const struct training *t)
{
    const struct settings *s = t->settings;
    return (struct train_options){
        .schedule = {.kind = (enum schedule_kind)index_of(s->train.schedule, schedule_names), .lr = s->train.lr,
                     .end = s->train.lr_end, .warmup = s->train.warmup, .steps = s->train.steps},
        .seed = t->seed, .batch = s->train.batch, .micro_batch = s->train.micro_batch ? s->train.micro_batch : s->train.batch,
        .hardest = s->train.hardest, .clip = s->train.clip, .stop_loss = s->train.stop_loss, .save_every = s->train.save_every,
        .eval_every = s->eval.every, .patience = s->eval.patience, .state_passing = s->train.state_passing,
        .passing_after = s->train.passing_after, .memory_noise = s->train.memory_noise,
        .position_offset = s->train.position_offset, .position_jumps = s->train.position_jumps, .jumps_below = s->train.jumps_below};
}

static struct grad_options grad_options_of(const struct training *t)
{
    const struct settings *s = t->settings;
    bool rmt = !strcmp(s->memory.kind, "rmt"), rows = rmt || !strcmp(s->memory.kind, "fam");
    bool swa = !strcmp(s->memory.kind, "swa"), full = !strcmp(s->memory.kind, "full"),
         xl = !strcmp(s->memory.kind, "xl");
    return (struct grad_options){.n_seqs = t->train.options.micro_batch,
                                 .n_tokens = t->train.source->longest,
                                 .window = swa ? s->memory.window : 0,
                                 .block = s->memory.block,
                                 .segments = full || swa || rmt ? 0 : s->memory.segments,
                                 .block_window = xl ? s->memory.window : 0,
                                 .stop_gradient = s->memory.stop_gradient,
                                 .fam = rows ? s->memory.fam : 0,
                                 .fam_blocks = s->memory.fam_blocks,
                                 .fam_positions = (snellen_fam_positions)index_of(s->memory.positions, place_names),
                                 .rmt = rmt,
                                 .checkpoint = s->train.recompute,
                                 .n_threads = t->n_threads};
}

/* Root mean square of the model's embeddings as they enter the first layer, of up to 1,024 tokens. */
static snellen_status embedding_size(const snellen_model *model, double *size, snellen_error *err)
{
    const struct weight *w = &model->embedding.weight;
    int64_t n = MIN(w->n_out, 1024), d = model->desc.d_model;
    double sum = 0;
    float *row;
    TRY(NEW_ARRAY(&row, w->n_in, "embedding", err));
    for (int64_t i = 0; i < n; i++) {
        weight_row(row, w, i * (w->n_out / n));
        for (int64_t k = 0; k < d; k++) sum += (double)row[k] * (double)row[k];
    }
    mem_free(row);
    *size = model->desc.embedding_scale * sqrt(sum / (double)(n * d));
    return SNELLEN_OK;
}

/* Training with full attention would throw the model's memory away: nobody asks for that by saying nothing. */
static snellen_status refuse_full(const struct settings *s, const snellen_model_memory *own, snellen_error *err)
{
    char keys[192] = "";
    size_t n = 0;
    bool feedback = own->kind == SNELLEN_MEMORY_FAM;
    const struct {
        const char *name;
        int64_t value;
        bool counts;
    } list[] = {{"window", own->window, own->window > 0},
                {"block", own->block, own->block > 0},
                {"segments", own->segments, own->block > 0 && own->kind != SNELLEN_MEMORY_RMT},
                {"fam", own->fam, own->fam > 0},
                {"fam_blocks", own->fam_blocks, feedback && own->fam_blocks > 1}};
    for (size_t i = 0; i < COUNT_OF(list); i++)
        if (list[i].counts)
            n += (size_t)snprintf(keys + n, sizeof keys - n, ", %s: %lld", list[i].name, (long long)list[i].value);
    if (feedback && own->fam_positions)
        n += (size_t)snprintf(keys + n, sizeof keys - n, ", positions: %s", place_names[own->fam_positions]);
    if (feedback && own->prompt_rows > own->fam) snprintf(keys + n, sizeof keys - n, ", start: prefix");
    FAIL(SNELLEN_E_USAGE, "%s has a memory of its own, which training with full attention would throw away; train with it: "
         "memory: {kind: %s%s}", *s->model.from ? s->model.from : s->model.start, snellen_memory_name(own->kind), keys);
}

/* The model's own memory is the one that it is trained with; one with rows that it has no prompt for begins with random
 * ones of the size of embeddings. */
static snellen_status set_memory(struct training *t, const struct grad_options *o, snellen_error *err)
{
    const struct settings *s = t->settings;
    const snellen_model_memory *own = snellen_model_get_memory(t->model);
    snellen_model_memory memory = {.block = s->memory.block, .segments = o->segments, .window = s->memory.window, .fam = o->fam,
                                   .fam_blocks = o->fam ? o->fam_blocks : 0, .fam_positions = o->fam_positions};
    TRY(snellen_memory_parse(s->memory.kind, &memory.kind, err));
    if (memory.kind == SNELLEN_MEMORY_FULL && own->kind != SNELLEN_MEMORY_FULL) return refuse_full(s, own, err);
    if (!o->fam) return snellen_model_set_memory(t->model, &memory, err);
    memory.prompt_rows = o->fam * (!strcmp(s->memory.start, "prefix") ? t->model->desc.n_layers : 1);
    int64_t n = memory.prompt_rows * t->model->desc.d_model;
    float *rows;
    double size = s->model.init_std;
    if (*s->model.from) TRY(embedding_size(t->model, &size, err));
    TRY(NEW_ARRAY(&rows, n, "memory's prompt", err));
    struct rng rng;
    rng_seed(&rng, t->seed, PROMPT_STREAM);
    for (int64_t i = 0; i < n; i++) rows[i] = (float)(size * rng_normal(&rng));
    bool has_one = own->prompt && own->prompt_rows == memory.prompt_rows;
    if (has_one) memcpy(rows, own->prompt, (size_t)n * sizeof *rows);
    memory.prompt = rows;
    snellen_status status = snellen_model_set_memory(t->model, &memory, err);
    mem_free(rows);
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static snellen_status open_values(struct training *t, snellen_error *err)
{
    const struct settings *s = t->settings;
    if (!s->train.lora.rank) return params_full(t->model, &t->train.params, err);
    t->lora = (struct lora_options){.rank = s->train.lora.rank, .alpha = s->train.lora.alpha,
                                    .targets = or_null(s->train.lora.targets), .seed = t->seed};
    TRY(params_lora(t->model, &t->lora, &t->train.params, err));
    t->about = lora_about(t->model, &t->lora);
    FAIL_IF(!t->about, SNELLEN_E_MEMORY, "low-rank factors: memory ran out");
    t->train.about = t->about;
    return SNELLEN_OK;
}

static snellen_status open_params(struct training *t, snellen_error *err)
{
    TRY(open_values(t, err));
    for (size_t i = 0; i < t->train.params->n; i++) {
        struct param *p = &t->train.params->list[i];
        if (p->grad == t->model->memory_dprompt) p->rate = t->settings->train.prompt_lr;
    }
    return SNELLEN_OK;
}

/* Everything together must fit; what is taken already is not counted again. */
static snellen_status check_memory(const struct training *t, const struct optim_options *o,
                                   const struct grad_options *g, snellen_error *err)
{
    uint64_t moments, step, sum;
    TRY(grad_bytes(t->model, g, &step, err));
    bool fits = optim_bytes(o->kind, o->momentum != 0, t->train.params, &moments) && size_add(moments, step, &sum);
    FAIL_IF(!fits || sum > mem_available(), SNELLEN_E_MEMORY,
            "a step of %lld x %lld tokens takes %.1f MB and the optimiser %.1f MB, %.1f MB are available; a smaller "
            "train.micro_batch or data.length, train.recompute, or train.lora takes less", (long long)g->n_seqs,
            (long long)g->n_tokens, (double)step / 1e6, (double)moments / 1e6, (double)mem_available() / 1e6);
    return SNELLEN_OK;
}

static snellen_status open_parts(struct training *t, snellen_error *err)
{
    const struct settings *s = t->settings;
    TRY(training_model(s, t->seed, &t->model, err));
    const struct data_options data = data_options_of(t);
    if (*s->data.task) TRY(open_task(t, true, &t->train.source, err));
    else TRY(source_open(&data, &t->train.source, err));
    t->train.options = train_options_of(t);
    const struct optim_options optim = optim_options_of(s);
    const struct grad_options grad = grad_options_of(t);
    TRY(set_memory(t, &grad, err));
    TRY(open_params(t, err));
    TRY(check_memory(t, &optim, &grad, err));
    TRY(optim_new(&optim, t->train.params, &t->train.optim, err));
    TRY(grad_new(t->model, &grad, &t->train.grad, err));
    return open_evaluator(t, err);
}

snellen_status training_open(struct training *t, const struct settings *settings, uint64_t seed, int n_threads,
                             snellen_error *err)
{
    *t = (struct training){.settings = settings, .seed = seed, .n_threads = n_threads};
    snellen_status status = open_parts(t, err);
    if (status) training_close(t);
    return status;
}

void training_close(struct training *t)
{
    json_decref(t->held_out.start);
    source_free(t->held_out.source);
    grad_free(t->train.grad);
    optim_free(t->train.optim);
    source_free(t->train.source);
    free(t->about);
    snellen_model_free(t->model);
    *t = (struct training){0};
}

snellen_status snellen_model_add_lora(snellen_model *model, const char *path, snellen_error *err)
{
    return lora_load(model, path, err);
}

snellen_status snellen_model_merge_lora(snellen_model *model, snellen_error *err)
{
    return lora_merge(model, err);
}
