/* Study files: YAML to settings and back, by the table of keys. libfyaml reads the YAML; here is what it means. */
#include "train/keys.h"
#include "train/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KEYS = 128, NAME_BYTES = 128, FILE_BYTES = 1 << 20 };

struct reader {
    struct settings *settings;
    const char *name;               /* of the file; NULL while an override is read */
    const char *override;           /* its text, or NULL */
    bool given[MOST_KEYS];
    bool lora;                      /* train.lora is there, with its rank or without */
};

/* ---- where something stands -------------------------------------------------------------------------------------- */

/* "study.yaml:3:7: train.lr" or "train.lr=abc" */
static void place_of(const struct reader *r, struct fy_node *node, const char *key, char out[512])
{
    const struct fy_mark *mark = NULL;
    if (fy_node_is_scalar(node)) mark = fy_token_start_mark(fy_node_get_scalar_token(node));
    if (r->override) snprintf(out, 512, "%.300s", r->override);
    else if (mark) snprintf(out, 512, "%.250s:%d:%d: %.120s", r->name, mark->line + 1, mark->column + 1, key);
    else snprintf(out, 512, "%.250s: %.120s", r->name, key);
}

static snellen_status wrong(const struct reader *r, struct fy_node *node, const char *key, snellen_error *err,
                            const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static snellen_status wrong(const struct reader *r, struct fy_node *node, const char *key, snellen_error *err,
                            const char *fmt, ...)
{
    char place[512], what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    place_of(r, node, key, place);
    FAIL(SNELLEN_E_USAGE, "%s: %s", place, what);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* A number: digits, for whole ones with K, M or G behind them (1024, 1024^2, 1024^3). */
static bool parse_number(const char *text, size_t n, bool whole, double *out)
{
    char copy[64], *end;
    if (n == 0 || n >= sizeof copy || strspn(text, "+-.0123456789eE") == 0) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    errno = 0;
    *out = strtod(copy, &end);
    double unit = 1;
    for (const char *u = "KMG"; whole && *u && *end; u++) {
        unit *= 1024;
        if (*end == *u && !end[1]) *out *= unit, end++;
    }
    bool plain = strcspn(copy, "xXpPnN") == n;   /* no hexadecimal, no nan, no inf */
    return !errno && end != copy && !*end && plain &&
           (!whole || (*out >= -0x1p62 && *out <= 0x1p62 && *out == (double)(int64_t)*out));
}

static snellen_status read_number(const struct reader *r, const struct key *key, struct fy_node *node, bool whole,
                                  double *out, snellen_error *err)
{
    size_t n = 0;
    const char *text = fy_node_get_scalar(node, &n);
    if (text && parse_number(text, n, whole, out) && *out >= key->low && *out <= key->high) return SNELLEN_OK;
    return wrong(r, node, key->name, err, "'%.*s' found, a %s from %.16g to %.16g expected",
                 text ? (int)MIN(n, (size_t)60) : 0, text ? text : "", whole ? "whole number" : "number", key->low,
                 key->high);
}

static bool is_word(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && !memcmp(text, word, n);
}

static bool in_choices(const char *choices, const char *text, size_t n)
{
    for (const char *c = choices; *c; c += strcspn(c, " "), c += strspn(c, " "))
        if (strcspn(c, " ") == n && !memcmp(c, text, n)) return true;
    return n == 0;   /* '' = not given */
}

static snellen_status read_text(const struct reader *r, const struct key *key, struct fy_node *node, void *field,
                                snellen_error *err)
{
    size_t n = 0;
    const char *text = fy_node_get_scalar(node, &n);
    if (!text) text = "";
    if (memchr(text, 0, n)) return wrong(r, node, key->name, err, "a zero byte found, text expected");
    if (key->kind == KEY_CHOICE && !in_choices(key->choices, text, n))
        return wrong(r, node, key->name, err, "'%.*s' found, one of %s expected", (int)MIN(n, (size_t)60), text,
                     key->choices);
    char *copy = arena_text(&r->settings->arena, text, n);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "settings: memory ran out");
    memcpy(field, &copy, sizeof copy);
    return SNELLEN_OK;
}

/* Numbers in brackets; a single one needs none. */
static snellen_status read_row(const struct reader *r, const struct key *key, struct fy_node *node, void *field,
                               snellen_error *err)
{
    bool list = fy_node_is_sequence(node), pair = key->kind == KEY_PAIR;
    int n = list ? fy_node_sequence_item_count(node) : 1;
    if (pair ? n != 2 : n < 1)
        return wrong(r, node, key->name, err, "%d entries found, %s expected", n, pair ? "two" : "at least one");
    int64_t *row = arena_alloc(&r->settings->arena, (size_t)n * sizeof *row);
    FAIL_IF(!row, SNELLEN_E_MEMORY, "settings: memory ran out");
    for (int i = 0; i < n; i++) {
        struct fy_node *item = list ? fy_node_sequence_get_by_index(node, i) : node;
        double value;
        if (!fy_node_is_scalar(item)) return wrong(r, node, key->name, err, "entry %d is no number", i + 1);
        TRY(read_number(r, key, item, !pair, &value, err));
        if (pair) ((double *)field)[i] = value;
        else row[i] = (int64_t)value;
    }
    if (!pair) *(struct int_row *)field = (struct int_row){row, (size_t)n};
    return SNELLEN_OK;
}

static snellen_status read_value(const struct reader *r, const struct key *key, struct fy_node *node,
                                 snellen_error *err)
{
    void *field = (char *)r->settings + key->offset;
    double value;
    size_t n = 0;
    if (key->kind == KEY_PAIR || key->kind == KEY_INTS) return read_row(r, key, node, field, err);
    if (!fy_node_is_scalar(node)) return wrong(r, node, key->name, err, "a list or mapping found, one value expected");
    if (fy_node_is_alias(node)) return wrong(r, node, key->name, err, "an alias found, a value expected");
    const char *text = fy_node_get_scalar(node, &n);
    switch (key->kind) {
    case KEY_INT:
        TRY(read_number(r, key, node, true, &value, err));
        *(int64_t *)field = (int64_t)value;
        return SNELLEN_OK;
    case KEY_REAL: return read_number(r, key, node, false, field, err);
    case KEY_BOOL:
        if (!text || (!is_word(text, n, "true") && !is_word(text, n, "false")))
            return wrong(r, node, key->name, err, "'%.*s' found, true or false expected",
                         text ? (int)MIN(n, (size_t)60) : 0, text ? text : "");
        *(bool *)field = is_word(text, n, "true");
        return SNELLEN_OK;
    default: return read_text(r, key, node, field, err);
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const struct key *key_named(const char *name)
{
    for (size_t i = 0; i < n_keys; i++)
        if (!strcmp(keys[i].name, name)) return &keys[i];
    return NULL;
}

static bool is_section(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n_keys; i++)
        if (!strncmp(keys[i].name, name, n) && (keys[i].name[n] == '.' || !n)) return true;
    return false;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* "lr" is meant as train.lr, "train.learning" as nothing. */
static const char *nearest_key(const char *name)
{
    static const char *const sections[] = {"model", "memory", "data", "train", "eval"};
    const char *names[MOST_KEYS];
    for (size_t i = 0; i < n_keys; i++)
        if (!strcmp(last_part(keys[i].name), last_part(name))) return keys[i].name;
    for (size_t i = 0; i < n_keys; i++) names[i] = keys[i].name;
    const char *section = text_nearest(name, sections, COUNT_OF(sections));
    return section ? section : text_nearest(name, names, n_keys);
}

static snellen_status unknown_key(const struct reader *r, struct fy_node *node, const char *name, snellen_error *err)
{
    const char *near = nearest_key(name);
    if (near) return wrong(r, node, name, err, "there is no key '%s'; did you mean %s?", name, near);
    return wrong(r, node, name, err, "there is no key '%s' (snellen train --keys lists all)", name);
}

static snellen_status read_node(struct reader *r, const char *name, struct fy_node *node, snellen_error *err);

static snellen_status read_mapping(struct reader *r, const char *name, struct fy_node *mapping, snellen_error *err)
{
    struct fy_node_pair *pair;
    void *at = NULL;
    while ((pair = fy_node_mapping_iterate(mapping, &at))) {
        size_t n = 0;
        struct fy_node *key = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        const char *text = key && fy_node_is_scalar(key) ? fy_node_get_scalar(key, &n) : NULL;
        char full[NAME_BYTES];
        int length =
            text ? snprintf(full, sizeof full, "%s%s%.*s", name, *name ? "." : "", (int)MIN(n, 1000), text) : -1;
        if (length < 0 || length >= NAME_BYTES) return wrong(r, mapping, name, err, "a key that is no name found");
        const struct key *known = key_named(full);
        /* The place of an unknown key is its own, not that of its value. */
        if (!known && !is_section(full)) return unknown_key(r, key, full, err);
        if (value) TRY(read_node(r, full, value, err));
    }
    return SNELLEN_OK;
}

static snellen_status read_node(struct reader *r, const char *name, struct fy_node *node, snellen_error *err)
{
    const struct key *key = key_named(name);
    if (!key && !is_section(name)) return unknown_key(r, node, name, err);
    r->lora |= !strncmp(name, "train.lora", strlen("train.lora"));
    if (!key && fy_node_is_mapping(node)) return read_mapping(r, name, node, err);
    if (fy_node_is_null(node)) return SNELLEN_OK;   /* "eval:" with nothing behind it */
    if (!key) return wrong(r, node, name, err, "a value found, keys below it expected");
    r->given[key - keys] = true;
    return read_value(r, key, node, err);
}

/* ---- YAML -------------------------------------------------------------------------------------------------------- */

/* Reads a document as the value of the key or section `name` ("" = the whole file). */
static snellen_status read_yaml(struct reader *r, const char *name, const char *text, size_t n, snellen_error *err)
{
    struct fy_document *document;
    TRY(yaml_parse(r->override ? r->override : r->name, !r->override, text, n, &document, err));
    struct fy_node *root = fy_document_root(document);
    snellen_status status = SNELLEN_OK;
    if (root && !*name && !fy_node_is_mapping(root) && !fy_node_is_null(root))
        status = error_set(err, SNELLEN_E_USAGE, "%s: keys and values expected, such as `train: {lr: 1e-3}`", r->name);
    else if (root && !*name && fy_node_is_mapping(root)) status = read_mapping(r, "", root, err);
    else if (root && *name) status = read_node(r, name, root, err);
    fy_document_destroy(document);
    return status;
}

static snellen_status read_override(struct reader *r, const char *text, snellen_error *err)
{
    const char *equals = strchr(text, '=');
    char name[NAME_BYTES];
    FAIL_IF(!equals || equals == text || equals - text >= NAME_BYTES, SNELLEN_E_USAGE,
            "'%.100s' found, key=value expected", text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    r->override = text;
    /* An empty value is an empty text. */
    const char *value = equals[1] ? equals + 1 : "''";
    snellen_status status = read_yaml(r, name, value, strlen(value), err);
    r->override = NULL;
    return status;
}

static snellen_status set_defaults(struct reader *r, snellen_error *err)
{
    for (size_t i = 0; i < n_keys; i++)
        TRY(read_yaml(r, keys[i].name, keys[i].fallback, strlen(keys[i].fallback), err));
    memset(r->given, 0, sizeof r->given);
    r->lora = false;
    return SNELLEN_OK;
}

/* train.lora without a rank, where factors are possible at all. */
static void default_rank(struct reader *r)
{
    enum { LORA_RANK = 64 };
    const struct key *rank = key_named("train.lora.rank");
    if (!r->lora || r->given[rank - keys] || !*r->settings->model.from) return;
    r->settings->train.lora.rank = LORA_RANK;
    r->given[rank - keys] = true;
}

/* ---- settings that contradict each other ------------------------------------------------------------------------- */

static void write_value(const struct settings *s, const struct key *key, struct strbuf *out);

/* Does the condition "key" (it was given, and not as nothing) or "key=value" hold? */
static bool holds(const struct reader *r, const char *condition, size_t n)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)n, condition);
    char *equals = strchr(name, '=');
    if (equals) *equals = 0;
    const struct key *key = key_named(name);
    struct strbuf value = {0};
    if (equals && key->kind == KEY_TEXT)   /* as it is, without quotes */
        strbuf_puts(&value, *(const char *const *)((const char *)r->settings + key->offset));
    else write_value(r->settings, key, &value);
    bool nothing = !value.text || !strcmp(value.text, "''") || !strcmp(value.text, "0");
    bool yes = equals ? value.text && !strcmp(value.text, equals + 1) : !nothing;
    strbuf_free(&value);
    return yes;
}

static bool means_something(const struct reader *r, const struct key *key)
{
    if (!key->when) return true;
    for (const char *c = key->when; *c; c += strcspn(c, " "), c += strspn(c, " "))
        if (holds(r, c, strcspn(c, " "))) return true;
    return false;
}

static snellen_status check_memory(const struct reader *r, snellen_error *err)
{
    const struct settings *s = r->settings;
    bool rows = !strcmp(s->memory.kind, "fam") || !strcmp(s->memory.kind, "rmt");
    bool blocks = rows || !strcmp(s->memory.kind, "bswa") || !strcmp(s->memory.kind, "xl");
    bool window = !strcmp(s->memory.kind, "swa") || !strcmp(s->memory.kind, "xl");
    FAIL_IF(blocks && !s->memory.block, SNELLEN_E_USAGE, "%s: memory.kind %s needs memory.block", r->name,
            s->memory.kind);
    FAIL_IF(rows && s->memory.fam > s->memory.block, SNELLEN_E_USAGE,
            "%s: memory.fam %lld is more than memory.block %lld", r->name, (long long)s->memory.fam,
            (long long)s->memory.block);
    FAIL_IF(window && !s->memory.window, SNELLEN_E_USAGE, "%s: memory.kind %s needs memory.window", r->name,
            s->memory.kind);
    FAIL_IF(rows && s->train.position_jumps, SNELLEN_E_USAGE,
            "%s: train.position_jumps: positions cannot skip beside memory.kind %s, whose rows have places of their "
            "own", r->name, s->memory.kind);
    FAIL_IF(!rows && (!strcmp(s->eval.memory, "fam") || !strcmp(s->eval.memory, "rmt")), SNELLEN_E_USAGE,
            "%s: eval.memory %s begins with learned rows, which only memory.kind fam or rmt trains", r->name,
            s->eval.memory);
    return SNELLEN_OK;
}

static snellen_status check(const struct reader *r, snellen_error *err)
{
    const struct settings *s = r->settings;
    for (size_t i = 0; i < n_keys; i++)
        FAIL_IF(r->given[i] && !means_something(r, &keys[i]), SNELLEN_E_USAGE,
                "%s: %s means nothing here: it goes with %s", r->name, keys[i].name, keys[i].when);
    FAIL_IF(!*s->model.from + !*s->model.arch != 1, SNELLEN_E_USAGE,
            "%s: one of model.from and model.arch expected, %s found", r->name, *s->model.from ? "both" : "none");
    int n_data = !!*s->data.jsonl + !!*s->data.text + !!*s->data.task;
    FAIL_IF(n_data != 1, SNELLEN_E_USAGE, "%s: one of data.jsonl, data.text and data.task expected, %d of them found",
            r->name, n_data);
    FAIL_IF(*s->data.task && s->data.lengths.n != 2, SNELLEN_E_USAGE,
            "%s: data.lengths are the shortest and the longest: [1, 20]", r->name);
    FAIL_IF(*s->data.mix.task && s->data.mix.lengths.n != 2, SNELLEN_E_USAGE,
            "%s: data.mix.lengths are the shortest and the longest: [1, 20]", r->name);
    FAIL_IF(*s->eval.jsonl && *s->eval.text, SNELLEN_E_USAGE,
            "%s: one of eval.jsonl and eval.text expected, both found", r->name);
    FAIL_IF(s->eval.exact && (*s->eval.jsonl || *s->eval.text), SNELLEN_E_USAGE,
            "%s: one of eval.exact, eval.jsonl and eval.text expected, several found", r->name);
    FAIL_IF(s->train.warmup > s->train.steps, SNELLEN_E_USAGE, "%s: train.warmup is %lld, train.steps only %lld",
            r->name, (long long)s->train.warmup, (long long)s->train.steps);
    FAIL_IF(s->train.micro_batch && s->train.batch % s->train.micro_batch, SNELLEN_E_USAGE,
            "%s: train.batch %lld is no multiple of train.micro_batch %lld", r->name, (long long)s->train.batch,
            (long long)s->train.micro_batch);
    for (size_t i = 0; i < s->seeds.n; i++)
        for (size_t k = 0; k < i; k++)
            FAIL_IF(s->seeds.v[i] == s->seeds.v[k], SNELLEN_E_USAGE, "%s: seeds has %lld twice", r->name,
                    (long long)s->seeds.v[i]);
    return check_memory(r, err);
}

snellen_status settings_parse(const char *text, size_t n_text, const char *name, const char *const *overrides, size_t n,
                              struct settings *out, snellen_error *err)
{
    struct reader r = {.settings = out, .name = name};
    *out = (struct settings){.arena = {0}};
    snellen_status status = set_defaults(&r, err);
    if (!status) status = read_yaml(&r, "", text, n_text, err);
    for (size_t i = 0; i < n && !status; i++) status = read_override(&r, overrides[i], err);
    if (!status) default_rank(&r);
    if (!status) status = check(&r, err);
    if (status) settings_free(out);
    return status;
}

snellen_status settings_read(const char *path, const char *const *overrides, size_t n, struct settings *out,
                             snellen_error *err)
{
    char *text;
    size_t n_text;
    TRY(file_read(path, FILE_BYTES, &text, &n_text, err));
    snellen_status status = settings_parse(text, n_text, path, overrides, n, out, err);
    mem_free(text);
    return status;
}

void settings_free(struct settings *s)
{
    arena_free(&s->arena);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* A text in single quotes, where a quote is written twice; with control characters in double ones. */
static void write_text(const char *text, struct strbuf *out)
{
    bool plain = true;
    for (const char *c = text; *c; c++) plain &= (unsigned char)*c >= ' ' && *c != 127;
    strbuf_puts(out, plain ? "'" : "\"");
    for (const char *c = text; *c; c++) {
        if (plain && *c == '\'') strbuf_puts(out, "''");
        else if (plain || ((unsigned char)*c >= ' ' && *c != 127 && *c != '"' && *c != '\\')) strbuf_put(out, c, 1);
        else strbuf_printf(out, "\\x%02x", (unsigned char)*c);
    }
    strbuf_puts(out, plain ? "'" : "\"");
}

/* As few digits as read back to the same number. */
static void write_real(double value, struct strbuf *out)
{
    char text[40];
    int digits = 6;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && ++digits <= 17);
    strbuf_puts(out, text);
}

static void write_pair(const double *pair, struct strbuf *out)
{
    strbuf_puts(out, "[");
    write_real(pair[0], out);
    strbuf_puts(out, ", ");
    write_real(pair[1], out);
    strbuf_puts(out, "]");
}

static void write_value(const struct settings *s, const struct key *key, struct strbuf *out)
{
    const void *field = (const char *)s + key->offset;
    const double *reals = field;
    const struct int_row *row = field;
    switch (key->kind) {
    case KEY_INT: strbuf_printf(out, "%lld", (long long)*(const int64_t *)field); break;
    case KEY_REAL: write_real(*reals, out); break;
    case KEY_BOOL: strbuf_puts(out, *(const bool *)field ? "true" : "false"); break;
    case KEY_PAIR: write_pair(reals, out); break;
    case KEY_CHOICE: strbuf_puts(out, **(const char *const *)field ? *(const char *const *)field : "''"); break;
    case KEY_TEXT: write_text(*(const char *const *)field, out); break;
    case KEY_INTS:
        for (size_t i = 0; i < row->n; i++) strbuf_printf(out, "%s%lld", i ? ", " : "[", (long long)row->v[i]);
        strbuf_puts(out, "]");
    }
}

/* The table lists a section's keys together, those of its sections last. */
void settings_write(const struct settings *s, struct strbuf *out)
{
    const char *before = "";
    for (size_t i = 0; i < n_keys; i++) {
        const struct reader r = {.settings = (struct settings *)(uintptr_t)s};
        const char *name = keys[i].name;
        if (!means_something(&r, &keys[i])) continue;
        size_t same = 0, depth = 0;
        for (size_t k = 0; name[k] && name[k] == before[k]; k++)
            if (name[k] == '.') same = k + 1, depth++;
        for (const char *dot; (dot = strchr(name + same, '.')); same = (size_t)(dot - name) + 1, depth++)
            strbuf_printf(out, "%*s%.*s:\n", (int)(2 * depth), "", (int)(dot - name - (ptrdiff_t)same), name + same);
        strbuf_printf(out, "%*s%s: ", (int)(2 * depth), "", name + same);
        write_value(s, &keys[i], out);
        strbuf_puts(out, "\n");
        before = name;
    }
}

void settings_write_asking(const struct settings *s, struct strbuf *out)
{
    const struct reader r = {.settings = (struct settings *)(uintptr_t)s};
    for (size_t i = 0; i < n_keys; i++) {
        if (!keys[i].asks || !means_something(&r, &keys[i])) continue;
        strbuf_printf(out, "%s%s=", out->n ? " " : "", keys[i].name);
        write_value(s, &keys[i], out);
    }
}

snellen_status settings_same_run(const struct settings *now, const struct settings *before, snellen_error *err)
{
    for (size_t i = 0; i < n_keys; i++) {
        struct strbuf a = {0}, b = {0};
        if (keys[i].may_change || (keys[i].asks && !now->eval.exact)) continue;
        write_value(now, &keys[i], &a);
        write_value(before, &keys[i], &b);
        snellen_status status = SNELLEN_OK;
        if (a.failed || b.failed) status = error_set(err, SNELLEN_E_MEMORY, "settings: memory ran out");
        else if (strcmp(a.text, b.text))
            status = error_set(err, SNELLEN_E_USAGE,
                               "%s is %.200s, the run that is to go on had %.200s; the same expected, or a new folder",
                               keys[i].name, a.text, b.text);
        strbuf_free(&a);
        strbuf_free(&b);
        TRY(status);
    }
    return SNELLEN_OK;
}

/* ---- the manual -------------------------------------------------------------------------------------------------- */

/* Words of a list with what stands between two of them and around each. */
static void write_words(const char *words, const char *between, const char *around, struct strbuf *out)
{
    for (const char *c = words; *c; c += strspn(c, " ")) {
        size_t n = strcspn(c, " ");
        strbuf_puts(out, c == words ? around : between);
        if (c != words) strbuf_puts(out, around);
        strbuf_put(out, c, n);
        strbuf_puts(out, around);
        c += n;
    }
}

static void write_range(const struct key *key, struct strbuf *out)
{
    static const char *const kinds[] = {
        [KEY_TEXT] = "text",   [KEY_BOOL] = "true, false", [KEY_INT] = "whole number",
        [KEY_REAL] = "number", [KEY_PAIR] = "two numbers", [KEY_INTS] = "whole numbers"};
    if (key->kind == KEY_CHOICE && key->choices)
        write_words(key->choices, ", ", "", out);
    else if (key->kind == KEY_TEXT || key->kind == KEY_BOOL) strbuf_puts(out, kinds[key->kind]);
    else strbuf_printf(out, "%s, %.7g to %.16g", kinds[key->kind], key->low, key->high);
}

void settings_manual(struct strbuf *out)
{
    strbuf_puts(out, "| key | values | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n_keys; i++) {
        const struct key *key = &keys[i];
        strbuf_printf(out, "| `%s` | ", key->name);
        write_range(key, out);
        strbuf_printf(out, " | `%s` | %s", key->fallback, key->help);
        if (key->when) {
            strbuf_puts(out, " (with ");
            write_words(key->when, " or ", "`", out);
            strbuf_puts(out, ")");
        }
        strbuf_puts(out, " |\n");
    }
}
