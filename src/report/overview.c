/* Cards and rankings as markup. */
#include "report/overview.h"
#include "report/markup.h"

#include <math.h>

const char *level_class(enum report_level level)
{
    static const char *const classes[] = {[REPORT_GOOD] = "good", [REPORT_WARN] = "warn", [REPORT_BAD] = "bad", [REPORT_PLAIN] = "plain"};
    return classes[level];
}

const char *level_mark(enum report_level level)
{
    static const char *const marks[] = {[REPORT_GOOD] = "\xe2\x9c\x93", [REPORT_WARN] = "!", [REPORT_BAD] = "\xe2\x9c\x97",
                                        [REPORT_PLAIN] = "\xe2\x80\xa2"};
    return marks[level];
}

/* ---- cards --------------------------------------------------------------------------------------------------------------- */

static void put_link(struct strbuf *out, const char *id, const char *text)
{
    strbuf_puts(out, "<a href=\"#");
    markup_text(out, id);
    strbuf_puts(out, "\">");
    markup_text(out, text);
    strbuf_puts(out, "</a>");
}

static void put_card(struct strbuf *out, const struct report_card *c)
{
    strbuf_printf(out, "<article class=\"card %s\">\n<h3><b aria-hidden=\"true\">%s</b> ", level_class(c->level),
                  c->ask ? "\xe2\x80\x93" : level_mark(c->level));
    markup_text(out, c->name);
    strbuf_puts(out, "</h3>\n<p class=\"headline\"><span class=\"term\" tabindex=\"0\">");
    markup_text(out, c->headline);
    markup_element(out, "span class=\"tip\" role=\"tooltip\"", c->definition);
    strbuf_puts(out, "</span></p>\n");
    if (c->n_lines) strbuf_puts(out, "<dl>\n");
    for (size_t i = 0; i < c->n_lines; i++) {
        strbuf_puts(out, "<div>");
        markup_element(out, "dt", c->lines[i].name);
        markup_element(out, "dd", c->lines[i].value);
        strbuf_puts(out, "</div>\n");
    }
    if (c->n_lines) strbuf_puts(out, "</dl>\n");
    if (c->cure) {
        strbuf_puts(out, "<p class=\"best\"><b>What helps</b> ");
        markup_text(out, c->cure);
        strbuf_puts(out, "</p>\n");
    }
    if (c->ask) {
        strbuf_puts(out, "<p class=\"best\">To ask it:</p>\n");
        markup_element(out, "code", c->ask);
    }
    if (c->more) {
        strbuf_puts(out, "<p class=\"more\">");
        put_link(out, c->more, c->more_text);
        strbuf_puts(out, "</p>\n");
    }
    strbuf_puts(out, "</article>\n");
}

void overview_cards(struct strbuf *out, const struct report_page *page)
{
    if (!page->n_cards) return;
    strbuf_puts(out, "<section id=\"glance\" aria-labelledby=\"glance-title\">\n<h2 id=\"glance-title\">At a glance</h2>\n"
                     "<div class=\"cards\">\n");
    for (size_t i = 0; i < page->n_cards; i++) put_card(out, &page->cards[i]);
    strbuf_puts(out, "</div>\n<details><summary>What these words mean</summary><dl class=\"meanings\">\n");
    for (size_t i = 0; i < page->n_cards; i++) {
        markup_element(out, "dt", page->cards[i].name);
        markup_element(out, "dd", page->cards[i].definition);
    }
    strbuf_puts(out, "</dl></details>\n</section>\n");
}

/* ---- rankings ------------------------------------------------------------------------------------------------------------ */

/* Ends of an axis for all gains of a ranking, 0 among them. */
static struct report_interval axis_of(const struct report_ranking *r)
{
    struct report_interval axis = {0, 0, 0};
    for (size_t i = 0; i < r->n_cures; i++) {
        const struct report_interval *g = &r->cures[i].gain;
        axis.low = fmin(axis.low, fmin(g->low, g->value));
        axis.high = fmax(axis.high, fmax(g->high, g->value));
    }
    if (!(axis.high > axis.low)) axis.high = axis.low + 1;
    return axis;
}

/* The interval as a bar with its value, and where 0 is. The numbers stand beside it. */
static void put_interval(struct strbuf *out, const struct report_interval *g, const struct report_interval *axis)
{
    enum { WIDTH = 200, EDGE = 6 };
    double scale = (WIDTH - 2 * EDGE) / (axis->high - axis->low);
    double zero = EDGE - axis->low * scale, at = zero + g->value * scale, low = zero + g->low * scale, high = zero + g->high * scale;
    strbuf_printf(out, "<svg class=\"interval\" aria-hidden=\"true\" viewBox=\"0 0 %d 20\"><path class=\"zero\" d=\"M%.1f 1V19\"/>", WIDTH,
                  zero);
    if (isfinite(low) && isfinite(high)) strbuf_printf(out, "<path d=\"M%.1f 10H%.1fM%.1f 6V14M%.1f 6V14\"/>", low, high, low, high);
    strbuf_printf(out, "<circle cx=\"%.1f\" cy=\"10\" r=\"4\"/></svg>\n", at);
}

static void put_cure(struct strbuf *out, const struct report_cure *c, const struct report_interval *axis)
{
    strbuf_printf(out, "<li class=\"%s\">\n<p class=\"name\"><b aria-hidden=\"true\">%s</b> ", level_class(c->level), level_mark(c->level));
    markup_element(out, "strong", c->name);
    strbuf_puts(out, " ");
    markup_element(out, "span class=\"verdict\"", c->verdict);
    strbuf_puts(out, "</p>\n");
    put_interval(out, &c->gain, axis);
    const struct report_fact facts[] = {{"margin", c->margin}, {"right answers", c->right}, {"with it right", c->reach}};
    strbuf_puts(out, "<dl>");
    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        strbuf_puts(out, "<div>");
        markup_element(out, "dt", facts[i].name);
        markup_element(out, "dd", facts[i].value);
        strbuf_puts(out, "</div>");
    }
    strbuf_puts(out, "</dl>\n");
    if (c->prompt) {
        strbuf_puts(out, "<details><summary>The prompt with it</summary>\n");
        if (c->note) markup_element(out, "p", c->note);
        markup_element(out, "pre tabindex=\"0\"", c->prompt);
        strbuf_puts(out, "</details>\n");
    }
    strbuf_puts(out, "</li>\n");
}

void overview_rankings(struct strbuf *out, const struct report_page *page)
{
    if (!page->n_rankings) return;
    strbuf_puts(out, "<section id=\"cures\">\n<h2>What helps</h2>\n");
    if (page->rankings_lead) markup_element(out, "p", page->rankings_lead);
    for (size_t i = 0; i < page->n_rankings; i++) {
        const struct report_ranking *r = &page->rankings[i];
        struct report_interval axis = axis_of(r);
        strbuf_printf(out, "<section id=\"%s\">\n", r->id);
        markup_element(out, "h3", r->heading);
        strbuf_puts(out, r->n_cures ? "<ol class=\"ranking\">\n" : "<p>No cure was tried.</p>\n");
        for (size_t k = 0; k < r->n_cures; k++) put_cure(out, &r->cures[k], &axis);
        strbuf_puts(out, r->n_cures ? "</ol>\n</section>\n" : "</section>\n");
    }
    strbuf_puts(out, "</section>\n");
}
