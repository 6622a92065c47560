/* The findings in plain words, a line each. Every sentence is computed from the numbers; one that has none is not said,
 * and a thing that fails from the start, never, or not in order is told as that. */
#include "study/checkup.h"

#include <math.h>
#include <string.h>

void checkup_put_count(struct strbuf *b, int64_t n)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    for (int i = 0; i < length; i++) {
        bool comma = i && digits[i - 1] != '-' && (length - i) % 3 == 0;
        strbuf_printf(b, "%s%c", comma ? "," : "", digits[i]);
    }
}

void checkup_put_reach(struct strbuf *b, const struct reach *reach)
{
    if (!reach->any) {
        strbuf_puts(b, "unknown");
        return;
    }
    if (reach->fails_at < 0) {
        strbuf_puts(b, "up to ");
        checkup_put_count(b, reach->up_to);
        strbuf_puts(b, ", the longest tried");
        return;
    }
    if (reach->up_to == 0) {
        strbuf_puts(b, "not even at ");
        checkup_put_count(b, reach->fails_at);
    } else {
        strbuf_puts(b, "up to ");
        checkup_put_count(b, reach->up_to);
    }
    if (reach->again) strbuf_puts(b, " (and again at some longer ones)");
}

/* 0.0312 -> "0.031", 1234.5 -> "1234": two or three digits that mean something. */
static void put_number(struct strbuf *b, double x)
{
    double size = fabs(x);
    strbuf_printf(b, "%.*f", size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.995 ? 2 : size >= 0.0995 ? 2 : 3, x);
}

/* ---- collapse -------------------------------------------------------------------------------------------------------------- */

static void put_precisions(struct strbuf *b, const struct checkup *c)
{
    unsigned said = 0;
    for (int p = 0; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        if (!f.known) continue;
        strbuf_puts(b, said++ ? "; " : "Tells n from n+1 ones ");
        checkup_put_reach(b, &f.tells);
        strbuf_printf(b, " in %s", checkup_precision_name((snellen_precision)p));
    }
    if (said) strbuf_puts(b, ".\n");
}

static void put_bits(struct strbuf *b, const struct checkup *c)
{
    struct strbuf equal = {0};
    unsigned known = 0;
    for (int p = 0; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        known += f.known;
        if (!f.known || f.bits.fails_at < 0) continue;
        strbuf_printf(&equal, "%s%s from ", equal.n ? ", " : "", checkup_precision_name((snellen_precision)p));
        checkup_put_count(&equal, f.bits.fails_at);
        if (f.bits.again) strbuf_puts(&equal, " (not at every longer one)");
    }
    if (known && equal.n)
        strbuf_printf(b, "The two vectors become equal bit for bit: %s.\n", equal.text);
    else if (known)
        strbuf_puts(b, "Bit for bit the two vectors never become equal at the lengths tried.\n");
    strbuf_free(&equal);
}

static void put_noise(struct strbuf *b, const struct checkup *c)
{
    for (int p = SNELLEN_BF16; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        if (!f.known || !f.has_noise) continue;
        const char *name = checkup_precision_name((snellen_precision)p);
        if (f.noise.fails_at < 0) {
            strbuf_printf(b, "One more 1 moves the vector further than rounding to %s does, at every length tried.\n", name);
            continue;
        }
        strbuf_printf(b, "One more 1 moves the vector further than rounding to %s does ", name);
        checkup_put_reach(b, &f.noise);
        strbuf_puts(b, "; from there on the difference drowns in the format's own error.\n");
    }
}

/* A sequence beside the plain one it cures, at the longest length that both have. */
static void put_collapse_cure(struct strbuf *b, const struct checkup *c, const char *cure, const char *plain,
                              const char *words)
{
    const struct checkup_collapse *with = checkup_find_collapse(&c->plan, cure, SNELLEN_F32);
    const struct checkup_collapse *without = checkup_find_collapse(&c->plan, plain, SNELLEN_F32);
    if (!with || !without) return;
    size_t last = MIN(with->n_lengths, without->n_lengths) - 1;
    double a, v, low, high;
    checkup_collapse_at(with, c->info->n_layers + 1, last, &a, &low, &high);
    checkup_collapse_at(without, c->info->n_layers + 1, last, &v, &low, &high);
    struct collapse_finding f = checkup_judge_collapse(&c->plan, cure, SNELLEN_F32, c->info);
    struct collapse_finding plain_f = checkup_judge_collapse(&c->plan, plain, SNELLEN_F32, c->info);
    strbuf_printf(b, "%s: at ", words);
    checkup_put_count(b, with->lengths[last]);
    strbuf_puts(b, " digits one more moves the vector by ");
    put_number(b, a);
    strbuf_puts(b, " instead of ");
    put_number(b, v);
    if (v > 0 && a > 0) {
        strbuf_puts(b, a >= v ? ", " : ", which is worse: ");
        put_number(b, a / v);
        strbuf_puts(b, " times");
    }
    strbuf_puts(b, "; it tells n from n+1 ");
    checkup_put_reach(b, &f.tells);
    if (plain_f.tells.fails_at >= 0) {
        strbuf_puts(b, " (without: ");
        checkup_put_reach(b, &plain_f.tells);
        strbuf_puts(b, ")");
    }
    strbuf_puts(b, ".\n");
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------------- */

static void put_task(struct strbuf *b, const struct checkup *c, const char *task, const char *what, const char *unit)
{
    struct task_finding f = checkup_judge_task(checkup_find_task(&c->plan, task, "plain", ""));
    if (!f.known) return;
    strbuf_puts(b, what);
    if (f.sees.up_to == 0 && !f.sees.again) {
        strbuf_printf(b, ": fails from the start (%lld %s", (long long)f.sees.fails_at, unit);
        if (f.sees.longest > f.sees.fails_at) strbuf_puts(b, " and all longer ones");
        strbuf_puts(b, ")");
    } else if (f.sees.fails_at < 0) {
        strbuf_puts(b, ": right up to ");
        checkup_put_count(b, f.sees.up_to);
        strbuf_printf(b, " %s, the longest tried", unit);
    } else {
        strbuf_puts(b, ": right ");
        checkup_put_reach(b, &f.sees);
        strbuf_printf(b, " %s", unit);
        if (f.blind_at >= 0) {
            strbuf_puts(b, "; blind from ");
            checkup_put_count(b, f.blind_at);
            strbuf_puts(b, " on");
        }
    }
    if (f.n_generated)
        strbuf_printf(b, "; %u of %u written answers are right", (unsigned)f.n_right, (unsigned)f.n_generated);
    /* A favourite is one that is named much more often than anything should be. */
    if (f.favourite_count >= 3 && f.favourite_count * 3 >= f.n_parsed && !strncmp(task, "count", 5)) {
        strbuf_puts(b, ", ");
        checkup_put_count(b, f.favourite);
        strbuf_printf(b, " is named %u times", (unsigned)f.favourite_count);
    }
    strbuf_puts(b, ".\n");
}

static void put_cure(struct strbuf *b, const struct checkup *c, const char *task, const char *style, const char *cure,
                     const char *what)
{
    const struct checkup_task *with = checkup_find_task(&c->plan, task, style, cure);
    struct cure_finding f = checkup_judge_cure(with, checkup_find_task(&c->plan, task, "plain", ""));
    if (!f.known) return;
    bool clear = f.low > 0 || f.high < 0;
    strbuf_printf(b, "%s %s: ", what, !clear ? "makes no clear difference" : f.gain > 0 ? "helps" : "hurts");
    strbuf_puts(b, f.gain >= 0 ? "margin +" : "margin -");
    put_number(b, fabs(f.gain));
    strbuf_puts(b, " (95 % interval ");
    put_number(b, f.low);
    strbuf_puts(b, " .. ");
    put_number(b, f.high);
    strbuf_printf(b, "), right margins %u instead of %u of %u.\n", (unsigned)f.right_with, (unsigned)f.right_without,
                  (unsigned)f.n);
}

void checkup_summary(const struct checkup *c, bool complete, struct strbuf *b)
{
    if (!complete) strbuf_puts(b, "INCOMPLETE: the exam was stopped; what follows is of the parts that were finished.\n");
    put_precisions(b, c);
    put_bits(b, c);
    put_noise(b, c);
    put_collapse_cure(b, c, "commas", "copy", "A comma every 3 digits");
    put_collapse_cure(b, c, "alternate", "ones", "Alternating digits");
    put_task(b, c, "copy-last", "Copying, last digit", "digits");
    put_task(b, c, "copy-first", "Copying, first digit", "digits");
    put_cure(b, c, "copy-last", "plain", "hint", "  last digit, the hint");
    put_cure(b, c, "copy-last", "plain", "commas", "  last digit, a comma every 3 digits");
    put_cure(b, c, "copy-last", "plain", "alternate", "  last digit, alternating digits");
    put_cure(b, c, "copy-first", "plain", "hint", "  first digit, the hint");
    put_cure(b, c, "copy-first", "plain", "commas", "  first digit, a comma every 3 digits");
    put_cure(b, c, "copy-first", "plain", "alternate", "  first digit, alternating digits");
    put_task(b, c, "count-sum", "Counting, a sum of ones", "summands");
    put_task(b, c, "count-ones", "Counting ones", "ones");
    put_task(b, c, "count-bernoulli", "Counting ones among random bits", "bits");
    put_task(b, c, "count-car", "Counting a word", "words");
    put_cure(b, c, "count-ones", "plain", "commas", "  ones, a comma every 3 digits");
    put_cure(b, c, "count-sum", "examples", "", "  sum, two worked examples");
    put_cure(b, c, "count-sum", "step", "", "  sum, step by step");
}
