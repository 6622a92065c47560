/* What a study file says of tasks, as the options of lines, readers and sessions. */
#include "study/training.h"
#include "tasks/long.h"

#include <string.h>

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

snellen_line_options line_options_of(const struct settings *s)
{
    snellen_line_options o = snellen_line_options_default();
    o.format = or_null(s->data.format);
    o.pool = (uint32_t)s->data.pool;
    o.spacing = (uint32_t)s->data.spacing;
    o.cycle = (uint32_t)s->data.cycle;
    return o;
}

bool is_long_task(const struct settings *s)
{
    return long_task_find(s->data.task) != NULL;
}

snellen_long_options long_options_of(const struct settings *s, bool train, uint64_t seed)
{
    snellen_long_options o = snellen_long_options_default();
    bool words = !strcmp(s->data.format, "words");
    o.format = or_null(s->data.format);
    o.depth = s->data.depth;
    o.within = s->data.within;
    o.pairs = s->data.pairs;
    o.every = s->data.every;
    o.back = s->data.back;
    o.digits = s->data.digits;
    if (!words) o.pool = (uint32_t)s->data.pool;
    o.vary = s->data.vary;
    o.haystack = or_null(s->data.haystack);
    o.train = train;
    o.seed = seed;
    return o;
}

snellen_status evaluation_session(const struct settings *s, int n_threads, snellen_session_options *out,
                                  snellen_error *err)
{
    const char *kind = *s->eval.memory ? s->eval.memory : s->memory.kind;
    *out = snellen_session_options_default();
    snellen_status status = snellen_memory_parse(kind, &out->memory, err);
    if (status) return error_prefix(err, status, "eval.memory");
    out->n_threads = n_threads;
    out->attn_temp = s->eval.attn_temp;
    out->attn_log = s->eval.attn_log;
    snellen_memory_kind m = out->memory;
    if (m == SNELLEN_MEMORY_FULL) return SNELLEN_OK;
    bool blocks = m == SNELLEN_MEMORY_BSWA || m == SNELLEN_MEMORY_XL || m == SNELLEN_MEMORY_FAM ||
                  m == SNELLEN_MEMORY_RMT;
    if (!blocks || m == SNELLEN_MEMORY_XL) out->window = s->eval.window ? s->eval.window : s->memory.window;
    if (m == SNELLEN_MEMORY_SINK) out->sinks = s->eval.sinks;
    if (!blocks) return SNELLEN_OK;
    /* What neither says is the model's own. */
    out->block = s->eval.block ? s->eval.block : s->memory.block;
    if (m == SNELLEN_MEMORY_RMT) return SNELLEN_OK;
    out->segments = s->eval.segments >= 0 ? s->eval.segments : s->memory.block ? s->memory.segments : out->segments;
    return SNELLEN_OK;
}
