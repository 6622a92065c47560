/* A model of a few lines behind snellen.h: its logits are random numbers drawn from a hash of all tokens before, so
 * that any token that is lost, added or moved changes every answer. */
#ifndef TEST_TASKS_FAKE_MODEL_H
#define TEST_TASKS_FAKE_MODEL_H

#include "snellen.h"

/* Tokens are bytes; 256 + n stands for the two digits of n, 356 ends a turn. */
enum { FAKE_PAIRS = 256, FAKE_END = 356, FAKE_VOCAB = 357 };

struct snellen_model {
    snellen_model_info info;
    bool pairs;               /* the tokenizer joins two digits where it can */
    const char *says;         /* what the model wants to write after an opened turn; NULL = noise */
    int32_t (*writes)(const int32_t *tokens, size_t n);  /* the token that it wants next, -1 = noise; NULL = noise */
    /* What sessions and lanes did, all together. */
    uint64_t tokens_read;
    int n_sessions, n_refused, n_passes;
};

struct snellen_model fake_model(void);

/* log p of the tokens [n] that follow n_before ones, and (closed) that no digit comes next; by definition, token by
 * token. */
double fake_log_p(const snellen_model *model, const int32_t *tokens, size_t n_before, size_t n, bool closed);

/* The likeliest token after these. */
int32_t fake_next(const snellen_model *model, const int32_t *tokens, size_t n);

#endif
