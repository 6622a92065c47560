/* Lines of symbols: the paper's examples, every format read back and checked with plain arithmetic, sets without a
 * line in common, samples that differ. */
#include "test/test.h"

#include "base/base.h"
#include "tasks/symbols.h"

#include <ctype.h>

static snellen_line *line_of(const char *task, const snellen_line_options *o, int64_t length, uint64_t index)
{
    snellen_line *line;
    MUST(snellen_line_make(task, o, length, index, &line, err));
    return line;
}

static snellen_line_options format(const char *name)
{
    snellen_line_options o = snellen_line_options_default();
    o.format = name;
    return o;
}

/* ---- the page's lines, from given bits, digits and anchors ------------------------------------------------------- */

/* Words 0, 1, 2, .. are written A, B, C, .. */
static void check_written(const char *task, const char *format_name, int64_t length, const uint32_t *values,
                          const int32_t *words, size_t n_words, const char *want)
{
    int32_t symbols[200], anchors[50];
    uint8_t marks[200];
    uint32_t content_values[50];
    char text[1000] = "";
    struct line line = {.symbols = symbols, .marks = marks, .room = 200};
    struct line_spec spec;
    snellen_line_options o = format(format_name);
    MUST(line_spec_set(&spec, task, &o, err));
    memcpy(content_values, values, sizeof *values * 20);
    for (size_t i = 0; i < n_words; i++) anchors[i] = SYMBOL_WORD + words[i];
    struct content content = {.length = length, .values = content_values, .anchors = anchors};
    spec.task->write(&spec, &content, &line);
    for (size_t i = 0; i < line.n; i++) {
        if (i) strcat(text, " ");
        strcat(text, symbol_names[line.symbols[i]]);
    }
    assert_string_equal(text, want);
}

static void test_lines_of_the_paper(void **state)
{
    (void)state;
    static const uint32_t bits[20] = {1, 0, 1, 1};
    static const int32_t abcd[] = {0, 1, 2, 3, 0, 1, 2, 3};
    check_written("parity", "direct", 4, bits, NULL, 0, ">>> 1 0 1 1 === 1");
    check_written("parity", "scratchpad", 4, bits, NULL, 0, ">>> 1 0 1 1 === 1 1 0 1");
    check_written("parity", "interleaved", 4, bits, NULL, 0, ">>> 1 1 0 1 1 0 1 1");
    check_written("parity", "mnemonic", 4, bits, abcd, 8, ">>> A 1 B 0 C 1 D 1 === A 1 B 1 C 0 D 1");
    /* 12 + 9: numbers of digits, digits least significant first; M1 M2 M3 are A B C. */
    static const uint32_t twelve_nine[20] = {2, 1, 2, 1, 9};
    static const int32_t by_weight[] = {1, 0, 2}, own[] = {1, 0, 2};
    check_written("addition", "plain", 2, twelve_nine, NULL, 0, ">>> 1 2 + 9 === 1 2 0 ### 0 2 1");
    check_written("addition", "mnemonic", 2, twelve_nine, by_weight, 3,
                  ">>> A 1 B 2 C + B 9 C === B 1 A 2 C 0 ### C 0 A 2 B 1");
    check_written("addition", "padded", 2, twelve_nine, NULL, 0, ">>> 1 2 + 0 9 === 1 2 0 ### 0 2 1");
    check_written("addition", "padded-mnemonic", 2, twelve_nine, by_weight, 3,
                  ">>> A 1 B 2 C + A 0 B 9 C === B 1 A 2 C 0 ### C 0 A 2 B 1");
    check_written("addition", "nonaligned", 2, twelve_nine, own, 3,
                  ">>> A 1 B 2 + C 9 === C B 1 A 2 0 ### 0 A 2 C B 1");
    check_written("addition", "reversed", 2, twelve_nine, NULL, 0, ">>> 2 1 + 9 === 1 2 0 ### 0 2 1");
    static const int32_t run[] = {4, 5, 6};
    check_written("addition", "hints", 2, twelve_nine, run, 3, ">>> F 1 E 2 + E 9 === E 1 F 2 G 0 ### G 0 F 2 E 1");
}

/* ---- reading lines back ------------------------------------------------------------------------------------------ */

struct reader {
    const snellen_line *line;
    size_t at;
};

static bool more(const struct reader *r)
{
    return r->at < r->line->n;
}

static const char *peek(const struct reader *r)
{
    return more(r) ? r->line->symbols[r->at].name : "";
}

static const snellen_symbol *take(struct reader *r)
{
    assert_true(more(r));
    return &r->line->symbols[r->at++];
}

static void take_mark(struct reader *r, const char *name)
{
    assert_string_equal(take(r)->name, name);
}

/* The next digit or bit, which must be of the output (weight 1) or of the prompt (weight 0). */
static int take_digit(struct reader *r, bool output)
{
    const snellen_symbol *s = take(r);
    assert_int_equal(s->output, output);
    assert_true(output || s->weight == 0);
    assert_true(isdigit((unsigned char)s->name[0]) && !s->name[1]);
    return s->name[0] - '0';
}

static bool is_word(const char *name)
{
    return isalpha((unsigned char)name[0]) && strcmp(name, "a") && strcmp(name, "b");
}

/* The next symbol, which must be a word: of the prompt, or an anchor of the output. */
static int32_t take_word(struct reader *r, bool output)
{
    const snellen_symbol *s = take(r);
    assert_true(is_word(s->name));
    assert_int_equal(s->output, output);
    assert_true(s->weight == (output ? 1.0f : 0.0f));
    return s->id;
}

static void assert_all_differ(const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) assert_int_not_equal(ids[i], ids[j]);
}

/* ---- parity ------------------------------------------------------------------------------------------------------ */

enum { MOST = 60 };

struct parity_read {
    int bits[MOST], parities[MOST];
    int32_t in[MOST], out[MOST];   /* anchors; -1 = none */
};

/* A bit, "0" "1" or, beside numbers, "a" "b". */
static int take_bit(struct reader *r, bool letters)
{
    const char *name = take(r)->name;
    assert_true(!name[1] && (letters ? name[0] == 'a' || name[0] == 'b' : name[0] == '0' || name[0] == '1'));
    return name[0] - (letters ? 'a' : '0');
}

static void read_parity(const snellen_line *line, const char *format_name, int n, uint32_t spacing,
                        struct parity_read *p)
{
    struct reader r = {line, 0};
    bool letters = !strcmp(format_name, "numeric"), interleaved = !strcmp(format_name, "interleaved");
    bool direct = !strcmp(format_name, "direct");
    bool anchored = !direct && !interleaved && strcmp(format_name, "scratchpad");
    take_mark(&r, ">>>");
    for (int part = 0; part < 2; part++) {
        if (part && !interleaved) take_mark(&r, "===");
        if (part) assert_int_equal(r.at, line->n_prompt);
        for (int i = 0; i < n; i++) {
            int32_t *anchor = part ? &p->out[i] : &p->in[i];
            *anchor = -1;
            if (anchored && i % (int)spacing == 0) {
                const snellen_symbol *s = take(&r);
                *anchor = s->id;
                assert_int_equal(s->anchor, part);
                assert_true(s->weight == (float)part && !s->given && !s->answer);
            }
            if (interleaved && !part) continue;
            if (interleaved) {
                const snellen_symbol *s = &line->symbols[r.at];
                assert_true(s->given && s->output && s->weight == 0);
                p->bits[i] = take_bit(&r, false);
            }
            if (part && direct && i + 1 < n) continue;
            const snellen_symbol *s = &line->symbols[r.at];
            assert_int_equal(s->output, part);
            assert_true(s->weight == (float)part && !s->given && !s->anchor);
            assert_int_equal(s->answer, part && i + 1 == n);
            (part ? p->parities : p->bits)[i] = take_bit(&r, letters);
        }
    }
    assert_false(more(&r));
}

static void check_parities(const struct parity_read *p, const char *format_name, int n)
{
    int parity = 0;
    for (int i = 0; i < n; i++) {
        parity ^= p->bits[i];
        if (strcmp(format_name, "direct") || i + 1 == n) assert_int_equal(p->parities[i], parity);
    }
}

static void check_anchors(const struct parity_read *p, const char *format_name, int n, uint32_t pool, uint32_t cycle)
{
    int32_t all[2 * MOST];
    size_t n_in = 0;
    for (int i = 0; i < n; i++) {
        if (p->in[i] < 0) continue;
        all[n_in++] = p->in[i];
        if (!strcmp(format_name, "nonaligned")) continue;
        assert_int_equal(p->in[i], p->out[i]);
        const char *name = symbol_names[p->in[i]];
        if (!strcmp(format_name, "numeric")) assert_int_equal(atoi(name), n_in);
        if (!strcmp(format_name, "constant")) assert_string_equal(name, "#");
        if (!strcmp(format_name, "cyclic")) assert_int_equal(p->in[i], all[(n_in - 1) % cycle]);
    }
    bool random = !strcmp(format_name, "mnemonic") || !strcmp(format_name, "nonaligned");
    size_t n_all = n_in;
    for (int i = 0; i < n && !strcmp(format_name, "nonaligned"); i++)
        if (p->out[i] >= 0) all[n_all++] = p->out[i];
    if (random || !strcmp(format_name, "numeric")) assert_all_differ(all, n_all);
    if (!strcmp(format_name, "cyclic")) assert_all_differ(all, n_in < cycle ? n_in : cycle);
    for (size_t i = 0; i < n_all && random; i++)
        assert_true(all[i] >= SYMBOL_WORD && all[i] < SYMBOL_WORD + (int32_t)pool);
}

static void test_parity(void **state)
{
    (void)state;
    static const char *const formats[] = {"direct", "scratchpad", "interleaved", "mnemonic", "numeric", "constant",
                                          "nonaligned", "cyclic"};
    static const int lengths[] = {1, 2, 3, 7, 20, MOST};
    for (size_t f = 0; f < COUNT_OF(formats); f++)
        for (size_t l = 0; l < COUNT_OF(lengths); l++)
            for (uint32_t spacing = 1; spacing <= (f < 3 ? 1 : 3); spacing++)
                for (uint64_t index = 0; index < 40; index++) {
                    struct parity_read p = {0};
                    snellen_line_options o = format(formats[f]);
                    o.spacing = spacing;
                    o.train = index % 2;
                    o.pool = 120;
                    o.cycle = f == 7 ? 5 : 0;
                    snellen_line *line = line_of("parity", &o, lengths[l], index);
                    read_parity(line, formats[f], lengths[l], spacing, &p);
                    check_parities(&p, formats[f], lengths[l]);
                    check_anchors(&p, formats[f], lengths[l], 120, 5);
                    snellen_free(line);
                }
}

/* ---- addition ---------------------------------------------------------------------------------------------------- */

enum { DIGITS = 15 };

/* Digits of one number as they are read, with the words before each. */
struct number_read {
    int digits[DIGITS + 1];
    int32_t words[DIGITS + 1][2];
    int n, n_words[DIGITS + 1];
    int32_t last_word;              /* behind the last digit; -1 = none */
};

static void read_number(struct reader *r, bool output, struct number_read *number)
{
    *number = (struct number_read){.last_word = -1};
    while (more(r)) {
        int i = number->n;
        if (!strcmp(peek(r), "_")) {
            assert_true(i > 0 && !output);
            take(r);
        } else if (is_word(peek(r))) {
            assert_true(number->n_words[i] < 2);
            number->words[i][number->n_words[i]++] = take_word(r, output);
        } else if (isdigit((unsigned char)peek(r)[0])) {
            number->digits[number->n++] = take_digit(r, output);
        } else {
            break;
        }
    }
    if (!number->n_words[number->n]) return;
    assert_int_equal(number->n_words[number->n], 1);
    number->last_word = number->words[number->n][0];
}

/* Place i of a number read most significant digit first has weight n - 1 - i. */
static void turn_round(struct number_read *number)
{
    for (int i = 0, j = number->n - 1; i < j; i++, j--) {
        struct number_read copy = *number;
        number->digits[i] = copy.digits[j], number->digits[j] = copy.digits[i];
        number->n_words[i] = copy.n_words[j], number->n_words[j] = copy.n_words[i];
        memcpy(number->words[i], copy.words[j], sizeof copy.words[j]);
        memcpy(number->words[j], copy.words[i], sizeof copy.words[i]);
    }
}

static uint64_t value_of(const struct number_read *number)
{
    uint64_t value = 0;
    for (int i = number->n; i-- > 0;) value = value * 10 + (uint64_t)number->digits[i];
    return value;
}

/* Digits of equal weight share a word, and the carry place has one. */
static void check_aligned(const struct number_read v[4], int n, bool carry_behind)
{
    int32_t by_weight[DIGITS + 1];
    for (int w = 0; w <= n; w++) by_weight[w] = v[2].words[w][0];
    assert_all_differ(by_weight, (size_t)n + 1);
    for (int k = 0; k < 4; k++) {
        assert_int_equal(v[k].last_word, k < 2 && carry_behind ? by_weight[n] : -1);
        for (int w = 0; w < v[k].n; w++) {
            assert_int_equal(v[k].n_words[w], 1);
            assert_int_equal(v[k].words[w][0], by_weight[w]);
        }
    }
}

/* Each operand has words of its own; a place of the sum has those of the digits that it is made from. */
static void check_own(const struct number_read v[4], int n)
{
    int32_t all[2 * DIGITS];
    size_t n_all = 0;
    for (int k = 0; k < 2; k++)
        for (int w = 0; w < v[k].n; w++) {
            assert_int_equal(v[k].n_words[w], 1);
            all[n_all++] = v[k].words[w][0];
        }
    assert_all_differ(all, n_all);
    for (int k = 2; k < 4; k++)
        for (int w = 0; w <= n; w++) {
            int at = 0;
            for (int operand = 1; operand >= 0; operand--)
                if (w < v[operand].n) assert_int_equal(v[k].words[w][at++], v[operand].words[w][0]);
            assert_int_equal(v[k].n_words[w], at);
        }
}

static void check_addition(const snellen_line *line, const char *format_name, int n)
{
    struct number_read v[4];   /* operands, sum, sum again; by weight */
    struct reader r = {line, 0};
    bool padded = !strncmp(format_name, "padded", 6), reversed = !strcmp(format_name, "reversed");
    take_mark(&r, ">>>");
    read_number(&r, false, &v[0]);
    take_mark(&r, "+");
    read_number(&r, false, &v[1]);
    take_mark(&r, "===");
    assert_int_equal(r.at, line->n_prompt);
    read_number(&r, true, &v[2]);
    size_t again = r.at;
    take_mark(&r, "###");
    read_number(&r, true, &v[3]);
    assert_false(more(&r));
    for (int k = 0; k < 2 && !reversed; k++) turn_round(&v[k]);
    turn_round(&v[3]);
    assert_int_equal(value_of(&v[0]) + value_of(&v[1]), value_of(&v[2]));
    assert_int_equal(value_of(&v[2]), value_of(&v[3]));
    assert_int_equal(v[2].n, n + 1);
    assert_int_equal(v[3].n, n + 1);
    assert_true(v[0].n <= n && v[1].n <= n && (v[0].n == n || v[1].n == n));
    assert_true(!padded || v[0].n == v[1].n);
    for (int k = 0; k < 2 && !padded; k++) assert_true(v[k].n == 1 || v[k].digits[v[k].n - 1] > 0);
    if (strstr(format_name, "mnemonic") || !strcmp(format_name, "hints"))
        check_aligned(v, n, strcmp(format_name, "hints"));
    else if (!strcmp(format_name, "nonaligned"))
        check_own(v, n);
    else
        for (size_t i = 0; i < line->n; i++) assert_false(is_word(line->symbols[i].name));
    for (int w = 0; w < n && !strcmp(format_name, "hints"); w++)
        assert_int_equal(v[2].words[w + 1][0], v[2].words[w][0] + 1);
    for (size_t i = 0; i < line->n; i++) {
        const snellen_symbol *s = &line->symbols[i];
        assert_int_equal(s->answer, i > again && !is_word(s->name));
        assert_int_equal(s->anchor, s->output && is_word(s->name));
        assert_false(s->given);
    }
}

static void test_addition(void **state)
{
    (void)state;
    static const char *const formats[] = {"plain", "mnemonic", "padded", "padded-mnemonic", "nonaligned", "reversed",
                                          "hints", "spaced"};
    static const int lengths[] = {1, 2, 5, 10, 14};
    for (size_t f = 0; f < COUNT_OF(formats); f++)
        for (size_t l = 0; l < COUNT_OF(lengths); l++)
            for (uint64_t index = 0; index < 100; index++) {
                snellen_line_options o = format(formats[f]);
                o.train = index % 2;
                o.pool = 30;
                snellen_line *line = line_of("addition", &o, lengths[l], index);
                check_addition(line, formats[f], lengths[l]);
                snellen_free(line);
            }
    /* Spaces are there and not everywhere. */
    snellen_line_options o = format("spaced");
    snellen_line *line = line_of("addition", &o, 14, 1);
    size_t n_spaces = 0;
    for (size_t i = 0; i < line->n; i++) n_spaces += !strcmp(line->symbols[i].name, "_");
    assert_in_range(n_spaces, 1, 27);
    snellen_free(line);
}

/* Both operands take all numbers of digits, and either is the longer one. */
static void test_operands_vary(void **state)
{
    (void)state;
    snellen_line_options o = format("plain");
    int seen[6][6] = {0};
    for (uint64_t index = 0; index < 300; index++) {
        struct number_read v[2];
        snellen_line *line = line_of("addition", &o, 5, index);
        struct reader r = {line, 1};
        read_number(&r, false, &v[0]);
        take_mark(&r, "+");
        read_number(&r, false, &v[1]);
        seen[v[0].n][v[1].n]++;
        snellen_free(line);
    }
    for (int short_n = 1; short_n <= 5; short_n++) {
        assert_in_range(seen[5][short_n], 10, 80);
        assert_in_range(seen[short_n][5], 10, 80);
    }
}

/* ---- recall ------------------------------------------------------------------------------------------------------ */

static void check_copy(const snellen_line *line, bool backwards, const char *format_name, int n)
{
    struct reader r = {line, 0};
    int32_t items[2][MOST], words[2][MOST];
    bool anchored = !strcmp(format_name, "mnemonic"), unique = !strcmp(format_name, "unique");
    take_mark(&r, ">>>");
    for (int part = 0; part < 2; part++) {
        if (part) take_mark(&r, "===");
        if (part) assert_int_equal(r.at, line->n_prompt);
        for (int i = 0; i < n; i++) {
            if (anchored) words[part][i] = take_word(&r, part);
            assert_int_equal(line->symbols[r.at].answer, part);
            items[part][i] = unique ? take_word(&r, part) : take_digit(&r, part);
        }
    }
    assert_false(more(&r));
    if (unique) assert_all_differ(items[0], (size_t)n);
    if (anchored) assert_all_differ(words[0], (size_t)n);
    for (int i = 0; i < n; i++) {
        int from = backwards ? n - 1 - i : i;
        assert_int_equal(items[1][i], items[0][from]);
        if (anchored) assert_int_equal(words[1][i], words[0][from]);
    }
}

static void check_pairs(const snellen_line *line, bool rewrite, bool multi, int n)
{
    struct reader r = {line, 0};
    int32_t keys[MOST];
    int values[MOST], asked = 0, different = 0;
    take_mark(&r, ">>>");
    for (int i = 0; i < n; i++) {
        keys[i] = take_word(&r, false);
        values[i] = take_digit(&r, false);
        bool again = false;
        for (int j = 0; j < i; j++) again = again || keys[j] == keys[i];
        different += !again;
    }
    assert_true(rewrite ? different <= (n < 2 ? 1 : n / 2) : different == n);
    take_mark(&r, "===");
    int32_t queries[MOST];
    while (more(&r)) {
        const snellen_symbol *key = take(&r);
        assert_true(key->weight == 0 && key->given == multi && key->output == multi);
        int last = n - 1;
        while (last >= 0 && keys[last] != key->id) last--;
        assert_true(last >= 0);
        assert_true(line->symbols[r.at].answer);
        assert_int_equal(take_digit(&r, true), values[last]);
        queries[asked++] = key->id;
    }
    assert_int_equal(asked, multi ? different : 1);
    assert_all_differ(queries, (size_t)asked);
}

static void test_recall(void **state)
{
    (void)state;
    static const char *const copies[] = {"digits", "unique", "mnemonic"};
    static const int lengths[] = {1, 2, 5, 21, MOST};
    for (size_t l = 0; l < COUNT_OF(lengths); l++)
        for (uint64_t index = 0; index < 60; index++)
            for (int backwards = 0; backwards < 2; backwards++) {
                for (int f = 0; f < 3; f++) {
                    snellen_line_options o = format(copies[f]);
                    o.train = index % 2;
                    snellen_line *line = line_of(backwards ? "reverse" : "copy", &o, lengths[l], index);
                    check_copy(line, backwards, copies[f], lengths[l]);
                    snellen_free(line);
                }
                for (int multi = 0; multi < 2; multi++) {
                    snellen_line_options o = format(multi ? "multi" : "single");
                    snellen_line *line = line_of(backwards ? "rewrite" : "remember", &o, lengths[l], index);
                    check_pairs(line, backwards, multi, lengths[l]);
                    snellen_free(line);
                }
            }
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static void text_of(const snellen_line *line, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < line->n && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s ", line->symbols[i].name);
    assert_true(at < size);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

enum { SAMPLES = 4096, TEXT = 120 };

/* Samples 0 .. n - 1 of a set, sorted; returns how many differ. */
static size_t collect(const char *task, const snellen_line_options *o, int64_t length, size_t n, char (*texts)[TEXT])
{
    size_t different = 0;
    for (size_t i = 0; i < n; i++) {
        snellen_line *line = line_of(task, o, length, i);
        text_of(line, texts[i], TEXT);
        assert_false(line->repeats);
        snellen_free(line);
    }
    qsort(texts, n, TEXT, compare_texts);
    for (size_t i = 0; i < n; i++) different += !i || strcmp(texts[i], texts[i - 1]);
    return different;
}

static void test_sets_are_disjoint_and_samples_differ(void **state)
{
    (void)state;
    static char train[SAMPLES][TEXT], test[SAMPLES][TEXT];
    static const struct {
        const char *task, *format;
        int64_t length;
        size_t n_train, n_test;   /* all of each set, or as many as fit */
    } cases[] = {
        {"parity", "direct", 1, 1, 1},          {"parity", "direct", 2, 3, 1},     {"parity", "scratchpad", 3, 7, 1},
        {"parity", "direct", 11, 1792, 256},    {"copy", "digits", 1, 9, 1},       {"copy", "digits", 3, 875, 125},
        {"addition", "plain", 1, 88, 12},       {"parity", "direct", 40, 4096, 4096},
        {"copy", "digits", 20, 4096, 4096},     {"reverse", "unique", 2, 4096, 2032},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (uint64_t seed = 1; seed < 3; seed++) {
            snellen_line_options o = format(cases[i].format);
            o.seed = seed;
            size_t n_test = collect(cases[i].task, &o, cases[i].length, cases[i].n_test, test);
            o.train = true;
            o.seed = 3 * seed;   /* the division does not depend on the seed */
            size_t n_train = collect(cases[i].task, &o, cases[i].length, cases[i].n_train, train);
            assert_int_equal(n_test, cases[i].n_test);
            assert_int_equal(n_train, cases[i].n_train);
            if (cases[i].n_train < SAMPLES) {   /* the whole set */
                snellen_line *line = line_of(cases[i].task, &o, cases[i].length, n_train);
                assert_true(line->repeats);
                snellen_free(line);
            }
            for (size_t j = 0; j < n_test; j++)
                assert_null(bsearch(test[j], train, n_train, TEXT, compare_texts));
        }
}

/* Half the bits are ones, and their parities too: a permutation must not be felt. */
static void test_contents_are_even(void **state)
{
    (void)state;
    snellen_line_options o = format("scratchpad");
    int ones[20] = {0}, odd = 0;
    for (uint64_t index = 0; index < 2000; index++) {
        struct parity_read p = {0};
        o.train = index % 2;
        snellen_line *line = line_of("parity", &o, 20, index);
        read_parity(line, "scratchpad", 20, 1, &p);
        for (int i = 0; i < 20; i++) ones[i] += p.bits[i];
        odd += p.parities[19];
        snellen_free(line);
    }
    for (int i = 0; i < 20; i++) assert_in_range(ones[i], 900, 1100);   /* 4.5 standard deviations */
    assert_in_range(odd, 900, 1100);
}

/* Same call, same line; seed, index and set matter; a format has no say in the content. */
static void test_lines_follow_from_seed_and_index(void **state)
{
    (void)state;
    char texts[4][2000];
    for (int i = 0; i < 4; i++) {
        snellen_line_options o = format("mnemonic");
        o.seed = i == 1 ? 2 : 1;
        o.train = i == 2;
        snellen_line *line = line_of("parity", &o, 40, i == 3 ? 8 : 7);
        text_of(line, texts[i], sizeof texts[i]);
        snellen_free(line);
        for (int j = 0; j < i; j++) assert_string_not_equal(texts[i], texts[j]);
        char again[2000];
        line = line_of("parity", &o, 40, i == 3 ? 8 : 7);
        text_of(line, again, sizeof again);
        assert_string_equal(again, texts[i]);
        snellen_free(line);
    }
    struct parity_read a = {0}, b = {0};
    snellen_line_options direct = format("direct"), mnemonic = format("mnemonic");
    snellen_line *line = line_of("parity", &direct, 40, 7), *other = line_of("parity", &mnemonic, 40, 7);
    read_parity(line, "direct", 40, 1, &a);
    read_parity(other, "mnemonic", 40, 1, &b);
    assert_memory_equal(a.bits, b.bits, sizeof a.bits);
    snellen_free(line);
    snellen_free(other);
    /* A line of another release must be this one, or results cannot be compared. */
    snellen_line_options o = format("mnemonic");
    line = line_of("parity", &o, 4, 0);
    text_of(line, texts[0], sizeof texts[0]);
    assert_string_equal(texts[0], ">>> leader 0 voice 1 home 1 eye 0 === leader 0 voice 1 home 0 eye 0 ");
    snellen_free(line);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void must_refuse(const char *task, snellen_line_options o, int64_t length, const char *says)
{
    snellen_error error;
    snellen_line *line;
    assert_int_equal(snellen_line_make(task, &o, length, 0, &line, &error), SNELLEN_E_USAGE);
    if (!strstr(error.message, says)) fail_msg("'%s' is not in '%s'", says, error.message);
}

static void test_errors(void **state)
{
    (void)state;
    snellen_line_options o = format(NULL);
    must_refuse("party", o, 4, "task 'party' is not known; there are: copy-last");
    must_refuse("copy-last", o, 4, "has prompts in words");
    must_refuse("parity", format("mnemonics"), 4, "it has: direct scratchpad interleaved");
    must_refuse("parity", o, 0, "length is 0, 1 to 10000 expected");
    must_refuse("parity", o, 10001, "length is 10001, 1 to 10000 expected");
    must_refuse("parity", format("numeric"), 100, "length is 100, at most 99 expected");
    must_refuse("parity", format("nonaligned"), 65, "needs 130 different words, the pool has 128");
    must_refuse("addition", format("mnemonic"), 128, "needs 129 different words");
    o.spacing = 2;
    must_refuse("parity", o, 4, "spacing is for formats with anchors: mnemonic");
    must_refuse("addition", o, 4, "spacing is for formats with anchors, which this task does not have");
    o = format("mnemonic");
    o.cycle = 4;
    must_refuse("parity", o, 4, "cycle is for parity in the format cyclic");
    o = format("cyclic");
    o.pool = 4;
    must_refuse("parity", o, 4, "needs 8 different words, the pool has 4");
    o.pool = 241;
    must_refuse("parity", o, 4, "pool is 241 words, 1 to 240 expected");
    o = format("unique");
    o.pool = 1;
    must_refuse("copy", o, 1, "there is only one line");
}

static void test_vocabulary(void **state)
{
    (void)state;
    size_t n = 0;
    for (; snellen_symbol_name(n); n++)
        for (size_t i = 0; i < n; i++) assert_string_not_equal(snellen_symbol_name(i), snellen_symbol_name(n));
    assert_int_equal(n, 108 + 240);
    for (size_t i = n; i < SYMBOL_COUNT + SYMBOL_SPARE_WORDS; i++) assert_true(strlen(symbol_names[i]) >= 3);
    assert_string_equal(snellen_symbol_name(SYMBOL_NUMBER + 42), "42");
    assert_string_equal(snellen_symbol_name(SYMBOL_WORD), "A");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_the_paper),
        cmocka_unit_test(test_parity),
        cmocka_unit_test(test_addition),
        cmocka_unit_test(test_operands_vary),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_sets_are_disjoint_and_samples_differ),
        cmocka_unit_test(test_contents_are_even),
        cmocka_unit_test(test_lines_follow_from_seed_and_index),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
