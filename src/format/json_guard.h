/* JSON texts of models to trees, with bounded memory. */
#ifndef FORMAT_JSON_GUARD_H
#define FORMAT_JSON_GUARD_H

#include "base/base.h"

#include <jansson.h>

/* The object that n bytes of JSON spell; keys that stand twice in an object are an error. json_decref() it. */
snellen_status json_parse_object(const char *text, size_t n, const char *file, json_t **out, snellen_error *err);

#endif
