/* Names of tensors in Hugging Face folders, and what must change on the way to the canonical form. */
#ifndef FORMAT_HF_NAMES_H
#define FORMAT_HF_NAMES_H

#include "format/inner.h"

enum hf_change {
    HF_AS_IS,
    HF_TRANSPOSE,     /* stored [n_in, n_out] */
    HF_UNWEAVE_QKV,   /* rows [head][q, k, v][head_dim] -> all q, all k, all v */
    HF_PLUS_ONE,      /* the norm multiplies with 1 + w */
    HF_SKIP_TWO,      /* a position table with two rows that no token has */
    HF_REFUSE,        /* its presence means a kind of model that is not implemented */
};

enum { HF_NAME_BYTES = 96 };

/* The canonical name of `name` in models of this architecture, and the change. False for tensors that are not wanted:
 * masks, inverse frequencies, the parts of a model that see, an output matrix that is tied. */
bool hf_name(const struct model_desc *desc, const char *name, char canonical[HF_NAME_BYTES], enum hf_change *change);

#endif
