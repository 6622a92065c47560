/* Inside src/tasks: candidates and their search, questions as tokens, the plan in which they are asked. */
#ifndef TASKS_EVAL_H
#define TASKS_EVAL_H

#include "tasks/tasks.h"

/* ---- candidates (answers.c) -------------------------------------------------------------------------------------- */

enum { ANSWER_MAX_DEPTH = 16 };

/* A token that continues one or more candidates. Node 0 is the root: the frame's end. */
struct answer_node {
    int32_t token;
    int32_t parent, first_child, next;  /* -1 = none; next = sibling */
    int32_t depth;
    int64_t answer;                     /* the candidate that ends here; -1 = none */
    int64_t least;                      /* smallest candidate here or below */
};

/* The candidates 0 .. max_answer behind one frame: a trie of the tokens that tell them apart. */
struct answer_set {
    const char *frame;
    bool closed;
    int64_t max_answer, n_vocab;
    struct answer_node *nodes;
    int32_t n_nodes, depth;             /* depth: of the deepest node */
    int32_t *node_of;                   /* [max_answer + 1] where a candidate ends */
    uint8_t *digit_first;               /* [n_vocab] closed: tokens that begin with a digit */
};

/* Tokenises "frame" + number for all candidates, behind an opened turn of the assistant if `chat`. */
snellen_status answer_set_build(struct answer_set *set, const snellen_model *model, bool chat, snellen_error *err);
void answer_set_free(struct answer_set *set);
/* The tokens from the root to a node; returns their number. */
int32_t answer_set_path(const struct answer_set *set, int32_t node, int32_t tokens[ANSWER_MAX_DEPTH]);
/* True when the root's logits decide everything. */
bool answer_set_single(const struct answer_set *set);

/* The search for the best wrong candidate: best first, by log p(prefix), which no candidate behind the prefix exceeds.
 * It ends when no open prefix can beat the best wrong candidate that is complete, so the result is exact. */
struct answer_search {
    const struct answer_set *set;
    int64_t right, limit;               /* candidates are 0 .. limit */
    double *prefix;                     /* [n_nodes] log p(tokens up to here); NAN = not known yet */
    double *complete;                   /* [n_nodes] log p(candidate that ends here); NAN = not known yet */
    bool *expanded;                     /* [n_nodes] its logits were seen */
};

snellen_status answer_search_new(struct answer_search *search, const struct answer_set *set, snellen_error *err);
void answer_search_free(struct answer_search *search);
void answer_search_start(struct answer_search *search, int64_t right, int64_t limit);
/* The logits [n_vocab] behind a node, whose parent was seen before. */
void answer_search_see(struct answer_search *search, int32_t node, const float *logits);
/* Up to max_nodes nodes whose logits are needed next, likeliest first; 0 = done. */
int32_t answer_search_wants(const struct answer_search *search, int32_t *nodes, int32_t max_nodes);
float answer_search_margin(const struct answer_search *search, int64_t *best_wrong);

/* ---- questions (question.c) -------------------------------------------------------------------------------------- */

struct question {
    size_t item;
    const struct answer_set *set;
    int64_t limit;                      /* largest candidate */
    int32_t *tokens;                    /* prompt in its template with the answer's frame; a candidate's path follows */
    size_t n_tokens;
    int32_t *asked;                     /* the same without the frame, for generating; NULL = not wanted */
    size_t n_asked;
    uint32_t max_new;
    bool scored;                        /* the margin is there */
    snellen_answer answer;
};

/* Questions that are asked in one go: the spine is fed, the others branch off it. */
struct question_group {
    size_t spine, first, n;             /* branches[first .. first + n) */
    uint64_t n_tokens;                  /* as planned */
};

enum { QUESTION_BRANCH = 128, MAX_ANSWER_SETS = 8 };

struct exam {
    const snellen_model *model;
    const struct task_item *items;
    size_t n_items;
    struct task_setting setting;        /* session.n_context resolved */
    struct arena arena;                 /* tokens */
    struct answer_set sets[MAX_ANSWER_SETS];
    size_t n_sets;
    struct question *questions;         /* by item, length, prompt */
    size_t n_questions, questions_room;
    struct question_group *groups;      /* one after the other, first of all */
    size_t n_groups;
    size_t *branches, n_branches;       /* of the groups */
    size_t *alone, n_alone;             /* then these; one of a group too, if it is to be answered in words */
    struct task_cost plan;
};

/* Checks the items, writes and tokenises all prompts, decides on the order. */
snellen_status exam_prepare(struct exam *exam, snellen_error *err);
void exam_free(struct exam *exam);
/* How a prompt is tokenised: a chat template writes its special tokens itself, the begin token too. */
unsigned task_token_flags(bool chat);
/* Length of the common beginning. */
size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b);

#endif
