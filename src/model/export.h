/* What the files of export share: a model as the list of tensors that a container will hold. */
#ifndef MODEL_EXPORT_H
#define MODEL_EXPORT_H

#include "model/model.h"

/* How the rows of a tensor come from the model's own. */
enum row_order {
    ROWS_SAME,
    ROWS_PAIRED,        /* rotary pairs (i, i + half) become neighbours (2i, 2i + 1) within each head */
    ROWS_UNPAIRED,      /* the other way */
    ROWS_WOVEN,         /* q, k, v one after the other become [head][q, k, v][head_dim] */
    ROWS_AFTER_TWO,     /* two rows of zeros come first */
    ROWS_COLUMNS,       /* row i is column i of the model's matrix */
    ROWS_POSITIONS,     /* the vectors of positions 0, 1, .. */
    ROWS_POSITIONS_AFTER_TWO,
};

struct export_tensor {
    struct tensor out;         /* name, type, shape as they will be written */
    struct weight parts[3];    /* one, or q, k and v */
    int n_parts;
    enum row_order order;
    int64_t n_heads;           /* of the part, for ROWS_PAIRED and ROWS_WOVEN */
    bool minus_one;            /* the container stores w where we have 1 + w */
};

struct export_list {
    struct arena arena;        /* names */
    struct export_tensor *tensors;  /* [n] by mem_free() */
    struct tensor *shapes;     /* [n] the out fields, by mem_free() */
    size_t n;
    uint64_t n_bytes;
    size_t n_unblocked;        /* matrices whose rows are no whole blocks */
};

/* type < 0: each as it is. */
snellen_status export_list_make(struct export_list *list, const struct snellen_model *model, bool gguf, int type,
                                snellen_error *err);
/* The frequency of rotary pairs is that of the base divided by a number of each pair's own (Llama 3). */
bool export_has_divisors(const struct snellen_model *model);
double export_divisor(const struct snellen_model *model, int64_t pair);
void export_list_free(struct export_list *list);

/* Rows [row0, row0 + n) of a tensor in its own type. SNELLEN_E_OVERFLOW where a value does not fit it. */
snellen_status export_rows(const struct snellen_model *model, const struct export_tensor *t, int64_t row0, int64_t n,
                           void *rows, float *scratch, snellen_error *err);
/* Floats of scratch for n rows. */
int64_t export_scratch(const struct export_tensor *t, int64_t n);

#endif
