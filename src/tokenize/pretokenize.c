/* Pre-tokenisers: a text is cut into words, and no token reaches from one word into the next.
 *
 * One engine for all: a list of regular expressions, each cutting what the one before it left. Those that GGUF files
 * call by name stand in a table; tokenizer.json brings its own. All text given here is valid UTF-8, which the caller
 * has seen to, and every byte of it comes out in some word, matched or not. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/vocab.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Steps a match may take: what any sane expression needs for one word, and some for each byte that it may run over. */
enum { FREE_STEPS = 1 << 20, STEPS_PER_BYTE = 32, LONGEST_PATTERN = 1 << 16 };

/* ---- the named ones ---------------------------------------------------------------------------------------------- */

/* The expressions are those that the models' authors published (tokenizer.json of GPT-2, SmolLM, Llama 3, Qwen2, BLOOM;
 * "default" is llama.cpp's for files that do not say). */
const char regex_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

#define ELISIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|"
#define OTHERS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const char regex_llama3[] = ELISIONS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" OTHERS;
static const char regex_qwen2[] = ELISIONS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" OTHERS;
static const char regex_bloom[] = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";

struct named {
    const char *names;        /* between spaces */
    const char *patterns[4];
    bool ignore_merges, bos;
};
static const struct named named[] = {
    {" gpt-2 gpt2 olmo mpt jais phi-2 roberta-bpe gpt-neox exaone4 trillion granite-docling ", {regex_gpt2}, 0, 0},
    {" smollm starcoder refact command-r codeshell exaone minerva-7b ", {"\\p{N}", regex_gpt2}, 0, 0},
    {" llama3 llama-v3 llama-bpe falcon3 pixtral lfm2 ", {regex_llama3}, 1, 1},
    {" dbrx smaug-bpe ", {regex_llama3}, 0, 0},
    {" qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan ", {regex_qwen2}, 0, 0},
    {" bloom gpt3-finnish poro-chat ", {regex_bloom}, 0, 0},
    {" default ", {"[\\p{P}\\$\\+<=>\\^~\\|]+", regex_gpt2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0, 0},
};

snellen_status pretokenizer_named(struct pretokenizer *p, const char *name, bool *ignore_merges, bool *bos,
                                  const char *file, snellen_error *err)
{
    char between[64];
    int n = snprintf(between, sizeof between, " %s ", name);
    bool sane = n > 2 && (size_t)n < sizeof between && !strchr(name, ' ');
    for (size_t i = 0; i < COUNT_OF(named) && sane; i++) {
        if (!strstr(named[i].names, between)) continue;
        *ignore_merges = named[i].ignore_merges;
        *bos = named[i].bos;
        for (size_t j = 0; j < COUNT_OF(named[i].patterns) && named[i].patterns[j]; j++) {
            const char *pattern = named[i].patterns[j];
            TRY(pretokenizer_add(p, pattern, strlen(pattern), false, CUT_ISOLATED, file, err));
        }
        return SNELLEN_OK;
    }
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: tokenizer: the pre-tokeniser '%.40s' is not supported", file, name);
}

static bool same_cutters(const struct pretokenizer *p, const struct named *known)
{
    for (int i = 0; i < p->n; i++) {
        const struct cutter *c = &p->cutters[i];
        const char *pattern = i < (int)COUNT_OF(known->patterns) ? known->patterns[i] : NULL;
        if (!pattern || c->literal || c->cut != CUT_ISOLATED) return false;
        if (strlen(pattern) != c->n || memcmp(pattern, c->pattern, c->n)) return false;
    }
    return p->n == (int)COUNT_OF(known->patterns) || !known->patterns[p->n];
}

const char *pretokenizer_name(const struct pretokenizer *p, bool ignore_merges)
{
    static const char *const names[] = {"gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "bloom", "default"};
    _Static_assert(COUNT_OF(names) == COUNT_OF(named), "one name a row");
    for (size_t i = 0; i < COUNT_OF(named); i++)
        if (named[i].ignore_merges == ignore_merges && same_cutters(p, &named[i])) return names[i];
    return NULL;
}

/* ---- expressions ------------------------------------------------------------------------------------------------- */

/* The expressions are written for Oniguruma. Copies one to `out` in PCRE2's terms: for PCRE2, \s is also U+180E, which
 * has not been white space for years. NULL, or what in the expression would mean something else here. */
static const char *translate(const char *pattern, size_t n, struct strbuf *out)
{
    static const char spaces[] = "\\t-\\r\\x20\\x{85}\\p{Z}";
    bool in_class = false;
    for (size_t i = 0; i < n; i++) {
        char c = pattern[i], next = i + 1 < n ? pattern[i + 1] : 0;
        size_t copied = 1;
        if (c == '\\' && (next == 'h' || next == 'H')) return "\\h";
        if (c == '\\' && (next == 's' || (next == 'S' && !in_class))) {
            strbuf_printf(out, in_class ? "%s%s" : "[%s%s]", next == 'S' ? "^" : "", spaces);
            i++;
            continue;
        }
        if (c == '\\') {
            copied = 2;
        } else if (!in_class) {
            in_class = c == '[';
            copied = in_class && next == '^' ? 2 : 1;
        } else if (c == ']') {
            in_class = false;
        } else if (c == '[' && next == ':') {
            const char *end = memmem(pattern + i, n - i, ":]", 2);
            copied = end ? (size_t)(end - pattern) + 2 - i : n - i;
        } else if (c == '[') {
            return "a class within a class";
        } else if (c == '&' && next == '&') {
            return "&& within a class";
        }
        copied = MIN(copied, n - i);
        strbuf_put(out, pattern + i, copied);
        i += copied - 1;
    }
    return NULL;
}

/* Compiles what `literal` and translate() made of a pattern. */
static snellen_status compile(const char *pattern, size_t n, bool literal, const char *file, pcre2_code **code,
                              snellen_error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    FAIL_IF(!context, SNELLEN_E_MEMORY, "%s: tokenizer: memory ran out", file);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
    int why;
    PCRE2_SIZE where;
    *code = pcre2_compile((PCRE2_SPTR)pattern, n, options, &why, &where, context);
    pcre2_compile_context_free(context);
    if (!*code) {
        PCRE2_UCHAR message[160];
        if (pcre2_get_error_message(why, message, sizeof message) < 0) message[0] = 0;
        FAIL(SNELLEN_E_UNSUPPORTED, "%s: tokenizer: regular expression, near byte %zu: %s", file, (size_t)where,
             (const char *)message);
    }
    pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);  /* where it cannot, matching is merely slower */
    return SNELLEN_OK;
}

snellen_status pretokenizer_add(struct pretokenizer *p, const char *pattern, size_t n, bool literal, enum cut cut,
                                const char *file, snellen_error *err)
{
    FAIL_IF(p->n == MOST_CUTTERS, SNELLEN_E_UNSUPPORTED, "%s: tokenizer: more than %d pre-tokenisers in a row", file,
            MOST_CUTTERS);
    FAIL_IF(n == 0 || n > LONGEST_PATTERN, SNELLEN_E_FORMAT, "%s: tokenizer: a pattern of %zu bytes, 1 to %d expected",
            file, n, LONGEST_PATTERN);
    struct strbuf own = {0};
    const char *foreign = literal ? NULL : translate(pattern, n, &own);
    pcre2_code *code = NULL;
    snellen_status status = SNELLEN_OK;
    if (foreign)
        status = error_set(err, SNELLEN_E_UNSUPPORTED, "%s: tokenizer: the regular expression has %s, which is not "
                           "supported", file, foreign);
    else if (own.failed)
        status = error_set(err, SNELLEN_E_MEMORY, "%s: tokenizer: memory ran out", file);
    else
        status = compile(literal ? pattern : own.text, literal ? n : own.n, literal, file, &code, err);
    strbuf_free(&own);
    char *copy = status ? NULL : strndup(pattern, n);
    if (!status && !copy) {
        pcre2_code_free(code);
        status = error_set(err, SNELLEN_E_MEMORY, "%s: tokenizer: memory ran out", file);
    }
    const struct cutter cutter = {.code = code, .pattern = copy, .n = n, .literal = literal, .cut = cut};
    if (!status) p->cutters[p->n++] = cutter;
    return status;
}

void pretokenizer_free(struct pretokenizer *p)
{
    for (int i = 0; i < p->n; i++) {
        pcre2_code_free(p->cutters[i].code);
        free(p->cutters[i].pattern);
    }
    p->n = 0;
}

/* ---- cutting ----------------------------------------------------------------------------------------------------- */

struct run {
    const struct pretokenizer *p;
    const struct word_sink *sink;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

static snellen_status cut_text(struct run *r, int k, const char *text, size_t n, snellen_error *err);

/* The next match at or after `from`; *begin = *end = n when there is none. */
static snellen_status next_match(struct run *r, const pcre2_code *code, const char *text, size_t n, size_t from,
                                 size_t *begin, size_t *end, snellen_error *err)
{
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int found = pcre2_match(code, (PCRE2_SPTR)text, n, from, options, r->match, r->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, (PCRE2_SPTR)text, n, from, options | PCRE2_NO_JIT, r->match, r->context);
    *begin = *end = n;
    if (found == PCRE2_ERROR_NOMATCH) return SNELLEN_OK;
    if (found < 0) {
        PCRE2_UCHAR message[160];
        if (pcre2_get_error_message(found, message, sizeof message) < 0) message[0] = 0;
        FAIL(SNELLEN_E_UNSUPPORTED, "the tokenizer's regular expression cannot cut this text: %s",
             (const char *)message);
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match);
    if (span[0] < from || span[1] <= span[0] || span[1] > n) return SNELLEN_OK;
    *begin = span[0];
    *end = span[1];
    return SNELLEN_OK;
}

/* Stretches of one text, matched and not, put together as `cut` says. */
struct joiner {
    const char *text;
    size_t begin, end;        /* not handed on yet */
    bool matched;             /* the stretch added last */
};

static bool joins(enum cut cut, bool matched, bool before)
{
    switch (cut) {
    case CUT_WITH_PREVIOUS: return matched && !before;
    case CUT_WITH_NEXT: return !matched && before;
    case CUT_CONTIGUOUS: return matched && before;
    default: return false;
    }
}

static snellen_status add_stretch(struct run *r, int k, struct joiner *j, size_t end, bool matched, snellen_error *err)
{
    if (end == j->end) return SNELLEN_OK;
    if (j->begin < j->end && !joins(r->p->cutters[k].cut, matched, j->matched)) {
        TRY(cut_text(r, k + 1, j->text + j->begin, j->end - j->begin, err));
        j->begin = j->end;
    }
    j->end = end;
    j->matched = matched;
    return SNELLEN_OK;
}

static snellen_status cut_text(struct run *r, int k, const char *text, size_t n, snellen_error *err)
{
    if (n == 0) return SNELLEN_OK;
    if (k == r->p->n) return r->sink->word(r->sink->user, text, n, err);
    struct joiner j = {.text = text};
    while (j.end < n) {
        size_t begin, end;
        TRY(next_match(r, r->p->cutters[k].code, text, n, j.end, &begin, &end, err));
        TRY(add_stretch(r, k, &j, begin, false, err));
        TRY(add_stretch(r, k, &j, end, true, err));
    }
    return cut_text(r, k + 1, text + j.begin, n - j.begin, err);
}

snellen_status pretokenizer_run(const struct pretokenizer *p, const char *text, size_t n, const struct word_sink *sink,
                                snellen_error *err)
{
    struct run r = {.p = p, .sink = sink};
    if (p->n) {
        r.match = pcre2_match_data_create(1, NULL);
        r.context = pcre2_match_context_create(NULL);
    }
    snellen_status status;
    if (p->n && (!r.match || !r.context)) {
        status = error_set(err, SNELLEN_E_MEMORY, "tokenizer: memory ran out");
    } else {
        uint64_t steps = FREE_STEPS + (uint64_t)n * STEPS_PER_BYTE;
        if (p->n) pcre2_set_match_limit(r.context, (uint32_t)MIN(steps, UINT32_MAX));
        status = cut_text(&r, 0, text, n, err);
    }
    pcre2_match_data_free(r.match);
    pcre2_match_context_free(r.context);
    return status;
}
