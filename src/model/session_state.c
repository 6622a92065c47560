/* A session to a file and back: what decides its numbers, which must be the same, then what it has read. */
#include "model/session.h"

#include <string.h>
#include <xxhash.h>

/* ---- what must be alike ------------------------------------------------------------------------------------------------ */

static void same_model(const snellen_model *model, struct state *state)
{
    char hash[33];
    if (!state->status) state->status = snellen_model_hash(model, hash, state->err);
    if (state->status) return;
    state_same_text(state, hash, "model");
    const snellen_model_memory *m = &model->memory;
    uint64_t n = m->prompt ? (uint64_t)(m->prompt_rows * model->desc.d_model) * sizeof *m->prompt : 0;
    snprintf(hash, sizeof hash, "%016llx", n ? (unsigned long long)XXH3_64bits(m->prompt, n) : 0ull);
    state_same_text(state, hash, "memory prompt");
}

static const char *const types[] = {[SNELLEN_F32] = "f32", [SNELLEN_BF16] = "bf16", [SNELLEN_F16] = "f16",
                                    [SNELLEN_Q8_0] = "q8_0"};

/* "bf16", and what it rounds where that is not all that is computed: "bf16 of weights, cache". */
static const char *precision_text(const snellen_session_options *o, char text[64])
{
    static const char *const parts[] = {"weights", "activations", "cache", "logits"};   /* by bit */
    int n = snprintf(text, 64, "%s", types[o->precision]);
    bool some = false;
    for (unsigned i = 0; i < COUNT_OF(parts) && o->round_parts != SNELLEN_ROUND_COMPUTED; i++) {
        if (!(o->round_parts & 1u << i)) continue;
        n += snprintf(text + n, 64 - (size_t)n, "%s%s", some ? ", " : " of ", parts[i]);
        some = true;
    }
    return text;
}

/* Options that say what a token sees and how it is rounded. Threads do not matter, nor does room for a longer text. */
static void same_options(const snellen_session *s, struct state *state)
{
    const snellen_session_options *o = &s->options;
    const struct memory_ops *ops = s->memory->ops;
    int64_t temp;
    char text[64];
    state_same_text(state, ops->name, "memory");
    state_same_text(state, precision_text(o, text), "precision");
    state_same_text(state, types[o->cache], "cache");
    state_same(state, o->window, "window");
    if (o->memory == SNELLEN_MEMORY_SINK) state_same(state, o->sinks, "sinks");
    if (ops->room) {
        state_same(state, o->block, "block");
        state_same(state, o->segments, "segments");
    }
    if (ops->n_rows) state_same(state, o->fam, "memory's length");
    if (ops->riders) {
        state_same(state, o->fam_blocks, "fam_blocks");
        state_same(state, s->model->memory.fam_positions, "fam_positions");
    }
    memcpy(&temp, &o->attn_temp, sizeof temp);
    state_same(state, temp, "temperature of attention (as bits)");
    state_same(state, o->attn_log, "attn_log");
    state_same(state, o->exact, "exact");
}

/* ---- the parts -------------------------------------------------------------------------------------------------------------- */

/* What it has read. */
static void session_parts(snellen_session *s, struct state *state)
{
    int64_t has_logits = s->has_logits;
    state_number(state, &s->memory->length, 0, snellen_session_capacity(s), "tokens read");
    if (state->status) return;
    s->memory->ops->state(s->memory, state);
    state_number(state, &has_logits, 0, 1, "logits");
    s->has_logits = has_logits;
    if (has_logits) state_bytes(state, s->last_logits, (uint64_t)s->model->desc.n_vocab * sizeof(float));
}

void session_state(snellen_session *s, struct state *state)
{
    same_model(s->model, state);
    same_options(s, state);
    session_parts(s, state);
}

snellen_status session_keep(snellen_session *s, struct strbuf *kept, snellen_error *err)
{
    struct state state;
    kept->n = 0;
    state_keep_begin(&state, kept, err);
    session_parts(s, &state);
    return state_end(&state);
}

snellen_status session_return(snellen_session *s, const struct strbuf *kept, snellen_error *err)
{
    struct state state;
    state_return_begin(&state, kept, err);
    session_parts(s, &state);
    return state_end(&state);
}

snellen_status snellen_session_save(snellen_session *s, snellen_sampler *sampler, const char *path, snellen_error *err)
{
    struct state state;
    TRY(state_save_begin(&state, path, err));
    session_state(s, &state);
    sampler_state(sampler, &state);
    return state_end(&state);
}

snellen_status snellen_session_restore(snellen_session *s, snellen_sampler *sampler, const char *path,
                                       snellen_error *err)
{
    struct state state;
    TRY(state_restore_begin(&state, path, err));
    session_state(s, &state);
    sampler_state(sampler, &state);
    state_skip_rest(&state); /* sums of a perplexity */
    snellen_status status = state_end(&state);
    if (status) session_clear(s);
    return status;
}
