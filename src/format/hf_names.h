/* Names of tensors in Hugging Face folders, and what must change on the way to the canonical form. */
#ifndef FORMAT_HF_NAMES_H
#define FORMAT_HF_NAMES_H

#include "format/inner.h"

/* The canonical name of `name` in models of this architecture, and the change. False for tensors that are not wanted:
 * masks, inverse frequencies, the parts of a model that see, an output matrix that is tied. */
bool hf_name(const struct model_desc *desc, const char *name, char canonical[HF_NAME_BYTES], enum hf_change *change);

#endif
