/* generate: tokens from a session, one by one, as text on standard output. */
#ifndef CLI_GENERATE_H
#define CLI_GENERATE_H

#include "cli/cli.h"

enum stop { STOP_LIMIT, STOP_END, STOP_CONTEXT, STOP_INTERRUPTED, STOP_OUTPUT };

struct generation {
    const snellen_model *model;
    snellen_session *session;
    snellen_sampler *sampler;
    int64_t limit;          /* tokens to make at most */
    bool ignore_end;        /* go on after end tokens */
    bool silent;            /* nothing to standard output (--json) */
    struct strbuf text;     /* all that was made; the caller frees it */
    int32_t *ids;           /* [n], by mem_free() */
    size_t n, capacity;
    enum stop stop;
    double seconds;
};

/* Goes on from the session's last logits. Tokens appear as they are made, a character only when it is whole. Fails only
 * when the model does; why it stopped is in g->stop. */
snellen_status generate(struct generation *g, snellen_error *err);
/* "limit", "end", "context", "interrupted", "output". */
const char *stop_name(enum stop stop);
void generation_free(struct generation *g);

#endif
