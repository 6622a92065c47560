/* The copying tasks: the last or the first digit of a sequence in which all others are equal (arXiv 2406.04267, section
 * 3 and its appendix). The texts are the paper's, word by word; a sequence stands in them as digits without spaces.
 *
 * Prompt 0 asks with the paper's digits: 1 repeated, 0 asked for. Further prompts (ours) draw other pairs of digits,
 * none twice: there are 90. The answer is always the odd digit; with `alternate` the two digits take turns so that the
 * odd one stands where it is asked for, with `reverse` the sequence is turned round and its other end asked for. */
#include "tasks/tasks.h"

#define FRAME "The answer to your question is: "
#define EXACTLY "Please answer exactly as '" FRAME "<ANSWER>'"

enum { DIGITS = 10, PAIRS = DIGITS * (DIGITS - 1), NAMED = 5, LETTERS = 26 };

struct copy_kind {
    const char *before, *after;  /* the prompt around the sequence */
    bool first;                  /* the first digit is asked for, not the last */
    const struct copy_kind *turned;  /* the same of the sequence turned round */
    bool alternating;            /* without a cure already */
};

/* Pair number v: 0 is (1, 0), the paper's; the others follow in the order of their digits. */
static void pair_of(uint32_t v, int *repeated, int *odd)
{
    enum { PAPER = 1 * DIGITS + 0 };
    *repeated = 1;
    *odd = 0;
    for (int code = 0; v && code < DIGITS * DIGITS; code++) {
        if (code / DIGITS == code % DIGITS || code == PAPER) continue;
        *repeated = code / DIGITS;
        *odd = code % DIGITS;
        v--;
    }
}

/* The name of a group: A .. Z, AA, AB .. */
static void put_name(struct strbuf *text, int64_t group)
{
    char name[16];
    size_t n = sizeof name;
    for (int64_t left = group + 1; left > 0; left = (left - 1) / LETTERS) name[--n] = (char)('A' + (left - 1) % LETTERS);
    strbuf_printf(text, "%s%.*s:", group ? " " : "", (int)(sizeof name - n), name + n);
}

static int64_t copy_write(const struct task *task, const struct task_form *form, struct strbuf *text)
{
    const struct copy_kind *asked = task->kind, *kind = form->reverse ? asked->turned : asked;
    int repeated, odd;
    pair_of(task_variant(form->seed, form->prompt, PAIRS), &repeated, &odd);
    strbuf_puts(text, kind->before);
    for (int64_t i = 0; i < form->length; i++) {
        if (task_comma_due(form, i)) strbuf_puts(text, ",");
        if (form->anchors && i % NAMED == 0) put_name(text, i / NAMED);
        int64_t from_asked = kind->first ? i : form->length - 1 - i;
        bool alternate = kind->alternating || form->alternate;
        bool is_odd = alternate ? from_asked % 2 == 0 : from_asked == 0;
        char digit = (char)('0' + (is_odd ? odd : repeated));
        strbuf_put(text, &digit, 1);
    }
    strbuf_puts(text, kind->after);
    if (form->hint)
        strbuf_printf(text, " *Hint* It's not necessarily a%s %d, check carefully", repeated == 8 ? "n" : "", repeated);
    return odd;
}

static int64_t copy_max_answer(int64_t length)
{
    (void)length;
    return DIGITS - 1;
}

#define LAST_BEFORE "Consider the following sequence: "
#define LAST_AFTER ". What is the last digit in this sequence? " EXACTLY

#define FIRST_AFTER ". What is the first digit in this sequence? " EXACTLY
#define END_A(which) "What is the " which " digit of the following sequence? " EXACTLY " . Here is the sequence: "
#define END_B(which) EXACTLY ". What is the " which " digit of the following sequence? "

static const struct copy_kind last, first, alternating, alternating_first, end_a, end_a_first, end_b, end_b_first;
static const struct copy_kind last = {LAST_BEFORE, LAST_AFTER, .turned = &first};
static const struct copy_kind first = {LAST_BEFORE, FIRST_AFTER, .first = true, .turned = &last};
static const struct copy_kind alternating = {LAST_BEFORE, LAST_AFTER, .alternating = true, .turned = &alternating_first};
static const struct copy_kind alternating_first = {LAST_BEFORE, FIRST_AFTER, .first = true, .alternating = true,
                                                   .turned = &alternating};
static const struct copy_kind end_a = {END_A("last"), "", .turned = &end_a_first};
static const struct copy_kind end_a_first = {END_A("first"), "", .first = true, .turned = &end_a};
static const struct copy_kind end_b = {END_B("last"), "", .turned = &end_b_first};
static const struct copy_kind end_b_first = {END_B("first"), "", .first = true, .turned = &end_b};

/* 100..500 by 50 and 100..1500 by 100. */
static const int64_t lengths[] = {100, 150, 200, 250, 300, 350, 400,  450,  500, 600,
                                  700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500};

#define COPY_TASK(name_, summary_, cures_, kind_)                                                                      \
    {                                                                                                                  \
        .info = {.name = name_, .summary = summary_, .source = "arXiv 2406.04267, copying", .cures = cures_,           \
                 .styles = "plain", .frame = FRAME, .lengths = lengths, .n_lengths = COUNT_OF(lengths),                \
                 .n_prompts = PAIRS},                                                                                  \
        .kind = kind_, .write = copy_write, .max_answer = copy_max_answer, .closed = false                             \
    }

static const struct task tasks[] = {
    COPY_TASK("copy-last", "last digit of ones that end in a 0", "hint commas alternate anchors reverse", &last),
    COPY_TASK("copy-first", "first digit of a 0 that ones follow", "hint commas alternate anchors reverse", &first),
    COPY_TASK("copy-alternating", "last digit of alternating 0s and 1s that end in 0", "hint commas anchors reverse", &alternating),
    COPY_TASK("copy-last-end-a", "as copy-last, the sequence at the prompt's end", "hint commas alternate anchors reverse", &end_a),
    COPY_TASK("copy-last-end-b", "as copy-last, the sequence at the prompt's end, the answer's form first",
              "hint commas alternate anchors reverse", &end_b),
};

const struct task_family copy_family = {tasks, COUNT_OF(tasks)};
