/* Recall: copying a sequence, forwards or backwards, and associative retrieval: which value belongs to a key.
 *
 *     copy, reverse    of digits, which repeat, so that content alone does not say where to read on; `unique`: of
 *                      words that do not; `mnemonic`: of digits, the same word before a digit and its copy
 *     remember         pairs of a key (word) and a value (digit), all keys different; then a key, whose value is asked
 *     rewrite          keys repeat, and the last value counts; about two pairs a key
 *                      (arXiv 2407.04841, with one symbol a key and a value)
 *
 * `multi` asks for every key once, in random order (multi-query associative recall, arXiv 2312.04927). */
#include "tasks/symbols.h"

enum copy_format { DIGITS, UNIQUE, MNEMONIC };
enum retrieval_format { SINGLE, MULTI };
enum { BASE = 10 };

static int64_t no_end(const struct line_spec *spec)
{
    (void)spec;
    return LINE_MAX_LENGTH;
}

/* ---- copy, reverse ----------------------------------------------------------------------------------------------- */

static int64_t copy_words(const struct line_spec *spec, int64_t length)
{
    return spec->format == DIGITS ? 0 : length;
}

/* values: digits, or for `unique` what chooses the words; anchors: words */
static void copy_draw(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    size_t n = (size_t)content->length;
    uint32_t *radices = content->values + n;
    if (spec->format == UNIQUE) {
        word_radices(spec->pool, n, radices);
        dice_values(dice, radices, n, content->values);
        choose_words(spec->pool, content->values, n, content->anchors);
        return;
    }
    for (size_t i = 0; i < n; i++) radices[i] = BASE;
    dice_values(dice, radices, n, content->values);
    if (spec->format == MNEMONIC) dice_words(dice, spec->pool, n, content->anchors);
}

static void put_item(const struct line_spec *spec, const struct content *content, size_t i, bool output,
                     struct line *line)
{
    bool unique = spec->format == UNIQUE;
    if (spec->format == MNEMONIC) line_put(line, content->anchors[i], output ? MARK_OUTPUT | MARK_ANCHOR : 0);
    line_put(line, unique ? content->anchors[i] : SYMBOL_NUMBER + (int32_t)content->values[i],
             output ? MARK_OUTPUT | MARK_ANSWER : 0);
}

static void copy_write_in_order(const struct line_spec *spec, const struct content *content, bool backwards,
                                struct line *line)
{
    size_t n = (size_t)content->length;
    line_put(line, SYMBOL_START, 0);
    for (size_t i = 0; i < n; i++) put_item(spec, content, i, false, line);
    line_put(line, SYMBOL_EQUALS, 0);
    for (size_t i = 0; i < n; i++) put_item(spec, content, backwards ? n - 1 - i : i, true, line);
}

static void copy_write(const struct line_spec *spec, const struct content *content, struct line *line)
{
    copy_write_in_order(spec, content, false, line);
}

static void reverse_write(const struct line_spec *spec, const struct content *content, struct line *line)
{
    copy_write_in_order(spec, content, true, line);
}

/* ---- remember, rewrite ------------------------------------------------------------------------------------------- */

/* values of n pairs and K keys: [n] which key a pair has, [n] its value, [K] and [K] what chooses the keys' words
 * and the order in which they are asked for; anchors: [K] the words, [K] that order, counted from SYMBOL_WORD on. */

static int64_t remember_keys(const struct line_spec *spec, int64_t length)
{
    (void)spec;
    return length;
}

static int64_t rewrite_keys(const struct line_spec *spec, int64_t length)
{
    (void)spec;
    return MAX(length / 2, 1);
}

static void draw_pairs(const struct line_spec *spec, struct dice *dice, struct content *content, bool repeat)
{
    size_t n = (size_t)content->length;
    uint32_t n_keys = (uint32_t)(repeat ? rewrite_keys : remember_keys)(spec, content->length);
    uint32_t *v = content->values, *words = v + 2 * n, *order = words + n_keys, *radices = order + n_keys;
    for (size_t i = 0; i < n; i++) {
        radices[i] = repeat ? n_keys : 1;
        radices[n + i] = BASE;
    }
    word_radices(spec->pool, n_keys, radices + 2 * n);
    word_radices(n_keys, n_keys, radices + 2 * n + n_keys);
    dice_values(dice, radices, 2 * n + 2 * n_keys, v);
    for (size_t i = 0; i < n && !repeat; i++) v[i] = (uint32_t)i;
    choose_words(spec->pool, words, n_keys, content->anchors);
    choose_words(n_keys, order, n_keys, content->anchors + n_keys);
}

static void remember_draw(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    draw_pairs(spec, dice, content, false);
}

static void rewrite_draw(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    draw_pairs(spec, dice, content, true);
}

/* The last value of a key, or -1 when no pair has it. */
static int32_t last_value(const struct content *content, uint32_t key)
{
    size_t n = (size_t)content->length;
    for (size_t i = n; i-- > 0;)
        if (content->values[i] == key) return (int32_t)content->values[n + i];
    return -1;
}

static void pairs_write(const struct line_spec *spec, const struct content *content, struct line *line)
{
    size_t n = (size_t)content->length, n_keys = (size_t)spec->task->words_needed(spec, content->length);
    const int32_t *words = content->anchors, *order = words + n_keys;
    bool multi = spec->format == MULTI;
    line_put(line, SYMBOL_START, 0);
    for (size_t i = 0; i < n; i++) {
        line_put(line, words[content->values[i]], 0);
        line_put(line, SYMBOL_NUMBER + (int32_t)content->values[n + i], 0);
    }
    line_put(line, SYMBOL_EQUALS, 0);
    for (size_t i = 0; i < n_keys; i++) {
        uint32_t key = (uint32_t)(order[i] - SYMBOL_WORD);
        int32_t value = last_value(content, key);
        if (value < 0) continue;
        line_put(line, words[key], multi ? MARK_OUTPUT | MARK_GIVEN : 0);
        line_put(line, SYMBOL_NUMBER + value, MARK_OUTPUT | MARK_ANSWER);
        if (!multi) return;
    }
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static const int64_t lengths[] = {5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60};

#define RECALL_TASK(name_, summary_, source_, formats_, words_, draw_, write_)                                         \
    {                                                                                                                  \
        .info = {.kind = SNELLEN_TASK_SYMBOLS, .name = name_, .summary = summary_, .source = source_, .cures = "",     \
                 .styles = "", .frame = "",                                                                            \
                 .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX, .formats = formats_},    \
        .max_length = no_end, .words_needed = words_, .draw = draw_, .write = write_, .spacing_formats = "",           \
        .cycle_formats = ""                                                                                            \
    }

const struct symbol_task copy_task = RECALL_TASK("copy", "a sequence once more", "ours",
                                                 "digits unique mnemonic", copy_words, copy_draw, copy_write);
const struct symbol_task reverse_task = RECALL_TASK("reverse", "a sequence backwards", "ours",
                                                    "digits unique mnemonic", copy_words, copy_draw, reverse_write);
const struct symbol_task remember_task = RECALL_TASK("remember", "the value of a key", "arXiv 2407.04841; 2312.04927",
                                                     "single multi", remember_keys, remember_draw, pairs_write);
const struct symbol_task rewrite_task = RECALL_TASK("rewrite", "the last value of a key", "arXiv 2407.04841; ours",
                                                    "single multi", rewrite_keys, rewrite_draw, pairs_write);
