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

/* Ends a line: everything in the text since the last one. */
static void end_line(struct checkup_words *w, enum report_level level, const char *figure)
{
    size_t start = 0;
    if (w->n_lines) start = w->lines[w->n_lines - 1].start + w->lines[w->n_lines - 1].length + 1;
    strbuf_puts(&w->text, "\n");
    if (w->n_lines == CHECKUP_MAX_LINES || w->text.failed) return;
    w->lines[w->n_lines++] =
        (struct checkup_line){.start = start, .length = w->text.n - 1 - start, .level = level, .figure = figure};
}

/* ---- collapse -------------------------------------------------------------------------------------------------------------- */

static void put_precisions(struct checkup_words *w, const struct checkup *c)
{
    struct strbuf *b = &w->text;
    unsigned said = 0, blind = 0;
    for (int p = 0; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        if (!f.known) continue;
        strbuf_puts(b, said++ ? "; " : "Tells n from n+1 ones ");
        checkup_put_reach(b, &f.tells);
        const char *how = p == SNELLEN_Q8_0 ? "with a cache in" : "in";
        strbuf_printf(b, " %s %s", how, checkup_precision_name((snellen_precision)p));
        blind += f.tells.fails_at >= 0;
    }
    if (!said) return;
    strbuf_puts(b, ".");
    end_line(w, blind ? REPORT_WARN : REPORT_GOOD, "collapse-ones");
}

/* A model whose values do not fit into a format cannot be read in it at all. */
static void put_overflow(struct checkup_words *w, const struct checkup *c)
{
    for (size_t i = 0; i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        if (!k->overflow) continue;
        const char *place = strrchr(k->overflow, '/');
        strbuf_printf(&w->text, "In %s the model cannot be read: %s.", checkup_precision_name(k->precision),
                      place ? place + 1 : k->overflow);
        end_line(w, REPORT_BAD, NULL);
        return;
    }
}

static void put_bits(struct checkup_words *w, const struct checkup *c)
{
    struct strbuf *b = &w->text;
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
        strbuf_printf(b, "The two vectors become equal bit for bit: %s.", equal.text);
    else if (known)
        strbuf_puts(b, "Bit for bit the two vectors never become equal at the lengths tried.");
    if (known) end_line(w, equal.n ? REPORT_WARN : REPORT_PLAIN, "collapse-ones");
    strbuf_free(&equal);
}

static void put_noise(struct checkup_words *w, const struct checkup *c)
{
    struct strbuf *b = &w->text;
    for (int p = SNELLEN_BF16; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        if (!f.known || !f.has_noise) continue;
        const char *name = checkup_rounding_name((snellen_precision)p);
        if (f.noise.fails_at < 0) {
            strbuf_printf(b, "One more 1 moves the vector further than %s does, at every length tried.", name);
            end_line(w, REPORT_GOOD, "collapse-rounding");
            continue;
        }
        strbuf_printf(b, "One more 1 moves the vector further than %s does ", name);
        checkup_put_reach(b, &f.noise);
        strbuf_puts(b, "; from there on the difference drowns in the format's own error.");
        end_line(w, REPORT_WARN, "collapse-rounding");
    }
}

/* A sequence beside the plain one it cures, at the longest length that both have. */
static void put_collapse_cure(struct checkup_words *w, const struct checkup *c, const char *cure, const char *plain,
                              const char *words, const char *figure)
{
    struct strbuf *b = &w->text;
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
    strbuf_puts(b, ".");
    end_line(w, a > v ? REPORT_GOOD : REPORT_WARN, figure);
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------------- */

static void put_task(struct checkup_words *w, const struct checkup *c, const char *task, const char *what, const char *unit)
{
    struct strbuf *b = &w->text;
    enum report_level level = REPORT_WARN;
    struct task_finding f = checkup_judge_task(checkup_find_task(&c->plan, task, "plain", ""));
    if (!f.known) return;
    strbuf_puts(b, what);
    if (f.sees.up_to == 0 && !f.sees.again) {
        level = REPORT_BAD;
        strbuf_printf(b, ": fails from the start (%lld %s", (long long)f.sees.fails_at, unit);
        if (f.sees.longest > f.sees.fails_at) strbuf_puts(b, " and all longer ones");
        strbuf_puts(b, ")");
    } else if (f.sees.fails_at < 0) {
        level = REPORT_GOOD;
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
    strbuf_puts(b, ".");
    end_line(w, level, task);
}

static void put_gain(struct checkup_words *w, const struct cure_finding *cure, const char *what, const char *figure)
{
    struct strbuf *b = &w->text;
    struct cure_finding f = *cure;
    if (!f.known) return;
    bool clear = f.low > 0 || f.high < 0;
    strbuf_printf(b, "%s %s: ", what, !clear ? "makes no clear difference" : f.gain > 0 ? "helps" : "hurts");
    strbuf_puts(b, f.gain >= 0 ? "margin +" : "margin -");
    put_number(b, fabs(f.gain));
    strbuf_puts(b, " (95 % interval ");
    put_number(b, f.low);
    strbuf_puts(b, " .. ");
    put_number(b, f.high);
    strbuf_printf(b, "), right margins %u instead of %u of %u.", (unsigned)f.right_with, (unsigned)f.right_without,
                  (unsigned)f.n);
    end_line(w, !clear ? REPORT_PLAIN : f.gain > 0 ? REPORT_GOOD : REPORT_WARN, figure);
}

static void put_cure(struct checkup_words *w, const struct checkup *c, const char *task, const char *style,
                     const char *cure, const char *what)
{
    const struct checkup_task *with = checkup_find_task(&c->plan, task, style, cure);
    struct cure_finding f = checkup_judge_cure(with, checkup_find_task(&c->plan, task, "plain", ""));
    put_gain(w, &f, what, task);
}

/* A task read with each cure of the session. */
static void put_readings(struct checkup_words *w, const struct checkup *c, const char *task, const char *what)
{
    const struct session_cure *cure;
    for (size_t i = 0; (cure = session_cure_at(i)); i++) {
        struct strbuf words = {0};
        strbuf_printf(&words, "%s, %s", what, cure->words);
        if (!words.failed) put_cure(w, c, task, "plain", cure->name, words.text);
        w->text.failed |= words.failed;
        strbuf_free(&words);
    }
}

/* ---- retrieval --------------------------------------------------------------------------------------------------------------------- */

static void put_share(struct strbuf *b, const snellen_retrieval_cell *c, const char *unit)
{
    strbuf_printf(b, "%u of %u right at ", c->n_right, c->n);
    checkup_put_count(b, c->length);
    strbuf_puts(b, unit);
}

static void put_retrieval(struct checkup_words *w, const struct checkup *c, const char *task, const char *what, const char *figure)
{
    struct strbuf *b = &w->text;
    struct retrieval_finding f = checkup_judge_retrieval(c->plan.retrieval.result, task);
    if (!f.known) return;
    bool mostly = f.shortest->n_right * 2 > f.shortest->n;
    strbuf_printf(b, "%s: ", what);
    put_share(b, f.shortest, " tokens");
    if (f.longest != f.shortest) strbuf_puts(b, ", ");
    if (f.longest != f.shortest) put_share(b, f.longest, "");
    if (f.guesses) {
        strbuf_puts(b, "; that is no better than guessing one of ten, and has no effective length");
    } else {
        strbuf_puts(b, "; effective length ");
        checkup_put_reach(b, &f.finds);
    }
    if (f.middle < f.ends) {
        strbuf_puts(b, "; margin ");
        put_number(b, f.ends);
        strbuf_puts(b, " at start and end, ");
        put_number(b, f.middle);
        strbuf_puts(b, " between");
    }
    strbuf_puts(b, ".");
    end_line(w, f.guesses ? REPORT_BAD : f.finds.fails_at < 0 && mostly ? REPORT_GOOD : REPORT_WARN, figure);
}

static void put_found(struct checkup_words *w, const struct checkup *c)
{
    const struct checkup_retrieval *r = &c->plan.retrieval;
    struct cure_finding by_name = checkup_judge_by_name(r->result);
    if (r->refused) {
        strbuf_printf(&w->text, "Finding was not asked: %s.", r->refused);
        end_line(w, REPORT_PLAIN, NULL);
    }
    put_retrieval(w, c, "passkey", "Finding a pass key", "retrieval-passkey-right");
    put_retrieval(w, c, "needle", "Finding a fact", "retrieval-needle-right");
    put_retrieval(w, c, "list-index", "Finding the 7th item of a list", "retrieval-list-index-right");
    put_retrieval(w, c, "list-content", "Finding an item of a list by its name", "retrieval-list-content-right");
    put_gain(w, &by_name, "An item by its name instead of its index", "retrieval-index-content");
}

void checkup_summary(const struct checkup *c, bool complete, struct checkup_words *words)
{
    if (!complete) {
        strbuf_puts(&words->text, "INCOMPLETE: the exam was stopped; what follows is of the parts that were finished.");
        end_line(words, REPORT_BAD, NULL);
    }
    put_precisions(words, c);
    put_overflow(words, c);
    put_bits(words, c);
    put_noise(words, c);
    put_collapse_cure(words, c, "commas", "copy", "A comma every 3 digits", "comma-cure");
    put_collapse_cure(words, c, "alternate", "ones", "Alternating digits", "collapse-sequences");
    put_task(words, c, "copy-last", "Copying, last digit", "digits");
    put_task(words, c, "copy-first", "Copying, first digit", "digits");
    put_cure(words, c, "copy-last", "plain", "hint", "Last digit, the hint");
    put_cure(words, c, "copy-last", "plain", "commas", "Last digit, a comma every 3 digits");
    put_cure(words, c, "copy-last", "plain", "alternate", "Last digit, alternating digits");
    put_cure(words, c, "copy-first", "plain", "hint", "First digit, the hint");
    put_cure(words, c, "copy-first", "plain", "commas", "First digit, a comma every 3 digits");
    put_cure(words, c, "copy-first", "plain", "alternate", "First digit, alternating digits");
    put_readings(words, c, "copy-last", "Last digit");
    put_readings(words, c, "copy-first", "First digit");
    put_task(words, c, "count-sum", "Counting, a sum of ones", "summands");
    put_task(words, c, "count-ones", "Counting ones", "ones");
    put_task(words, c, "count-bernoulli", "Counting ones among random bits", "bits");
    put_task(words, c, "count-car", "Counting a word", "words");
    put_cure(words, c, "count-ones", "plain", "commas", "Counting ones, a comma every 3 digits");
    put_cure(words, c, "count-sum", "examples", "", "Sum, two worked examples");
    put_cure(words, c, "count-sum", "step", "", "Sum, step by step");
    put_readings(words, c, "count-ones", "Counting ones");
    put_found(words, c);
}
