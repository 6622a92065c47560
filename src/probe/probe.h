/* probe: measurements of what goes on inside a model, see snellen.h, "probe".
 *
 *   measure.c, sequence.c, collapse.c    how far apart n and n + 1 items are held
 *   attention.c, attribution.c           what tokens look at; what they did for an output
 *   squash.c                             how much of them reaches a row's vector
 *   memory_attention.c                   what a memory's rows look at when a block is compressed
 *   memory_cuts.c, memory_survival.c     what comes through these rows; for how long
 *   weights.c, answer.c, progress.c      what several of them need
 *
 * Here: what they share, and the parts of the collapse probe that need no model, so that they can be tested against
 * numbers. */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include "base/base.h"
#include "model/model.h"

/* ---- weights of attention (weights.c) ---------------------------------------------------------------------------- */

/* out [n] = the softmax of one row and head over all keys that the row sees, 0 for all else: key j of span s stands at
 * places[s] + j. */
void attention_row(float *out, int64_t n, const struct attn_shown *shown, const int64_t *places, int64_t head,
                   int64_t row);

/* ---- answers (answer.c) ------------------------------------------------------------------------------------------ */

/* A text whose end is known: how likely a model holds it. */
struct answer_score {
    double log_p;             /* of all its tokens, nats */
    int64_t n, n_right;       /* tokens; those that are the likeliest */
};
/* One more token of the answer, from what the session has read; then it is read. */
snellen_status answer_token(snellen_session *s, int32_t token, struct answer_score *score, snellen_error *err);

/* A session in which memory full stands for the model's own. SNELLEN_E_USAGE where that has no blocks or, if rows are
 * wanted, carries none. */
snellen_status memory_session(const snellen_model *model, const snellen_session_options *options, bool rows,
                              snellen_session **session, snellen_error *err);

/* ---- progress (progress.c) --------------------------------------------------------------------------------------- */

/* Progress of one of several readings of a text, counted over all of them. `all` says when to stop; hand `step` to the
 * session. */
struct reading_progress {
    const snellen_progress *all;   /* or NULL */
    uint64_t done, total;          /* tokens before this reading, and of all of them */
};
snellen_progress reading_step(struct reading_progress *p);

/* Progress over n_parts of a work, each of which counts the same steps. */
struct part_progress {
    const snellen_progress *all;   /* or NULL */
    uint64_t part, n_parts;
};
snellen_progress part_step(struct part_progress *p);

/* ---- the measures (measure.c) ------------------------------------------------------------------------------------ */

/* Distance of two vectors v, w [d]: fills linf_*, l1, relative, mean_abs, bit_equal of row. A NaN anywhere makes every
 * distance NaN. */
void collapse_measure(const float *v, const float *w, int64_t d, int64_t n_heads, snellen_collapse_row *row);
/* The two predictions from logits a, b [n_vocab]: fills same_logits, same_top, shift. */
void collapse_predictions(const float *a, const float *b, int64_t n_vocab, snellen_collapse_row *row);
/* Spearman's rank correlation of a, b [n], equal values sharing their mean rank; NaN where one of them is constant. */
snellen_status rank_correlation(const double *a, const double *b, int64_t n, double *correlation, snellen_error *err);
/* blind_at and faint_at from the rows of `layer`. */
void collapse_judge(snellen_collapse *result, int64_t layer);

/* ---- the sequences (sequence.c) ---------------------------------------------------------------------------------- */

enum { COLLAPSE_WORDINGS = 20 };

struct collapse_kind {
    snellen_collapse_sequence public;
    const char *prompt;       /* the paper's wording */
    uint32_t comma;
    enum { ITEMS_REPEATED, ITEMS_DIGITS, ITEMS_ALTERNATE } items;
    bool copy;                /* further wordings ask to copy, else to count */
};

/* NULL for an unknown name. */
const struct collapse_kind *collapse_kind_find(const char *name);
/* Wording `prompt` (0 = the paper's) of what stands before the sequence. By snellen_free(). */
snellen_status collapse_wording(const struct collapse_kind *kind, uint32_t prompt, char **text, snellen_error *err);
/* Tokens before item i (from 0) of a sequence with a comma after every `comma` items (0 = none): i items and the
 * commas between them, the one right before item i too. */
int64_t collapse_tokens_before(int64_t i, uint32_t comma);

#endif
