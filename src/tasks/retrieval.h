/* Inside src/tasks: questions of the probe of retrieval.
 *
 *     scene = what one prompt of a length is about: a key, a fact or a list, and how much stands around it
 *     question = a scene asked for what stands at one depth, as text and as tokens
 *
 *   retrieval_text.c   draws scenes, writes their text; pure
 *   retrieval.c        makes them so long as is asked for, in the model's tokens and template
 *   retrieval_run.c    asks, scores, counts */
#ifndef TASKS_RETRIEVAL_H
#define TASKS_RETRIEVAL_H

#include "tasks/eval.h"

enum retrieval_task { RETRIEVAL_PASSKEY, RETRIEVAL_NEEDLE, RETRIEVAL_INDEX, RETRIEVAL_CONTENT, RETRIEVAL_TASKS };
extern const char *const retrieval_names[RETRIEVAL_TASKS];

/* ---- text (retrieval_text.c) ------------------------------------------------------------------------------------- */

enum retrieval_kind { RETRIEVAL_KEY, RETRIEVAL_FACT, RETRIEVAL_LIST, RETRIEVAL_KINDS };
enum retrieval_kind retrieval_kind_of(enum retrieval_task task);

enum { RETRIEVAL_LEAST = SNELLEN_RETRIEVAL_ANSWERS, RETRIEVAL_MOST_ITEMS = 4096, RETRIEVAL_ANSWER_SIZE = 16,
       RETRIEVAL_NAME_SIZE = 32 };

struct retrieval_scene {
    enum retrieval_kind kind;
    uint64_t order[4];      /* seeds of what is drawn */
    size_t fact;            /* which of the facts */
    int64_t units;          /* sentences of filler, or items of the list; at least RETRIEVAL_LEAST */
};

/* answers[0] is the right one; all different, none the beginning of another. */
struct retrieval_answers {
    char text[SNELLEN_RETRIEVAL_ANSWERS][RETRIEVAL_ANSWER_SIZE];
};

/* Everything but `units`; the same whatever the length and depth, so that these are compared on the same questions. */
void retrieval_draw(struct retrieval_scene *scene, enum retrieval_kind kind, uint64_t seed, uint32_t prompt);
/* The sentence, or item (from 0), in front of which or at which depth p lies: 0 .. units, of a list .. units - 1. */
int64_t retrieval_unit(const struct retrieval_scene *scene, double depth);
void retrieval_answers(const struct retrieval_scene *scene, double depth, struct retrieval_answers *answers);
/* *at: byte where what is asked for is said. */
void retrieval_prompt(const struct retrieval_scene *scene, enum retrieval_task task, double depth, struct strbuf *out,
                      size_t *at);
/* How the answer begins; a space and the answer follow. */
void retrieval_frame(const struct retrieval_scene *scene, enum retrieval_task task, double depth, struct strbuf *out);
/* Of a list: item i's name and number. */
void retrieval_item_name(const struct retrieval_scene *scene, int64_t item, char name[RETRIEVAL_NAME_SIZE]);
int retrieval_item_number(const struct retrieval_scene *scene, int64_t item);
/* Of the answers that stand in the text, as words of their own and in whatever case: is the right one the first? */
bool retrieval_says(const char *text, const struct retrieval_answers *answers);

/* ---- questions (retrieval.c) ------------------------------------------------------------------------------------- */

/* What questions are made of. */
struct retrieval_maker {
    const snellen_model *model;
    bool chat, written;
    uint64_t seed;
};

struct retrieval_question {
    struct retrieval_answers answers;
    int32_t *tokens;         /* [n_tokens] template, prompt, frame, and what all answers begin with */
    size_t n_tokens;
    int32_t *asked;          /* [n_asked] what an answer is written behind: the prompt, without a chat template with the frame;
                                NULL = not wanted */
    size_t n_asked;
    int64_t at;              /* token at which what is asked for is said */
    int32_t tails[SNELLEN_RETRIEVAL_ANSWERS][ANSWER_MAX_DEPTH];  /* what follows, an answer each */
    size_t n_tails[SNELLEN_RETRIEVAL_ANSWERS];
};

/* Gives a scene as much filler as all these questions about it hold: with it each of them takes at most `length` tokens. */
snellen_status retrieval_fit(const struct retrieval_maker *maker, struct retrieval_scene *scene, int64_t length,
                             const bool wanted[RETRIEVAL_TASKS], const double *depths, size_t n_depths, snellen_error *err);
/* The question of a scene that fits. *out is freed by retrieval_question_free() in any case. */
snellen_status retrieval_make(const struct retrieval_maker *maker, const struct retrieval_scene *scene, enum retrieval_task task,
                              double depth, struct retrieval_question *out, snellen_error *err);
void retrieval_question_free(struct retrieval_question *q);

#endif
