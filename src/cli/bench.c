/* bench: speed of reading prompts and of making tokens at given depths, with its spread. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

struct bench {
    const snellen_model *model;
    const snellen_model_info *info;
    snellen_session *session;
    int32_t *tokens;          /* [n_tokens] */
    int64_t n_tokens;
    uint64_t done, total;     /* tokens of all tests, for the progress bar */
    struct bench_table table;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double measure_median(const struct measure *m)
{
    return m->reps % 2 ? m->rate[m->reps / 2] : (m->rate[m->reps / 2 - 1] + m->rate[m->reps / 2]) / 2;
}

void measure_sort(struct measure *m)
{
    qsort(m->rate, (size_t)m->reps, sizeof(m->rate[0]), compare_doubles);
}

void measure_seconds(struct measure *m, const double *seconds)
{
    for (int64_t i = 0; i < m->reps; i++) m->rate[i] = (double)m->n_tokens / seconds[i];
    measure_sort(m);
}

static snellen_status feed(struct bench *b, int64_t at, int64_t n, snellen_error *err)
{
    TRY(snellen_session_feed(b->session, b->tokens + at, (size_t)n, NULL, err));
    b->done += (uint64_t)n;
    FAIL_IF(!ui_step("tokens", b->done, b->total), SNELLEN_E_CANCELLED, "interrupted");
    return SNELLEN_OK;
}

/* One repetition; `dry` ones are not counted (first touches of memory, clock speeds). */
static snellen_status repeat(struct bench *b, struct measure *m, int64_t rep, bool dry, snellen_error *err)
{
    bool decode = m->n_tokens && m->test[0] == 'd';
    /* Full memory keeps the depth from one repetition to the next; others may have to read it again. */
    if (snellen_session_length(b->session) < m->depth || m->depth == 0 ||
        snellen_session_truncate(b->session, m->depth, NULL)) {
        TRY(snellen_session_truncate(b->session, 0, err));
        if (m->depth) TRY(feed(b, 0, m->depth, err));
    }
    int64_t n = dry ? MIN(m->n_tokens, 8) : m->n_tokens;
    double start = ui_seconds();
    for (int64_t i = 0; decode && i < n; i++) TRY(feed(b, m->depth + i, 1, err));
    if (!decode) TRY(feed(b, m->depth, n, err));
    if (!dry) m->rate[rep] = (double)n / (ui_seconds() - start);
    return SNELLEN_OK;
}

static snellen_status measure(struct bench *b, struct measure *m, snellen_error *err)
{
    TRY(repeat(b, m, 0, true, err));
    for (int64_t rep = 0; rep < m->reps; rep++) TRY(repeat(b, m, rep, false, err));
    measure_sort(m);
    return SNELLEN_OK;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static snellen_status run_tests(struct bench *b, struct measure *tests, size_t n, snellen_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct measure *t = &tests[i];
        b->total += (uint64_t)(t->n_tokens * t->reps + MIN(t->n_tokens, 8) + t->depth);
    }
    ui_step("tokens", 0, b->total);   /* the bar's clock starts here */
    for (size_t i = 0; i < n; i++) {
        TRY(measure(b, &tests[i], err));
        table_add(&b->table, &tests[i]);
    }
    return SNELLEN_OK;
}

/* Tokens of no meaning: speed does not depend on it. */
static snellen_status make_tokens(struct bench *b, snellen_error *err)
{
    struct rng r;
    rng_seed(&r, 1, 0);
    TRY(NEW_ARRAY(&b->tokens, MAX(b->n_tokens, 1), "tokens", err));
    for (int64_t i = 0; i < b->n_tokens; i++) b->tokens[i] = (int32_t)rng_below(&r, (uint64_t)b->info->n_vocab);
    return SNELLEN_OK;
}

static snellen_status bench(struct bench *b, const struct bench_args *a, struct measure *tests, size_t n,
                            snellen_session_options *options, snellen_error *err)
{
    for (size_t i = 0; i < n; i++) b->n_tokens = MAX(b->n_tokens, tests[i].n_tokens + tests[i].depth);
    if (options->memory == SNELLEN_MEMORY_FULL) options->n_context = b->n_tokens;
    TRY(make_tokens(b, err));
    TRY(snellen_session_new(b->model, options, &b->session, err));
    snellen_session_set_progress(b->session, ui_interruptible());
    TRY(table_begin(&b->table, a, b->info, tests, n, err));
    TRY(run_tests(b, tests, n, err));
    return table_finish(&b->table, err);
}

/* All tests of the lists, one measure each: prompts first, then decoding by depth. */
static snellen_status list_tests(const struct int_list *prompts, int64_t n_decode, const struct int_list *depths,
                                 int64_t reps, struct measure **tests, size_t *n, snellen_error *err)
{
    TRY(NEW_ARRAY(tests, prompts->n + depths->n, "tests", err));
    *n = 0;
    for (size_t i = 0; i < prompts->n; i++)
        if (prompts->v[i])
            (*tests)[(*n)++] = (struct measure){ .test = "prompt", .n_tokens = prompts->v[i], .reps = reps };
    for (size_t i = 0; n_decode && i < depths->n; i++)
        (*tests)[(*n)++] =
            (struct measure){ .test = "decode", .n_tokens = n_decode, .depth = depths->v[i], .reps = reps };
    return SNELLEN_OK;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

/* Rates of one shape; the model is not what it was afterwards. */
static snellen_status measure_training(snellen_model *model, const snellen_train_shape *shape, struct measure *m,
                                       snellen_error *err)
{
    double seconds[MAX_REPETITIONS];
    TRY(snellen_train_speed(model, shape, NULL, 0, (uint32_t)m->reps, ui_progress(), seconds, err));
    m->n_tokens = shape->n_seqs * shape->n_tokens;
    measure_seconds(m, seconds);
    return SNELLEN_OK;
}

/* The second model: a million weights, as studies train them from nothing. */
static snellen_status small_model(snellen_model **model, snellen_error *err)
{
    snellen_model_design design = snellen_model_design_default();
    design.n_vocab = 348;
    return snellen_model_new(&design, model, err);
}

/* Two rows: the model given, all its weights, and the small one. */
static snellen_status train_both(struct bench_table *t, const struct bench_args *a, snellen_model *model,
                                 snellen_model *small, snellen_error *err)
{
    const snellen_model_info *info = snellen_model_get_info(model);
    const int threads = (int)a->common.threads;
    const snellen_train_shape shapes[] = {
        { .n_seqs = 2, .n_tokens = MIN(512, info->n_context), .optimizer = "adamw", .n_threads = threads },
        { .n_seqs = 64, .n_tokens = 60, .optimizer = "adamw", .n_threads = threads },
    };
    struct measure m[] = { { .test = "train", .reps = a->reps }, { .test = "small", .reps = a->reps } };
    TRY(table_begin(t, a, info, m, COUNT_OF(m), err));
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        TRY(measure_training(i ? small : model, &shapes[i], &m[i], err));
        table_add(t, &m[i]);
    }
    return table_finish(t, err);
}

static snellen_status bench_training(const struct bench_args *a, snellen_model *model, snellen_error *err)
{
    struct bench_table table = { 0 };
    snellen_model *small;
    TRY(small_model(&small, err));
    snellen_status status = train_both(&table, a, model, small, err);
    table_free(&table);
    snellen_model_free(small);
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

/* Unless -n and -r say: tokens made at each depth, and how often each is measured. */
enum { DECODED = 64, REPETITIONS = 5 };

/* Is anything given that means nothing in training? */
static bool of_sessions(const struct bench_args *a)
{
    const struct common_opts *c = &a->common;
    struct common_opts usual = common_opts_default();
    return a->prompts.n || a->depths.n || a->n_decode != DECODED || strcmp(c->memory, usual.memory) ||
           c->window != usual.window || c->sinks != usual.sinks || strcmp(c->precision, usual.precision) ||
           strcmp(c->cache, usual.cache) || c->chunk != usual.chunk;
}

/* What contradicts itself: 0 or, told, the status. */
static int check_args(const struct bench_args *a)
{
    const struct common_opts *c = &a->common;
    const struct int_list *prompts = &a->prompts, *depths = &a->depths;
    if (a->train && !a->memories && of_sessions(a))
        return ui_wrong("bench: --train takes -r and --threads; prompts, depths, memory and numbers are those of sessions");
    if (a->n_stream && (a->train || a->memories || prompts->n || depths->n || a->reps != REPETITIONS || !a->n_decode))
        return ui_wrong("bench: --stream takes -n, -o and the options of sessions: it goes by no -p, -d or -r");
    if (a->folder && (a->train || a->memories))
        return ui_wrong("bench: -o draws sizes and depths of sessions, and --stream: not --train and --memories");
    if (a->compare && (a->n_stream || a->memories))
        return ui_wrong("bench: --compare takes sessions and --train: not --stream and --memories");
    if (a->memories && (prompts->n > 1 || (depths->n && depths->n != 2) ||
                        c->memory != common_opts_default().memory))
        return ui_wrong("bench: --memories takes one -p, two depths of -d and sizes, but no --memory");
    if (a->memories && depths->n && (depths->v[0] < 1 || depths->v[0] >= depths->v[1]))
        return ui_wrong("bench: --memories: two ascending depths expected");
    if (a->memories && (!a->n_decode || (prompts->n && !prompts->v[0])))
        return ui_wrong("bench: --memories measures a prompt and tokens made: -p and -n of at least 1 expected");
    if ((a->memories || a->train) && c->lora)
        return ui_wrong("bench: --lora: factors are measured in sessions, without --memories and --train");
    if (a->memories && (c->fam_prompt || c->fam_positions))
        return ui_wrong("bench: --memories: speed does not depend on --fam-prompt and --fam-positions");
    return 0;
}

static snellen_status bench_side_by_side(const struct bench_args *a, snellen_model *model, snellen_error *err)
{
    const int64_t *p = a->prompts.v, *d = a->depths.v;
    const struct memories_options options = {
        &a->common, a->prompts.n ? p[0] : 2048, a->n_decode, a->depths.n ? d[0] : 1000, a->depths.n ? d[1] : 1000000,
        a->reps, a->train
    };
    return bench_memories(model, &options, err);
}

static snellen_status bench_one_stream(const struct bench_args *a, const snellen_model *model,
                                       snellen_session_options *session, snellen_error *err)
{
    const struct stream_options options = { a->n_stream, a->n_decode, a->folder };
    if (session->memory == SNELLEN_MEMORY_FULL) session->n_context = a->n_stream + a->n_decode;
    if (a->folder) TRY(folder_make(a->folder, err));
    return bench_stream(model, session, &options, err);
}

static snellen_status bench_sessions(const struct bench_args *a, const snellen_model *model,
                                     snellen_session_options *session, snellen_error *err)
{
    int64_t standard_prompt[] = { 512 }, standard_depth[] = { 0 };
    const struct int_list p = a->prompts.n ? a->prompts : (struct int_list){ standard_prompt, 1 };
    const struct int_list d = a->depths.n ? a->depths : (struct int_list){ standard_depth, 1 };
    struct bench b = { .model = model, .info = snellen_model_get_info(model) };
    struct measure *tests = NULL;
    size_t n = 0;
    snellen_status status = list_tests(&p, a->n_decode, &d, a->reps, &tests, &n, err);
    if (!status)
        status = n ? bench(&b, a, tests, n, session, err)
                   : error_set(err, SNELLEN_E_USAGE, "bench: -p 0 and -n 0 leave nothing to measure");
    mem_free(tests);
    mem_free(b.tokens);
    table_free(&b.table);
    snellen_session_free(b.session);
    return status;
}

static int bench_model(struct bench_args *a, const char *path)
{
    snellen_error err;
    snellen_session_options session = { 0 };
    int status = check_args(a);
    if (status) return status;
    if (!a->memories && common_session(&a->common, &session, &err)) return ui_fail(&err);
    if (a->compare && earlier_read(a->compare, &a->earlier, &err)) return ui_fail(&err);
    snellen_model *model = a->memories ? cli_load(path, &status) : common_load(path, &a->common, &status);
    if (!model) return status;
    if (!a->memories) common_own_memory(&a->common, model, &session);
    snellen_status failed = a->memories ? bench_side_by_side(a, model, &err)
                            : a->train    ? bench_training(a, model, &err)
                            : a->n_stream ? bench_one_stream(a, model, &session, &err)
                                          : bench_sessions(a, model, &session, &err);
    status = failed ? ui_fail(&err) : 0;
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    struct bench_args a = { .common = common_opts_default(), .n_decode = DECODED, .reps = REPETITIONS };
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what to measure"),
        OPT_FLAG(0, "train", &a.train, "training instead: steps of AdamW over all weights, 2 x 512 tokens; and, as "
                 "`small`, of a new llama of 4 layers and width 128, 64 x 60 tokens. With --memories: one more column, "
                 "steps on a text of -p tokens (low-rank factors, rank 64, above ten million weights)"),
        OPT_FLAG(0, "memories", &a.memories, "every memory side by side: a prompt of -p (2048), -n tokens made after 1,000 "
                 "and after 1,000,000 (or two depths of -d), how much memory each takes; --window, --block, --segments, "
                 "--fam as given, else such that each sees 512 tokens"),
        OPT_INT(0, "stream", "N", &a.n_stream, 25000, INT64_MAX / 4, "one session reads N tokens: its speed, that of -n "
                "tokens one by one, and what the process takes, at 25 places on the way", .shown = "not"),
        OPT_INTS('p', "prompt", "N,..", &a.prompts, 0, CLI_MAX_TOKENS, "sizes of prompts to read; 0 = none",
                 .shown = "512"),
        OPT_INT('n', "predict", "N", &a.n_decode, 0, CLI_MAX_TOKENS,
                "tokens to make one by one at each depth; 0 = none"),
        OPT_INTS('d', "depth", "N,..", &a.depths, 0, CLI_MAX_TOKENS, "tokens in the session before that", .shown = "0"),
        OPT_INT('r', "repeat", "N", &a.reps, 1, MAX_REPETITIONS,
                "times each is measured, after a dry start; the median is told, with the least and the most"),
        OPT_TEXT(0, "compare", "FILE", &a.compare, "what an earlier run printed with --json, of sessions or --train: "
                 "each row shows its median too, and the ratio now / before", .shown = "none"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for figures as PNG, SVG and CSV: speed over the sizes of "
                 "prompts, over depths (of each two at least), or of --stream", .shown = "none"),
        OPTS_LORA(&a.common),
        OPTS_MEMORY(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_NUMBERS(&a.common),
        OPTS_THREADS(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_bench, table, COUNT_OF(table), argc, argv, args);
    if (status < 0) status = bench_model(&a, args[0]);
    int_list_free(&a.prompts);
    int_list_free(&a.depths);
    earlier_free(&a.earlier);
    return status;
}

const struct verb verb_bench = {
    .name = "bench",
    .summary = "speed of prompts, and of decoding at depths",
    .run = run,
    .works = true,
    .usage = "MODEL [-p N,..] [-n N] [-d N,..] [-r N] [--stream N] [--train] [options]",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen bench smollm2 -p 512,2048 -n 64 -d 0,2048",
                  "snellen bench models/passkey --stream 5M -o stream" },
};
