/* The options that verbs share, and loading a model with its message. */
#include "cli/cli.h"

#include <string.h>

struct common_opts common_opts_default(void)
{
    snellen_session_options o = snellen_session_options_default();
    return (struct common_opts){
        .memory = snellen_memory_name(o.memory),
        .precision = "f32",
        .cache = o.cache == SNELLEN_F16 ? "f16" : "f32",
        .sinks = o.sinks,
        .attn_temp = o.attn_temp,
        .seed = 1,
    };
}

static snellen_precision precision_parse(const char *name)
{
    return !strcmp(name, "bf16") ? SNELLEN_BF16 : !strcmp(name, "f16") ? SNELLEN_F16 : SNELLEN_F32;
}

snellen_status common_session(const struct common_opts *c, snellen_session_options *options, snellen_error *err)
{
    snellen_session_options o = snellen_session_options_default();
    TRY(snellen_memory_parse(c->memory, &o.memory, err));
    FAIL_IF(c->window && o.memory == SNELLEN_MEMORY_FULL, SNELLEN_E_USAGE,
            "--window %lld: full memory has no window; --memory swa or --memory sink expected", (long long)c->window);
    FAIL_IF(c->context && o.memory != SNELLEN_MEMORY_FULL, SNELLEN_E_USAGE,
            "--context %lld: %s memory has no end; --window sets what is seen", (long long)c->context, c->memory);
    FAIL_IF(c->sinks != o.sinks && o.memory != SNELLEN_MEMORY_SINK, SNELLEN_E_USAGE,
            "--sinks %lld: only sink memory keeps first tokens; --memory sink expected", (long long)c->sinks);
    o.window = c->window;
    o.sinks = c->sinks;
    o.n_context = c->context;
    o.chunk = c->chunk;
    o.attn_temp = c->attn_temp;
    o.attn_log = c->attn_log;
    o.n_threads = (int)c->threads;
    o.precision = precision_parse(c->precision);
    o.cache = precision_parse(c->cache);
    *options = o;
    return SNELLEN_OK;
}

snellen_model *cli_load(const char *path, int *status)
{
    snellen_error err;
    snellen_model *model;
    ui_begin_work();
    if (!snellen_model_load(path, &model, &err)) return model;
    *status = ui_fail(&err);
    return NULL;
}
