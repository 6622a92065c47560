/* A tokenizer as tokenizer.json and tokenizer_config.json, for those that came from a GGUF file: byte-level BPE,
 * SentencePiece's BPE, and the small vocabularies that are made here. */
#include "tokenize/hf.h"

#include <stdlib.h>
#include <string.h>

static const char space_mark[] = "\u2581";

struct writer {
    const struct tokenizer *t;
    json_t *vocab, *merges, *added;
};

static snellen_status out_of_memory(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "tokenizer.json: memory ran out");
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* A token as the file spells it; returns the length. */
static size_t spell(const struct tokenizer *t, const struct token *token, char out[3 * LONGEST_PIECE])
{
    if (token->kind == TOKEN_BYTE && token->n == 1) return (size_t)sprintf(out, "<0x%02X>", (uint8_t)token->bytes[0]);
    bool plain = token->kind == TOKEN_NORMAL && !token->hidden;
    if (plain && t->symbols == SYMBOLS_BYTES) return spelling_letters(token->bytes, token->n, out);
    if (plain && t->symbols == SYMBOLS_CHARACTERS && t->byte_fallback)
        return spelling_marks(token->bytes, token->n, out);
    bool spaced = plain && t->symbols == SYMBOLS_WORDS;
    memcpy(out, token->bytes + spaced, token->n - spaced);
    return token->n - spaced;
}

static snellen_status write_tokens(struct writer *w, snellen_error *err)
{
    const struct tokenizer *t = w->t;
    for (int32_t i = 0; i < t->n; i++) {
        const struct token *token = &t->tokens[i];
        char text[3 * LONGEST_PIECE];
        size_t n = spell(t, token, text);
        bool again = json_object_getn(w->vocab, text, n) != NULL;   /* the first of equal ones is what text becomes */
        if (!token->n || again) continue;
        FAIL_IF(json_object_setn_new(w->vocab, text, n, json_integer(i)), SNELLEN_E_UNSUPPORTED,
                "tokenizer.json: token %d is no UTF-8 text and cannot be written; leave the tokenizer out "
                "(--no-tokenizer)", i);
    }
    return SNELLEN_OK;
}

static snellen_status write_added(struct writer *w, snellen_error *err)
{
    const struct tokenizer *t = w->t;
    static const struct added plain;
    for (int32_t i = 0; i < t->n; i++) {
        const struct token *token = &t->tokens[i];
        if (!token->n || (token->kind != TOKEN_SPECIAL && token->kind != TOKEN_USER)) continue;
        json_t *entry = hf_added_token(i, token->bytes, token->n, &plain, token->kind == TOKEN_SPECIAL);
        if (json_array_append_new(w->added, entry)) return out_of_memory(err);
    }
    return SNELLEN_OK;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

/* One pair of pieces that make a piece: `order` says when. */
struct pair {
    uint32_t order;
    int32_t left, right;
};
struct pair_list {
    struct pair *pairs;
    size_t n;
};

static int by_order(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

/* The pieces that token `id` can be made of; counts them when pairs is NULL. */
static void split(const struct tokenizer *t, int32_t id, struct pair_list *list)
{
    const struct token *token = &t->tokens[id];
    if (token->kind != TOKEN_NORMAL || token->hidden) return;
    for (size_t i = 1; i < token->n; i++) {
        int32_t left = piece_find(t, token->bytes, i), right = piece_find(t, token->bytes + i, token->n - i);
        if (left < 0 || right < 0) continue;
        if (list->pairs) list->pairs[list->n] = (struct pair){t->orders[id], left, right};
        list->n++;
    }
}

/* SentencePiece merges two neighbours when what they make is a piece, the one of highest score first. */
static snellen_status pairs_of_scores(const struct tokenizer *t, struct pair_list *list, snellen_error *err)
{
    for (int32_t i = 0; i < t->n; i++) split(t, i, list);
    TRY(NEW_ARRAY(&list->pairs, list->n, "merges", err));
    list->n = 0;
    for (int32_t i = 0; i < t->n; i++) split(t, i, list);
    return SNELLEN_OK;
}

static snellen_status pairs_of_merges(const struct tokenizer *t, struct pair_list *list, snellen_error *err)
{
    TRY(NEW_ARRAY(&list->pairs, t->merges.n, "merges", err));
    for (uint64_t i = 0; t->merges.n && i <= t->merges.mask; i++) {
        const struct merge *m = &t->merges.slots[i];
        if (m->left >= 0) list->pairs[list->n++] = (struct pair){m->rank, m->left, m->right};
    }
    return SNELLEN_OK;
}

static snellen_status write_merges(struct writer *w, snellen_error *err)
{
    const struct tokenizer *t = w->t;
    struct pair_list list = {0};
    snellen_status status = t->orders ? pairs_of_scores(t, &list, err) : pairs_of_merges(t, &list, err);
    if (!status && list.n) qsort(list.pairs, list.n, sizeof *list.pairs, by_order);
    for (size_t i = 0; i < list.n && !status; i++) {
        char left[3 * LONGEST_PIECE], right[3 * LONGEST_PIECE];
        size_t n_left = spell(t, &t->tokens[list.pairs[i].left], left);
        size_t n_right = spell(t, &t->tokens[list.pairs[i].right], right);
        if (json_array_append_new(w->merges, json_pack("[s%, s%]", left, n_left, right, n_right)))
            status = out_of_memory(err);
    }
    mem_free(list.pairs);
    return status;
}

/* ---- the pipeline ------------------------------------------------------------------------------------------------ */

/* Each cutter, then the spelling of bytes. */
static json_t *byte_level_cutters(const struct pretokenizer *p)
{
    static const char *const behaviours[] = {[CUT_ISOLATED] = "Isolated", [CUT_WITH_PREVIOUS] = "MergedWithPrevious",
                                             [CUT_WITH_NEXT] = "MergedWithNext", [CUT_CONTIGUOUS] = "Contiguous"};
    json_t *list = json_array();
    for (int i = 0; i < p->n; i++) {
        const struct cutter *c = &p->cutters[i];
        json_array_append_new(list, json_pack("{s:s, s:{s:s%}, s:s, s:b}", "type", "Split", "pattern",
                                              c->literal ? "String" : "Regex", c->pattern, c->n, "behavior",
                                              behaviours[c->cut], "invert", 0));
    }
    json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                                          "trim_offsets", 1, "use_regex", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

static json_t *replace(const char *what, const char *with)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", what, "content", with);
}

static json_t *space_normalizer(bool prefix)
{
    json_t *list = json_array();
    if (prefix) json_array_append_new(list, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", space_mark));
    json_array_append_new(list, replace(" ", space_mark));
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", list);
}

static json_t *space_decoder(bool prefix)
{
    json_t *list = json_pack("[o, {s:s}, {s:s}]", replace(space_mark, " "), "type", "ByteFallback", "type", "Fuse");
    if (prefix)
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1,
                                              "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
}

static const char *name_of(const struct tokenizer *t, int32_t id)
{
    return id < 0 ? NULL : t->tokens[id].bytes;
}

static json_t *post_processor(const struct tokenizer *t)
{
    const char *bos = name_of(t, t->wants_bos ? t->bos : -1);
    if (!bos) return json_null();
    json_t *first = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", bos, "type_id", 0);
    json_t *text = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0);
    json_t *pair = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1);
    json_t *tokens = json_pack("{s:{s:s, s:[i], s:[s]}}", bos, "id", bos, "ids", t->bos, "tokens", bos);
    return json_pack("{s:s, s:[O, O], s:[o, o, o], s:o}", "type", "TemplateProcessing", "single", first, text, "pair",
                     first, text, pair, "special_tokens", tokens);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static char *large_text(const struct writer *w)
{
    const struct tokenizer *t = w->t;
    bool bytes = t->symbols == SYMBOLS_BYTES, prefix = t->prefix != PREFIX_NONE;
    json_t *model = json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout",
                              "unk_token", bytes ? NULL : name_of(t, t->unknown), "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", !bytes, "byte_fallback", (int)t->byte_fallback,
                              "ignore_merges", (int)t->ignore_merges, "vocab", w->vocab, "merges", w->merges);
    json_t *root = json_pack(
        "{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding", "added_tokens",
        w->added, "normalizer", bytes ? json_null() : space_normalizer(prefix), "pre_tokenizer",
        bytes ? byte_level_cutters(&t->pre) : json_null(), "post_processor", post_processor(t), "decoder",
        bytes ? json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
                          "use_regex", 0)
              : space_decoder(prefix),
        "model", model);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    return text;
}

static char *config_text(const struct tokenizer *t)
{
    json_t *root = json_pack("{s:s, s:s*, s:s*, s:s*, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                             "bos_token", name_of(t, t->bos), "eos_token", name_of(t, t->eos), "unk_token",
                             name_of(t, t->unknown), "add_bos_token", t->wants_bos && t->bos >= 0,
                             "clean_up_tokenization_spaces", 0);
    if (root && t->template) json_object_set_new(root, "chat_template", json_stringn(t->template, t->n_template));
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    return text;
}

static snellen_status write_all(struct writer *w, char **tokenizer, char **config, snellen_error *err)
{
    const struct tokenizer *t = w->t;
    bool words = t->symbols == SYMBOLS_WORDS;
    bool characters = t->symbols == SYMBOLS_CHARACTERS && !t->byte_fallback && !t->merges.n;
    if (!w->vocab || !w->merges || !w->added) return out_of_memory(err);
    FAIL_IF(t->normal_form, SNELLEN_E_UNSUPPORTED, "tokenizer.json: a normal form cannot be written");
    TRY(write_tokens(w, err));
    TRY(write_added(w, err));
    TRY(write_merges(w, err));
    bool small = words || characters;
    *tokenizer = small ? vocabulary_text(words, w->vocab, w->added, name_of(t, t->unknown)) : large_text(w);
    *config = config_text(t);
    if (*tokenizer && *config) return SNELLEN_OK;
    free(*tokenizer);
    free(*config);
    return out_of_memory(err);
}

snellen_status tokenizer_write_json(const struct tokenizer *t, char **tokenizer, char **config, snellen_error *err)
{
    struct writer w = {t, json_object(), json_array(), json_array()};
    snellen_status status = write_all(&w, tokenizer, config, err);
    json_decref(w.vocab);
    json_decref(w.merges);
    json_decref(w.added);
    return status;
}
