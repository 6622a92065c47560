/* Symbols as tokens. A tokenizer may have a symbol with a space before it (" time"), which is how it stands inside a
 * text, or without (where digits are always tokens of their own); either will do, as long as the symbol is one token
 * and no other one has it. */
#include "tasks/symbols.h"

#include <string.h>

enum { OWN_VOCABULARY = 1024 };   /* a model without a tokenizer and with more tokens was not made for these tasks */

/* The token that stands for exactly this text; -1 = there is none. */
static snellen_status single_token(const snellen_model *model, const char *text, int32_t *id, snellen_error *err)
{
    int32_t *ids = NULL;
    size_t n = 0, n_bytes = 0;
    *id = -1;
    snellen_status status = snellen_tokenize(model, text, strlen(text), 0, &ids, &n, err);
    if (status == SNELLEN_E_USAGE) return SNELLEN_OK;   /* a word that a vocabulary of words does not have */
    TRY(status);
    const char *bytes = n == 1 ? snellen_token_bytes(model, ids[0], &n_bytes) : NULL, *name = text + (*text == ' ');
    /* The token for unknown words is one token too, of another text. */
    if (bytes && n_bytes && *bytes == ' ') bytes++, n_bytes--;
    if (bytes && n_bytes == strlen(name) && !memcmp(bytes, name, n_bytes)) *id = ids[0];
    snellen_free(ids);
    return SNELLEN_OK;
}

static snellen_status token_of_name(const snellen_model *model, const char *name, int32_t *id, snellen_error *err)
{
    char spaced[32];
    snprintf(spaced, sizeof spaced, " %s", name);
    TRY(single_token(model, spaced, id, err));
    return *id < 0 ? single_token(model, name, id, err) : SNELLEN_OK;
}

static snellen_status own_vocabulary(struct symbol_tokens *tokens, const snellen_model_info *info, uint32_t pool,
                                     snellen_error *err)
{
    int64_t needed = SYMBOL_WORD + (int64_t)pool;
    FAIL_IF(info->n_vocab < needed || info->n_vocab > OWN_VOCABULARY, SNELLEN_E_UNSUPPORTED,
            "%s has no tokenizer; %lld to %d tokens, the symbols of these tasks, are expected then, and it has %lld",
            info->path ? info->path : "the model", (long long)needed, OWN_VOCABULARY, (long long)info->n_vocab);
    for (int32_t i = 0; i < needed; i++) tokens->ids[i] = i;
    return SNELLEN_OK;
}

snellen_status symbol_tokens_set(struct symbol_tokens *tokens, const snellen_model *model, uint32_t pool,
                                 snellen_error *err)
{
    const snellen_model_info *info = snellen_model_get_info(model);
    tokens->model = model;
    tokens->bos = -1;
    for (int32_t i = 0; i < SYMBOL_COUNT; i++) tokens->ids[i] = -1;
    if (!info->has_tokenizer) return own_vocabulary(tokens, info, pool, err);
    for (int32_t i = 0; i < SYMBOL_WORD; i++) TRY(token_of_name(model, symbol_names[i], &tokens->ids[i], err));
    uint32_t n = 0;
    for (int32_t i = SYMBOL_WORD; i < SYMBOL_COUNT + SYMBOL_SPARE_WORDS && n < pool; i++) {
        int32_t id;
        TRY(token_of_name(model, symbol_names[i], &id, err));
        if (id >= 0) tokens->ids[SYMBOL_WORD + (int32_t)n++] = id;
    }
    FAIL_IF(n < pool, SNELLEN_E_UNSUPPORTED,
            "the tokenizer has %u of our words as single tokens, the pool asks for %u (--pool N)", n, pool);
    bool wanted;
    int32_t bos = snellen_token_bos(model, &wanted);
    if (wanted) tokens->bos = bos;
    return SNELLEN_OK;
}

snellen_status symbol_token(const struct symbol_tokens *tokens, int32_t symbol, int32_t *id, snellen_error *err)
{
    *id = tokens->ids[symbol];
    FAIL_IF(*id < 0, SNELLEN_E_UNSUPPORTED, "'%s' is not one token of this model's tokenizer; a format without it, or "
            "a model with another tokenizer, is needed", symbol_names[symbol]);
    return SNELLEN_OK;
}

void symbol_token_text(const struct symbol_tokens *tokens, int32_t id, struct strbuf *text)
{
    size_t n = 0;
    const char *bytes = snellen_token_bytes(tokens->model, id, &n);
    bool own = !snellen_model_get_info(tokens->model)->has_tokenizer;
    if (own && id < SYMBOL_COUNT) {
        strbuf_puts(text, symbol_names[id]);
    } else if (own || !bytes) {
        strbuf_printf(text, "<%d>", id);
    } else {
        if (n && *bytes == ' ') bytes++, n--;
        for (size_t i = 0; i < n; i++) strbuf_put(text, bytes[i] ? bytes + i : " ", 1);
    }
}
