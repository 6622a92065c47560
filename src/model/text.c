/* The public functions on text: each asks the model's tokenizer, or says that there is none. */
#include "model/model.h"

static snellen_status need_tokenizer(const snellen_model *model, snellen_error *err)
{
    FAIL_IF(!model->tokenizer, SNELLEN_E_UNSUPPORTED, "%s", model->no_tokenizer);
    return SNELLEN_OK;
}

snellen_status snellen_tokenize(const snellen_model *model, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err)
{
    TRY(need_tokenizer(model, err));
    return tokenizer_encode(model->tokenizer, text, n_bytes, flags, ids, n_ids, err);
}

snellen_status snellen_detokenize(const snellen_model *model, const int32_t *ids, size_t n_ids, unsigned flags,
                                  char **text, size_t *n_bytes, snellen_error *err)
{
    TRY(need_tokenizer(model, err));
    return tokenizer_decode(model->tokenizer, ids, n_ids, flags, text, n_bytes, err);
}

const char *snellen_token_bytes(const snellen_model *model, int32_t id, size_t *n_bytes)
{
    return model->tokenizer ? tokenizer_bytes(model->tokenizer, id, n_bytes) : NULL;
}

const char *snellen_token_kind(const snellen_model *model, int32_t id)
{
    return model->tokenizer ? tokenizer_kind(model->tokenizer, id) : "normal";
}

bool snellen_token_ends(const snellen_model *model, int32_t id)
{
    return model->tokenizer && tokenizer_ends(model->tokenizer, id);
}

int32_t snellen_token_bos(const snellen_model *model, bool *wanted)
{
    if (model->tokenizer) return tokenizer_bos(model->tokenizer, wanted);
    if (wanted) *wanted = false;
    return -1;
}

snellen_status snellen_chat_format(const snellen_model *model, const snellen_message *messages, size_t n_messages,
                                   bool answer, char **text, snellen_error *err)
{
    TRY(need_tokenizer(model, err));
    return tokenizer_chat_format(model->tokenizer, messages, n_messages, answer, text, err);
}
