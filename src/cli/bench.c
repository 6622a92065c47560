/* bench: speed of reading prompts and of making tokens at given depths, with its spread. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    const snellen_model *model;
    const snellen_model_info *info;
    snellen_session *session;
    int32_t *tokens;          /* [n_tokens] */
    int64_t n_tokens;
    uint64_t done, total;     /* tokens of all tests, for the progress bar */
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

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void print_row(const struct measure *m)
{
    printf("%-8s %8lld %8lld %10.1f   %.1f .. %.1f\n", m->test, (long long)m->n_tokens, (long long)m->depth,
           measure_median(m), m->rate[0], m->rate[m->reps - 1]);
    ui_flush();   /* each row appears when it is measured */
}

static json_t *row_json(const struct measure *m)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "test", m->test, "tokens", (json_int_t)m->n_tokens,
                     "depth", (json_int_t)m->depth, "repetitions", (json_int_t)m->reps, "median", measure_median(m), "min",
                     m->rate[0], "max", m->rate[m->reps - 1]);
}

static void print_head(const struct bench *b, const struct common_opts *c, const json_t *machine)
{
    char size[32];
    int threads = c->threads ? (int)c->threads : snellen_default_threads();
    printf("%s, %s, %.1f M weights in %s; memory %s, cache %s\n", b->info->path, b->info->arch,
           (double)b->info->n_params / 1e6, ui_bytes(b->info->weight_bytes, size), c->memory, c->cache);
    printf("snellen %s, %s, %d thread%s, %s\n\n", snellen_version(), snellen_isa(), threads, threads == 1 ? "" : "s",
           json_string_value(json_object_get(machine, "cpu")));
    printf("%-8s %8s %8s %10s   %s\n", "test", "tokens", "depth", "tokens/s", "min .. max");
}

static snellen_status run_tests(struct bench *b, struct measure *tests, size_t n, json_t *rows, snellen_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct measure *t = &tests[i];
        b->total += (uint64_t)(t->n_tokens * t->reps + MIN(t->n_tokens, 8) + t->depth);
    }
    ui_step("tokens", 0, b->total);   /* the bar's clock starts here */
    for (size_t i = 0; i < n; i++) {
        TRY(measure(b, &tests[i], err));
        if (ui.json) json_array_append_new(rows, row_json(&tests[i]));
        else ui_clear(), print_row(&tests[i]);
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

static snellen_status bench(struct bench *b, struct measure *tests, size_t n, const struct common_opts *c,
                            snellen_session_options *options, snellen_error *err)
{
    for (size_t i = 0; i < n; i++) b->n_tokens = MAX(b->n_tokens, tests[i].n_tokens + tests[i].depth);
    if (options->memory == SNELLEN_MEMORY_FULL) options->n_context = b->n_tokens;
    TRY(make_tokens(b, err));
    TRY(snellen_session_new(b->model, options, &b->session, err));
    snellen_session_set_progress(b->session, ui_interruptible());
    json_t *machine = cli_machine(c->threads), *rows = json_array();
    if (!ui.json) print_head(b, c, machine);
    snellen_status status = run_tests(b, tests, n, rows, err);
    if (!status && ui.json)
        ui_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:O, s:O}", "version", snellen_version(), "model",
                          b->info->path, "arch", b->info->arch, "memory", c->memory, "cache", c->cache,
                          "weight_bytes", (json_int_t)b->info->weight_bytes, "machine", machine, "results", rows));
    json_decref(machine);
    json_decref(rows);
    return status;
}

/* ---- which tests ------------------------------------------------------------------------------------------------- */

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
    TRY(snellen_train_speed(model, shape, (uint32_t)m->reps, ui_progress(), seconds, err));
    m->n_tokens = shape->n_seqs * shape->n_tokens;
    for (int64_t i = 0; i < m->reps; i++) m->rate[i] = (double)m->n_tokens / seconds[i];
    measure_sort(m);
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
static snellen_status bench_training(snellen_model *model, const struct common_opts *c, int64_t reps, snellen_error *err)
{
    const snellen_train_shape shapes[] = {
        { .n_seqs = 2, .n_tokens = MIN(512, snellen_model_get_info(model)->n_context), .optimizer = "adamw",
          .n_threads = (int)c->threads },
        { .n_seqs = 64, .n_tokens = 60, .optimizer = "adamw", .n_threads = (int)c->threads },
    };
    struct measure m[] = { { .test = "train", .reps = reps }, { .test = "small", .reps = reps } };
    snellen_model *small;
    TRY(small_model(&small, err));
    json_t *machine = cli_machine(c->threads), *rows = json_array();
    struct bench b = { .model = model, .info = snellen_model_get_info(model) };
    if (!ui.json) print_head(&b, c, machine);
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < COUNT_OF(m) && !status; i++) {
        status = measure_training(i ? small : model, &shapes[i], &m[i], err);
        if (status) break;
        if (ui.json) json_array_append_new(rows, row_json(&m[i]));
        else ui_clear(), print_row(&m[i]);
    }
    if (!status && ui.json)
        ui_json(json_pack("{s:s, s:s, s:s, s:I, s:O, s:O}", "version", snellen_version(), "model", b.info->path, "arch",
                          b.info->arch, "weight_bytes", (json_int_t)b.info->weight_bytes, "machine", machine, "results",
                          rows));
    json_decref(machine);
    json_decref(rows);
    snellen_model_free(small);
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

enum { DECODED = 64 };   /* tokens made at each depth, unless -n says */

/* Is anything given that means nothing in training? */
static bool of_sessions(const struct common_opts *c, const struct int_list *prompts, const struct int_list *depths,
                        int64_t n_decode)
{
    struct common_opts usual = common_opts_default();
    return prompts->n || depths->n || n_decode != DECODED || strcmp(c->memory, usual.memory) || c->window != usual.window ||
           c->sinks != usual.sinks || strcmp(c->precision, usual.precision) || strcmp(c->cache, usual.cache) ||
           c->chunk != usual.chunk;
}

static int run(int argc, char **argv)
{
    struct common_opts common = common_opts_default();
    struct int_list prompts = { 0 }, depths = { 0 };
    int64_t n_decode = DECODED, reps = 5, standard_prompt[] = { 512 }, standard_depth[] = { 0 };
    int64_t n_stream = 0;
    bool train = false, memories = false;
    const char *folder = NULL;
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what to measure"),
        OPT_FLAG(0, "train", &train, "training instead: steps of AdamW over all weights, 2 x 512 tokens; and, as `small`, "
                 "of a new llama of 4 layers and width 128, 64 x 60 tokens"),
        OPT_FLAG(0, "memories", &memories, "every memory side by side: a prompt of -p (2048), -n tokens made after 1,000 and "
                 "after 1,000,000 (or two depths of -d), how much memory each takes; --window, --block, --segments, --fam "
                 "as given, else such that each sees 512 tokens"),
        OPT_INT(0, "stream", "N", &n_stream, 25000, INT64_MAX / 4, "one session reads N tokens: its speed, that of -n tokens "
                "one by one, and what the process takes, at 25 places on the way", .shown = "not"),
        OPT_TEXT('o', "figures", "DIR", &folder, "--stream: folder for its figures as PNG, SVG and CSV"),
        OPT_INTS('p', "prompt", "N,..", &prompts, 0, CLI_MAX_TOKENS, "sizes of prompts to read; 0 = none",
                 .shown = "512"),
        OPT_INT('n', "predict", "N", &n_decode, 0, CLI_MAX_TOKENS,
                "tokens to make one by one at each depth; 0 = none"),
        OPT_INTS('d', "depth", "N,..", &depths, 0, CLI_MAX_TOKENS, "tokens in the session before that", .shown = "0"),
        OPT_INT('r', "repeat", "N", &reps, 1, MAX_REPETITIONS,
                "times each is measured, after a dry start; the median is told, with the least and the most"),
        OPTS_LORA(&common),
        OPTS_MEMORY(&common),
        OPTS_ATTENTION(&common),
        OPTS_NUMBERS(&common),
        OPTS_THREADS(&common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_bench, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    snellen_error err;
    snellen_session_options options;
    if (train && of_sessions(&common, &prompts, &depths, n_decode))
        return ui_wrong("bench: --train takes -r and --threads; prompts, depths, memory and numbers are those of sessions");
    if (n_stream && (train || memories || prompts.n || depths.n || reps != 5 || !n_decode))
        return ui_wrong("bench: --stream takes -n, -o and the options of sessions: it goes by no -p, -d or -r");
    if (folder && !n_stream) return ui_wrong("bench: -o is where --stream draws");
    if (memories && (train || prompts.n > 1 || (depths.n && depths.n != 2) || common.memory != common_opts_default().memory))
        return ui_wrong("bench: --memories takes one -p, two depths of -d and sizes, but no --memory and no --train");
    if (memories && depths.n && (depths.v[0] < 1 || depths.v[0] >= depths.v[1]))
        return ui_wrong("bench: --memories: two ascending depths expected");
    if (memories && (!n_decode || (prompts.n && !prompts.v[0])))
        return ui_wrong("bench: --memories measures a prompt and tokens made: -p and -n of at least 1 expected");
    if ((memories || train) && common.lora)
        return ui_wrong("bench: --lora: factors are measured in sessions, without --memories and --train");
    if (!memories && common_session(&common, &options, &err)) return ui_fail(&err);
    if (memories && (common.fam_prompt || common.fam_positions))
        return ui_wrong("bench: --memories: speed does not depend on --fam-prompt and --fam-positions");
    snellen_model *model = memories ? cli_load(args[0], &status) : common_load(args[0], &common, &status);
    if (!model) return status;
    if (!memories) common_own_memory(&common, model, &options);
    struct bench b = { .model = model, .info = snellen_model_get_info(model) };
    const struct int_list p = prompts.n ? prompts : (struct int_list){ standard_prompt, 1 };
    const struct int_list d = depths.n ? depths : (struct int_list){ standard_depth, 1 };
    struct measure *tests = NULL;
    size_t n = 0;
    const struct memories_options side_by_side = { &common, prompts.n ? prompts.v[0] : 2048, n_decode,
                                                   depths.n ? depths.v[0] : 1000, depths.n ? depths.v[1] : 1000000, reps };
    const struct stream_options stream = { n_stream, n_decode, folder };
    bool sessions = !train && !memories && !n_stream;
    snellen_status failed = train ? bench_training(model, &common, reps, &err) : SNELLEN_OK;
    if (n_stream && options.memory == SNELLEN_MEMORY_FULL) options.n_context = n_stream + n_decode;
    if (n_stream && folder) failed = folder_make(folder, &err);
    if (n_stream && !failed) failed = bench_stream(model, &options, &stream, &err);
    if (memories) failed = bench_memories(model, &side_by_side, &err);
    if (!failed && sessions) failed = list_tests(&p, n_decode, &d, reps, &tests, &n, &err);
    if (!failed && sessions) failed = n ? bench(&b, tests, n, &common, &options, &err)
                            : error_set(&err, SNELLEN_E_USAGE, "bench: -p 0 and -n 0 leave nothing to measure");
    status = failed ? ui_fail(&err) : 0;
    mem_free(tests);
    mem_free(b.tokens);
    int_list_free(&prompts);
    int_list_free(&depths);
    snellen_session_free(b.session);
    snellen_model_free(model);
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
