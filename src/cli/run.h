/* run: what the parts of the verb `run` share. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/generate.h"

struct runner {
    struct common_opts common;
    const char *text, *file, *system;   /* as given; NULL = not */
    bool chat;
    struct state_opts state;
    const snellen_model *model;
    const snellen_model_info *info;
    snellen_session_options options;
    snellen_session *session;
    snellen_session_cost cost;
    struct generation generation;       /* the answer made last */
    bool streaming;                     /* the prompt comes piece by piece */
    uint64_t n_prompt;                  /* tokens read, and the time it took */
    double prompt_seconds;
    size_t n_made;                      /* tokens made in all answers */
    double made_seconds;
};

/* Reads tokens; SNELLEN_E_CONTEXT, with what to do, when they do not fit. */
snellen_status runner_feed(struct runner *r, const int32_t *ids, size_t n, snellen_error *err);
/* Reads a whole text, special tokens in it parsed, the begin token first if the model wants it. */
snellen_status runner_feed_text(struct runner *r, const char *text, size_t n_bytes, snellen_error *err);
/* Makes the next answer and ends its line. */
snellen_status runner_answer(struct runner *r, snellen_error *err);

/* chat.c: reads one question (a text; a file) in the form of the model's template. */
snellen_status chat_once(struct runner *r, const char *question, snellen_error *err);
snellen_status chat_file(struct runner *r, const char *path, snellen_error *err);
/* A conversation on the terminal until the end of the input or Ctrl-C. */
snellen_status chat_talk(struct runner *r, snellen_error *err);

#endif
