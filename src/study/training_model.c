/* The model that a study file names or describes, and what training made of it. */
#include "study/training.h"
#include "tasks/symbols.h"

#include <stdlib.h>
#include <string.h>

enum { CHARACTERS_BYTES = 256 << 20 };

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* model.vocab: a number of token ids, `chars`, `task`, or a tokenizer's file. *characters by mem_free(). */
static snellen_status choose_vocabulary(const struct settings *s, snellen_model_design *d, char **characters,
                                        snellen_error *err)
{
    const char *vocab = s->model.vocab;
    size_t n;
    *characters = NULL;
    FAIL_IF(!*vocab, SNELLEN_E_USAGE,
            "model.vocab is missing: a tokenizer.json, `chars`, `task`, or a number of token ids");
    if (strspn(vocab, "0123456789") == strlen(vocab)) {
        d->n_vocab = strtoll(vocab, NULL, 10);
    } else if (!strcmp(vocab, "task")) {
        FAIL_IF(!*s->data.task, SNELLEN_E_USAGE, "model.vocab is task: data.task is missing");
        d->words = symbol_names;
        d->n_words = SYMBOL_WORD + (size_t)s->data.pool;
    } else if (!strcmp(vocab, "chars")) {
        FAIL_IF(!*s->data.text, SNELLEN_E_USAGE, "model.vocab is chars: they are those of data.text, which is missing");
        TRY(file_read(s->data.text, CHARACTERS_BYTES, characters, &n, err));
        d->characters = *characters;
        d->unknown = "<unk>";
    } else {
        d->tokenizer = vocab;
    }
    return SNELLEN_OK;
}

/* The weights of model.start, where they are of the model that is described. */
static snellen_status started_model(const struct settings *s, snellen_model **model, snellen_error *err)
{
    TRY(snellen_model_load(s->model.start, model, err));
    const snellen_model_info *i = snellen_model_get_info(*model);
    if (!strcmp(i->arch, s->model.arch) && i->n_layers == s->model.layers && i->d_model == s->model.width &&
        i->n_heads == s->model.heads) return SNELLEN_OK;
    snellen_status status = error_set(
        err, SNELLEN_E_USAGE, "model.start: %s is a %s of %lld layers, width %lld and %lld heads, another model than model.arch, "
        "layers, width and heads describe", s->model.start, i->arch, (long long)i->n_layers, (long long)i->d_model,
        (long long)i->n_heads);
    snellen_model_free(*model);
    *model = NULL;
    return status;
}

snellen_status training_model(const struct settings *s, uint64_t seed, snellen_model **model, snellen_error *err)
{
    if (*s->model.from) return snellen_model_load(s->model.from, model, err);
    if (*s->model.start) return started_model(s, model, err);
    snellen_model_design d = snellen_model_design_default();
    d.arch = s->model.arch;
    d.positions = or_null(s->model.positions);
    d.n_layers = s->model.layers;
    d.d_model = s->model.width;
    d.n_heads = s->model.heads;
    d.n_kv_heads = s->model.kv_heads;
    d.d_ff = s->model.ff;
    d.n_context = s->model.context;
    if (s->model.window) d.window = s->model.window;
    d.init_std = s->model.init_std;
    d.seed = seed;
    char *characters;
    TRY(choose_vocabulary(s, &d, &characters, err));
    snellen_status status = snellen_model_new(&d, model, err);
    mem_free(characters);
    return status;
}

snellen_status trained_model(const struct settings *s, const char *folder, bool best, snellen_model **model,
                             snellen_error *err)
{
    const char *name = s->train.lora.rank ? best ? "best.safetensors" : "lora.safetensors" : best ? "best" : "model";
    char path[4200];
    *model = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (best && !file_exists(path)) return SNELLEN_OK;
    if (!s->train.lora.rank) return snellen_model_load(path, model, err);
    TRY(snellen_model_load(s->model.from, model, err));
    snellen_status status = snellen_model_add_lora(*model, path, err);
    if (status) {
        snellen_model_free(*model);
        *model = NULL;
    }
    return status;
}
