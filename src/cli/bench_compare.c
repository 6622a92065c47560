/* bench --compare: the rows that an earlier run printed with --json, and what was different then.
 * Anything may stand in the file: every value is checked here, once, before it is used. */
#include "cli/bench.h"

#include "format/json_guard.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 64 << 20, SHOWN = 80 };

/* ---- values of the file ------------------------------------------------------------------------------------------ */

enum kind { TEXT, WHOLE, RATE, OBJECT, LIST };

static const char *const kind_names[] = {
    [TEXT] = "a text",
    [WHOLE] = "a whole number from 0 up",
    [RATE] = "a number from 1e-6 to 1e12",
    [OBJECT] = "an object {..}",
    [LIST] = "a list [..]",
};

static bool is_kind(const json_t *v, enum kind kind)
{
    switch (kind) {
    case TEXT: return json_is_string(v);
    case WHOLE: return json_is_integer(v) && json_integer_value(v) >= 0;
    case RATE: return json_number_value(v) >= 1e-6 && json_number_value(v) <= 1e12;   /* 0 of what is no number */
    case OBJECT: return json_is_object(v);
    case LIST: return json_is_array(v);
    }
    return false;
}

/* *value = o[key]; `where` stands before the key in messages. */
static snellen_status take(const json_t *o, const char *where, const char *key, enum kind kind, const json_t **value,
                           snellen_error *err)
{
    *value = json_object_get(o, key);
    FAIL_IF(!*value, SNELLEN_E_FORMAT,
            "%s%s is missing; what `snellen bench --json` printed of sessions or --train expected", where, key);
    FAIL_IF(!is_kind(*value, kind), SNELLEN_E_FORMAT, "%s%s: %s expected", where, key, kind_names[kind]);
    return SNELLEN_OK;
}

/* ---- under which conditions it was measured ---------------------------------------------------------------------- */

static const struct condition {
    const char *key;
    enum kind kind;
    bool of_machine, optional;   /* a key of "machine"; --train does without */
} conditions[] = {
    { "model", TEXT, false, false }, { "memory", TEXT, false, true },   { "cache", TEXT, false, true },
    { "cpu", TEXT, true, false },    { "threads", WHOLE, true, false }, { "isa", TEXT, true, false },
};

static const json_t *place_of(const json_t *run, const struct condition *c)
{
    return c->of_machine ? json_object_get(run, "machine") : run;
}

static snellen_status check_conditions(const json_t *run, snellen_error *err)
{
    const json_t *value;
    TRY(take(run, "", "machine", OBJECT, &value, err));
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        const struct condition *c = &conditions[i];
        const json_t *o = place_of(run, c);
        if (c->optional && !json_object_get(o, c->key)) continue;
        TRY(take(o, c->of_machine ? "machine." : "", c->key, c->kind, &value, err));
    }
    return SNELLEN_OK;
}

/* The last name of a path: the same model may lie elsewhere. */
static json_t *last_name(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start && path[start - 1] != '/') start--;
    return json_stringn(path + start, n - start);
}

/* A reference of the caller's own; NULL where the run does not say. */
static json_t *value_of(const json_t *run, const struct condition *c)
{
    const json_t *v = json_object_get(place_of(run, c), c->key);
    return v && !strcmp(c->key, "model") ? last_name(json_string_value(v)) : json_deep_copy(v);
}

/* As JSON in ASCII: whatever the file says cannot move a terminal's cursor. */
static void put_difference(const char *key, const json_t *before, const json_t *now, struct strbuf *out)
{
    char *then_text = json_dumps(before, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    char *now_text = json_dumps(now, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    if (then_text && now_text)
        strbuf_printf(out, "%s%s %.*s, now %.*s", out->n ? "; " : "", key, SHOWN, then_text, SHOWN, now_text);
    free(then_text);
    free(now_text);
}

void earlier_differences(const struct earlier *e, const json_t *now, struct strbuf *out)
{
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        json_t *then_value = value_of(e->run, &conditions[i]), *now_value = value_of(now, &conditions[i]);
        if (then_value && now_value && !json_equal(then_value, now_value))
            put_difference(conditions[i].key, then_value, now_value, out);
        json_decref(then_value);
        json_decref(now_value);
    }
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static snellen_status read_row(const json_t *o, size_t i, struct bench_row *row, snellen_error *err)
{
    char where[48];
    const json_t *test, *tokens, *depth, *median, *least, *most;
    snprintf(where, sizeof where, "results[%zu]", i);
    FAIL_IF(!json_is_object(o), SNELLEN_E_FORMAT, "%s: %s expected", where, kind_names[OBJECT]);
    strcat(where, ".");
    TRY(take(o, where, "test", TEXT, &test, err));
    TRY(take(o, where, "tokens", WHOLE, &tokens, err));
    TRY(take(o, where, "depth", WHOLE, &depth, err));
    TRY(take(o, where, "median", RATE, &median, err));
    TRY(take(o, where, "min", RATE, &least, err));
    TRY(take(o, where, "max", RATE, &most, err));
    *row = (struct bench_row){ .test = json_string_value(test), .tokens = json_integer_value(tokens),
                               .depth = json_integer_value(depth), .median = json_number_value(median),
                               .least = json_number_value(least), .most = json_number_value(most) };
    FAIL_IF(row->median < row->least || row->median > row->most, SNELLEN_E_FORMAT,
            "%smedian: a number from min to max expected", where);
    return SNELLEN_OK;
}

static snellen_status read_run(struct earlier *e, snellen_error *err)
{
    const json_t *results;
    TRY(check_conditions(e->run, err));
    TRY(take(e->run, "", "results", LIST, &results, err));
    size_t n = json_array_size(results);
    TRY(NEW_ARRAY(&e->rows, MAX(n, 1), "rows", err));
    for (; e->n_rows < n; e->n_rows++)
        TRY(read_row(json_array_get(results, e->n_rows), e->n_rows, &e->rows[e->n_rows], err));
    return SNELLEN_OK;
}

snellen_status earlier_parse(const char *text, size_t n, const char *name, struct earlier *e, snellen_error *err)
{
    *e = (struct earlier){ 0 };
    TRY(json_parse_object(text, n, name, &e->run, err));
    snellen_status status = read_run(e, err);
    if (!status) return status;
    earlier_free(e);
    return error_prefix(err, status, "%s", name);
}

snellen_status earlier_read(const char *path, struct earlier *e, snellen_error *err)
{
    char *text;
    size_t n;
    TRY(file_read(path, MOST_BYTES, &text, &n, err));
    snellen_status status = earlier_parse(text, n, path, e, err);
    mem_free(text);
    return status;
}

const struct bench_row *earlier_find(const struct earlier *e, const struct bench_row *row)
{
    for (size_t i = 0; i < e->n_rows; i++) {
        const struct bench_row *r = &e->rows[i];
        if (!strcmp(r->test, row->test) && r->tokens == row->tokens && r->depth == row->depth) return r;
    }
    return NULL;
}

void earlier_free(struct earlier *e)
{
    json_decref(e->run);
    mem_free(e->rows);
    *e = (struct earlier){ 0 };
}
