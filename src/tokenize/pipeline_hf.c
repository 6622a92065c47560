/* The pipeline that a tokenizer.json describes, as data of struct tokenizer. What is not known here is refused by name:
 * a step left out would give other tokens without anyone noticing. */
#include "tokenize/hf.h"

#include <string.h>
#include <utf8proc.h>

static const char space_mark[] = "\u2581";

const char *hf_text(const json_t *object, const char *key, size_t *n)
{
    const json_t *value = json_object_get(object, key);
    if (n) *n = json_is_string(value) ? json_string_length(value) : 0;
    return json_string_value(value);
}

/* ---- a list of steps --------------------------------------------------------------------------------------------- */

struct pipeline {
    struct tokenizer *t;
    const char *file;
    struct hf_spelling *spelling;
};

typedef snellen_status step_reader(struct pipeline *p, const json_t *step, const char *type, snellen_error *err);

/* Null, one step, or a "Sequence" of them in the member `list`. */
static snellen_status read_steps(struct pipeline *p, const json_t *steps, const char *what, const char *list,
                                 step_reader *read, snellen_error *err)
{
    if (!steps || json_is_null(steps)) return SNELLEN_OK;
    const char *type = hf_text(steps, "type", NULL);
    FAIL_IF(!type, SNELLEN_E_FORMAT, "%s: '%s': an object with a 'type' expected", p->file, what);
    if (strcmp(type, "Sequence")) return read(p, steps, type, err);
    const json_t *all = json_object_get(steps, list);
    FAIL_IF(!json_is_array(all), SNELLEN_E_FORMAT, "%s: '%s': a list '%s' expected", p->file, what, list);
    for (size_t i = 0; i < json_array_size(all); i++)
        TRY(read_steps(p, json_array_get(all, i), what, list, read, err));
    return SNELLEN_OK;
}

static snellen_status refuse(const struct pipeline *p, const char *what, const char *type, snellen_error *err)
{
    char shown[SHOWN_PIECE];
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: the %s '%s' is not supported", p->file, what,
         spelling_shown(shown, type, strlen(type)));
}

static bool member_is(const json_t *object, const char *key, const char *text)
{
    const char *value = hf_text(object, key, NULL);
    return value && !strcmp(value, text);
}

/* ---- normalizers ------------------------------------------------------------------------------------------------- */

static snellen_status read_normalizer(struct pipeline *p, const json_t *step, const char *type, snellen_error *err)
{
    static const struct {
        const char *name;
        int options;
    } forms[] = {
        {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
        {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
        {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
        {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (strcmp(type, forms[i].name)) continue;
        FAIL_IF(p->t->normal_form, SNELLEN_E_UNSUPPORTED, "%s: two normal forms in a row are not supported", p->file);
        p->t->normal_form = forms[i].options;
        return SNELLEN_OK;
    }
    if (!strcmp(type, "Prepend") && member_is(step, "prepend", space_mark)) {
        p->t->prefix = PREFIX_EACH;
        return SNELLEN_OK;
    }
    const json_t *pattern = json_object_get(step, "pattern");
    if (!strcmp(type, "Replace") && member_is(pattern, "String", " ") && member_is(step, "content", space_mark)) {
        p->spelling->spaces = true;
        return SNELLEN_OK;
    }
    return refuse(p, "normalizer", type, err);
}

/* ---- pre-tokenisers ---------------------------------------------------------------------------------------------- */

static snellen_status add_pattern(struct pipeline *p, const char *pattern, bool literal, enum cut cut,
                                  snellen_error *err)
{
    return pretokenizer_add(&p->t->pre, pattern, strlen(pattern), literal, cut, p->file, err);
}

/* A space is put before the text as a whole: only as long as no earlier step has cut it. */
static snellen_status set_prefix(struct pipeline *p, enum space_prefix prefix, snellen_error *err)
{
    FAIL_IF(p->t->pre.n, SNELLEN_E_UNSUPPORTED,
            "%s: a pre-tokeniser that adds spaces after another has cut the text is not supported", p->file);
    p->t->prefix = prefix;
    p->t->prefix_unless_space = true;
    return SNELLEN_OK;
}

static snellen_status read_metaspace(struct pipeline *p, const json_t *step, snellen_error *err)
{
    const char *scheme = hf_text(step, "prepend_scheme", NULL);
    if (!scheme) scheme = json_is_false(json_object_get(step, "add_prefix_space")) ? "never" : "always";
    FAIL_IF(!member_is(step, "replacement", space_mark), SNELLEN_E_UNSUPPORTED,
            "%s: Metaspace with another 'replacement' than U+2581 is not supported", p->file);
    p->spelling->spaces = true;
    if (!strcmp(scheme, "always"))
        TRY(set_prefix(p, PREFIX_EACH, err));
    else if (!strcmp(scheme, "first"))
        TRY(set_prefix(p, PREFIX_FIRST, err));
    else if (strcmp(scheme, "never"))
        return refuse(p, "Metaspace prepend_scheme", scheme, err);
    if (json_is_false(json_object_get(step, "split"))) return SNELLEN_OK;
    return add_pattern(p, " ", true, CUT_WITH_NEXT, err);
}

static snellen_status read_split(struct pipeline *p, const json_t *step, snellen_error *err)
{
    static const struct {
        const char *name;
        enum cut cut;
    } behaviours[] = {{"Isolated", CUT_ISOLATED},
                      {"Removed", CUT_ISOLATED},
                      {"MergedWithPrevious", CUT_WITH_PREVIOUS},
                      {"MergedWithNext", CUT_WITH_NEXT},
                      {"Contiguous", CUT_CONTIGUOUS}};
    const char *behaviour = hf_text(step, "behavior", NULL);
    bool invert = json_is_true(json_object_get(step, "invert"));
    size_t i = 0, n;
    while (behaviour && i < COUNT_OF(behaviours) && strcmp(behaviour, behaviours[i].name)) i++;
    FAIL_IF(!behaviour || i == COUNT_OF(behaviours), SNELLEN_E_FORMAT, "%s: Split: an unknown 'behavior'", p->file);
    /* "Removed" with "invert" keeps what matches; expressions used so match all of a text. Without it text is lost. */
    bool removed = !strcmp(behaviour, "Removed");
    if (removed != invert && !(invert && behaviours[i].cut == CUT_ISOLATED))
        return refuse(p, removed ? "Split behaviour" : "inverted Split behaviour", behaviour, err);
    const json_t *pattern = json_object_get(step, "pattern");
    const char *text = hf_text(pattern, "String", &n);
    if (!text) {
        text = hf_text(pattern, "Regex", &n);
        FAIL_IF(!text, SNELLEN_E_FORMAT, "%s: Split: a 'pattern' with 'String' or 'Regex' expected", p->file);
        FAIL_IF(p->spelling->spaces, SNELLEN_E_UNSUPPORTED,
                "%s: Split by a regular expression after spaces were replaced is not supported", p->file);
        return pretokenizer_add(&p->t->pre, text, n, false, behaviours[i].cut, p->file, err);
    }
    if (p->spelling->spaces && strchr(text, ' ')) return SNELLEN_OK;  /* there are none any more */
    if (p->spelling->spaces && !strcmp(text, space_mark)) return add_pattern(p, " ", true, behaviours[i].cut, err);
    return pretokenizer_add(&p->t->pre, text, n, true, behaviours[i].cut, p->file, err);
}

static snellen_status read_pretokenizer(struct pipeline *p, const json_t *step, const char *type, snellen_error *err)
{
    if (!strcmp(type, "ByteLevel")) {
        p->spelling->bytes = true;
        if (json_is_true(json_object_get(step, "add_prefix_space"))) TRY(set_prefix(p, PREFIX_EACH, err));
        if (json_is_false(json_object_get(step, "use_regex"))) return SNELLEN_OK;
        return add_pattern(p, regex_gpt2, false, CUT_ISOLATED, err);
    }
    if (!strcmp(type, "Digits")) {
        bool each = json_is_true(json_object_get(step, "individual_digits"));
        return add_pattern(p, each ? "\\p{N}" : "\\p{N}+", false, CUT_ISOLATED, err);
    }
    if (!strcmp(type, "WhitespaceSplit") && p->spelling->words) return SNELLEN_OK;   /* words.c cuts */
    if (!strcmp(type, "Split")) return read_split(p, step, err);
    if (!strcmp(type, "Metaspace")) return read_metaspace(p, step, err);
    return refuse(p, "pre-tokeniser", type, err);
}

/* ---- decoders and post-processors -------------------------------------------------------------------------------- */

/* Decoding undoes what encoding does; a decoder that does something else is refused. */
static snellen_status read_decoder(struct pipeline *p, const json_t *step, const char *type, snellen_error *err)
{
    static const char *const known[] = {"ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"};
    (void)step;
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (!strcmp(type, known[i])) return SNELLEN_OK;
    return refuse(p, "decoder", type, err);
}

snellen_status hf_read_pipeline(struct tokenizer *t, const json_t *root, const char *file, struct hf_spelling *spelling,
                                snellen_error *err)
{
    struct pipeline p = {t, file, spelling};
    TRY(read_steps(&p, json_object_get(root, "normalizer"), "normalizer", "normalizers", read_normalizer, err));
    FAIL_IF(t->prefix && !spelling->spaces, SNELLEN_E_UNSUPPORTED, "%s: 'Prepend' without 'Replace' of spaces", file);
    TRY(read_steps(&p, json_object_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", read_pretokenizer,
                   err));
    TRY(read_steps(&p, json_object_get(root, "decoder"), "decoder", "decoders", read_decoder, err));
    if (spelling->words) {
        const char *cutter = hf_text(json_object_get(root, "pre_tokenizer"), "type", NULL);
        FAIL_IF(!cutter || strcmp(cutter, "WhitespaceSplit"), SNELLEN_E_UNSUPPORTED,
                "%s: a WordLevel model without the pre-tokeniser WhitespaceSplit is not supported", file);
        FAIL_IF(spelling->spaces, SNELLEN_E_UNSUPPORTED, "%s: WordLevel with replaced spaces is not supported", file);
        t->prefix = PREFIX_FIRST;
    }
    FAIL_IF(spelling->bytes && spelling->spaces, SNELLEN_E_UNSUPPORTED,
            "%s: ByteLevel together with replaced spaces is not supported", file);
    return SNELLEN_OK;
}

const char *hf_first_token(const json_t *root)
{
    const json_t *processor = json_object_get(root, "post_processor"), *list = json_object_get(processor, "processors");
    for (size_t i = 0; i <= json_array_size(list); i++) {
        const json_t *one = i ? json_array_get(list, i - 1) : processor;
        if (member_is(one, "type", "RobertaProcessing"))
            return json_string_value(json_array_get(json_object_get(one, "cls"), 0));
        if (!member_is(one, "type", "TemplateProcessing")) continue;
        const json_t *first = json_array_get(json_object_get(one, "single"), 0);
        return hf_text(json_object_get(first, "SpecialToken"), "id", NULL);
    }
    return NULL;
}
