/* The tokenizer of a Hugging Face folder: tokenizer.json (BPE and WordLevel models), with what tokenizer_config.json,
 * chat_template.jinja, generation_config.json and config.json say of special tokens and of the chat template. */
#include "format/json_guard.h"
#include "tokenize/hf.h"

#include <string.h>

enum { LARGEST_FILE = 256 << 20, LARGEST_SIDE_FILE = 16 << 20 };

struct reader {
    const char *file;
    struct tokenizer *t;
    const json_t *root, *model;
    struct hf_spelling spelling;
};

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Room for all ids. Holes between ids are allowed, but the ids must be of the size of the file. */
static snellen_status count_tokens(const struct reader *r, uint64_t *n, snellen_error *err)
{
    json_t *vocab = json_object_get(r->model, "vocab"), *added = json_object_get(r->root, "added_tokens"), *value;
    FAIL_IF(!json_is_object(vocab), SNELLEN_E_FORMAT, "%s: 'vocab' of the model: an object expected", r->file);
    FAIL_IF(added && !json_is_array(added), SNELLEN_E_FORMAT, "%s: 'added_tokens': a list expected", r->file);
    json_int_t last = -1, count = (json_int_t)(json_object_size(vocab) + json_array_size(added));
    for (size_t i = 0; i < json_array_size(added); i++) {
        value = json_object_get(json_array_get(added, i), "id");
        FAIL_IF(!json_is_integer(value), SNELLEN_E_FORMAT, "%s: added token %zu: an 'id' expected", r->file, i);
        last = MAX(last, json_integer_value(value));
    }
    const char *text;
    json_object_foreach(vocab, text, value) {
        FAIL_IF(!json_is_integer(value), SNELLEN_E_FORMAT, "%s: 'vocab': ids that are whole numbers expected", r->file);
        last = MAX(last, json_integer_value(value));
    }
    FAIL_IF(last >= 4 * count + 65536, SNELLEN_E_FORMAT, "%s: %lld tokens, but an id of %lld", r->file,
            (long long)count, (long long)last);
    *n = (uint64_t)(last + 1);
    return SNELLEN_OK;
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static snellen_status check_length(const struct reader *r, size_t n, snellen_error *err)
{
    FAIL_IF(n >= LONGEST_PIECE, SNELLEN_E_FORMAT, "%s: a token of %zu bytes, less than %d expected", r->file, n,
            LONGEST_PIECE);
    return SNELLEN_OK;
}

/* The bytes that a piece stands for; false when it is spelled as no text is. */
static bool unspell(const struct reader *r, const char *text, size_t n, char bytes[LONGEST_PIECE], size_t *n_bytes)
{
    if (r->spelling.bytes) return spelling_bytes(text, n, bytes, n_bytes);
    if (r->spelling.spaces) return spelling_spaces(text, n, bytes, n_bytes);
    if (r->spelling.words) *bytes++ = ' ';
    memcpy(bytes, text, n);
    *n_bytes = n + r->spelling.words;
    return true;
}

/* Added tokens are what they say, letter by letter. Those to be looked for after normalising are so, but where a space
 * is put before the text: each of them would be found with that space only, which none is meant to. One with U+2581 in
 * it that is looked for before spaces are replaced would only be found where the text has U+2581; we take it for a
 * piece with spaces, and look for it nowhere. */
static snellen_status read_added(const struct reader *r, struct added *raw, size_t *n_raw, struct added *normal,
                                 size_t *n_normal, snellen_error *err)
{
    const json_t *list = json_object_get(r->root, "added_tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        size_t n;
        char bytes[LONGEST_PIECE];
        const char *content = hf_text(entry, "content", &n);
        FAIL_IF(!content, SNELLEN_E_FORMAT, "%s: added token %zu: a text 'content' expected", r->file, i);
        TRY(check_length(r, n, err));
        enum token_kind kind = flag(entry, "special") ? TOKEN_SPECIAL : TOKEN_USER;
        bool normalized = flag(entry, "normalized"), spaces = r->spelling.spaces && kind == TOKEN_USER;
        bool hidden = spaces && !normalized && strstr(content, "\u2581");
        memcpy(bytes, content, n);
        if (spaces) spelling_spaces(content, n, bytes, &n);
        int64_t id = json_integer_value(json_object_get(entry, "id"));
        TRY(token_set(r->t, id, bytes, n, kind, r->file, err));
        if (hidden) continue;
        struct added *to = normalized && !r->t->prefix ? &normal[(*n_normal)++] : &raw[(*n_raw)++];
        *to = (struct added){(int32_t)id, flag(entry, "lstrip"), flag(entry, "rstrip"), flag(entry, "single_word")};
    }
    return SNELLEN_OK;
}

static snellen_status read_vocab(const struct reader *r, snellen_error *err)
{
    const char *text;
    json_t *id, *vocab = json_object_get(r->model, "vocab");
    struct tokenizer *t = r->t;
    json_object_foreach(vocab, text, id) {
        size_t n = strlen(text);
        char bytes[LONGEST_PIECE];
        json_int_t i = json_integer_value(id);
        TRY(check_length(r, n, err));
        int byte = t->byte_fallback ? spelling_byte_token(text, n) : -1;
        if (i >= 0 && i < t->n && t->tokens[i].bytes && t->tokens[i].kind != TOKEN_NORMAL) {
            if (r->spelling.spaces && t->tokens[i].kind == TOKEN_USER)
                spelling_spaces(text, n, bytes, &n);
            else
                memcpy(bytes, text, n);
            bool same = n == t->tokens[i].n && !memcmp(t->tokens[i].bytes, bytes, n);
            if (same) continue;
        }
        bool good = true;
        enum token_kind kind = byte >= 0 ? TOKEN_BYTE : TOKEN_NORMAL;
        if (byte >= 0) {
            bytes[0] = (char)byte;
            n = 1;
        } else {
            good = unspell(r, text, n, bytes, &n);
        }
        TRY(token_set(t, i, bytes, n, kind, r->file, err));
        t->tokens[i].hidden = !good;
    }
    return SNELLEN_OK;
}

static snellen_status read_tokens(struct reader *r, snellen_error *err)
{
    struct tokenizer *t = r->t;
    struct added *raw, *normal = NULL;
    size_t n_raw = 0, n_normal = 0, n = json_array_size(json_object_get(r->root, "added_tokens"));
    TRY(NEW_ARRAY(&raw, n, r->file, err));
    t->added.list = raw;
    TRY(NEW_ARRAY(&normal, n, r->file, err));
    t->added_normal.list = normal;
    TRY(read_added(r, raw, &n_raw, normal, &n_normal, err));
    TRY(read_vocab(r, err));
    TRY(tokenizer_index(t, r->file, err));
    TRY(added_set_make(&t->added, raw, n_raw, t, r->file, err));
    return added_set_make(&t->added_normal, normal, n_normal, t, r->file, err);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static snellen_status check_model(struct reader *r, snellen_error *err)
{
    char shown[SHOWN_PIECE];
    r->model = json_object_get(r->root, "model");
    FAIL_IF(!json_is_object(r->model), SNELLEN_E_FORMAT, "%s: 'model': an object expected", r->file);
    const char *type = hf_text(r->model, "type", NULL);
    if (!type) type = json_object_get(r->model, "merges") ? "BPE" : "without a type";
    r->spelling.words = !strcmp(type, "WordLevel");
    FAIL_IF(strcmp(type, "BPE") && !r->spelling.words, SNELLEN_E_UNSUPPORTED,
            "%s: the tokenizer model '%s' is not supported (BPE and WordLevel are)", r->file,
            spelling_shown(shown, type, strlen(type)));
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < COUNT_OF(affixes); i++) {
        size_t n;
        const char *text = hf_text(r->model, affixes[i], &n);
        FAIL_IF(text && n, SNELLEN_E_UNSUPPORTED, "%s: a BPE model with '%s' is not supported", r->file, affixes[i]);
    }
    return SNELLEN_OK;
}

/* "left right" or ["left", "right"]. */
static snellen_status read_merge(const struct reader *r, const json_t *merge, size_t rank, snellen_error *err)
{
    char left[LONGEST_PIECE], right[LONGEST_PIECE];
    const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
    const char *texts[2] = {json_string_value(a), json_string_value(b)};
    size_t sizes[2] = {json_string_length(a), json_string_length(b)}, n_left, n_right;
    bool pair = texts[0] && texts[1] && json_array_size(merge) == 2;
    if (json_is_string(merge)) {
        size_t n = json_string_length(merge);
        texts[0] = json_string_value(merge);
        const char *space = n > 1 ? memchr(texts[0] + 1, ' ', n - 1) : NULL;
        sizes[0] = space ? (size_t)(space - texts[0]) : 0;
        texts[1] = space ? space + 1 : NULL;
        sizes[1] = space ? n - sizes[0] - 1 : 0;
        pair = space && !memchr(texts[1], ' ', sizes[1]);
    }
    FAIL_IF(!pair || sizes[0] > LONGEST_PIECE || sizes[1] > LONGEST_PIECE, SNELLEN_E_FORMAT,
            "%s: merge %zu is not two pieces with a space between, nor a list of two", r->file, rank);
    bool good = unspell(r, texts[0], sizes[0], left, &n_left);
    good &= unspell(r, texts[1], sizes[1], right, &n_right);
    if (!good) return SNELLEN_OK;
    return merges_add(r->t, (uint32_t)rank, left, n_left, right, n_right, r->file, err);
}

static snellen_status read_merges(const struct reader *r, snellen_error *err)
{
    const json_t *merges = json_object_get(r->model, "merges");
    FAIL_IF(!json_is_array(merges), SNELLEN_E_FORMAT, "%s: 'merges' of the model: a list expected", r->file);
    TRY(merges_init(r->t, json_array_size(merges), r->file, err));
    for (size_t i = 0; i < json_array_size(merges); i++) TRY(read_merge(r, json_array_get(merges, i), i, err));
    return SNELLEN_OK;
}

static snellen_status read_model(const struct reader *r, snellen_error *err)
{
    if (!r->spelling.words) TRY(read_merges(r, err));
    size_t n;
    const char *unknown = hf_text(r->model, "unk_token", &n);
    if (!unknown) return SNELLEN_OK;
    r->t->unknown = token_named(r->t, unknown, n);
    char bytes[LONGEST_PIECE];
    if (r->t->unknown < 0 && r->spelling.words && n < sizeof bytes) {
        unspell(r, unknown, n, bytes, &n);
        r->t->unknown = token_named(r->t, bytes, n);
    }
    return SNELLEN_OK;
}

/* ---- the files beside it ----------------------------------------------------------------------------------------- */

/* A special token that a configuration names, as text or as an object with 'content'; -1. */
static int32_t named_in(const struct tokenizer *t, const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    return json_is_string(value) ? token_named(t, json_string_value(value), json_string_length(value)) : -1;
}

/* The text of the template that the configuration has; NULL. */
static const char *template_in(const json_t *config, size_t *n)
{
    const json_t *value = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = hf_text(one, "name", NULL);
        if (name && !strcmp(name, "default")) return hf_text(one, "template", n);
    }
    *n = json_string_length(value);
    return json_string_value(value);
}

static snellen_status read_config(struct tokenizer *t, const json_t *root, const json_t *config, snellen_error *err)
{
    const char *first = hf_first_token(root);
    int32_t first_id = first ? token_named(t, first, strlen(first)) : -1, end = named_in(t, config, "eos_token");
    t->bos = named_in(t, config, "bos_token");
    if (t->bos < 0) t->bos = first_id;
    const json_t *add = json_object_get(config, "add_bos_token");
    t->wants_bos = json_is_boolean(add) ? json_is_true(add) : first_id >= 0 && first_id == t->bos;
    if (end >= 0) t->tokens[end].ends = true;
    t->eos = end;
    size_t n;
    const char *template = template_in(config, &n);
    return template ? chat_keep(t, template, n, err) : SNELLEN_OK;
}

static void mark_end(struct tokenizer *t, const json_t *id)
{
    json_int_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (i < 0 || i >= t->n) return;
    t->tokens[i].ends = true;
    if (t->eos < 0) t->eos = (int32_t)i;
}

/* config.json or generation_config.json: ids of special tokens, where nothing else names them. */
static void read_ids(struct tokenizer *t, const json_t *config)
{
    const json_t *end = json_object_get(config, "eos_token_id"), *bos = json_object_get(config, "bos_token_id");
    mark_end(t, end);
    for (size_t i = 0; i < json_array_size(end); i++) mark_end(t, json_array_get(end, i));
    if (t->bos < 0 && json_is_integer(bos) && json_integer_value(bos) >= 0 && json_integer_value(bos) < t->n)
        t->bos = (int32_t)json_integer_value(bos);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static snellen_status read_all(struct reader *r, const json_t *config, snellen_error *err)
{
    struct tokenizer *t = r->t;
    t->byte_fallback = flag(r->model, "byte_fallback");
    t->fuse_unknown = flag(r->model, "fuse_unk");
    t->ignore_merges = flag(r->model, "ignore_merges");
    TRY(hf_read_pipeline(t, r->root, r->file, &r->spelling, err));
    t->symbols = r->spelling.words ? SYMBOLS_WORDS : r->spelling.bytes ? SYMBOLS_BYTES : SYMBOLS_CHARACTERS;
    TRY(read_tokens(r, err));
    TRY(read_model(r, err));
    return read_config(t, r->root, config, err);
}

static snellen_status from_json(const json_t *root, const json_t *config, const char *file, struct tokenizer **out,
                                snellen_error *err)
{
    struct reader r = {.file = file, .root = root};
    uint64_t n = 0;
    TRY(check_model(&r, err));
    TRY(count_tokens(&r, &n, err));
    TRY(tokenizer_new(n, file, &r.t, err));
    snellen_status status = read_all(&r, config, err);
    if (status) {
        tokenizer_free(r.t);
        return status;
    }
    *out = r.t;
    return SNELLEN_OK;
}

snellen_status tokenizer_from_json(const char *json, size_t n, const char *config, size_t n_config, const char *name,
                                   struct tokenizer **out, snellen_error *err)
{
    json_t *root, *beside = NULL;
    TRY(json_parse_object(json, n, name, &root, err));
    snellen_status status = config ? json_parse_object(config, n_config, "tokenizer_config.json", &beside, err) : 0;
    if (!status) status = from_json(root, beside, name, out, err);
    json_decref(beside);
    json_decref(root);
    return status;
}

/* A file of the folder as text, NULL where there is none. */
static snellen_status side_file(const struct model_file *f, const char *name, uint64_t most, char **text, size_t *n,
                                struct strbuf *path, snellen_error *err)
{
    *text = NULL;
    *n = path->n = 0;
    strbuf_printf(path, "%s/%s", f->folder, name);
    FAIL_IF(path->failed, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    return file_exists(path->text) ? file_read(path->text, most, text, n, err) : SNELLEN_OK;
}

static snellen_status read_side_ids(const struct model_file *f, const char *name, struct tokenizer *t,
                                    struct strbuf *path, snellen_error *err)
{
    char *text;
    size_t n;
    json_t *root;
    TRY(side_file(f, name, LARGEST_SIDE_FILE, &text, &n, path, err));
    if (!text) return SNELLEN_OK;
    snellen_status status = json_parse_object(text, n, path->text, &root, err);
    mem_free(text);
    if (status) return status;
    read_ids(t, root);
    json_decref(root);
    return SNELLEN_OK;
}

/* What stands beside tokenizer.json; the template in a file of its own counts before all others. */
static snellen_status read_beside(const struct model_file *f, struct tokenizer *t, struct strbuf *path,
                                  snellen_error *err)
{
    char *text;
    size_t n;
    TRY(side_file(f, "chat_template.jinja", LARGEST_SIDE_FILE, &text, &n, path, err));
    snellen_status status = text ? chat_keep(t, text, n, err) : SNELLEN_OK;
    mem_free(text);
    if (!status) status = read_side_ids(f, "config.json", t, path, err);
    if (!status) status = read_side_ids(f, "generation_config.json", t, path, err);
    return status;
}

static snellen_status load_folder(const struct model_file *f, struct strbuf *path, struct tokenizer **out,
                                  snellen_error *err)
{
    char *json, *config;
    size_t n, n_config;
    TRY(side_file(f, "tokenizer_config.json", LARGEST_SIDE_FILE, &config, &n_config, path, err));
    snellen_status status = side_file(f, "tokenizer.json", LARGEST_FILE, &json, &n, path, err);
    if (!status && json) {
        status = tokenizer_from_json(json, n, config, n_config, path->text, out, err);
        mem_free(json);
        if (!status) status = read_beside(f, *out, path, err);
        if (status) {
            tokenizer_free(*out);
            *out = NULL;
        }
    }
    mem_free(config);
    return status;
}

snellen_status tokenizer_load(const struct model_file *f, struct tokenizer **out, snellen_error *err)
{
    *out = NULL;
    if (f->gguf) return tokenizer_from_gguf(f->gguf, f->path, out, err);
    if (f->tokenizer)
        return tokenizer_from_json(f->tokenizer, strlen(f->tokenizer), f->tokenizer_config,
                                   f->tokenizer_config ? strlen(f->tokenizer_config) : 0, f->path, out, err);
    if (!f->folder) return SNELLEN_OK;
    struct strbuf path = {0};
    snellen_status status = load_folder(f, &path, out, err);
    strbuf_free(&path);
    return status;
}
