/* The counting tasks: how many items a sequence has (arXiv 2406.04267, section 4 and its appendix). The texts of prompt
 * 0, plain and step by step, are the paper's, word by word. Ours are
 *   - the further prompts: other wordings of the sum, other digits and wordings for ones, other words for 'car', other
 *     draws for the random bits. All lengths of one prompt share their draws, so that a longer sequence begins with the
 *     shorter one;
 *   - the two worked examples, of which the paper says that they divide the sum into groups of 5, not their words. */
#include "tasks/tasks.h"

#define FRAME "The final answer to your maths question is: "

enum { DIGITS = 10, ONES_WORDINGS = 3, GROUP = 5, EXAMPLE_ITEMS = 13 };
static const int64_t example_lengths[] = {7, EXAMPLE_ITEMS};
static const double p_one = 0.7;

struct count_kind {
    /* Puts the question up to the sequence. */
    void (*open)(struct strbuf *text, uint32_t variant);
    /* The item of a variant; a bit sequence has "1" and now and then "0". */
    const char *(*item)(uint32_t variant);
    void (*what)(struct strbuf *text, uint32_t variant);  /* what is counted: "ones", "times 'car'" */
    const char *separator, *close, *noun;                 /* between items; after the last; "sum", "sequence" .. */
    const char *group_open, *group_close, *group_separator;
    bool random;
};

/* ---- the four kinds ---------------------------------------------------------------------------------------------- */

static const char *const sum_verbs[] = {"perform", "compute", "calculate", "work out", "evaluate", "find", "solve"};
static const char *const sum_objects[] = {"the following sum", "this sum", "the following addition", "this addition"};

static void sum_open(struct strbuf *text, uint32_t v)
{
    strbuf_printf(text, "Please %s %s: ", sum_verbs[v % COUNT_OF(sum_verbs)], sum_objects[v / COUNT_OF(sum_verbs)]);
}

static const char *sum_item(uint32_t v)
{
    (void)v;
    return "1";
}

static void sum_what(struct strbuf *text, uint32_t v)
{
    (void)v;
    strbuf_puts(text, "in all");
}

static const char *const digit_items[DIGITS] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "0"};
static const char *const digit_names[DIGITS] = {"ones",  "twos",   "threes", "fours", "fives",
                                                "sixes", "sevens", "eights", "nines", "zeros"};

static void ones_open(struct strbuf *text, uint32_t v)
{
    const char *name = digit_names[v % DIGITS];
    switch (v / DIGITS) {
    case 0: strbuf_printf(text, "Please count the number of %s in the following sequence: ", name); break;
    case 1: strbuf_printf(text, "Please count the %s in the following sequence: ", name); break;
    default: strbuf_printf(text, "Please count how many %s there are in the following sequence: ", name); break;
    }
}

static const char *ones_item(uint32_t v)
{
    return digit_items[v % DIGITS];
}

static void ones_what(struct strbuf *text, uint32_t v)
{
    strbuf_puts(text, digit_names[v % DIGITS]);
}

/* Random bits always count ones: the draws are what varies. */
static void bits_open(struct strbuf *text, uint32_t v)
{
    (void)v;
    ones_open(text, 0);
}

static const char *bits_item(uint32_t v)
{
    (void)v;
    return ones_item(0);
}

static void bits_what(struct strbuf *text, uint32_t v)
{
    (void)v;
    ones_what(text, 0);
}

static const char *const words[] = {"car",   "dog",   "tree",  "book",  "house", "apple", "water", "river",
                                    "table", "chair", "horse", "bird",  "stone", "paper", "glass", "bread",
                                    "milk",  "door",  "road",  "ship",  "train", "hand",  "moon",  "sun",
                                    "star",  "fish",  "king",  "rain",  "snow",  "wind",  "fire",  "song"};

static void car_open(struct strbuf *text, uint32_t v)
{
    strbuf_printf(text, "Please count the number of times '%s' appears in the following sentence: '", words[v]);
}

static const char *car_item(uint32_t v)
{
    return words[v];
}

static void car_what(struct strbuf *text, uint32_t v)
{
    strbuf_printf(text, "times '%s'", words[v]);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The sequence of one prompt: its items' text and, for random bits, which of them are ones. */
struct sequence {
    const struct count_kind *kind;
    const char *item;
    struct rng rng;
    const char *bits;   /* fixed bits of a worked example; NULL = drawn */
};

/* Puts the next item; true if it counts. */
static bool put_item(struct strbuf *text, struct sequence *s, int64_t i)
{
    bool one = true;
    if (s->kind->random) one = s->bits ? s->bits[i] == '1' : rng_uniform(&s->rng) < p_one;
    strbuf_puts(text, one ? s->item : "0");
    return one;
}

/* The question up to the end of its first sentence; returns the number of items that count. */
static int64_t put_question(struct strbuf *text, struct sequence *s, const struct task_form *form, int64_t length,
                            uint32_t variant)
{
    int64_t count = 0;
    s->kind->open(text, variant);
    for (int64_t i = 0; i < length; i++) {
        if (task_comma_due(form, i)) strbuf_puts(text, ",");
        if (i) strbuf_puts(text, s->kind->separator);
        if (form->fives && i % GROUP == 0) strbuf_puts(text, "(");
        count += put_item(text, s, i);
        if (form->fives && (i % GROUP == GROUP - 1 || i + 1 == length)) strbuf_puts(text, ")");
    }
    strbuf_puts(text, s->kind->close);
    return count;
}

/* "(1 + 1 + 1 + 1 + 1) + (1 + 1)", and "5 + 2" into sums. */
static void put_groups(struct strbuf *text, struct strbuf *sums, struct sequence *s, int64_t length)
{
    const struct count_kind *kind = s->kind;
    for (int64_t i = 0; i < length;) {
        int64_t end = MIN(i + GROUP, length), count = 0;
        strbuf_printf(text, "%s%s", i ? kind->group_separator : "", kind->group_open);
        strbuf_puts(sums, i ? " + " : "");
        for (int64_t j = i; j < end; j++) {
            if (j > i) strbuf_puts(text, kind->separator);
            count += put_item(text, s, j);
        }
        strbuf_puts(text, kind->group_close);
        strbuf_printf(sums, "%lld", (long long)count);
        i = end;
    }
}

static void put_examples(struct strbuf *text, const struct count_kind *kind, const struct task_form *form,
                         uint32_t variant)
{
    static const char bits[EXAMPLE_ITEMS + 1] = "1101110011011";
    struct sequence s = {.kind = kind, .item = kind->item(variant), .bits = bits};
    strbuf_puts(text, "Here are two worked examples.\n\n");
    for (size_t e = 0; e < COUNT_OF(example_lengths); e++) {
        struct strbuf sums = {0};
        int64_t count = put_question(text, &s, form, example_lengths[e], variant);
        strbuf_printf(text, "\nDivide the %s into groups of %d: ", kind->noun, GROUP);
        put_groups(text, &sums, &s, example_lengths[e]);
        strbuf_printf(text, ". The groups give %s = %lld ", sums.text ? sums.text : "", (long long)count);
        kind->what(text, variant);
        strbuf_printf(text, ".\n" FRAME "%lld\n\n", (long long)count);
        text->failed |= sums.failed;
        strbuf_free(&sums);
    }
    strbuf_puts(text, "Now answer this question.\n\n");
}

static int64_t count_write(const struct task *task, const struct task_form *form, struct strbuf *text)
{
    const struct count_kind *kind = task->kind;
    uint32_t variant = kind->random ? 0 : task_variant(form->seed, form->prompt, task->info.n_prompts);
    struct sequence s = {.kind = kind, .item = kind->item(variant)};
    rng_seed(&s.rng, form->seed, form->prompt);
    if (form->style == TASK_EXAMPLES) put_examples(text, kind, form, variant);
    int64_t count = put_question(text, &s, form, form->length, variant);
    if (form->style == TASK_STEP) strbuf_puts(text, " Let's think step by step, showing me your reasoning.");
    strbuf_puts(text, " Please give the answer on the final line exactly as '" FRAME
                      "xxxx', where 'xxxx' is your answer.");
    return count;
}

static int64_t count_max_answer(int64_t length)
{
    return MAX(200, 2 * length);
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static const struct count_kind sum = {.open = sum_open, .item = sum_item, .what = sum_what, .separator = " + ",
                                      .close = ".", .noun = "sum", .group_open = "(", .group_close = ")",
                                      .group_separator = " + "};
static const struct count_kind ones = {.open = ones_open, .item = ones_item, .what = ones_what, .separator = "",
                                       .close = ".", .noun = "sequence", .group_open = "", .group_close = "",
                                       .group_separator = " | "};
static const struct count_kind bits = {.open = bits_open, .item = bits_item, .what = bits_what, .separator = "",
                                       .close = ".", .noun = "sequence", .group_open = "", .group_close = "",
                                       .group_separator = " | ", .random = true};
static const struct count_kind car = {.open = car_open, .item = car_item, .what = car_what, .separator = " ",
                                      .close = "'.", .noun = "sentence", .group_open = "", .group_close = "",
                                      .group_separator = " | "};

/* 5..195 by 10. */
static const int64_t lengths[] = {5,   15,  25,  35,  45,  55,  65,  75,  85,  95,
                                  105, 115, 125, 135, 145, 155, 165, 175, 185, 195};

#define COUNT_TASK(name_, summary_, n_prompts_, kind_)                                                                 \
    {                                                                                                                  \
        .info = {.name = name_, .summary = summary_, .source = "arXiv 2406.04267, counting", .cures = "commas fives",  \
                 .styles = "plain step examples", .frame = FRAME, .lengths = lengths, .n_lengths = COUNT_OF(lengths),  \
                 .n_prompts = n_prompts_},                                                                             \
        .kind = kind_, .write = count_write, .max_answer = count_max_answer, .closed = true                            \
    }

static const struct task tasks[] = {
    COUNT_TASK("count-sum", "sum of ones: 1 + 1 + .. + 1", COUNT_OF(sum_verbs) * COUNT_OF(sum_objects), &sum),
    COUNT_TASK("count-ones", "number of ones in a sequence of ones", DIGITS * ONES_WORDINGS, &ones),
    COUNT_TASK("count-bernoulli", "number of ones in random bits, 70 % of them ones", UINT32_MAX, &bits),
    COUNT_TASK("count-car", "how often the word car is repeated", COUNT_OF(words), &car),
};

const struct task_family count_family = {tasks, COUNT_OF(tasks)};
