/* Addition of two numbers, digit by digit (arXiv 2408.05506, section 5): the sum is written least significant digit
 * first, with one digit for the carry place, then once more most significant digit first. The weight of a digit is
 * its power of ten; 12 + 9 = 021 has the weights 1 0, 0, 2 1 0.
 *
 * A length of n digits: one operand, either of them, has n digits, the other 1 to n, all numbers of digits equally
 * likely; an operand of more than one digit does not begin with 0. */
#include "tasks/symbols.h"

enum addition_format { PLAIN, MNEMONIC, PADDED, PADDED_MNEMONIC, NONALIGNED, REVERSED, HINTS, SPACED };
enum { BASE = 10 };

/* Where a content keeps what: the numbers of digits, then the digits least significant first, then whether a space
 * stands behind a digit. */
struct addition {
    size_t n[2];                /* digits of each operand */
    const uint32_t *digits[2], *spaces[2];
    size_t n_max;
};

static struct addition addition_of(const struct content *content)
{
    const uint32_t *v = content->values;
    size_t a = v[0], b = v[1];
    return (struct addition){.n = {a, b}, .digits = {v + 2, v + 2 + a}, .spaces = {v + 2 + a + b, v + 2 + a + b + a},
                             .n_max = MAX(a, b)};
}

static int64_t addition_words(const struct line_spec *spec, int64_t length)
{
    if (spec->format == NONALIGNED) return 2 * length;
    bool anchored = spec->format == MNEMONIC || spec->format == PADDED_MNEMONIC || spec->format == HINTS;
    return anchored ? length + 1 : 0;
}

static int64_t addition_max_length(const struct line_spec *spec)
{
    (void)spec;
    return LINE_MAX_LENGTH;
}

/* anchors: by weight, the carry place last; `nonaligned`: those of the first operand by weight, then the second's. */
static void draw_anchors(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    size_t n = (size_t)addition_words(spec, content->length);
    if (spec->format != HINTS) {
        dice_words(dice, spec->pool, n, content->anchors);
        return;
    }
    int32_t first = SYMBOL_WORD + (int32_t)rng_below(&dice->rng, spec->pool - n + 1);
    for (size_t i = 0; i < n; i++) content->anchors[i] = first + (int32_t)i;
}

static void addition_draw(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    uint32_t length = (uint32_t)content->length, *v = content->values;
    uint32_t pair = (uint32_t)rng_below(&dice->rng, 2 * length - 1);
    v[0] = pair < length ? length : pair - length + 1;
    v[1] = pair < length ? pair + 1 : length;
    size_t n = v[0] + v[1];
    uint32_t *digits = v + 2, *radices = digits + n;
    for (size_t i = 0; i < n; i++) radices[i] = BASE;
    bool led[2] = {v[0] > 1, v[1] > 1};
    radices[v[0] - 1] -= led[0];
    radices[n - 1] -= led[1];
    dice_values(dice, radices, n, digits);
    digits[v[0] - 1] += led[0];
    digits[n - 1] += led[1];
    draw_anchors(spec, dice, content);
    for (size_t i = 0; i < n; i++) digits[n + i] = (uint32_t)rng_below(&dice->rng, 2);
}

/* ---- the line ---------------------------------------------------------------------------------------------------- */

static void write_operand(const struct line_spec *spec, const struct content *content, int which, struct line *line)
{
    struct addition a = addition_of(content);
    const int32_t *anchors = content->anchors + (spec->format == NONALIGNED && which ? content->length : 0);
    bool padded = spec->format == PADDED || spec->format == PADDED_MNEMONIC;
    bool anchored = addition_words(spec, content->length) > 0;
    bool carry = spec->format == MNEMONIC || spec->format == PADDED_MNEMONIC;
    size_t n = padded ? a.n_max : a.n[which];
    for (size_t i = 0; i < n; i++) {
        size_t weight = spec->format == REVERSED ? i : n - 1 - i;
        if (anchored) line_put(line, anchors[weight], 0);
        line_put(line, SYMBOL_NUMBER + (int32_t)(weight < a.n[which] ? a.digits[which][weight] : 0), 0);
        if (spec->format == SPACED && a.spaces[which][weight]) line_put(line, SYMBOL_BLANK, 0);
    }
    if (carry) line_put(line, anchors[a.n_max], 0);
}

/* The digit of the sum at a weight, behind its anchors; `nonaligned`: those of the second operand's digit first. */
static void write_place(const struct line_spec *spec, const struct content *content, size_t weight, uint32_t digit,
                        unsigned marks, struct line *line)
{
    struct addition a = addition_of(content);
    const int32_t *anchors = content->anchors;
    if (spec->format == NONALIGNED) {
        if (weight < a.n[1]) line_put(line, anchors[(size_t)content->length + weight], MARK_OUTPUT | MARK_ANCHOR);
        if (weight < a.n[0]) line_put(line, anchors[weight], MARK_OUTPUT | MARK_ANCHOR);
    } else if (addition_words(spec, content->length)) {
        line_put(line, anchors[weight], MARK_OUTPUT | MARK_ANCHOR);
    }
    line_put(line, SYMBOL_NUMBER + (int32_t)digit, MARK_OUTPUT | marks);
}

static void addition_write(const struct line_spec *spec, const struct content *content, struct line *line)
{
    struct addition a = addition_of(content);
    uint8_t sum[LINE_MAX_LENGTH + 1];
    uint32_t carry = 0;
    line_put(line, SYMBOL_START, 0);
    write_operand(spec, content, 0, line);
    line_put(line, SYMBOL_PLUS, 0);
    write_operand(spec, content, 1, line);
    line_put(line, SYMBOL_EQUALS, 0);
    for (size_t i = 0; i <= a.n_max; i++) {
        for (int j = 0; j < 2; j++) carry += i < a.n[j] ? a.digits[j][i] : 0;
        sum[i] = (uint8_t)(carry % BASE);
        carry /= BASE;
        write_place(spec, content, i, sum[i], 0, line);
    }
    line_put(line, SYMBOL_AGAIN, MARK_OUTPUT);
    for (size_t i = a.n_max + 1; i-- > 0;) write_place(spec, content, i, sum[i], MARK_ANSWER, line);
}

static const int64_t lengths[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

const struct symbol_task addition_task = {
    .info = {.kind = SNELLEN_TASK_SYMBOLS, .name = "addition", .summary = "sum of two numbers, digit by digit",
             .source = "arXiv 2408.05506, addition; reversed, hints, spaced: arXiv 2402.09371", .cures = "",
             .styles = "", .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX,
             .formats = "plain mnemonic padded padded-mnemonic nonaligned reversed hints spaced"},
    .max_length = addition_max_length, .words_needed = addition_words, .draw = addition_draw, .write = addition_write,
    .spacing_formats = "", .cycle_formats = "",
};
