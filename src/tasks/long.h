/* Tasks of long memory: samples of any length, made as they are read.
 *
 *     sample = things at their places, filler between them
 *
 * A task plans things: short rows of tokens (a key that is said, a pair, a question with its answer), each at a place
 * counted in tokens from the sample's start. The reader gives them in order and fills what is free between them, so
 * that nothing is held but the things of the plan and one piece of filler.
 *
 *   reader.c        samples piece by piece; the registry; options; what snellen.h says of readers
 *   filler.c        what stands between: a pattern of words, the paper's sentences, a text file
 *   passkey.c, associative.c, stream.c    the tasks, one `struct long_task` each
 *   long_eval.c     feeds samples to a model and lets it write the answers
 *
 * A new task of long memory is one file with a `struct long_task` and one line in reader.c. */
#ifndef TASKS_LONG_H
#define TASKS_LONG_H

#include "tasks/symbols.h"

struct long_task {
    snellen_task_info info;
    const char *word_formats;     /* those of info.formats that are text in words; "" = none */
    const char *options;          /* names of the options that it takes beside those of all tasks */
    int64_t digits;               /* of a value when nobody says */
    size_t state_bytes;           /* of reader->state, zeroed once when the reader is made */
    /* Begins a sample: draws what it is about. */
    snellen_status (*begin)(struct snellen_reader *r, snellen_error *err);
    /* Plans the next things, at places from r->made on; called whenever all planned ones have been given. None: the
     * rest is filler. */
    snellen_status (*plan)(struct snellen_reader *r, snellen_error *err);
    void (*release)(struct snellen_reader *r);  /* what the state owns; NULL = nothing */
};
extern const struct long_task passkey_task, associative_task, stream_task;

/* Task i, NULL past the last one; the task of this name or NULL. */
const struct long_task *long_task_at(size_t i);
const struct long_task *long_task_find(const char *name);

/* ---- what stands between (filler.c) ---------------------------------------------------------------------------------- */

enum { FILLER_WORDS = 24 };       /* the first words of the pool make the filler of symbols; keys are others */

struct filler {
    int32_t *cycle;               /* [n_cycle] tokens that are repeated; NULL with a haystack */
    size_t n_cycle;
    int64_t phase;                /* symbols: where in the cycle the sample starts */
    double vary;
    struct rng rng;
    struct file_map haystack;
    uint64_t haystack_at;         /* byte that is read next */
    int32_t *straw;               /* [n_straw] tokens of the haystack that were read last, given up to `used` */
    size_t n_straw, used;
};
snellen_status filler_open(struct snellen_reader *r, snellen_error *err);
void filler_start(struct snellen_reader *r);
/* The next n tokens of a stretch of filler that ends `left` tokens from here, n <= left. */
snellen_status filler_put(struct snellen_reader *r, int64_t n, int64_t left, snellen_error *err);
void filler_close(struct filler *f);

/* ---- readers ----------------------------------------------------------------------------------------------------------- */

struct token_row {
    int32_t *ids;                 /* [n] */
    uint8_t *marks;               /* [n] SNELLEN_MARK_* */
    size_t n, room;
};
snellen_status row_put(struct token_row *row, int32_t id, unsigned marks, snellen_error *err);
void row_free(struct token_row *row);

struct thing {
    int64_t at;                   /* place of its first token in the sample */
    size_t first, n;              /* its tokens in reader->planned */
    int64_t about;                /* a question: place of what it asks for; -1 = it is none */
};

struct snellen_reader {
    const struct long_task *task;
    snellen_long_options options; /* without zeros that stand for defaults */
    int format;                   /* index into the names of task->info.formats */
    bool words;                   /* the format is text */
    const snellen_model *model;   /* NULL: symbols are their own tokens, text is bytes */
    struct symbol_tokens tokens;
    int32_t bos;                  /* -1 = none */
    void *state;                  /* of the task */
    struct filler filler;
    /* the sample */
    int64_t length, made;         /* tokens in all; those that went into `piece` so far */
    uint64_t index;
    struct dice dice;
    struct token_row planned;     /* tokens of the things, one behind the other */
    struct thing *things;         /* [n_things] in order of their places; next_thing of them are made */
    size_t n_things, things_room, next_thing;
    struct token_row piece;       /* what is given next, from token `given` on */
    size_t given;
    int64_t distance;             /* of the last question in the piece */
};

/* A new thing, the last of the plan, which the puts below extend; its place is set afterwards. NULL: memory ran out. */
struct thing *reader_thing(struct snellen_reader *r, int64_t at, snellen_error *err);
/* Into the last thing. */
snellen_status reader_symbol(struct snellen_reader *r, int32_t symbol, unsigned marks, snellen_error *err);
snellen_status reader_text(struct snellen_reader *r, const char *text, size_t n, unsigned marks, snellen_error *err);
/* `n` digits, the most significant first: as symbols, or as one word with a space before it. */
snellen_status reader_number(struct snellen_reader *r, uint64_t value, int64_t n, unsigned marks, snellen_error *err);
/* The begin token, if the model wants one. */
snellen_status reader_bos(struct snellen_reader *r, snellen_error *err);
/* The same as tokens of text, by mem_free() (bytes where there is no model). */
snellen_status reader_tokenize(const struct snellen_reader *r, const char *text, size_t n, int32_t **ids, size_t *n_ids,
                               snellen_error *err);
/* 10^digits */
uint64_t reader_values(const struct snellen_reader *r);
/* SNELLEN_E_USAGE: the sample's length is less than its things take. */
snellen_status reader_too_short(const struct snellen_reader *r, int64_t needed, snellen_error *err);

#endif
