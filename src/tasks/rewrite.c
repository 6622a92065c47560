/* Rewriting: cures for a text of the user's own, and the way back in the answer. One pass over the text a cure, each on what
 * the one before made of it: names, fives, groups, steps. */
#include "base/base.h"
#include "tasks/symbols.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 30, REPEATS = 10, GROUP = 5, NAMES_STREAM = 77 };

static const char *const cure_names[] = {"groups", "names", "fives", "steps"};
enum cure { CURE_GROUPS, CURE_NAMES, CURE_FIVES, CURE_STEPS, CURE_COUNT };

struct text {
    const char *at;
    size_t n;
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || c == '\t'; }

static size_t digits_at(struct text t, size_t i)
{
    size_t n = 0;
    while (i + n < t.n && is_digit(t.at[i + n])) n++;
    return n;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static int64_t put_groups(struct text t, const snellen_rewrite_options *o, struct strbuf *out)
{
    int64_t changed = 0;
    for (size_t i = 0, n; i < t.n; i += MAX(n, 1)) {
        n = digits_at(t, i);
        bool cut = n > (size_t)o->longer;
        if (!cut) strbuf_put(out, t.at + i, MAX(n, 1));
        for (size_t k = 0; cut && k < n; k++) {
            if (k && k % (size_t)o->every == 0) strbuf_puts(out, o->separator);
            strbuf_put(out, t.at + i + k, 1);
        }
        changed += cut;
    }
    return changed;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Bytes up to the text of the item that line [i, end) is; 0 where it is none. */
static size_t item_mark(struct text t, size_t i, size_t end)
{
    size_t at = i;
    while (at < end && is_space(t.at[at])) at++;
    size_t digits = MIN(digits_at(t, at), end - at), mark = at + digits;
    bool bullet = !digits && at < end && strchr("-*+", t.at[at]), number = digits && mark < end && strchr(".)", t.at[mark]);
    if (!bullet && !number) return 0;
    mark++;
    if (mark >= end || !is_space(t.at[mark])) return 0;
    while (mark < end && is_space(t.at[mark])) mark++;
    return mark < end ? mark - i : 0;
}

/* The words of the pool in an order of the seed's. */
static void shuffle(int32_t words[SYMBOL_MAX_POOL], uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed, NAMES_STREAM);
    for (int32_t i = 0; i < SYMBOL_MAX_POOL; i++) words[i] = SYMBOL_WORD + i;
    for (uint64_t i = SYMBOL_MAX_POOL - 1; i > 0; i--) {
        uint64_t j = rng_below(&rng, i + 1);
        int32_t word = words[i];
        words[i] = words[j];
        words[j] = word;
    }
}

static snellen_status put_names(struct text t, uint64_t seed, json_t *names, struct strbuf *out, int64_t *changed,
                                snellen_error *err)
{
    int32_t words[SYMBOL_MAX_POOL];
    shuffle(words, seed);
    for (size_t i = 0, end; i < t.n; i = end + (end < t.n)) {
        const char *line_end = memchr(t.at + i, '\n', t.n - i);
        end = line_end ? (size_t)(line_end - t.at) : t.n;
        size_t stop = end > i && t.at[end - 1] == '\r' ? end - 1 : end, mark = item_mark(t, i, stop);
        if (mark) {
            FAIL_IF(*changed == SYMBOL_MAX_POOL, SNELLEN_E_USAGE, "names: more than %d items in the text", SYMBOL_MAX_POOL);
            const char *word = symbol_names[words[(*changed)++]];
            strbuf_put(out, t.at + i, mark);
            strbuf_printf(out, "[%s] ", word);
            json_t *item = json_stringn(t.at + i + mark, stop - i - mark);
            FAIL_IF(json_object_set_new(names, word, item), SNELLEN_E_FORMAT, "names: the item at byte %zu is no UTF-8",
                    i + mark);
            i += mark;
        }
        strbuf_put(out, t.at + i, end + (end < t.n) - i);
    }
    return SNELLEN_OK;
}

/* ---- fives ------------------------------------------------------------------------------------------------------- */

static bool is_between(char c) { return c && strchr(" \t,+;", c) != NULL; }

/* The word that begins at i: bytes up to a sign between or the end of the line. */
static size_t word_at(struct text t, size_t i)
{
    size_t n = 0;
    while (i + n < t.n && !is_between(t.at[i + n]) && t.at[i + n] != '\n' && t.at[i + n] != '\r') n++;
    return n;
}

static size_t signs_at(struct text t, size_t i)
{
    size_t n = 0;
    while (i + n < t.n && is_between(t.at[i + n])) n++;
    return n;
}

static bool same(struct text t, size_t a, size_t b, size_t n)
{
    return b + n <= t.n && !memcmp(t.at + a, t.at + b, n);
}

/* How often the word [i, i + word) follows itself with the same signs [.., + signs) between; full stops and the like behind
 * the last one do not matter. */
static int64_t repeats_of(struct text t, size_t i, size_t word, size_t signs)
{
    int64_t n = 1;
    for (size_t at = i; same(t, i + word, at + word, signs) && same(t, i, at + word + signs, word); at += word + signs) {
        size_t next = word_at(t, at + word + signs);
        bool whole = next == word, last = next == word + 1 && strchr(".?!:)}'\"", t.at[at + 2 * word + signs]);
        if (!whole && !last) break;
        n++;
        if (last) break;
    }
    return n;
}

static int64_t put_fives(struct text t, struct strbuf *out)
{
    int64_t changed = 0;
    size_t i = 0;
    while (i < t.n) {
        size_t word = word_at(t, i), signs = signs_at(t, i + word);
        int64_t n = word && signs ? repeats_of(t, i, word, signs) : 1;
        if (n < REPEATS) {
            size_t all = MAX(word + signs, 1);
            strbuf_put(out, t.at + i, all);
            i += all;
            continue;
        }
        for (int64_t k = 0; k < n; k++) {
            bool last = k == n - 1, closes = last || k % GROUP == GROUP - 1;
            if (k % GROUP == 0) strbuf_puts(out, "(");
            strbuf_put(out, t.at + i, word);
            if (closes) strbuf_puts(out, ")");
            if (!last) strbuf_put(out, t.at + i + word, signs);
        }
        i += (size_t)n * (word + signs) - signs;
        changed++;
    }
    return changed;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

snellen_rewrite_options snellen_rewrite_options_default(void)
{
    return (snellen_rewrite_options){.cures = "groups,names,fives", .separator = ",", .every = 3, .longer = 6, .seed = 1};
}

static snellen_status read_cures(const char *list, bool wanted[CURE_COUNT], snellen_error *err)
{
    for (size_t n; *list; list += n + (list[n] == ',')) {
        size_t cure = 0;
        n = strcspn(list, ",");
        while (cure < CURE_COUNT && (strlen(cure_names[cure]) != n || strncmp(cure_names[cure], list, n))) cure++;
        FAIL_IF(cure == CURE_COUNT, SNELLEN_E_USAGE, "cure '%.*s': groups, names, fives or steps expected",
                (int)MIN(n, 100), list);
        wanted[cure] = true;
    }
    return SNELLEN_OK;
}

static snellen_status check(const snellen_rewrite_options *o, size_t n, snellen_error *err)
{
    size_t separator = strlen(o->separator);
    FAIL_IF(n > MOST_BYTES, SNELLEN_E_USAGE, "a text of %zu bytes: at most %d are rewritten", n, MOST_BYTES);
    FAIL_IF(!separator || separator > 16 || strpbrk(o->separator, "0123456789"), SNELLEN_E_USAGE,
            "separator '%.20s': 1 to 16 bytes without digits expected", o->separator);
    FAIL_IF(o->every < 1 || o->every > 1000, SNELLEN_E_USAGE, "a separator after every %lld digits: 1 to 1000 expected",
            (long long)o->every);
    FAIL_IF(o->longer < 1 || o->longer > 1000000, SNELLEN_E_USAGE, "runs of more than %lld digits: 1 to 1000000 expected",
            (long long)o->longer);
    return SNELLEN_OK;
}

/* What a pass made takes the place of what it was made from. */
static struct text move_on(struct strbuf *now, struct strbuf *next)
{
    next->failed |= now->failed;
    strbuf_free(now);
    *now = *next;
    *next = (struct strbuf){.failed = now->failed};
    return (struct text){now->text ? now->text : "", now->n};
}

static snellen_status apply(struct text t, const snellen_rewrite_options *o, const bool wanted[CURE_COUNT],
                            snellen_rewritten *r, json_t *names, snellen_error *err)
{
    struct strbuf now = {0}, next = {0};
    snellen_status status = SNELLEN_OK;
    if (wanted[CURE_NAMES]) {
        TRY_GOTO(put_names(t, o->seed, names, &next, &r->n_names, err), out);
        t = move_on(&now, &next);
    }
    if (wanted[CURE_FIVES]) {
        r->n_fives = put_fives(t, &next);
        t = move_on(&now, &next);
    }
    if (wanted[CURE_GROUPS]) {
        r->n_groups = put_groups(t, o, &next);
        t = move_on(&now, &next);
    }
    strbuf_put(&next, t.at, t.n);
    if (wanted[CURE_STEPS]) {
        bool line = t.n && t.at[t.n - 1] == '\n';
        strbuf_printf(&next, "%sLet's think step by step, showing me your reasoning.%s", line || !t.n ? "" : " ", line ? "\n" : "");
        r->n_steps = 1;
    }
    status = strbuf_take(&next, &r->text, &r->n, err);
out:
    strbuf_free(&now);
    strbuf_free(&next);
    return status;
}

static snellen_status write_notes(const snellen_rewrite_options *o, bool groups, json_t *names, char **notes,
                                  snellen_error *err)
{
    json_t *all = json_pack("{s:s, s:I, s:O}", "separator", groups ? o->separator : "", "every", (json_int_t)o->every,
                            "names", names);
    *notes = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    json_decref(all);
    FAIL_IF(!*notes, SNELLEN_E_MEMORY, "rewriting: memory ran out");
    return SNELLEN_OK;
}

snellen_status snellen_rewrite(const char *text, size_t n, const snellen_rewrite_options *options, snellen_rewritten **out,
                               snellen_error *err)
{
    bool wanted[CURE_COUNT] = {false};
    TRY(check(options, n, err));
    TRY(read_cures(options->cures, wanted, err));
    json_t *names = json_object();
    snellen_rewritten *r = calloc(1, sizeof *r);
    snellen_status status = !r || !names ? error_set(err, SNELLEN_E_MEMORY, "rewriting: memory ran out") : SNELLEN_OK;
    if (!status) status = apply((struct text){text, n}, options, wanted, r, names, err);
    if (!status) status = write_notes(options, r->n_groups > 0, names, &r->notes, err);
    json_decref(names);
    if (status) {
        snellen_rewritten_free(r);
        return status;
    }
    *out = r;
    return SNELLEN_OK;
}

void snellen_rewritten_free(snellen_rewritten *r)
{
    if (!r) return;
    snellen_free(r->text);
    free(r->notes);
    free(r);
}

/* ---- the way back ------------------------------------------------------------------------------------------------ */

/* Bytes of the number at i whose digits stand in groups of `every`, the last one of no more; 0 where there is none. */
static size_t grouped_number(struct text t, size_t i, const char *separator, size_t every)
{
    size_t n = digits_at(t, i), gap = strlen(separator), end = i + n, groups = 1;
    while (n == every && end + gap <= t.n && !memcmp(t.at + end, separator, gap)) {
        n = digits_at(t, end + gap);
        if (!n || n > every) break;
        end += gap + n;
        groups++;
    }
    return groups > 1 ? end - i : 0;
}

static void take_groups_out(struct text t, const char *separator, size_t every, struct strbuf *out)
{
    for (size_t i = 0; i < t.n;) {
        size_t digits = digits_at(t, i), all = *separator ? grouped_number(t, i, separator, every) : 0;
        for (size_t k = 0; k < all; k++)
            if (is_digit(t.at[i + k])) strbuf_put(out, t.at + i + k, 1);
        size_t n = all ? all : MAX(digits, 1);
        if (!all) strbuf_put(out, t.at + i, n);
        i += n;
    }
}

/* The item whose name stands in brackets at i; *n = bytes of name and brackets. */
static const char *named_item(struct text t, size_t i, const json_t *names, size_t *n)
{
    char word[32];
    if (t.at[i] != '[') return NULL;
    const char *end = memchr(t.at + i, ']', MIN(t.n - i, sizeof word));
    if (!end) return NULL;
    size_t length = (size_t)(end - t.at) - i - 1;
    memcpy(word, t.at + i + 1, length);
    word[length] = 0;
    *n = length + 2;
    return json_string_value(json_object_get(names, word));
}

static void take_names_out(struct text t, const json_t *names, struct strbuf *out)
{
    for (size_t i = 0; i < t.n;) {
        size_t n = 1;
        const char *item = named_item(t, i, names, &n);
        if (!item) {
            strbuf_put(out, t.at + i, 1);
            i++;
            continue;
        }
        i += n;
        size_t space = i < t.n && t.at[i] == ' ', length = strlen(item);
        bool follows = i + space + length <= t.n && !memcmp(t.at + i + space, item, length);
        if (follows) i += space;
        else strbuf_puts(out, item);
    }
}

snellen_status snellen_rewrite_undo(const char *notes, const char *answer, size_t n, char **text, size_t *n_text,
                                    snellen_error *err)
{
    json_error_t where;
    json_t *all = json_loads(notes, 0, &where), *names = NULL;
    const char *separator = "";
    json_int_t every = 0;
    FAIL_IF(!all, SNELLEN_E_FORMAT, "notes of a rewriting: line %d: %s", where.line, where.text);
    struct strbuf now = {0}, next = {0};
    snellen_status status = SNELLEN_OK;
    if (json_unpack(all, "{s:s, s:I, s:o}", "separator", &separator, "every", &every, "names", &names) || every < 1 ||
        !json_is_object(names)) {
        status = error_set(err, SNELLEN_E_FORMAT, "notes of a rewriting: separator, every and names expected");
        goto out;
    }
    take_groups_out((struct text){answer, n}, separator, (size_t)every, &next);
    take_names_out(move_on(&now, &next), names, &next);
    status = strbuf_take(&next, text, n_text, err);
out:
    strbuf_free(&now);
    strbuf_free(&next);
    json_decref(all);
    return status;
}
