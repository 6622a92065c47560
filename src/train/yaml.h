/* yaml: a text as a YAML document. */
#ifndef TRAIN_YAML_H
#define TRAIN_YAML_H

#include "base/base.h"

#include <libfyaml.h>

/* *document by fy_document_destroy(). A text that is no YAML is SNELLEN_E_USAGE: "name:line:column: no YAML: why", or
 * without the place where `name` is the text itself. */
snellen_status yaml_parse(const char *name, bool place, const char *text, size_t n, struct fy_document **document,
                          snellen_error *err);

#endif
