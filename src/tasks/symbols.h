/* Tasks of symbols: lines that are generated, each symbol one token, so that a model's right answers can be counted
 * token by token and small models can be trained on them.
 *
 *     line = format(content, anchors),   (content, anchors) = draw(task, length, set, seed, index)
 *
 *   symbols.c   the symbols; lines; the registry; what snellen.h says of lines
 *   dice.c      contents: random, all different, in a training set or a test set
 *   parity.c, addition.c, recall.c    the tasks, one `struct symbol_task` each
 *   tokens.c    symbols as a model's tokens
 *   lines.c     lets a model write: many lines side by side, scores
 *
 * A new task of symbols is one file with a `struct symbol_task` and one line in symbols.c. */
#ifndef TASKS_SYMBOLS_H
#define TASKS_SYMBOLS_H

#include "base/base.h"

/* ---- symbols: one vocabulary for all these tasks ----------------------------------------------------------------- */

/* A symbol is its place in the vocabulary, which is also its token id in a model that was trained on this
 * vocabulary. The words come last, so that a smaller pool makes a smaller vocabulary. */
enum {
    SYMBOL_START,       /* >>> */
    SYMBOL_EQUALS,      /* === */
    SYMBOL_AGAIN,       /* ### */
    SYMBOL_PLUS,        /* + */
    SYMBOL_CONSTANT,    /* # */
    SYMBOL_BLANK,       /* _ */
    SYMBOL_A,           /* a, b: bits beside anchors that are numbers */
    SYMBOL_B,
    SYMBOL_NUMBER,      /* 0 .. 99; digits and bits are the first of them */
    SYMBOL_WORD = SYMBOL_NUMBER + 100,
    SYMBOL_MAX_POOL = 240,
    SYMBOL_COUNT = SYMBOL_WORD + SYMBOL_MAX_POOL,
};
/* The text of each symbol, and after the last of them SYMBOL_SPARE_WORDS more words, for tokenizers to which some words
 * are not one token. */
enum { SYMBOL_SPARE_WORDS = 15, SYMBOL_MAX_NUMBER = SYMBOL_WORD - SYMBOL_NUMBER - 1 };
extern const char *const symbol_names[SYMBOL_COUNT + SYMBOL_SPARE_WORDS];

/* ---- lines ------------------------------------------------------------------------------------------------------- */

enum {
    MARK_OUTPUT = 1,    /* behind the prompt */
    MARK_GIVEN = 2,     /* output that is put there for the model in any case; no loss on it */
    MARK_ANCHOR = 4,    /* output that is put there for the model in a forced evaluation */
    MARK_ANSWER = 8,    /* of the final answer */
};

struct line {
    int32_t *symbols;   /* [n] */
    uint8_t *marks;     /* [n] MARK_* */
    size_t n, n_prompt; /* the first n_prompt have no mark */
    bool repeats;       /* the set is smaller than the sample's index: this content came before */
    size_t room;
};

void line_free(struct line *line);
/* Appends a symbol; without a mark it belongs to the prompt. A full line takes nothing more. */
void line_put(struct line *line, int32_t symbol, unsigned marks);
/* Weight in the training loss: 1 for what the model has to write, anchors too, else 0. */
float line_weight(const struct line *line, size_t i);

/* ---- what a line is made of -------------------------------------------------------------------------------------- */

/* How the content of a task is written. */
struct line_spec {
    const struct symbol_task *task;
    int format;             /* index into the names of task->info.formats */
    uint32_t pool;          /* words that anchors and keys are drawn from: the first `pool` ones */
    uint32_t spacing;       /* an anchor before every spacing-th bit */
    uint32_t cycle;         /* words in the sequence that `cyclic` repeats */
};

struct content {
    int64_t length;
    uint32_t *values;       /* [CONTENT_VALUES(length)] as the task has them */
    int32_t *anchors;       /* [CONTENT_ANCHORS(length)] symbols, drawn without repetition */
};
#define CONTENT_VALUES(length) (8 * (size_t)(length) + 8)
#define CONTENT_ANCHORS(length) (2 * (size_t)(length) + 2)
#define LINE_ROOM(length) (12 * (size_t)(length) + 16)
enum { LINE_MAX_LENGTH = 10000 };

/* ---- dice (dice.c) ----------------------------------------------------------------------------------------------- */

/* Contents of one length are numbered; a fixed permutation of the numbers makes the first eighth (at least one) the
 * test set and the others the training set, so the sets have no content in common whatever the seed. Another
 * permutation, by seed, gives sample `index` its place in the set: samples of a seed differ as long as index is
 * below the set's size. Numbers of more than 62 bits: that holds for the first values of the content, the others are
 * random. */
struct dice {
    bool train;
    bool single;            /* there is one content only, so that the sets cannot differ */
    bool repeats;           /* index is not below the set's size */
    uint64_t key, index;
    struct rng rng;         /* what must not be different: anchors, the lengths of operands */
};
void dice_start(struct dice *dice, uint64_t seed, int64_t length, bool train, uint64_t index);
/* values [n], each below its radix [n]. Once for each line. */
void dice_values(struct dice *dice, const uint32_t *radices, size_t n, uint32_t *values);
/* n different symbols of the first `pool` words, n <= pool. */
void dice_words(struct dice *dice, uint32_t pool, size_t n, int32_t *words);
/* Radices of n different words: values that choose_words() turns into such words. */
void word_radices(uint32_t pool, size_t n, uint32_t *radices);
void choose_words(uint32_t pool, const uint32_t *values, size_t n, int32_t *words);

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

struct symbol_task {
    snellen_task_info info;
    /* The largest length of a format, and how many words the pool must have for a length. */
    int64_t (*max_length)(const struct line_spec *spec);
    int64_t (*words_needed)(const struct line_spec *spec, int64_t length);
    /* Values and anchors of a line of content->length. */
    void (*draw)(const struct line_spec *spec, struct dice *dice, struct content *content);
    void (*write)(const struct line_spec *spec, const struct content *content, struct line *line);
    const char *spacing_formats, *cycle_formats;  /* which formats take these options; "" = none */
};
extern const struct symbol_task parity_task, addition_task, copy_task, reverse_task, remember_task, rewrite_task;

/* Task i, NULL past the last one; the task of this name or NULL. */
const struct symbol_task *symbol_task_at(size_t i);
const struct symbol_task *symbol_task_find(const char *name);
/* Task, format and numbers from what a caller says, checked. */
snellen_status line_spec_set(struct line_spec *spec, const char *task, const snellen_line_options *options,
                             snellen_error *err);
/* Can the format have lines of this length? */
snellen_status line_check(const struct line_spec *spec, int64_t length, snellen_error *err);
/* Sample `index` of a set; `line` grows as needed and is used again from call to call. Zero = empty; line_free(). */
snellen_status line_make(const struct line_spec *spec, int64_t length, bool train, uint64_t seed, uint64_t index,
                         struct line *line, snellen_error *err);

/* ---- symbols as tokens (tokens.c) -------------------------------------------------------------------------------- */

struct symbol_tokens {
    const snellen_model *model;
    int32_t ids[SYMBOL_COUNT];  /* -1 = not one token, or a word past the pool */
    int32_t bos;                /* comes before a line; -1 = none */
};
/* SNELLEN_E_UNSUPPORTED when there are fewer words of one token than the pool asks for (0 = a format without words). */
snellen_status symbol_tokens_set(struct symbol_tokens *tokens, const snellen_model *model, uint32_t pool,
                                 snellen_error *err);
/* The token of a symbol; SNELLEN_E_UNSUPPORTED names the one that has none. */
snellen_status symbol_token(const struct symbol_tokens *tokens, int32_t symbol, int32_t *id, snellen_error *err);
/* How a token reads: the symbol that it stands for as this model has it, else its bytes without the space before. */
void symbol_token_text(const struct symbol_tokens *tokens, int32_t id, struct strbuf *text);

#endif
