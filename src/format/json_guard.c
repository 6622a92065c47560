/* JSON from outside before Jansson builds a tree of it: a tree takes many times the bytes of its text when the text is
 * nothing but brackets and commas, so the number of those is held against the length first. */
#include "format/inner.h"
#include "format/json_guard.h"

#include <string.h>

enum { DEEPEST = 64, FREE_BRACKETS = 256, FREE_COMMAS = 4096 };

/* Containers and values outside of strings. */
static bool json_is_lean(const char *text, size_t n)
{
    uint64_t brackets = 0, commas = 0;
    int64_t depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') i++;
            quoted = c != '"';
            continue;
        }
        if (c == '"') quoted = true;
        if (c == ',') commas++;
        if (c == '[' || c == '{') {
            brackets++;
            depth++;
            deepest = MAX(deepest, depth);
        }
        if (c == ']' || c == '}') depth--;
    }
    return deepest <= DEEPEST && brackets <= FREE_BRACKETS + n / 12 && commas <= FREE_COMMAS + n / 4;
}

snellen_status json_parse_object(const char *text, size_t n, const char *file, json_t **out, snellen_error *err)
{
    FAIL_IF(!json_is_lean(text, n), SNELLEN_E_FORMAT,
            "%s: its JSON has more brackets and commas than any such file has use for", file);
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        char shown[SHOWN_BYTES];
        return error_at(err, SNELLEN_E_FORMAT, (uint64_t)MAX(why.position, 0), "%s: JSON: line %d, column %d: %s", file,
                        why.line, why.column, name_shown(shown, why.text, strnlen(why.text, sizeof why.text)));
    }
    if (!json_is_object(root)) {
        json_decref(root);
        FAIL(SNELLEN_E_FORMAT, "%s: JSON: an object {..} expected", file);
    }
    *out = root;
    return SNELLEN_OK;
}
