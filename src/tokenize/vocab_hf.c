/* A tokenizer from tokenizer.json (and tokenizer_config.json): its model must be BPE; normalizers, pre-tokenizers and added
 * tokens of the kinds that the supported models use are understood, any other is refused by name. */
#include "tokenize/vocab.h"

#include "format/json_guard.h"

#include <jansson.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static snellen_status unsupported(const struct tokenizer *t, const char *what, const char *kind, snellen_error *err)
{
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: %s '%.80s' is not supported", t->name, what, kind);
}

/* ---- what splits the text ------------------------------------------------------------------------------------------------ */

/* A Split's pattern: {"Regex": ..} or {"String": ..}. */
static snellen_status read_split(struct tokenizer *t, const json_t *step, snellen_error *err)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (literal && t->spaces_as_pieces && !strcmp(literal, " ")) return SNELLEN_OK;   /* no space is left to split at */
    if (strcmp(text_of(step, "behavior"), "Isolated")) return unsupported(t, "split behavior", text_of(step, "behavior"), err);
    if (json_is_true(json_object_get(step, "invert"))) return unsupported(t, "split", "invert", err);
    if (regex) return split_add(t, regex, strlen(regex), err);
    FAIL_IF(!literal || strlen(literal) > 256 || strstr(literal, "\\E"), SNELLEN_E_FORMAT,
            "%s: a split without a pattern", t->name);
    char quoted[272];
    int n = snprintf(quoted, sizeof quoted, "\\Q%s\\E", literal);
    return split_add(t, quoted, (size_t)n, err);
}

static snellen_status read_byte_level(struct tokenizer *t, const json_t *step, snellen_error *err)
{
    const json_t *regex = json_object_get(step, "use_regex");
    if (json_is_true(json_object_get(step, "add_prefix_space"))) t->prefix_space = PREFIX_ALWAYS;
    t->byte_level = true;
    return !regex || json_is_true(regex) ? split_add(t, split_gpt2, strlen(split_gpt2), err) : SNELLEN_OK;
}

static void read_metaspace(struct tokenizer *t, const json_t *step)
{
    const char *scheme = text_of(step, "prepend_scheme");
    const json_t *prefix = json_object_get(step, "add_prefix_space");
    t->spaces_as_pieces = true;
    t->prefix_space = !strcmp(scheme, "never") ? PREFIX_NEVER
                      : !strcmp(scheme, "first") ? PREFIX_FIRST
                      : prefix && !json_is_true(prefix) && !*scheme ? PREFIX_NEVER : PREFIX_ALWAYS;
}

static snellen_status read_pre_tokenizer(struct tokenizer *t, const json_t *step, int depth, snellen_error *err)
{
    if (!json_is_object(step)) return SNELLEN_OK;
    const char *type = text_of(step, "type");
    if (!strcmp(type, "Sequence") && depth < 4) {
        size_t i;
        const json_t *part;
        json_array_foreach (json_object_get(step, "pretokenizers"), i, part)
            TRY(read_pre_tokenizer(t, part, depth + 1, err));
        return SNELLEN_OK;
    }
    if (!strcmp(type, "ByteLevel")) return read_byte_level(t, step, err);
    if (!strcmp(type, "Split")) return read_split(t, step, err);
    if (!strcmp(type, "Digits")) {
        bool each = json_is_true(json_object_get(step, "individual_digits"));
        const char *regex = each ? split_digits : "\\p{N}+";
        return split_add(t, regex, strlen(regex), err);
    }
    if (!strcmp(type, "Metaspace")) {
        read_metaspace(t, step);
        return SNELLEN_OK;
    }
    return unsupported(t, "pre-tokenizer", type, err);
}

static snellen_status read_normalizer(struct tokenizer *t, const json_t *step, int depth, snellen_error *err)
{
    if (!json_is_object(step)) return SNELLEN_OK;
    const char *type = text_of(step, "type");
    if (!strcmp(type, "Sequence") && depth < 4) {
        size_t i;
        const json_t *part;
        json_array_foreach (json_object_get(step, "normalizers"), i, part)
            TRY(read_normalizer(t, part, depth + 1, err));
        return SNELLEN_OK;
    }
    if (!strcmp(type, "NFC")) {
        t->normalize_nfc = true;
        return SNELLEN_OK;
    }
    if (!strcmp(type, "Prepend") && !strcmp(text_of(step, "prepend"), space_piece)) {
        t->prefix_space = PREFIX_ALWAYS;
        return SNELLEN_OK;
    }
    if (!strcmp(type, "Replace") && !strcmp(text_of(step, "content"), space_piece) &&
        !strcmp(text_of(json_object_get(step, "pattern"), "String"), " ")) {
        t->spaces_as_pieces = true;
        return SNELLEN_OK;
    }
    return unsupported(t, "normalizer", type, err);
}

/* ---- pieces and merges ----------------------------------------------------------------------------------------------------- */

static int64_t largest_id(const json_t *vocab, const json_t *added)
{
    int64_t largest = -1;
    const char *text;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)vocab, text, value) largest = MAX(largest, json_integer_value(value));
    size_t i;
    json_array_foreach (added, i, value) largest = MAX(largest, json_integer_value(json_object_get(value, "id")));
    return largest;
}

/* The space of a gap in the ids is bounded by the file's own size. */
static snellen_status check_ids(const char *name, int64_t largest, const json_t *vocab, const json_t *added,
                                snellen_error *err)
{
    int64_t n = (int64_t)json_object_size(vocab) + (int64_t)json_array_size(added);
    FAIL_IF(largest < 0 || largest >= 4 * n + 65536, SNELLEN_E_FORMAT, "%s: ids up to %lld in a vocabulary of %lld tokens",
            name, (long long)largest, (long long)n);
    return SNELLEN_OK;
}

static bool spells_byte(const char *text)
{
    return strlen(text) == 6 && !memcmp(text, "<0x", 3) && text[5] == '>';
}

static snellen_status read_vocab(struct tokenizer *t, const json_t *vocab, snellen_error *err)
{
    const char *text;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)vocab, text, value) {
        FAIL_IF(!json_is_integer(value) || json_integer_value(value) < 0, SNELLEN_E_FORMAT,
                "%s: token '%.80s' has no id", t->name, text);
        int32_t id = (int32_t)json_integer_value(value);
        if (t->byte_level)
            TRY(vocab_set_byte_level_piece(t, id, text, strlen(text), TOKEN_NORMAL, err));
        else
            TRY(vocab_set_piece(t, id, text, strlen(text),
                                t->byte_fallback && spells_byte(text) ? TOKEN_BYTE : TOKEN_NORMAL, err));
    }
    return SNELLEN_OK;
}

static snellen_status read_added(struct tokenizer *t, const json_t *added, snellen_error *err)
{
    size_t i;
    const json_t *token;
    json_array_foreach (added, i, token) {
        const json_t *id = json_object_get(token, "id");
        const char *text = text_of(token, "content");
        FAIL_IF(!json_is_integer(id) || json_integer_value(id) < 0 || !*text, SNELLEN_E_FORMAT,
                "%s: added token %zu has no id or no content", t->name, i);
        bool special = json_is_true(json_object_get(token, "special"));
        TRY(vocab_set_piece(t, (int32_t)json_integer_value(id), text, strlen(text), special ? TOKEN_CONTROL : TOKEN_USER,
                            err));
        struct piece *p = &t->pieces[json_integer_value(id)];
        p->lstrip = json_is_true(json_object_get(token, "lstrip"));
        p->rstrip = json_is_true(json_object_get(token, "rstrip"));
    }
    return SNELLEN_OK;
}

/* One side of a merge, in the file's alphabet. */
static int32_t merge_side(const struct tokenizer *t, const char *text, size_t n)
{
    char bytes[512];
    if (!t->byte_level) return vocab_find(t, text, n);
    if (n > sizeof bytes) return -1;
    int64_t n_bytes = byte_level_undo(text, n, bytes);
    return n_bytes > 0 ? vocab_find(t, bytes, (size_t)n_bytes) : -1;
}

static snellen_status read_merges(struct tokenizer *t, const json_t *merges, snellen_error *err)
{
    FAIL_IF(!json_is_array(merges), SNELLEN_E_FORMAT, "%s: model.merges: a list expected", t->name);
    TRY(vocab_merges_new(t, json_array_size(merges), err));
    size_t i;
    const json_t *merge;
    json_array_foreach (merges, i, merge) {
        const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge);
        const char *right = json_is_array(merge) ? json_string_value(json_array_get(merge, 1)) : NULL;
        size_t n_left = left ? strlen(left) : 0;
        if (left && json_is_string(merge)) {
            const char *space = n_left > 1 ? strchr(left + 1, ' ') : NULL;
            right = space ? space + 1 : NULL;
            n_left = space ? (size_t)(space - left) : 0;
        }
        FAIL_IF(!left || !right, SNELLEN_E_FORMAT, "%s: model.merges: entry %zu is no pair", t->name, i);
        vocab_add_merge(t, merge_side(t, left, n_left), merge_side(t, right, strlen(right)), (uint32_t)i);
    }
    return SNELLEN_OK;
}

/* ---- begin, end, template ------------------------------------------------------------------------------------------------------ */

/* "<s>" or {"content": "<s>"} */
static int32_t token_named(const struct tokenizer *t, const json_t *name)
{
    const char *text = json_is_object(name) ? text_of(name, "content") : json_string_value(name);
    return text ? vocab_find(t, text, strlen(text)) : -1;
}

/* The post-processor puts the begin token first. */
static bool processor_begins_with(const struct tokenizer *t, const json_t *processor, int32_t bos, int depth)
{
    size_t i;
    const json_t *part;
    json_array_foreach (json_object_get(processor, "processors"), i, part)
        if (depth < 4 && processor_begins_with(t, part, bos, depth + 1)) return true;
    const json_t *first = json_object_get(json_array_get(json_object_get(processor, "single"), 0), "SpecialToken");
    const char *id = text_of(first, "id");
    return bos >= 0 && *id && vocab_find(t, id, strlen(id)) == bos;
}

static snellen_status read_config(struct tokenizer *t, const json_t *config, const json_t *root, snellen_error *err)
{
    t->bos = token_named(t, json_object_get(config, "bos_token"));
    t->eos = token_named(t, json_object_get(config, "eos_token"));
    const json_t *add = json_object_get(config, "add_bos_token");
    if (t->bos < 0) t->bos = vocab_find(t, "<s>", 3);
    if (t->bos < 0) t->bos = vocab_find(t, "<bos>", 5);
    t->bos_wanted = json_is_boolean(add) ? json_is_true(add)
                                         : processor_begins_with(t, json_object_get(root, "post_processor"), t->bos, 0);
    const json_t *template = json_object_get(config, "chat_template");
    if (json_is_array(template)) {   /* several by name: the one called default */
        size_t i;
        const json_t *named;
        const json_t *list = template;
        template = NULL;
        json_array_foreach (list, i, named)
            if (!strcmp(text_of(named, "name"), "default")) template = json_object_get(named, "template");
    }
    if (json_is_string(template)) {
        t->chat_template = arena_text(&t->arena, json_string_value(template), json_string_length(template));
        FAIL_IF(!t->chat_template, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    }
    return SNELLEN_OK;
}

static snellen_status read_model(struct tokenizer *t, const json_t *root, snellen_error *err)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    t->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    t->whole_words = json_is_true(json_object_get(model, "ignore_merges"));
    TRY(read_normalizer(t, json_object_get(root, "normalizer"), 0, err));
    TRY(read_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), 0, err));
    const char *decoder = text_of(json_object_get(root, "decoder"), "type");
    if (!strcmp(decoder, "ByteLevel")) t->byte_level = true;
    FAIL_IF(t->byte_level && t->spaces_as_pieces, SNELLEN_E_UNSUPPORTED,
            "%s: a vocabulary of bytes that also spells spaces as U+2581", t->name);
    TRY(read_vocab(t, json_object_get(model, "vocab"), err));
    TRY(read_added(t, added, err));
    TRY(vocab_index(t, err));
    TRY(read_merges(t, json_object_get(model, "merges"), err));
    t->unknown = token_named(t, json_object_get(model, "unk_token"));
    return SNELLEN_OK;
}

static snellen_status build(const json_t *root, const json_t *config, const char *name, struct tokenizer **out,
                            snellen_error *err)
{
    const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    const char *type = text_of(model, "type");
    /* Older files do not name the type; merges tell it. */
    bool bpe = !strcmp(type, "BPE") || (!*type && json_object_get(model, "merges"));
    FAIL_IF(!bpe, SNELLEN_E_UNSUPPORTED, "%s: tokenizer model '%.80s' is not supported; there is BPE", name, type);
    FAIL_IF(!json_is_object(vocab), SNELLEN_E_FORMAT, "%s: model.vocab: an object expected", name);
    int64_t largest = largest_id(vocab, added);
    TRY(check_ids(name, largest, vocab, added, err));
    struct tokenizer *t;
    TRY(vocab_new(name, largest + 1, &t, err));
    snellen_status status = read_model(t, root, err);
    if (!status) status = read_config(t, config, root, err);
    if (!status) status = vocab_finish(t, err);
    if (status) {
        tokenizer_free(t);
        return status;
    }
    *out = t;
    return SNELLEN_OK;
}

snellen_status tokenizer_from_json(const char *json, size_t n, const char *config, size_t n_config, const char *name,
                                   struct tokenizer **out, snellen_error *err)
{
    json_t *root = NULL, *settings = NULL;
    snellen_status status = json_parse_object(json, n, name, &root, err);
    if (!status && config) status = json_parse_object(config, n_config, "tokenizer_config.json", &settings, err);
    if (!status) status = build(root, settings, name, out, err);
    json_decref(root);
    json_decref(settings);
    return status;
}
