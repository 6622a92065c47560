/* The options that verbs share, and loading a model with its message. */
#include "cli/cli.h"
#include "study/checkup.h"

#include <string.h>

static const char no_memory_given[] = "full";   /* told from the word by where it lies */

struct common_opts common_opts_default(void)
{
    snellen_session_options o = snellen_session_options_default();
    return (struct common_opts){
        .memory = no_memory_given,
        .precision = "f32",
        .cache = o.cache == SNELLEN_F16 ? "f16" : "f32",
        .sinks = o.sinks,
        .segments = o.segments,
        .attn_temp = o.attn_temp,
        .seed = 1,
    };
}

static snellen_precision precision_parse(const char *name)
{
    for (snellen_precision p = SNELLEN_F32; p <= SNELLEN_Q8_0; p++)
        if (!strcmp(checkup_precision_name(p), name)) return p;
    return SNELLEN_F32;
}

/* Options of blocks and of rows where the memory has none. */
static snellen_status fits_blocks(const struct common_opts *c, snellen_memory_kind kind, snellen_error *err)
{
    const char *name = snellen_memory_name(kind);
    bool fam = kind == SNELLEN_MEMORY_FAM, rmt = kind == SNELLEN_MEMORY_RMT;
    bool blocks = fam || kind == SNELLEN_MEMORY_BSWA || kind == SNELLEN_MEMORY_XL;
    FAIL_IF((c->block && !blocks && !rmt) || (c->segments >= 0 && !blocks), SNELLEN_E_USAGE,
            "--block, --segments: %s memory has no %s; --memory bswa, xl or fam expected", name,
            rmt ? "segments" : "blocks");
    FAIL_IF((c->fam_blocks || c->fam_positions) && !fam, SNELLEN_E_USAGE,
            "--fam-blocks, --fam-positions: %s memory has no such rows; --memory fam expected", name);
    FAIL_IF((c->fam || c->fam_prompt) && !fam && !rmt, SNELLEN_E_USAGE,
            "--fam, --fam-prompt: %s memory has no rows of its own; --memory fam or rmt expected", name);
    return SNELLEN_OK;
}

/* Options of another memory than the one in use. */
static snellen_status fits_memory(const struct common_opts *c, snellen_memory_kind kind, snellen_error *err)
{
    bool windows = kind == SNELLEN_MEMORY_SWA || kind == SNELLEN_MEMORY_SINK || kind == SNELLEN_MEMORY_XL;
    FAIL_IF(c->window && !windows, SNELLEN_E_USAGE,
            "--window %lld: %s memory has no window; --memory swa, sink or xl expected", (long long)c->window, c->memory);
    FAIL_IF(c->context && kind != SNELLEN_MEMORY_FULL, SNELLEN_E_USAGE,
            "--context %lld: %s memory has no end; --window sets what is seen", (long long)c->context, c->memory);
    FAIL_IF(c->sinks != snellen_session_options_default().sinks && kind != SNELLEN_MEMORY_SINK, SNELLEN_E_USAGE,
            "--sinks %lld: only sink memory keeps first tokens; --memory sink expected", (long long)c->sinks);
    return c->memory == no_memory_given ? SNELLEN_OK : fits_blocks(c, kind, err);   /* else common_load() sees */
}

snellen_status common_session(const struct common_opts *c, snellen_session_options *options, snellen_error *err)
{
    snellen_session_options o = snellen_session_options_default();
    TRY(snellen_memory_parse(c->memory, &o.memory, err));
    TRY(fits_memory(c, o.memory, err));
    o.window = c->window;
    o.sinks = c->sinks;
    o.block = c->block;
    o.segments = c->segments;
    o.fam = c->fam;
    o.fam_blocks = c->fam_blocks;
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

void common_own_memory(struct common_opts *c, const snellen_model *model, snellen_session_options *options)
{
    if (!model || c->memory != no_memory_given) return;   /* none where only samples are shown */
    const snellen_model_memory *own = snellen_model_get_memory(model);
    if (own->kind == SNELLEN_MEMORY_FULL || c->context) return;
    options->memory = own->kind;
    c->memory = snellen_memory_name(own->kind);
}

static snellen_status set_fam(const struct common_opts *c, snellen_model *model, snellen_error *err)
{
    snellen_memory_kind own = snellen_model_get_memory(model)->kind;
    if (c->memory == no_memory_given) TRY(fits_blocks(c, own, err));
    static const char *const names[] = {"last", "float", "zero"};
    if (c->fam_prompt) TRY(snellen_model_load_prompt(model, c->fam_prompt, err));
    if (!c->fam_positions) return SNELLEN_OK;
    snellen_model_memory memory = *snellen_model_get_memory(model);
    for (int i = 0; i < 3; i++)
        if (!strcmp(names[i], c->fam_positions)) memory.fam_positions = (snellen_fam_positions)i;
    return snellen_model_set_memory(model, &memory, err);
}

snellen_model *common_load(const char *path, const struct common_opts *c, int *status)
{
    snellen_error err;
    snellen_model *model = cli_load(path, status);
    if (!model) return NULL;
    snellen_status failed = c->lora ? snellen_model_add_lora(model, c->lora, &err) : SNELLEN_OK;
    if (!failed) failed = set_fam(c, model, &err);
    if (!failed) return model;
    *status = ui_fail(&err);
    snellen_model_free(model);
    return NULL;
}

void state_note(const struct state_opts *s, int64_t n_tokens)
{
    ui_note("%s: the state after %lld tokens; --state-in %s goes on from there", s->out, (long long)n_tokens, s->out);
}
