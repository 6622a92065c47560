/* Findings of senses.c as cards and rankings, in words. */
#include "study/overview.h"

#include <math.h>
#include <string.h>

static const char LEAD[] =
    "All cures that were tried on what fails, the largest gain first: by right answers, then by margin. A gain is what the cure changes "
    "on exactly the questions that were asked both ways, taken as independent of one another. Right answers are margins above 0; their "
    "interval is that of Bonett and Price (2012) for paired shares, the margin's is Student's t of the mean difference, both 95 %. A cure "
    "helps, or hurts, when one of the two intervals leaves 0 out and the other does not lie on the other side. The bars show the margin.";

/* The text of a buffer, moved to the arena; NULL when memory ran out. */
static const char *keep(struct arena *arena, struct strbuf *b)
{
    const char *text = b->failed || !b->text ? NULL : arena_text(arena, b->text, b->n);
    strbuf_free(b);
    return text;
}

/* ---- cards --------------------------------------------------------------------------------------------------------------- */

static enum report_level level_of(const struct reach *r)
{
    return r->fails_at < 0 ? REPORT_GOOD : r->up_to == 0 ? REPORT_BAD : REPORT_WARN;
}

/* "Fails at 100 digits". */
static const char *headline(struct arena *arena, const struct sense_line *l)
{
    struct strbuf b = {0};
    strbuf_puts(&b, l->reach.fails_at < 0 ? "Holds up to " : "Fails at ");
    checkup_put_count(&b, l->reach.fails_at < 0 ? l->reach.up_to : l->reach.fails_at);
    strbuf_printf(&b, " %s", l->unit);
    return keep(arena, &b);
}

static const char *reach_text(struct arena *arena, const struct reach *reach)
{
    struct strbuf b = {0};
    checkup_put_reach(&b, reach);
    return keep(arena, &b);
}

static const char *margin_text(struct arena *arena, const struct cure_finding *g)
{
    if (g->n < 2) return arena_printf(arena, "%+.2f, one question", g->gain);
    return arena_printf(arena, "%+.2f (%.2f .. %.2f)", g->gain, g->low, g->high);
}

static const char *right_text(struct arena *arena, const struct cure_finding *g)
{
    return arena_printf(arena, "%u instead of %u of %u: %+.0f %% (%.0f .. %.0f %%)", g->right_with, g->right_without, g->n,
                        100 * g->share, 100 * g->share_low, 100 * g->share_high);
}

/* The best cure of a sense that fails, with its gain. */
static const char *best_text(struct checkup *c, const struct sense_finding *s)
{
    struct cure_rank best;
    size_t line, n_tried = 0;
    struct cure_rank ranks[SENSES_MAX_CURES];
    for (size_t i = 0; i < s->n_lines; i++)
        if (s->lines[i].task && s->lines[i].reach.fails_at >= 0) n_tried += senses_rank(&c->plan, s->lines[i].task, ranks);
    if (!n_tried) return "no cure was tried.";
    if (!senses_best_cure(c, s, &best, &line)) return "none of the cures that were tried, for certain.";
    const struct cure_finding *g = &best.gain;
    const char *cure = senses_cure_name(best.with), *what = s->lines[line].what;
    if (g->share > 0)
        return arena_printf(&c->arena, "%s (%s): %+.0f %% right answers, 95 %% %.0f .. %.0f.", cure, what, 100 * g->share,
                            100 * g->share_low, 100 * g->share_high);
    return arena_printf(&c->arena, "%s (%s): margin %+.2f, 95 %% %.2f .. %.2f; no more answers are right.", cure, what, g->gain, g->low,
                        g->high);
}

static bool fails(const struct sense_finding *s)
{
    return s->n_lines && s->lines[s->weakest].reach.fails_at >= 0;
}

static bool has_tasks(const struct sense_finding *s)
{
    for (size_t i = 0; i < s->n_lines; i++)
        if (s->lines[i].task) return true;
    return false;
}

static const char *drawn(const char *id, const struct plot_figure *figures, size_t n)
{
    for (size_t i = 0; id && i < n; i++)
        if (!strcmp(figures[i].id, id)) return id;
    return NULL;
}

/* A sense that nothing is known of: no number, but what would ask it. */
static snellen_status unasked_card(struct checkup *c, const struct sense_finding *s, struct report_card *card, snellen_error *err)
{
    struct strbuf b = {0};
    const char *model = strstr(s->ask, "MODEL");
    *card = (struct report_card){.level = REPORT_PLAIN, .name = s->name, .headline = "Not asked", .definition = s->definition};
    strbuf_put(&b, s->ask, model ? (size_t)(model - s->ask) : strlen(s->ask));
    if (model) strbuf_printf(&b, "%s%s", c->options.model_name, model + strlen("MODEL"));
    card->ask = keep(&c->arena, &b);
    FAIL_IF(!card->ask, SNELLEN_E_MEMORY, "overview: memory ran out");
    return SNELLEN_OK;
}

static snellen_status make_card(struct checkup *c, const struct sense_finding *s, const struct plot_figure *figures, size_t n_figures,
                                struct report_card *card, snellen_error *err)
{
    if (!s->n_lines) return unasked_card(c, s, card, err);
    const struct sense_line *weakest = &s->lines[s->weakest];
    struct report_fact *lines = arena_alloc(&c->arena, s->n_lines * sizeof *lines);
    FAIL_IF(!lines, SNELLEN_E_MEMORY, "overview: memory ran out");
    for (size_t i = 0; i < s->n_lines; i++) {
        lines[i] = (struct report_fact){s->lines[i].what, reach_text(&c->arena, &s->lines[i].reach)};
        FAIL_IF(!lines[i].value, SNELLEN_E_MEMORY, "overview: memory ran out");
    }
    *card = (struct report_card){.level = level_of(&weakest->reach), .name = s->name, .headline = headline(&c->arena, weakest),
                                 .definition = s->definition, .lines = lines, .n_lines = s->n_lines};
    if (fails(s) && has_tasks(s)) {
        card->cure = best_text(c, s);
        FAIL_IF(!card->cure, SNELLEN_E_MEMORY, "overview: memory ran out");
        card->more = arena_printf(&c->arena, "cures-%s", weakest->task);
        card->more_text = "All cures";
        FAIL_IF(!card->more, SNELLEN_E_MEMORY, "overview: memory ran out");
    } else if (drawn(weakest->figure, figures, n_figures)) {
        card->more = weakest->figure;
        card->more_text = "Figure";
    }
    FAIL_IF(!card->headline, SNELLEN_E_MEMORY, "overview: memory ran out");
    return SNELLEN_OK;
}

/* ---- rankings ------------------------------------------------------------------------------------------------------------ */

/* What makes such a prompt of one's own. */
static const char *rewriting(const struct checkup_task *t)
{
    static const char *const by[][2] = {
        {"commas", "`snellen rewrite --cure groups` does it to long numbers in a prompt of your own."},
        {"step", "`snellen rewrite --cure steps` appends it to a prompt of your own."},
        {"hint", "It is one sentence at the prompt's end."},
        {"alternate", "It needs another sequence, so it shows where the fault lies more than how to mend it."},
        {"fives", "`snellen rewrite --cure fives` does it to repetitions in a prompt of your own."},
        {"anchors", "`snellen rewrite --cure names` gives the items of a list in your own prompt names."},
        {"reverse", "It asks for the other end, so that what is asked for stands where the model sees it."},
        {"examples", "`snellen rewrite --cure fives` puts the groups of five into a prompt of your own."}};
    const struct session_cure *read = session_cure_find(t->cure);
    if (read) return read->how;
    const char *key = t->cure[0] ? t->cure : t->style;
    if (!strncmp(key, "commas:", 7)) key = "commas";
    for (size_t i = 0; i < COUNT_OF(by); i++)
        if (!strcmp(by[i][0], key)) return by[i][1];
    return "";
}

/* The first prompt of a length with the cure in it. */
static snellen_status put_prompt(struct checkup *c, const struct checkup_task *t, int64_t length, struct report_cure *cure,
                                 snellen_error *err)
{
    snellen_task_options o = snellen_task_options_default(NULL);
    char *text;
    int64_t expected;
    o.style = t->style;
    o.cure = session_cure_find(t->cure) ? "" : t->cure;
    o.seed = c->options.seed;
    TRY(snellen_task_show(t->task, &o, length, 0, &text, &expected, err));
    cure->prompt = arena_text(&c->arena, text, strlen(text));
    snellen_free(text);
    cure->note = arena_printf(&c->arena, "The first prompt of length %lld; the right answer is %lld. %s", (long long)length,
                              (long long)expected, rewriting(t));
    FAIL_IF(!cure->prompt || !cure->note, SNELLEN_E_MEMORY, "overview: memory ran out");
    return SNELLEN_OK;
}

static snellen_status make_cure(struct checkup *c, const struct cure_rank *rank, int64_t length, struct report_cure *cure,
                                snellen_error *err)
{
    const struct cure_finding *g = &rank->gain;
    struct task_finding with = checkup_judge_task(rank->with);
    bool helps = senses_helps(g), hurts = senses_hurts(g);
    *cure = (struct report_cure){
        .level = helps ? REPORT_GOOD : hurts ? REPORT_WARN : REPORT_PLAIN, .name = senses_cure_name(rank->with),
        .verdict = helps ? "helps" : hurts ? "hurts" : "no clear difference", .right = right_text(&c->arena, g),
        .margin = margin_text(&c->arena, g), .gain = {g->gain, g->low, g->high}, .reach = reach_text(&c->arena, &with.sees)};
    FAIL_IF(!cure->right || !cure->margin || !cure->reach, SNELLEN_E_MEMORY, "overview: memory ran out");
    return put_prompt(c, rank->with, length, cure, err);
}

static snellen_status make_ranking(struct checkup *c, const struct sense_finding *s, const struct sense_line *l,
                                   struct report_ranking *ranking, snellen_error *err)
{
    struct cure_rank ranks[SENSES_MAX_CURES];
    size_t n = senses_rank(&c->plan, l->task, ranks);
    struct report_cure *cures = arena_alloc(&c->arena, MAX(n, 1) * sizeof *cures);
    const char *fails_at = headline(&c->arena, l);
    FAIL_IF(!cures || !fails_at, SNELLEN_E_MEMORY, "overview: memory ran out");
    for (size_t i = 0; i < n; i++) TRY(make_cure(c, &ranks[i], l->reach.fails_at, &cures[i], err));
    *ranking = (struct report_ranking){.id = arena_printf(&c->arena, "cures-%s", l->task),
                                       .heading = arena_printf(&c->arena, "%s: %s. %s", s->name, l->what, fails_at),
                                       .cures = cures, .n_cures = n};
    FAIL_IF(!ranking->id || !ranking->heading, SNELLEN_E_MEMORY, "overview: memory ran out");
    return SNELLEN_OK;
}

snellen_status overview_fill(struct checkup *c, const struct plot_figure *figures, size_t n_figures, struct report_page *page,
                             snellen_error *err)
{
    struct sense_finding senses[SENSES_MAX];
    size_t n = senses_find(c, senses);
    struct report_card *cards = arena_alloc(&c->arena, n * sizeof *cards);
    struct report_ranking *rankings = arena_alloc(&c->arena, n * SENSES_MAX_LINES * sizeof *rankings);
    FAIL_IF(!cards || !rankings, SNELLEN_E_MEMORY, "overview: memory ran out");
    for (size_t i = 0; i < n; i++) {
        TRY(make_card(c, &senses[i], figures, n_figures, &cards[i], err));
        for (size_t k = 0; k < senses[i].n_lines; k++) {
            const struct sense_line *l = &senses[i].lines[k];
            if (l->task && l->reach.fails_at >= 0) TRY(make_ranking(c, &senses[i], l, &rankings[page->n_rankings++], err));
        }
    }
    page->cards = cards;
    page->n_cards = n;
    page->rankings = rankings;
    page->rankings_lead = LEAD;
    return SNELLEN_OK;
}
