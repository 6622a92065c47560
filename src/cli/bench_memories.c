/* bench --memories: the memories of one model side by side. Repetitions go round all of them, so that a machine that slows
 * down slows all of them down. */
#include "cli/bench.h"

#include <string.h>
#include <unistd.h>

enum { MAX_MEMORIES = 8, PIECE = 1024, WINDOW = 512, BLOCK = 128, SEGMENTS = 3, FAM = 16 };

struct subject {
    snellen_session_options options;
    snellen_session_cost cost;
    snellen_session *session;
    struct measure prompt, near, far, train;   /* train.n_tokens 0: no such training */
    uint64_t resident[2];      /* bytes of the process, near and far, less what it had before the session read */
    bool endless;
};

struct table {
    const struct memories_options *o;
    struct subject subjects[MAX_MEMORIES];
    size_t n;
    int32_t tokens[PIECE];
    uint64_t done, total;
};

/* ---- the subjects ---------------------------------------------------------------------------------------------------- */

uint64_t resident_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Rows for a feedback memory where the model has none: speed does not depend on them. */
static snellen_status give_prompt(snellen_model *model, int64_t fam, snellen_error *err)
{
    const snellen_model_memory *own = snellen_model_get_memory(model);
    snellen_model_memory memory = *own;
    float *rows;
    struct rng r;
    if (own->prompt) return SNELLEN_OK;
    rng_seed(&r, 1, 0);
    int64_t n = fam * snellen_model_get_info(model)->d_model;
    TRY(NEW_ARRAY(&rows, n, "memory's prompt", err));
    for (int64_t i = 0; i < n; i++) rows[i] = (float)rng_normal(&r) / 50;
    memory.fam = memory.prompt_rows = fam;
    memory.prompt = rows;
    snellen_status status = snellen_model_set_memory(model, &memory, err);
    mem_free(rows);
    return status;
}

/* Options of a kind: sizes as given, else the model's own, else such that all see 512 tokens. */
static snellen_session_options options_of(const struct table *t, const snellen_model *model,
                                          const snellen_session_options *numbers, snellen_memory_kind kind)
{
    const struct common_opts *c = t->o->common;
    const snellen_model_memory *own = snellen_model_get_memory(model);
    bool blocks = own->block > 0;
    snellen_session_options o = *numbers;
    o.memory = kind;
    o.window = c->window ? c->window : WINDOW;
    o.block = c->block ? c->block : blocks ? 0 : BLOCK;
    o.segments = c->segments >= 0 ? c->segments : blocks ? -1 : SEGMENTS;
    o.fam = c->fam ? c->fam : own->fam ? 0 : FAM;
    o.fam_blocks = c->fam_blocks;
    o.sinks = c->sinks;
    o.n_context = MAX(t->o->n_prompt, t->o->near + (t->o->reps + 1) * t->o->n_decode);
    return o;
}

static snellen_status add_subjects(struct table *t, snellen_model *model, const snellen_session_options *numbers,
                                   snellen_error *err)
{
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_FULL, SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_SINK,
                                                SNELLEN_MEMORY_BSWA, SNELLEN_MEMORY_FAM, SNELLEN_MEMORY_RMT};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        snellen_error why;
        struct subject *s = &t->subjects[t->n];
        s->options = options_of(t, model, numbers, kinds[i]);
        if (snellen_session_cost_of(model, &s->options, &s->cost, &why) ||
            snellen_session_new(model, &s->options, &s->session, &why)) {
            ui_note("%s is left out: %s", snellen_memory_name(kinds[i]), why.message);
            if (why.status == SNELLEN_E_MEMORY) return *err = why, why.status;
            continue;
        }
        int64_t reps = t->o->reps;
        s->prompt = (struct measure){.test = "prompt", .n_tokens = t->o->n_prompt, .reps = reps};
        s->near = (struct measure){.test = "decode", .n_tokens = t->o->n_decode, .depth = t->o->near, .reps = reps};
        s->far = (struct measure){.test = "decode", .n_tokens = t->o->n_decode, .depth = t->o->far, .reps = reps};
        s->endless = kinds[i] != SNELLEN_MEMORY_FULL && snellen_session_capacity(s->session) > t->o->far * 2;
        snellen_session_set_progress(s->session, ui_interruptible());
        t->n++;
    }
    return SNELLEN_OK;
}

/* ---- measuring ------------------------------------------------------------------------------------------------------------ */

static snellen_status feed(struct table *t, struct subject *s, int64_t n, int64_t piece, snellen_error *err)
{
    for (int64_t at = 0; at < n; at += piece) {
        int64_t m = MIN(piece, n - at);
        TRY(snellen_session_feed(s->session, t->tokens + at % (PIECE - m + 1), (size_t)m, NULL, err));
        t->done += (uint64_t)m;
        FAIL_IF(!ui_step("tokens", t->done, t->total), SNELLEN_E_CANCELLED, "interrupted");
    }
    return SNELLEN_OK;
}

/* One repetition for one memory. */
static snellen_status repeat(struct table *t, struct subject *s, struct measure *m, int64_t rep, snellen_error *err)
{
    bool prompt = m == &s->prompt;
    if (prompt) TRY(snellen_session_truncate(s->session, 0, err));
    double start = ui_seconds();
    TRY(feed(t, s, m->n_tokens, prompt ? PIECE : 1, err));
    m->rate[rep] = (double)m->n_tokens / (ui_seconds() - start);
    return SNELLEN_OK;
}

/* Which of the three measures. */
static struct measure *stage_of(struct subject *s, int stage)
{
    return stage == 0 ? &s->prompt : stage == 1 ? &s->near : s->endless ? &s->far : NULL;
}

static snellen_status measure_stage(struct table *t, int stage, snellen_error *err)
{
    for (size_t i = 0; i < t->n; i++) {
        struct subject *s = &t->subjects[i];
        struct measure *m = stage_of(s, stage);
        if (!m) continue;
        if (stage == 1) TRY(snellen_session_truncate(s->session, 0, err));
        uint64_t before = resident_bytes();
        TRY(feed(t, s, MAX(m->depth - snellen_session_length(s->session), 0), PIECE, err));
        uint64_t after = resident_bytes();
        if (stage) s->resident[stage - 1] = after > before ? after - before : 0;
    }
    for (int64_t rep = 0; rep < t->o->reps; rep++)
        for (size_t i = 0; i < t->n; i++)
            if (stage_of(&t->subjects[i], stage))
                TRY(repeat(t, &t->subjects[i], stage_of(&t->subjects[i], stage), rep, err));
    for (size_t i = 0; i < t->n; i++)
        if (stage_of(&t->subjects[i], stage)) measure_sort(stage_of(&t->subjects[i], stage));
    return SNELLEN_OK;
}

/* ---- training ------------------------------------------------------------------------------------------------------------ */

/* What a training step goes through; false where no step can, as with sinks. */
static bool trained(const snellen_model *model, const struct subject *s, snellen_model_memory *m)
{
    const snellen_session_options *o = &s->options;
    const snellen_model_memory *own = snellen_model_get_memory(model);
    *m = (snellen_model_memory){.kind = o->memory, .window = o->window, .block = o->block ? o->block : own->block,
                                .segments = o->segments >= 0 ? o->segments : own->segments, .fam = own->fam,
                                .fam_blocks = o->fam_blocks ? o->fam_blocks : own->fam_blocks};
    return o->memory != SNELLEN_MEMORY_SINK;
}

/* Steps of a text of the prompt's size: all weights of a small model, low-rank factors beside a large one. */
static snellen_status measure_training(struct table *t, snellen_model *model, snellen_error *err)
{
    enum { SMALL = 10 * 1000 * 1000, RANK = 64 };
    snellen_model_memory memories[MAX_MEMORIES];
    struct measure *measures[MAX_MEMORIES];
    double seconds[MAX_MEMORIES * MAX_REPETITIONS];
    bool large = snellen_model_get_info(model)->n_params > SMALL;
    int64_t reps = t->o->reps, n = t->o->n_prompt;
    const snellen_train_shape shape = {.n_seqs = 1, .n_tokens = n, .optimizer = "adamw", .lora_rank = large ? RANK : 0,
                                       .recompute = large, .n_threads = (int)t->o->common->threads};
    uint32_t n_trained = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct subject *s = &t->subjects[i];
        snellen_session_free(s->session);
        s->session = NULL;
        if (trained(model, s, &memories[n_trained])) measures[n_trained++] = &s->train;
    }
    TRY(snellen_train_speed(model, &shape, memories, n_trained, (uint32_t)reps, ui_progress(), seconds, err));
    for (uint32_t i = 0; i < n_trained; i++) {
        *measures[i] = (struct measure){.test = "train", .n_tokens = n, .reps = reps};
        measure_seconds(measures[i], seconds + i * reps);
    }
    return SNELLEN_OK;
}

/* ---- telling ------------------------------------------------------------------------------------------------------------- */

static void print_table(const struct table *t)
{
    printf("prompt of %lld tokens, %lld tokens made after %lld and after %lld; medians of %lld\n\n",
           (long long)t->o->n_prompt, (long long)t->o->n_decode, (long long)t->o->near, (long long)t->o->far,
           (long long)t->o->reps);
    printf("%-6s %7s %12s %12s %12s %8s %12s %12s", "memory", "sees", "prompt tok/s", "near tok/s", "far tok/s",
           "far/near", "takes", "grown by");
    if (t->o->train) printf(" %12s", "train tok/s");
    putchar('\n');
    for (size_t i = 0; i < t->n; i++) {
        const struct subject *s = &t->subjects[i];
        double near = measure_median(&s->near), far = s->endless ? measure_median(&s->far) : 0;
        char takes[32], grown[32];
        printf("%-6s %7lld %12.1f %12.1f ", snellen_memory_name(s->options.memory), (long long)s->cost.n_seen,
               measure_median(&s->prompt), near);
        if (s->endless) printf("%12.1f %8.3f ", far, far / near);
        else printf("%12s %8s ", "-", "-");
        printf("%12s %12s", ui_bytes(s->cost.cache_bytes, takes), s->endless ? ui_bytes(s->resident[1], grown) : "-");
        if (s->train.n_tokens) printf(" %12.1f", measure_median(&s->train));
        else if (t->o->train) printf(" %12s", "-");
        putchar('\n');
    }
}

static bool print_json(const struct table *t)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < t->n; i++) {
        const struct subject *s = &t->subjects[i];
        json_t *row = json_pack("{s:s, s:I, s:f, s:f, s:I, s:I}", "memory", snellen_memory_name(s->options.memory), "sees",
                                (json_int_t)s->cost.n_seen, "prompt", measure_median(&s->prompt), "near",
                                measure_median(&s->near), "cache_bytes", (json_int_t)s->cost.cache_bytes, "near_bytes",
                                (json_int_t)s->resident[0]);
        if (row && s->endless) {
            json_object_set_new(row, "far", json_real(measure_median(&s->far)));
            json_object_set_new(row, "grown_bytes", json_integer((json_int_t)s->resident[1]));
        }
        if (row && s->train.n_tokens) json_object_set_new(row, "train", json_real(measure_median(&s->train)));
        json_array_append_new(rows, row);
    }
    return ui_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "version", snellen_version(), "prompt_tokens",
                             (json_int_t)t->o->n_prompt, "decoded", (json_int_t)t->o->n_decode, "near",
                             (json_int_t)t->o->near, "far", (json_int_t)t->o->far, "repetitions", (json_int_t)t->o->reps,
                             "results", rows));
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------- */

static snellen_status measure_all(struct table *t, snellen_model *model, snellen_error *err)
{
    const struct memories_options *o = t->o;
    struct common_opts numbers = *o->common, none = common_opts_default();
    snellen_session_options options;
    struct rng r;
    numbers.memory = none.memory;
    numbers.fam_positions = numbers.fam_prompt = NULL;
    numbers.window = numbers.block = numbers.fam = numbers.fam_blocks = 0;
    numbers.sinks = none.sinks;
    numbers.segments = none.segments;
    TRY(common_session(&numbers, &options, err));
    TRY(give_prompt(model, o->common->fam ? o->common->fam : FAM, err));
    TRY(add_subjects(t, model, &options, err));
    rng_seed(&r, 1, 0);
    uint64_t n_vocab = (uint64_t)snellen_model_get_info(model)->n_vocab;
    for (int i = 0; i < PIECE; i++) t->tokens[i] = (int32_t)rng_below(&r, n_vocab);
    t->total = t->n * (uint64_t)(o->reps * (o->n_prompt + 2 * o->n_decode) + o->far);
    ui_step("tokens", 0, t->total);   /* the bar's clock starts here */
    for (int stage = 0; stage < 3; stage++) TRY(measure_stage(t, stage, err));
    if (o->train && t->n) TRY(measure_training(t, model, err));
    ui_clear();
    if (ui.json) print_json(t);
    else print_table(t);
    return SNELLEN_OK;
}

snellen_status bench_memories(snellen_model *model, const struct memories_options *options, snellen_error *err)
{
    struct table *t;
    TRY(NEW_ARRAY(&t, 1, "measures", err));
    t->o = options;
    snellen_status status = measure_all(t, model, err);
    for (size_t i = 0; i < MAX_MEMORIES; i++) snellen_session_free(t->subjects[i].session);
    mem_free(t);
    return status;
}
