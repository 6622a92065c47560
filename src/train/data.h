/* data: where training sequences come from. A source gives one sample after the other without end; the order follows
 * from the seed alone, and a position that was saved is gone back to exactly.
 *
 *     TRY(source_open(&options, &source, err));           a file: jsonl or text
 *     TRY(data_batch_fill(&batch, source, n_seqs, err));  the next samples, side by side
 *     json_t *position = source_position(source);         for the checkpoint; source_seek() goes back to it
 *
 * Files are mapped and read where they lie, so that they may be larger than memory. Other sources (tasks) fill in a
 * struct source of their own. */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "base/base.h"
#include "tokenize/tokenize.h"

#include <jansson.h>

/* One sequence. weights[t] scales the loss of predicting token t from those before it; weights[0] is not used. */
struct sample {
    int32_t *tokens;        /* [n] */
    float *weights;         /* [n] */
    size_t n, room;         /* room: entries that both arrays can hold */
};
/* Appends tokens that all have this weight. */
snellen_status sample_add(struct sample *s, const int32_t *tokens, size_t n, float weight, snellen_error *err);
void sample_free(struct sample *s);

struct source {
    /* The next sample in place of what `s` held. */
    snellen_status (*next)(struct source *source, struct sample *s, snellen_error *err);
    /* Where it stands, as JSON; NULL when memory runs out. seek() takes what position() gave. */
    json_t *(*position)(const struct source *source);
    snellen_status (*seek)(struct source *source, const json_t *position, snellen_error *err);
    void (*free)(struct source *source);
    int64_t longest;        /* tokens of a sample, at most */
    uint64_t n;             /* samples until they come up again; 0 = not known, or without end */
    uint64_t skipped;       /* bad lines passed over */
    /* Told the loss of each step, for sources that become harder as the model learns; NULL = does not matter. */
    void (*learned)(struct source *source, double loss);
};
void source_free(struct source *source);

/* ---- files ------------------------------------------------------------------------------------------------------- */

struct data_options {
    const char *jsonl, *text;       /* one of the two: path of the file */
    int64_t length;                 /* text: tokens of each sequence; jsonl: the most that a sample may have */
    bool cut;                       /* jsonl: cut what is longer; else it is an error */
    bool shuffle;
    bool skip_bad_lines;            /* jsonl: count bad lines in `skipped` and go on */
    const char *end;                /* text put after each text or completion, special tokens read as such; "" = none */
    int64_t repeat;                 /* > 0: so many tokens of each sample come again at its end; within `length` */
    const char *repeat_prompt;      /* before them, weight 0; NULL or "" = nothing */
    double repeat_weight;           /* of their loss */
    int64_t held_back;              /* by repeat_open(), for messages: tokens of data.length that are not in `length` */
    uint64_t seed;
    const struct tokenizer *tokenizer;  /* NULL: only samples that are tokens already */
    const char *no_tokenizer;       /* why there is none */
    int64_t n_vocab, n_context;     /* of the model */
};

/* jsonl (jsonl.c): an object a line, {"text": ..}, {"prompt": .., "completion": ..} with loss on the completion, or
 * {"tokens": [..], "weights": [..]}; weights may be left out. Lines are drawn in a random order without repetition,
 * another one each time through. 8 bytes of memory a line.
 * text (packed.c): tokens of the whole file one after the other, cut into sequences of `length`; shuffled in pieces of
 * some 32 kB. A begin token stands at the start of each sequence if the model wants one.
 * repeat (repeat.c), around one of these: tokens [at, at + repeat) of a sample, a begin token excepted, once more behind
 * the prompt; `at` is drawn from the seed and the number of samples before. A shorter sample is repeated whole. */
snellen_status source_open(const struct data_options *options, struct source **out, snellen_error *err);
snellen_status jsonl_open(const struct data_options *options, struct source **out, snellen_error *err);
snellen_status packed_open(const struct data_options *options, struct source **out, snellen_error *err);
snellen_status repeat_open(const struct data_options *options, struct source **out, snellen_error *err);

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/* Samples side by side, the longest first, filled up with token 0 of weight 0. Zero-initialised = empty. */
struct data_batch {
    int32_t *tokens;                /* [n_seqs, n_tokens] */
    float *weights;                 /* [n_seqs, n_tokens] */
    int64_t n_seqs, n_tokens;
    uint64_t n_real;                /* tokens that are no filling */
    double weight;                  /* sum of weights */
    struct sample *samples;         /* [room] */
    int64_t room;                   /* sequences that were made room for */
    uint64_t tokens_room;
};
snellen_status data_batch_fill(struct data_batch *b, struct source *source, int64_t n_seqs, snellen_error *err);
/* Only the sequences i with keep[i] [n_seqs], in their order. */
void data_batch_keep(struct data_batch *b, const bool *keep);
void data_batch_free(struct data_batch *b);

#endif
