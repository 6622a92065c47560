/* info: what a model is, how its weights are stored, and what each memory would cost. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- tensors by kind ("blk.*.attn_q.weight") and type ------------------------------------------------------------ */

struct kind {
    char name[96];
    const char *type;
    uint64_t n_tensors, n_bytes;
    int n_dims;
    int64_t shape[4];   /* of the first; the others' differ when `mixed` */
    bool mixed;
};

enum { MAX_KINDS = 512 };   /* more than that is counted together as "others" */

/* "blk.12.attn_q.weight" -> "blk.*.attn_q.weight" */
static void kind_name(char *out, size_t size, const char *name)
{
    size_t digits = !strncmp(name, "blk.", 4) ? strspn(name + 4, "0123456789") : 0;
    if (digits) snprintf(out, size, "blk.*%s", name + 4 + digits);
    else snprintf(out, size, "%s", name);
}

static struct kind *find_kind(struct kind *kinds, size_t *n, const snellen_tensor_info *t)
{
    char name[sizeof(kinds->name)];
    kind_name(name, sizeof(name), t->name);
    if (*n == MAX_KINDS - 1) snprintf(name, sizeof(name), "others");
    for (size_t i = 0; i < *n; i++)
        if (!strcmp(kinds[i].name, name) && (!strcmp(kinds[i].type, t->type) || i == MAX_KINDS - 1)) return &kinds[i];
    struct kind *k = &kinds[(*n)++];
    *k = (struct kind){ .type = t->type, .n_dims = t->n_dims };
    snprintf(k->name, sizeof(k->name), "%s", name);
    memcpy(k->shape, t->shape, sizeof(k->shape));
    return k;
}

static snellen_status collect_kinds(const snellen_model *model, struct kind **out, size_t *n, snellen_error *err)
{
    struct kind *kinds;
    TRY(NEW_ARRAY(&kinds, MAX_KINDS, "kinds of tensors", err));
    snellen_tensor_info t;
    *n = 0;
    for (size_t i = 0; snellen_model_tensor(model, i, &t); i++) {
        struct kind *k = find_kind(kinds, n, &t);
        k->n_tensors++;
        k->n_bytes += t.n_bytes;
        k->mixed |= t.n_dims != k->n_dims || memcmp(k->shape, t.shape, sizeof(int64_t) * (size_t)MIN(t.n_dims, 4));
    }
    *out = kinds;
    return SNELLEN_OK;
}

static void shape_text(const struct kind *k, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < k->n_dims && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "", (long long)k->shape[i]);
    if (n < size) snprintf(out + n, size - n, k->mixed ? "] .." : "]");
}

/* ---- the cost of memories ---------------------------------------------------------------------------------------- */

struct cost {
    const char *memory, *cache;
    bool possible;
    snellen_session_cost bytes;
    char why_not[200];
};

enum { N_COSTS = 14 };

/* Every kind of memory with both kinds of cache, with the windows and blocks that are given, else the model's own. */
static void collect_costs(const snellen_model *model, const struct common_opts *common, struct cost costs[N_COSTS])
{
    static const snellen_memory_kind kinds[N_COSTS / 2] = { SNELLEN_MEMORY_FULL, SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_SINK,
                                                            SNELLEN_MEMORY_BSWA, SNELLEN_MEMORY_XL, SNELLEN_MEMORY_FAM,
                                                            SNELLEN_MEMORY_RMT };
    for (size_t i = 0; i < N_COSTS; i++) {
        snellen_session_options o = snellen_session_options_default();
        snellen_error err = { 0 };
        o.memory = kinds[i / 2];
        o.cache = i % 2 ? SNELLEN_F16 : SNELLEN_F32;
        o.n_context = common->context;
        o.window = common->window;
        o.block = common->block;
        o.segments = common->segments;
        o.fam = common->fam;
        costs[i] = (struct cost){ .memory = snellen_memory_name(o.memory), .cache = i % 2 ? "f16" : "f32" };
        costs[i].possible = !snellen_session_cost_of(model, &o, &costs[i].bytes, &err);
        snprintf(costs[i].why_not, sizeof(costs[i].why_not), "%.199s", err.message);
    }
}

/* ---- the cost of training ------------------------------------------------------------------------------------------ */

struct training {
    int64_t n_seqs, n_tokens, rank;
    const char *memory;
    bool possible;
    snellen_train_cost bytes;
    uint64_t sum;
};

enum { N_TRAININGS = 2, LORA_RANK = 16 };

/* All weights, and factors of rank 16, with AdamW, through the model's own memory. */
static void collect_trainings(const snellen_model *model, int64_t n_seqs, int64_t n_tokens,
                              struct training trainings[N_TRAININGS])
{
    for (int i = 0; i < N_TRAININGS; i++) {
        struct training *t = &trainings[i];
        *t = (struct training){.n_seqs = n_seqs, .rank = i ? LORA_RANK : 0,
                               .memory = snellen_memory_name(snellen_model_get_memory(model)->kind),
                               .n_tokens = MIN(n_tokens, snellen_model_get_info(model)->n_context)};
        const snellen_train_shape shape = {.n_seqs = t->n_seqs, .n_tokens = t->n_tokens, .optimizer = "adamw",
                                           .lora_rank = t->rank};
        t->possible = !snellen_train_cost_of(model, &shape, &t->bytes, NULL);
        t->sum = t->bytes.model_bytes + t->bytes.param_bytes + t->bytes.moment_bytes + t->bytes.step_bytes;
    }
}

static void print_trainings(const struct training *trainings)
{
    char a[32], b[32], c[32], d[32], what[64];
    snprintf(what, sizeof(what), "training, AdamW, %s", trainings->memory);
    printf("\n%-28s %12s %12s %12s %12s\n", what, "with grads", "moments", "step", "altogether");
    for (int i = 0; i < N_TRAININGS; i++) {
        const struct training *t = &trainings[i];
        if (!t->possible) continue;
        snprintf(what, sizeof(what), t->rank ? "%lld x %lld, LoRA rank %lld" : "%lld x %lld, all weights",
                 (long long)t->n_seqs, (long long)t->n_tokens, (long long)t->rank);
        printf("%-28s %12s %12s %12s %12s\n", what, ui_bytes(t->bytes.param_bytes, a),
               ui_bytes(t->bytes.moment_bytes, b), ui_bytes(t->bytes.step_bytes, c), ui_bytes(t->sum, d));
    }
}

static json_t *trainings_json(const struct training *trainings)
{
    json_t *list = json_array();
    for (int i = 0; list && i < N_TRAININGS; i++) {
        const struct training *t = &trainings[i];
        if (t->possible)
            json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "optimizer", "adamw",
                                                  "memory", t->memory, "sequences", (json_int_t)t->n_seqs, "tokens", (json_int_t)t->n_tokens,
                                                  "lora_rank", (json_int_t)t->rank, "param_bytes",
                                                  (json_int_t)t->bytes.param_bytes, "moment_bytes",
                                                  (json_int_t)t->bytes.moment_bytes, "step_bytes",
                                                  (json_int_t)t->bytes.step_bytes, "bytes", (json_int_t)t->sum));
    }
    return list;
}

/* ---- as text and as JSON ----------------------------------------------------------------------------------------- */

static void print_row(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void print_row(const char *name, const char *fmt, ...)
{
    va_list args;
    printf("%-14s ", name);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

static void print_description(const snellen_model_info *m, const char *hash)
{
    char size[32];
    print_row("model", "%s", m->path);
    print_row("container", "%s", m->container);
    if (hash) print_row("hash", "%s", hash);
    print_row("architecture", "%s", m->arch);
    print_row("weights", "%.1f M in %s", (double)m->n_params / 1e6, ui_bytes(m->weight_bytes, size));
    print_row("layers", "%lld, width %lld, feed-forward %lld", (long long)m->n_layers, (long long)m->d_model,
              (long long)m->d_ff);
    print_row("heads", "%lld of width %lld, %lld for keys and values", (long long)m->n_heads, (long long)m->head_dim,
              (long long)m->n_kv_heads);
    if (m->rope_theta > 0) print_row("positions", "%s, base %g", m->positions, m->rope_theta);
    else print_row("positions", "%s", m->positions);
    print_row("context", "%lld tokens", (long long)m->n_context);
    if (m->window) print_row("window", "%lld tokens in %lld of %lld layers", (long long)m->window,
                             (long long)m->n_windowed, (long long)m->n_layers);
    print_row("vocabulary", "%lld", (long long)m->n_vocab);
    print_row("tokenizer", "%s", m->has_tokenizer ? "yes" : m->no_tokenizer);
    print_row("chat template", "%s",
              !*m->chat                   ? "none"
              : !strcmp(m->chat, "other") ? "of a kind that is not supported"
                                          : m->chat);
}

static void print_text(const snellen_model *model, const struct kind *kinds, size_t n_kinds, const struct cost *costs,
                       const struct training *trainings, const char *hash)
{
    char size[32], shape[96];
    print_description(snellen_model_get_info(model), hash);
    printf("\n%-34s %-6s %6s %10s  %s\n", "tensors", "type", "count", "size", "shape");
    for (size_t i = 0; i < n_kinds; i++) {
        shape_text(&kinds[i], shape, sizeof(shape));
        cli_put_escaped(stdout, kinds[i].name, strlen(kinds[i].name));
        printf("%*s %-6s %6llu %10s  %s\n", (int)MAX(34 - (int)strlen(kinds[i].name), 0), "", kinds[i].type,
               (unsigned long long)kinds[i].n_tensors, ui_bytes(kinds[i].n_bytes, size), shape);
    }
    printf("\n%-8s %10s %-6s %12s %12s\n", "memory", "tokens", "cache", "keys+values", "scratch");
    for (size_t i = 0; i < N_COSTS; i++) {
        char scratch[32];
        if (costs[i].possible)
            printf("%-8s %10lld %-6s %12s %12s\n", costs[i].memory, (long long)costs[i].bytes.n_seen, costs[i].cache,
                   ui_bytes(costs[i].bytes.cache_bytes, size), ui_bytes(costs[i].bytes.scratch_bytes, scratch));
        else if (i % 2 == 0)
            printf("%-8s %s\n", costs[i].memory, costs[i].why_not);
    }
    print_trainings(trainings);
}

static json_t *description_json(const snellen_model_info *m, const char *hash)
{
    json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:s, s:b}", "path", cli_json_text(m->path, strlen(m->path)),
                          "container", m->container, "arch", m->arch, "positions", m->positions, "chat", m->chat,
                          "tokenizer", (int)m->has_tokenizer);
    const struct { const char *name; int64_t value; } numbers[] = {
        { "n_layers", m->n_layers }, { "d_model", m->d_model }, { "n_heads", m->n_heads },
        { "n_kv_heads", m->n_kv_heads }, { "head_dim", m->head_dim }, { "d_ff", m->d_ff }, { "n_vocab", m->n_vocab },
        { "n_context", m->n_context }, { "window", m->window }, { "n_windowed", m->n_windowed },
        { "n_params", (int64_t)m->n_params }, { "weight_bytes", (int64_t)m->weight_bytes },
    };
    for (size_t i = 0; o && i < COUNT_OF(numbers); i++)
        json_object_set_new(o, numbers[i].name, json_integer(numbers[i].value));
    if (o && m->rope_theta > 0) json_object_set_new(o, "rope_theta", json_real(m->rope_theta));
    if (o && hash) json_object_set_new(o, "hash", json_string(hash));
    return o;
}

static bool print_json(const snellen_model *model, const struct kind *kinds, size_t n_kinds, const struct cost *costs,
                       const struct training *trainings, const char *hash)
{
    json_t *o = description_json(snellen_model_get_info(model), hash);
    json_t *tensors = json_array(), *memories = json_array();
    for (size_t i = 0; tensors && i < n_kinds; i++) {
        json_t *shape = json_array();
        for (int k = 0; shape && k < kinds[i].n_dims; k++)
            json_array_append_new(shape, json_integer(kinds[i].shape[k]));
        json_array_append_new(tensors, json_pack("{s:o, s:s, s:I, s:I, s:o}", "name",
                                                 cli_json_text(kinds[i].name, strlen(kinds[i].name)), "type",
                                                 kinds[i].type, "count", (json_int_t)kinds[i].n_tensors, "bytes",
                                                 (json_int_t)kinds[i].n_bytes, "shape", shape));
    }
    for (size_t i = 0; memories && i < N_COSTS; i++)
        if (costs[i].possible)
            json_array_append_new(memories, json_pack("{s:s, s:I, s:s, s:I, s:I}", "memory", costs[i].memory,
                                                      "tokens", (json_int_t)costs[i].bytes.n_seen, "cache", costs[i].cache,
                                                      "cache_bytes", (json_int_t)costs[i].bytes.cache_bytes,
                                                      "scratch_bytes", (json_int_t)costs[i].bytes.scratch_bytes));
    if (o) json_object_set_new(o, "tensors", tensors);
    if (o) json_object_set_new(o, "memories", memories);
    if (o) json_object_set_new(o, "training", trainings_json(trainings));
    return ui_json(o);
}

static int run(int argc, char **argv)
{
    struct common_opts common = common_opts_default();
    bool want_hash = false;
    int64_t batch = 2, length = 512;
    char hash[33];
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what to tell"),
        OPT_INT(0, "context", "N", &common.context, 1, CLI_MAX_TOKENS, "tokens for which full memory is priced",
                .shown = "what the model was made for"),
        OPT_INT(0, "window", "N", &common.window, 1, CLI_MAX_TOKENS, "window for which swa, sink and xl are priced",
                .shown = "the model's own, or 1024 for sink, a block for xl"),
        OPT_INT(0, "block", "B", &common.block, 1, 1 << 24, "block for which bswa, xl, fam and rmt are priced",
                .shown = "the model's own, or 1024"),
        OPT_INT(0, "segments", "M", &common.segments, 0, 65536, "blocks before it that stay",
                .shown = "the model's own, or 3"),
        OPT_INT(0, "fam", "F", &common.fam, 1, 65536, "rows of fam and rmt", .shown = "the model's own, or 64"),
        OPT_INT(0, "batch", "N", &batch, 1, 1 << 20, "sequences in memory at once, for which training is priced"),
        OPT_INT(0, "length", "N", &length, 2, CLI_MAX_TOKENS, "tokens of each of them"),
        OPT_FLAG(0, "hash", &want_hash, "also a fingerprint of weights and tokenizer; reads the whole file"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_info, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    snellen_model *model = cli_load(args[0], &status);
    if (!model) return status;
    snellen_error err;
    struct kind *kinds = NULL;
    size_t n_kinds;
    struct cost costs[N_COSTS];
    struct training trainings[N_TRAININGS];
    snellen_status failed = collect_kinds(model, &kinds, &n_kinds, &err);
    if (!failed && want_hash) failed = snellen_model_hash(model, hash, &err);
    if (!failed) {
        collect_costs(model, &common, costs);
        collect_trainings(model, batch, length, trainings);
        if (ui.json) print_json(model, kinds, n_kinds, costs, trainings, want_hash ? hash : NULL);
        else print_text(model, kinds, n_kinds, costs, trainings, want_hash ? hash : NULL);
    }
    mem_free(kinds);
    snellen_model_free(model);
    return failed ? ui_fail(&err) : 0;
}

const struct verb verb_info = {
    .name = "info",
    .summary = "architecture, tensors, and what each memory costs",
    .run = run,
    .usage = "MODEL [--context N] [options]",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen info smollm2", "snellen info ./my-model --context 32K --json" },
};
