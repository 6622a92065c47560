/* probe: measurements of what goes on inside a model. Through the public API only (snellen.h, "probe").
 *
 * Here: the parts of the collapse probe that need no model, so that they can be tested against numbers. */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include "base/base.h"

/* ---- the measures (measure.c) ------------------------------------------------------------------------------------------ */

/* Distance of two vectors v, w [d]: fills linf_*, l1, relative, mean_abs, bit_equal of row. A NaN anywhere makes every
 * distance NaN. */
void collapse_measure(const float *v, const float *w, int64_t d, int64_t n_heads, snellen_collapse_row *row);
/* The two predictions from logits a, b [n_vocab]: fills same_logits, same_top, shift. */
void collapse_predictions(const float *a, const float *b, int64_t n_vocab, snellen_collapse_row *row);
/* blind_at and faint_at from the rows of `layer`. */
void collapse_judge(snellen_collapse *result, int64_t layer);

/* ---- the sequences (sequence.c) ------------------------------------------------------------------------------------------ */

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
