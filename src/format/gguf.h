/* What the reader and the writer of GGUF share. */
#ifndef FORMAT_GGUF_H
#define FORMAT_GGUF_H

#include "format/inner.h"

/* Kinds of values by their number in the file. */
enum gguf_kind {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_TEXT, GGUF_ARRAY,
    GGUF_U64, GGUF_I64, GGUF_F64,
    GGUF_COUNT
};

/* The number that stands for a tensor's type in the file; -1 = none. */
int gguf_type_number(enum dtype type);

#endif
