/* jsonl: an object a line. The file stays mapped; an index holds where each line begins. */
#include "train/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct jsonl {
    struct source source;       /* first: the two share their address */
    struct data_options options;
    char *path, *end;
    struct file_map map;
    uint64_t *lines;            /* [n_lines] offsets of the lines that are not blank */
    uint64_t n_lines, room;
    uint64_t drawn;             /* samples given and lines skipped so far */
};

/* ---- the index --------------------------------------------------------------------------------------------------- */

static const char *text_at(const struct jsonl *j, uint64_t offset)
{
    return (const char *)j->map.data + offset;
}

static uint64_t line_end(const struct jsonl *j, uint64_t at)
{
    const char *newline = memchr(text_at(j, at), '\n', j->map.size - at);
    return newline ? (uint64_t)(newline - text_at(j, 0)) : j->map.size;
}

static bool is_blank(const char *text, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i]) return false;
    return true;
}

static snellen_status index_lines(struct jsonl *j, snellen_error *err)
{
    for (uint64_t at = 0, end; at < j->map.size; at = end + 1) {
        end = line_end(j, at);
        if (is_blank(text_at(j, at), end - at)) continue;
        if (j->n_lines == j->room) {
            uint64_t room = MAX(2 * j->room, 1024), *more = realloc(j->lines, room * sizeof *more);
            FAIL_IF(!more, SNELLEN_E_MEMORY, "%s: index of %" PRIu64 " lines: memory ran out", j->path, room);
            j->lines = more;
            j->room = room;
        }
        j->lines[j->n_lines++] = at;
    }
    FAIL_IF(!j->n_lines, SNELLEN_E_FORMAT, "%s: has no lines, a JSON object a line expected", j->path);
    return SNELLEN_OK;
}

/* ---- one line ---------------------------------------------------------------------------------------------------- */

static snellen_status add_text(const struct jsonl *j, struct sample *s, const char *text, size_t n, float weight,
                               snellen_error *err)
{
    int32_t *ids;
    size_t n_ids;
    FAIL_IF(!j->options.tokenizer, SNELLEN_E_UNSUPPORTED, "%s; samples of the form {\"tokens\": [..]} expected",
            j->options.no_tokenizer);
    TRY(tokenizer_encode(j->options.tokenizer, text, n, SNELLEN_SPECIAL, &ids, &n_ids, err));
    snellen_status status = sample_add(s, ids, n_ids, weight, err);
    snellen_free(ids);
    return status;
}

static snellen_status add_string(const struct jsonl *j, struct sample *s, const json_t *line, const char *key,
                                 float weight, snellen_error *err)
{
    const json_t *text = json_object_get(line, key);
    FAIL_IF(!json_is_string(text), SNELLEN_E_FORMAT, "\"%s\" is missing or no string", key);
    return add_text(j, s, json_string_value(text), json_string_length(text), weight, err);
}

static snellen_status add_begin(const struct jsonl *j, struct sample *s, snellen_error *err)
{
    bool wanted = false;
    int32_t bos = j->options.tokenizer ? tokenizer_bos(j->options.tokenizer, &wanted) : -1;
    return wanted && bos >= 0 ? sample_add(s, &bos, 1, 0, err) : SNELLEN_OK;
}

static snellen_status add_tokens(const struct jsonl *j, struct sample *s, const json_t *line, snellen_error *err)
{
    const json_t *tokens = json_object_get(line, "tokens"), *weights = json_object_get(line, "weights");
    FAIL_IF(!json_is_array(tokens), SNELLEN_E_FORMAT, "\"tokens\" is no list");
    FAIL_IF(weights && json_array_size(weights) != json_array_size(tokens), SNELLEN_E_FORMAT,
            "\"weights\" has %zu entries and \"tokens\" %zu, one for each expected", json_array_size(weights),
            json_array_size(tokens));
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *token = json_array_get(tokens, i), *weight = weights ? json_array_get(weights, i) : NULL;
        json_int_t id = json_is_integer(token) ? json_integer_value(token) : -1;
        double value = !weights ? 1 : json_is_number(weight) ? json_number_value(weight) : -1;
        FAIL_IF(id < 0 || id >= j->options.n_vocab, SNELLEN_E_FORMAT,
                "entry %zu of \"tokens\" is no token, 0 to %" PRId64 " expected", i, j->options.n_vocab - 1);
        FAIL_IF(!(value >= 0 && value <= 1e6), SNELLEN_E_FORMAT,
                "entry %zu of \"weights\" is no weight, a number from 0 to 1e6 expected", i);
        TRY(sample_add(s, &(int32_t){(int32_t)id}, 1, (float)value, err));
    }
    return SNELLEN_OK;
}

static snellen_status add_line(const struct jsonl *j, struct sample *s, const json_t *line, snellen_error *err)
{
    static const char expected[] = "{\"text\"}, {\"prompt\", \"completion\"} or {\"tokens\", \"weights\"} expected";
    FAIL_IF(!json_is_object(line), SNELLEN_E_FORMAT, "no JSON object; %s", expected);
    bool text = json_object_get(line, "text"), tokens = json_object_get(line, "tokens");
    bool pair = json_object_get(line, "prompt") || json_object_get(line, "completion");
    FAIL_IF(text + tokens + pair != 1, SNELLEN_E_FORMAT, "%s found; %s",
            text || tokens || pair ? "keys of several forms" : "no key of a known form", expected);
    FAIL_IF(json_object_get(line, "weights") && !tokens, SNELLEN_E_FORMAT, "\"weights\" without \"tokens\"; %s",
            expected);
    if (tokens) return add_tokens(j, s, line, err);
    TRY(add_begin(j, s, err));
    if (pair) TRY(add_string(j, s, line, "prompt", 0, err));
    TRY(add_string(j, s, line, text ? "text" : "completion", 1, err));
    return j->end[0] ? add_text(j, s, j->end, strlen(j->end), 1, err) : SNELLEN_OK;
}

static snellen_status check_sample(const struct jsonl *j, struct sample *s, snellen_error *err)
{
    if (j->options.cut && s->n > (size_t)j->options.length) s->n = (size_t)j->options.length;
    FAIL_IF(s->n > (size_t)j->options.n_context, SNELLEN_E_CONTEXT,
            "%zu tokens, the model has %" PRId64 " positions; shorten it, or let data.cut: true cut it at data.length",
            s->n, j->options.n_context);
    FAIL_IF(s->n > (size_t)j->options.length, SNELLEN_E_CONTEXT,
            "%zu tokens, data.length%s allows %" PRId64 "; raise it, or let data.cut: true cut what is longer", s->n,
            j->options.held_back ? " less data.repeat and its prompt" : "", j->options.length);
    double weight = 0;
    for (size_t t = 1; t < s->n; t++) weight += (double)s->weights[t];
    FAIL_IF(weight <= 0 && !j->options.cut, SNELLEN_E_FORMAT,
            "nothing to learn: at least 2 tokens expected, and a weight above 0 past the first");
    return SNELLEN_OK;
}

static snellen_status read_line(const struct jsonl *j, uint64_t at, struct sample *s, uint64_t *column,
                                snellen_error *err)
{
    json_error_t where;
    json_t *line = json_loadb(text_at(j, at), line_end(j, at) - at, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
    *column = 0;
    s->n = 0;
    if (!line) {
        *column = (uint64_t)MAX(where.position, 1);
        FAIL(SNELLEN_E_FORMAT, "no JSON: %s", where.text);
    }
    snellen_status status = add_line(j, s, line, err);
    json_decref(line);
    return status ? status : check_sample(j, s, err);
}

/* Only asked for messages: lines are counted then. */
static uint64_t line_number(const struct jsonl *j, uint64_t offset)
{
    uint64_t number = 1;
    for (uint64_t at = 0; (at = line_end(j, at) + 1) <= offset;) number++;
    return number;
}

/* ---- the source -------------------------------------------------------------------------------------------------- */

static snellen_status jsonl_next(struct source *source, struct sample *s, snellen_error *err)
{
    struct jsonl *j = (struct jsonl *)source;
    for (uint64_t bad = 0;; bad++) {
        /* From the end of one pass into the next, all but one line may be bad and come up twice. */
        FAIL_IF(bad / 2 >= j->n_lines, SNELLEN_E_FORMAT, "%s: no line is good", j->path);
        uint64_t i = j->drawn++, column;
        uint64_t at = j->lines[j->options.shuffle ? order_at(j->n_lines, i, j->options.seed) : i % j->n_lines];
        snellen_status status = read_line(j, at, s, &column, err);
        if (!status) return status;
        if (status == SNELLEN_E_FORMAT && j->options.skip_bad_lines) {
            source->skipped++;
            continue;
        }
        uint64_t number = line_number(j, at);
        if (column) return error_prefix(err, status, "%s:%" PRIu64 ":%" PRIu64, j->path, number, column);
        return error_prefix(err, status, "%s:%" PRIu64, j->path, number);
    }
}

static json_t *jsonl_position(const struct source *source)
{
    const struct jsonl *j = (const struct jsonl *)source;
    return json_pack("{s:I, s:I, s:I}", "drawn", (json_int_t)j->drawn, "skipped", (json_int_t)source->skipped, "bytes",
                     (json_int_t)j->map.size);
}

static snellen_status jsonl_seek(struct source *source, const json_t *position, snellen_error *err)
{
    struct jsonl *j = (struct jsonl *)source;
    json_int_t drawn, skipped, bytes;
    FAIL_IF(json_unpack((json_t *)(uintptr_t)position, "{s:I, s:I, s:I}", "drawn", &drawn, "skipped", &skipped, "bytes",
                        &bytes) || drawn < 0 || skipped < 0,
            SNELLEN_E_FORMAT, "%s: the checkpoint's place in the data is of another kind", j->path);
    FAIL_IF((uint64_t)bytes != j->map.size, SNELLEN_E_FORMAT,
            "%s: has %" PRIu64 " bytes, it had %lld when the checkpoint was written", j->path, j->map.size,
            (long long)bytes);
    j->drawn = (uint64_t)drawn;
    source->skipped = (uint64_t)skipped;
    return SNELLEN_OK;
}

static void jsonl_free(struct source *source)
{
    struct jsonl *j = (struct jsonl *)source;
    file_map_close(&j->map);
    free(j->lines);
    free(j->path);
    free(j->end);
    free(j);
}

snellen_status jsonl_open(const struct data_options *options, struct source **out, snellen_error *err)
{
    struct jsonl *j = calloc(1, sizeof *j);
    FAIL_IF(!j, SNELLEN_E_MEMORY, "%s: memory ran out", options->jsonl);
    j->source = (struct source){jsonl_next, jsonl_position, jsonl_seek, jsonl_free, options->length, 0, 0, NULL};
    j->options = *options;
    j->path = strdup(options->jsonl);
    j->end = strdup(options->end ? options->end : "");
    snellen_status status = SNELLEN_OK;
    if (!j->path || !j->end) status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", options->jsonl);
    if (!status) status = file_map_open(&j->map, options->jsonl, err);
    if (!status) status = index_lines(j, err);
    j->source.n = j->n_lines;
    if (status) jsonl_free(&j->source);
    else *out = &j->source;
    return status;
}
