/* The parser of options: strict, driven by the table alone. Not here: the help's layout (help.c), what an option
 * means. Invariant: a value is stored only when it lies in the range that the table, and so the help, gives. */
#include "cli/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

bool opts_integer(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    if (*text != '-' && (*text < '0' || *text > '9')) return false; /* strtoll would skip white space and take '+' */
    int64_t v = strtoll(text, &end, 10);
    if (errno || end == text) return false;
    int shift = *end == 'K' || *end == 'k'   ? 10
                : *end == 'M' || *end == 'm' ? 20
                : *end == 'G' || *end == 'g' ? 30
                                             : 0;
    if (shift) end++;
    if (*end) return false;
    return !__builtin_mul_overflow(v, (int64_t)1 << shift, value);
}

static bool opts_real(const char *text, double *value)
{
    char *end;
    if (!strchr("-.0123456789", *text) || !*text) return false;
    errno = 0;
    *value = strtod(text, &end);
    return !errno && end != text && !*end && isfinite(*value);
}

void int_list_free(struct int_list *list)
{
    free(list->v);
    list->v = NULL;
    list->n = 0;
}

static bool int_list_add(struct int_list *list, int64_t value)
{
    if (list->n >= OPTS_MAX_LIST) return false;
    if ((list->n & (list->n - 1)) == 0) {   /* grows at 0, 1, 2, 4, .. */
        int64_t *v = realloc(list->v, (list->n ? list->n * 2 : 1) * sizeof(*v));
        if (!v) return false;
        list->v = v;
    }
    list->v[list->n++] = value;
    return true;
}

/* One part of a list between commas: N or FIRST..LAST:STEP. */
static bool int_list_part(struct int_list *list, char *part, int64_t low, int64_t high)
{
    char *dots = strstr(part, ".."), *colon = strchr(part, ':');
    int64_t first, last, step = 1;
    if (!dots) return opts_integer(part, &first) && first >= low && first <= high && int_list_add(list, first);
    *dots = 0;
    if (colon) {
        if (colon < dots) return false;
        *colon = 0;
        if (!opts_integer(colon + 1, &step)) return false;
    }
    if (!opts_integer(part, &first) || !opts_integer(dots + 2, &last)) return false;
    if (first < low || last > high || first > last || step < 1) return false;
    for (int64_t v = first;; v += step) {
        if (!int_list_add(list, v)) return false;
        if (last - v < step) return true;
    }
}

static bool int_list_read(struct int_list *list, const char *text, int64_t low, int64_t high)
{
    char *copy = strdup(text);
    struct int_list fresh = { 0 };
    bool good = copy != NULL;
    for (char *part = copy, *next; good && part; part = next) {
        next = strchr(part, ',');
        if (next) *next++ = 0;
        good = int_list_part(&fresh, part, low, high);
    }
    free(copy);
    if (!good) {
        int_list_free(&fresh);
        return false;
    }
    int_list_free(list);
    *list = fresh;
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const struct opt *opt_by_name(const struct opt *table, size_t n, const char *name, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].kind != OPT_KIND_GROUP && strlen(table[i].name) == length &&
            !memcmp(table[i].name, name, length))
            return &table[i];
    return NULL;
}

static const struct opt *opt_by_letter(const struct opt *table, size_t n, char letter)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].kind != OPT_KIND_GROUP && table[i].letter == letter) return &table[i];
    return NULL;
}

static snellen_status unknown_option(const struct verb *verb, const struct opt *table, size_t n, const char *word,
                                     snellen_error *err)
{
    const char *names[OPTS_MAX_ARGS * 32];
    size_t n_names = 0;
    for (size_t i = 0; i < n && n_names < COUNT_OF(names); i++)
        if (table[i].kind != OPT_KIND_GROUP) names[n_names++] = table[i].name;
    char bare[64];
    size_t dashes = strspn(word, "-");
    snprintf(bare, sizeof(bare), "%.*s", (int)MIN(strcspn(word + dashes, "="), sizeof(bare) - 1), word + dashes);
    const char *near = strlen(bare) > 1 ? text_nearest(bare, names, n_names) : NULL;
    if (near)
        FAIL(SNELLEN_E_USAGE, "%s: unknown option '%.100s'; did you mean --%s? (snellen %s --help lists all)",
             verb->name, word, near, verb->name);
    FAIL(SNELLEN_E_USAGE, "%s: unknown option '%.100s' (snellen %s --help lists all)", verb->name, word, verb->name);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool choice_known(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *c = choices; *c; c += strspn(c, " ")) {
        size_t length = strcspn(c, " ");
        if (length == n && !memcmp(c, value, n)) return true;
        c += length;
    }
    return false;
}

/* What values an option takes, for messages: "1 to 4096". */
static void range_text(const struct opt *o, char *out, size_t size)
{
    switch (o->kind) {
    case OPT_KIND_INT:
        snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, o->low, o->high);
        return;
    case OPT_KIND_SEED: snprintf(out, size, "a whole number from 0 to %" PRId64, o->high); return;
    case OPT_KIND_REAL: snprintf(out, size, "a number from %g to %g", o->real_low, o->real_high); return;
    case OPT_KIND_CHOICE: {
        size_t n = (size_t)snprintf(out, size, "one of ");
        for (const char *c = o->choices; *c && n < size; c++)
            n += (size_t)snprintf(out + n, size - n, *c == ' ' ? ", " : "%c", *c);
        return;
    }
    case OPT_KIND_INTS:
        snprintf(out, size, "numbers from %" PRId64 " to %" PRId64 ", as in 1,5,9 or 100..500:50", o->low, o->high);
        return;
    default: snprintf(out, size, "%s", o->arg ? o->arg : "no value");
    }
}

static bool opt_store(const struct opt *o, const char *value)
{
    int64_t i;
    double r;
    switch (o->kind) {
    case OPT_KIND_TEXT: *o->to.text = value; return true;
    case OPT_KIND_CHOICE:
        if (!choice_known(o->choices, value)) return false;
        *o->to.text = value;
        return true;
    case OPT_KIND_INT:
        if (!opts_integer(value, &i) || i < o->low || i > o->high) return false;
        *o->to.integer = i;
        return true;
    case OPT_KIND_SEED:
        if (!opts_integer(value, &i) || i < 0) return false;
        *o->to.seed = (uint64_t)i;
        return true;
    case OPT_KIND_REAL:
        if (!opts_real(value, &r) || r < o->real_low || r > o->real_high) return false;
        *o->to.real = r;
        return true;
    case OPT_KIND_INTS: return int_list_read(o->to.ints, value, o->low, o->high);
    default: return false;
    }
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

struct reader {
    const struct verb *verb;
    const struct opt *table;
    size_t n;
    int argc, at;   /* at: the argument being read */
    char **argv;
};

/* True when a word spells one of the verb's options: then it is no value, the value was forgotten. */
static bool is_option(const struct reader *r, const char *word)
{
    if (word[0] != '-' || word[1] != '-') return false;
    return opt_by_name(r->table, r->n, word + 2, strcspn(word + 2, "=")) != NULL;
}

static snellen_status read_option(struct reader *r, snellen_error *err)
{
    const char *word = r->argv[r->at], *value = NULL, *verb = r->verb->name;
    const struct opt *o;
    char range[400], shown[72];
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        o = opt_by_name(r->table, r->n, word + 2, length);
        if (word[2 + length]) value = word + 2 + length + 1;
    } else {
        o = word[2] ? NULL : opt_by_letter(r->table, r->n, word[1]);
    }
    if (!o) return unknown_option(r->verb, r->table, r->n, word, err);
    if (word[1] == '-') snprintf(shown, sizeof(shown), "--%s", o->name);
    else snprintf(shown, sizeof(shown), "-%c", o->letter);
    if (o->kind == OPT_KIND_FLAG) {
        FAIL_IF(value, SNELLEN_E_USAGE, "%s: %s takes no value, '%.100s' found", verb, shown, value);
        *o->to.flag = true;
        return SNELLEN_OK;
    }
    range_text(o, range, sizeof(range));
    if (!value) {
        FAIL_IF(r->at + 1 >= r->argc || is_option(r, r->argv[r->at + 1]), SNELLEN_E_USAGE, "%s: %s needs a value: %s",
                verb, shown, range);
        value = r->argv[++r->at];
    }
    FAIL_IF(!opt_store(o, value), SNELLEN_E_USAGE, "%s: %s: '%.100s' found, %s expected", verb, shown, value, range);
    return SNELLEN_OK;
}

/* Name i of verb->args. */
static void arg_name(const struct verb *verb, int i, char *out, size_t size)
{
    const char *at = verb->args ? verb->args : "";
    while (i-- > 0) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    snprintf(out, size, "%.*s", (int)strcspn(at, " "), at);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

snellen_status opts_read(const struct verb *verb, const struct opt *table, size_t n, int argc, char **argv,
                         const char **args, bool *help, snellen_error *err)
{
    struct reader r = { .verb = verb, .table = table, .n = n, .argc = argc, .at = 1, .argv = argv };
    int n_args = 0;
    bool options_end = false;
    for (int i = 0; i < verb->max_args; i++) args[i] = NULL;
    *help = wants_help(argc, argv);   /* before anything is stored: the help shows defaults */
    if (*help) return SNELLEN_OK;
    for (; r.at < argc; r.at++) {
        const char *word = argv[r.at];
        if (!options_end && word[0] == '-' && word[1]) {   /* a lone "-" is an argument: standard input */
            if (!strcmp(word, "--")) options_end = true;
            else TRY(read_option(&r, err));
            continue;
        }
        FAIL_IF(n_args >= verb->max_args, SNELLEN_E_USAGE, "%s: '%.100s' is one argument too many (snellen %s %s)",
                verb->name, word, verb->name, verb->usage);
        args[n_args++] = word;
    }
    if (n_args < verb->min_args) {
        char name[64];
        arg_name(verb, n_args, name, sizeof(name));
        FAIL(SNELLEN_E_USAGE, "%s: %s is missing (snellen %s %s)", verb->name, name, verb->name, verb->usage);
    }
    return SNELLEN_OK;
}
