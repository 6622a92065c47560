/* session: one timeline, as the files that work on it see it (session.c, state of sessions: session_state.c). */
#ifndef MODEL_SESSION_H
#define MODEL_SESSION_H

#include "model/model.h"
#include "model/state.h"

struct snellen_session {
    const snellen_model *model;
    snellen_session_options options;   /* resolved */
    struct memory *memory;
    struct workspace w;
    float *last_logits;                /* [n_vocab] */
    bool has_logits;
    int64_t *rows;                     /* [chunk] rows of a batch whose logits are computed together */
    int32_t *next;                     /* [chunk] the token that follows each row of a batch; -1 = unknown */
    struct row_group *groups;          /* [chunk] */
    snellen_progress progress;         /* step NULL: none */
};

/* The session's part of a state, in both directions. A restored session has read what the saved one had. */
void session_state(snellen_session *s, struct state *state);
/* A sampler's: how far its random numbers are. sampler NULL: there is none; one in the file is passed over, and one that
 * the file does not have stays as it is. */
void sampler_state(snellen_sampler *sampler, struct state *state);
/* What was read, into `kept` in place of what it holds; and back to it, in the same session, as often as wanted. */
snellen_status session_keep(snellen_session *s, struct strbuf *kept, snellen_error *err);
snellen_status session_return(snellen_session *s, const struct strbuf *kept, snellen_error *err);
/* At the end of a block: the next one reads these rows [n_rows, d_model] in place of the memory made of the one just
 * complete; fam: of one layer, rmt: of the model, whose layer is 0. SNELLEN_E_USAGE elsewhere. */
snellen_status session_replace_memory(snellen_session *s, int64_t layer, const float *rows, snellen_error *err);
/* Forgets all that was read. */
void session_clear(snellen_session *s);

#endif
