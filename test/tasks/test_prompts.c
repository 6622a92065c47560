/* The prompts: exact texts of the paper, right answers recounted from the text, lengths, cures, seeds. */
#include "test/test.h"

#include "tasks/tasks.h"

static char *show(const char *task, const char *style, const char *cure, int64_t length, uint32_t prompt, uint64_t seed,
                  int64_t *expected)
{
    snellen_task_options o = snellen_task_options_default(NULL);
    char *text;
    o.style = style;
    o.cure = cure;
    o.seed = seed;
    MUST(snellen_task_show(task, &o, length, prompt, &text, expected, err));
    return text;
}

static void check_text(const char *task, const char *style, const char *cure, int64_t length, const char *want,
                       int64_t answer)
{
    int64_t expected;
    char *text = show(task, style, cure, length, 0, 1, &expected);
    assert_string_equal(text, want);
    assert_int_equal(expected, answer);
    snellen_free(text);
}

#define COPY_FORM "Please answer exactly as 'The answer to your question is: <ANSWER>'"
#define COUNT_FORM                                                                                                     \
    "Please give the answer on the final line exactly as 'The final answer to your maths question is: xxxx', where "   \
    "'xxxx' is your answer."

static void test_texts_of_the_paper(void **state)
{
    (void)state;
    check_text("copy-last", "plain", "", 5,
               "Consider the following sequence: 11110. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-first", "plain", "", 5,
               "Consider the following sequence: 01111. What is the first digit in this sequence? " COPY_FORM, 0);
    check_text("copy-last", "plain", "hint", 3,
               "Consider the following sequence: 110. What is the last digit in this sequence? " COPY_FORM
               " *Hint* It's not necessarily a 1, check carefully", 0);
    check_text("copy-alternating", "plain", "", 6,
               "Consider the following sequence: 101010. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-alternating", "plain", "", 5,
               "Consider the following sequence: 01010. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-last-end-a", "plain", "", 4,
               "What is the last digit of the following sequence? " COPY_FORM " . Here is the sequence: 1110", 0);
    check_text("copy-last-end-b", "plain", "", 4,
               COPY_FORM ". What is the last digit of the following sequence? 1110", 0);
    check_text("count-sum", "plain", "", 4, "Please perform the following sum: 1 + 1 + 1 + 1. " COUNT_FORM, 4);
    check_text("count-ones", "plain", "", 4,
               "Please count the number of ones in the following sequence: 1111. " COUNT_FORM, 4);
    check_text("count-car", "plain", "", 3,
               "Please count the number of times 'car' appears in the following sentence: 'car car car'. "
               COUNT_FORM, 3);
    check_text("count-sum", "step", "", 2,
               "Please perform the following sum: 1 + 1. Let's think step by step, showing me your reasoning. "
               COUNT_FORM, 2);
}

static void test_cures(void **state)
{
    (void)state;
    check_text("copy-last", "plain", "commas", 7,
               "Consider the following sequence: 111,111,0. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-last", "plain", "commas", 6,
               "Consider the following sequence: 111,110. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-first", "plain", "alternate", 4,
               "Consider the following sequence: 0101. What is the first digit in this sequence? " COPY_FORM, 0);
    check_text("count-sum", "plain", "commas:2", 5,
               "Please perform the following sum: 1 + 1, + 1 + 1, + 1. " COUNT_FORM, 5);
    check_text("count-car", "plain", "commas", 4,
               "Please count the number of times 'car' appears in the following sentence: 'car car car, car'. "
               COUNT_FORM, 4);
    check_text("copy-last", "plain", "anchors", 12,
               "Consider the following sequence: A:11111 B:11111 C:10. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-last", "plain", "reverse", 4,
               "Consider the following sequence: 0111. What is the first digit in this sequence? " COPY_FORM, 0);
    check_text("copy-first", "plain", "reverse", 4,
               "Consider the following sequence: 1110. What is the last digit in this sequence? " COPY_FORM, 0);
    check_text("copy-alternating", "plain", "reverse", 5,
               "Consider the following sequence: 01010. What is the first digit in this sequence? " COPY_FORM, 0);
    check_text("copy-last-end-b", "plain", "reverse", 4,
               COPY_FORM ". What is the first digit of the following sequence? 0111", 0);
    check_text("count-sum", "plain", "fives", 7,
               "Please perform the following sum: (1 + 1 + 1 + 1 + 1) + (1 + 1). " COUNT_FORM, 7);
    check_text("count-ones", "plain", "fives", 5,
               "Please count the number of ones in the following sequence: (11111). " COUNT_FORM, 5);
    check_text("count-car", "plain", "fives", 6,
               "Please count the number of times 'car' appears in the following sentence: '(car car car car car) (car)'. "
               COUNT_FORM, 6);
    int64_t answer;
    char *named = show("copy-last", "plain", "anchors", 5 * (26 + 26 * 26) + 1, 0, 1, &answer);
    assert_non_null(strstr(named, " Z:11111 AA:11111 AB:"));
    assert_non_null(strstr(named, " ZZ:11111 AAA:0."));
    snellen_free(named);
    /* Alternating ones and zeros are what the cure makes of copy-last. */
    int64_t a, b;
    char *cured = show("copy-last", "plain", "alternate", 8, 0, 1, &a);
    char *task = show("copy-alternating", "plain", "", 8, 0, 1, &b);
    assert_string_equal(cured, task);
    assert_int_equal(a, b);
    snellen_free(cured);
    snellen_free(task);
}

static void test_worked_examples(void **state)
{
    (void)state;
    check_text("count-sum", "examples", "", 2,
               "Here are two worked examples.\n\n"
               "Please perform the following sum: 1 + 1 + 1 + 1 + 1 + 1 + 1.\n"
               "Divide the sum into groups of 5: (1 + 1 + 1 + 1 + 1) + (1 + 1). The groups give 5 + 2 = 7 in all.\n"
               "The final answer to your maths question is: 7\n\n"
               "Please perform the following sum: 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1.\n"
               "Divide the sum into groups of 5: (1 + 1 + 1 + 1 + 1) + (1 + 1 + 1 + 1 + 1) + (1 + 1 + 1). "
               "The groups give 5 + 5 + 3 = 13 in all.\n"
               "The final answer to your maths question is: 13\n\n"
               "Now answer this question.\n\n"
               "Please perform the following sum: 1 + 1. " COUNT_FORM, 2);
    int64_t expected;
    char *text = show("count-bernoulli", "examples", "", 9, 3, 1, &expected);
    assert_non_null(strstr(text, "sequence: 1101110.\nDivide the sequence into groups of 5: 11011 | 10. "
                                 "The groups give 4 + 1 = 5 ones.\nThe final answer to your maths question is: 5\n"));
    snellen_free(text);
}

/* The sequence in a prompt without examples: behind ": ", or ": '", or at the end. */
static char *sequence_in(const char *text)
{
    const char *start = strstr(text, "equence: "), *variant_b = strstr(text, "sequence? ");
    start = start ? start + 9 : variant_b && variant_b[10] >= '0' && variant_b[10] <= '9' ? variant_b + 10 : NULL;
    if (!start) start = strstr(text, ": '") ? strstr(text, ": '") + 3 : strstr(text, ": ") + 2;
    return strndup(start, strcspn(start, ".'*"));
}

/* Items in the text of a sequence, and how many of them are equal to the last one. */
static int64_t count_items(const char *sequence, bool digits, const char *item, int64_t *equal)
{
    int64_t n = 0;
    *equal = 0;
    for (const char *p = sequence; *p;) {
        size_t length = digits ? 1 : strcspn(p, " ,+");
        if (strchr(" ,+", *p)) {
            p++;
            continue;
        }
        n++;
        *equal += strlen(item) == length && !strncmp(p, item, length);
        p += length;
    }
    return n;
}

static void check_copy(const char *name, const char *text, const char *sequence, int64_t length, int64_t expected)
{
    char digits[256];
    int64_t n = 0;
    for (const char *p = sequence; *p; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    assert_int_equal(n, length);
    bool first = strstr(text, "first digit");
    assert_int_equal(digits[first ? 0 : n - 1], '0' + expected);
    if (strstr(name, "alternating")) return;
    for (int64_t i = first; i < n - !first; i++) assert_true(digits[i] != '0' + expected);
}

static void check_count(const char *name, const char *text, const char *sequence, int64_t length, int64_t expected)
{
    char item[32] = "1";
    if (strstr(name, "car")) {
        const char *quoted = strchr(text, '\'') + 1;
        snprintf(item, sizeof item, "%.*s", (int)strcspn(quoted, "'"), quoted);
    } else if (strstr(name, "ones")) {
        snprintf(item, sizeof item, "%c", sequence[0]);
        static const char *const names[] = {"zeros", "ones",  "twos",   "threes", "fours",
                                            "fives", "sixes", "sevens", "eights", "nines"};
        assert_non_null(strstr(text, names[sequence[0] - '0']));
    }
    int64_t equal, n = count_items(sequence, !strstr(name, "car"), item, &equal);
    assert_int_equal(n, length);
    assert_int_equal(equal, expected);
    if (!strstr(name, "bernoulli")) assert_int_equal(expected, length);
}

/* Every comma stands behind k items or a multiple of it, none at the end, none is missing. */
static void check_commas(const char *sequence, bool words, int64_t length, int64_t k)
{
    int64_t items = 0, commas = 0;
    for (const char *p = sequence; *p; p++) {
        if (*p == ',') {
            assert_int_equal(items, ++commas * k);
            assert_true(items < length);
        } else if (words ? *p != ' ' && (p == sequence || p[-1] == ' ') : *p >= '0' && *p <= '9') {
            items++;
        }
    }
    assert_int_equal(items, length);
    assert_int_equal(commas, (length - 1) / k);
}

static void test_answers_follow_from_the_text(void **state)
{
    (void)state;
    snellen_task_info info;
    static const int64_t lengths[] = {1, 2, 3, 7, 12, 100};
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++)
        for (uint32_t prompt = 0; prompt < 24; prompt++)
            for (size_t i = 0; i < COUNT_OF(lengths); i++)
                for (int commas = 0; commas < 2; commas++) {
                    int64_t expected;
                    char *text = show(info.name, "plain", commas ? "commas" : "", lengths[i], prompt, 5, &expected);
                    char *sequence = sequence_in(text);
                    if (strstr(info.name, "copy"))
                        check_copy(info.name, text, sequence, lengths[i], expected);
                    else
                        check_count(info.name, text, sequence, lengths[i], expected);
                    if (commas) check_commas(sequence, strstr(info.name, "car"), lengths[i], 3);
                    free(sequence);
                    snellen_free(text);
                }
}

static void test_prompts_differ_and_seeds_decide(void **state)
{
    (void)state;
    snellen_task_info info;
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++) {
        uint32_t n = info.n_prompts < 100 ? info.n_prompts : 100;
        int64_t expected;
        char *texts[100];
        for (uint32_t p = 0; p < n; p++) texts[p] = show(info.name, "plain", "", 60, p, 3, &expected);
        for (uint32_t p = 0; p < n; p++)
            for (uint32_t q = 0; q < p; q++) assert_string_not_equal(texts[p], texts[q]);
        bool other_seed_differs = false;
        for (uint32_t p = 0; p < n; p++) {
            char *again = show(info.name, "plain", "", 60, p, 3, &expected);
            char *other = show(info.name, "plain", "", 60, p, 4, &expected);
            assert_string_equal(texts[p], again);
            other_seed_differs |= strcmp(texts[p], other) != 0;
            snellen_free(again);
            snellen_free(other);
            snellen_free(texts[p]);
        }
        assert_true(other_seed_differs);
    }
}

/* All lengths of a prompt share their sequence as far as it goes. */
static void test_bits_of_a_prompt_grow(void **state)
{
    (void)state;
    int64_t short_count, long_count, ones = 0, n = 0;
    char *shorter = show("count-bernoulli", "plain", "", 50, 2, 1, &short_count);
    char *longer = show("count-bernoulli", "plain", "", 195, 2, 1, &long_count);
    char *a = sequence_in(shorter), *b = sequence_in(longer);
    assert_int_equal(strncmp(a, b, 50), 0);
    assert_true(short_count <= long_count);
    for (uint32_t p = 0; p < 50; p++) {
        char *text = show("count-bernoulli", "plain", "", 195, p, 1, &long_count);
        ones += long_count;
        n += 195;
        snellen_free(text);
    }
    /* 9750 draws: the standard error of their mean is 0.0046. */
    assert_true(fabs((double)ones / (double)n - 0.7) < 0.02);
    free(a);
    free(b);
    snellen_free(shorter);
    snellen_free(longer);
}

static void test_wrong_names_and_ranges(void **state)
{
    (void)state;
    snellen_task_options o = snellen_task_options_default(NULL);
    char *text;
    int64_t expected;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy", &o, 5, 0, &text, &expected, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy-last", &o, 0, 0, &text, &expected, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy-last", &o, TASK_MAX_LENGTH + 1, 0, &text, &expected, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy-last", &o, 5, 90, &text, &expected, err));
    static const char *const cures[] = {"comma", "commas:", "commas:0", "commas:x", "commas:3x", "commas:-1",
                                        "hint commas"};
    for (size_t i = 0; i < COUNT_OF(cures); i++) {
        o.cure = cures[i];
        MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy-last", &o, 5, 0, &text, &expected, err));
    }
    o.cure = "hint";
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("count-sum", &o, 5, 0, &text, &expected, err));
    o.cure = "";
    o.style = "step";
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_show("copy-last", &o, 5, 0, &text, &expected, err));
}

static void test_every_cure_and_style_that_is_listed_works(void **state)
{
    (void)state;
    snellen_task_info info;
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++) {
        const char *const lists[] = {info.cures, info.styles};
        for (int which = 0; which < 2; which++) {
            char copy[128], *rest = copy, *word;
            int64_t expected;
            snprintf(copy, sizeof copy, "%s", lists[which]);
            char *plain = show(info.name, "plain", "", 40, 0, 1, &expected);
            while ((word = strsep(&rest, " "))) {
                char *text = show(info.name, which ? word : "plain", which ? "" : word, 40, 0, 1, &expected);
                assert_int_equal(!strcmp(text, plain), !strcmp(word, "plain"));
                snellen_free(text);
            }
            snellen_free(plain);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_of_the_paper),
        cmocka_unit_test(test_cures),
        cmocka_unit_test(test_worked_examples),
        cmocka_unit_test(test_answers_follow_from_the_text),
        cmocka_unit_test(test_prompts_differ_and_seeds_decide),
        cmocka_unit_test(test_bits_of_a_prompt_grow),
        cmocka_unit_test(test_wrong_names_and_ranges),
        cmocka_unit_test(test_every_cure_and_style_that_is_listed_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
