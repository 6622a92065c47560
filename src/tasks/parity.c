/* Parity: bits x_1 .. x_n, running parity p_i = x_i xor p_(i-1), p_0 = 0, the answer is p_n (arXiv 2408.05506,
 * section 4).
 *
 * Anchors stand before bits and before the running parities. In `mnemonic` the same word names a bit and its parity,
 * so that the bit can be found by content; the variants take away one thing each of what makes that work. */
#include "tasks/symbols.h"

enum parity_format { DIRECT, SCRATCHPAD, INTERLEAVED, MNEMONIC, NUMERIC, CONSTANT, NONALIGNED, CYCLIC };

static size_t anchors_of(const struct line_spec *spec, int64_t length)
{
    return ((size_t)length + spec->spacing - 1) / spec->spacing;
}

static int64_t parity_words(const struct line_spec *spec, int64_t length)
{
    int64_t n = (int64_t)anchors_of(spec, length);
    if (spec->format == MNEMONIC) return n;
    if (spec->format == NONALIGNED) return 2 * n;
    return spec->format == CYCLIC ? spec->cycle : 0;
}

static int64_t parity_max_length(const struct line_spec *spec)
{
    return spec->format == NUMERIC ? (int64_t)SYMBOL_MAX_NUMBER * spec->spacing : LINE_MAX_LENGTH;
}

/* values: the bits. anchors: those of the input, then those of the output. */
static void parity_draw(const struct line_spec *spec, struct dice *dice, struct content *content)
{
    size_t n = (size_t)content->length, n_anchors = anchors_of(spec, content->length);
    int32_t *in = content->anchors, *out = content->anchors + n_anchors;
    uint32_t *radices = content->values + n;
    for (size_t i = 0; i < n; i++) radices[i] = 2;
    dice_values(dice, radices, n, content->values);
    if (spec->format == MNEMONIC) dice_words(dice, spec->pool, n_anchors, in);
    if (spec->format == NONALIGNED) dice_words(dice, spec->pool, 2 * n_anchors, in);
    if (spec->format == NONALIGNED) return;
    for (size_t i = 0; i < n_anchors; i++) {
        if (spec->format == NUMERIC) in[i] = SYMBOL_NUMBER + 1 + (int32_t)i;
        if (spec->format == CONSTANT) in[i] = SYMBOL_CONSTANT;
        if (spec->format == CYCLIC) in[i] = SYMBOL_WORD + (int32_t)(i % spec->cycle);
        out[i] = in[i];
    }
}

/* Beside numbers as anchors a bit is a letter. */
static int32_t bit_symbol(const struct line_spec *spec, uint32_t bit)
{
    return (spec->format == NUMERIC ? SYMBOL_A : SYMBOL_NUMBER) + (int32_t)bit;
}

static void parity_write(const struct line_spec *spec, const struct content *content, struct line *line)
{
    size_t n = (size_t)content->length;
    const int32_t *in = content->anchors, *out = in + anchors_of(spec, content->length);
    bool anchored = spec->format >= MNEMONIC, interleaved = spec->format == INTERLEAVED;
    line_put(line, SYMBOL_START, 0);
    for (size_t i = 0; i < n && !interleaved; i++) {
        if (anchored && i % spec->spacing == 0) line_put(line, in[i / spec->spacing], 0);
        line_put(line, bit_symbol(spec, content->values[i]), 0);
    }
    if (!interleaved) line_put(line, SYMBOL_EQUALS, 0);
    uint32_t parity = 0;
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        parity ^= content->values[i];
        if (interleaved) line_put(line, bit_symbol(spec, content->values[i]), MARK_OUTPUT | MARK_GIVEN);
        if (anchored && i % spec->spacing == 0)
            line_put(line, out[i / spec->spacing], MARK_OUTPUT | MARK_ANCHOR);
        if (last || spec->format != DIRECT)
            line_put(line, bit_symbol(spec, parity), MARK_OUTPUT | (last ? MARK_ANSWER : 0u));
    }
}

static const int64_t lengths[] = {10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60};

const struct symbol_task parity_task = {
    .info = {.kind = SNELLEN_TASK_SYMBOLS, .name = "parity", .summary = "running parity of random bits",
             .source = "arXiv 2408.05506, parity",
             .cures = "", .styles = "", .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths),
             .n_prompts = UINT32_MAX,
             .formats = "direct scratchpad interleaved mnemonic numeric constant nonaligned cyclic"},
    .max_length = parity_max_length, .words_needed = parity_words, .draw = parity_draw, .write = parity_write,
    .spacing_formats = "mnemonic numeric constant nonaligned cyclic", .cycle_formats = "cyclic",
};
