/* The page: markup around figures, with page.css and page.js in it. Works without the script, in the dark, on a phone and on
 * paper. */
#include "report/html.h"
#include "report/markup.h"
#include "report/overview.h"
#include "page_assets.h"

#include <math.h>
#include <string.h>

static bool given(const char *text)
{
    return text && text[0];
}

/* ---- parts ---------------------------------------------------------------------------------------------------------------- */

static void put_facts(struct strbuf *out, const struct report_fact *facts, size_t n)
{
    strbuf_puts(out, "<div class=\"scroll\" tabindex=\"0\"><table class=\"facts\">\n");
    for (size_t i = 0; i < n; i++) {
        strbuf_puts(out, "<tr>");
        markup_element(out, "th scope=\"row\"", facts[i].name);
        markup_element(out, "td", facts[i].value);
        strbuf_puts(out, "</tr>\n");
    }
    strbuf_puts(out, "</table></div>\n");
}

/* What the page is about, in a line or two. */
static void put_subject(struct strbuf *out, const struct report_fact *facts, size_t n)
{
    if (!n) return;
    strbuf_puts(out, "<dl class=\"facts-line\">\n");
    for (size_t i = 0; i < n; i++) {
        strbuf_puts(out, "<div>");
        markup_element(out, "dt", facts[i].name);
        markup_element(out, "dd", facts[i].value);
        strbuf_puts(out, "</div>\n");
    }
    strbuf_puts(out, "</dl>\n");
}

static void put_contents(struct strbuf *out, const struct report_page *page)
{
    strbuf_puts(out, "<nav aria-label=\"contents\">");
    if (page->n_rankings) strbuf_puts(out, "<a href=\"#cures\">What helps</a> ");
    if (page->n_cards && page->n_findings) strbuf_puts(out, "<a href=\"#findings\">Findings</a> ");
    for (size_t i = 0; i < page->n_sections; i++) {
        strbuf_printf(out, "<a href=\"#section-%zu\">", i + 1);
        markup_text(out, page->sections[i].heading);
        strbuf_puts(out, "</a> ");
    }
    strbuf_puts(out, "<a href=\"#made\">How this was made</a></nav>\n");
}

static void put_findings(struct strbuf *out, const struct report_page *page)
{
    if (!page->n_findings) return;
    strbuf_puts(out, page->n_cards ? "<section id=\"findings\">\n<h2>Findings</h2>\n" : "<section id=\"findings\">\n");
    strbuf_puts(out, "<ul class=\"findings\">\n");
    for (size_t i = 0; i < page->n_findings; i++) {
        const struct report_finding *f = &page->findings[i];
        strbuf_printf(out, "<li class=\"%s\"><b aria-hidden=\"true\">%s</b>", level_class(f->level), level_mark(f->level));
        markup_text(out, f->text);
        if (f->figure) {
            strbuf_puts(out, " <a href=\"#");
            markup_text(out, f->figure);
            strbuf_puts(out, "\">figure</a>");
        }
        strbuf_puts(out, "</li>\n");
    }
    strbuf_puts(out, "</ul>\n</section>\n");
}

static void put_table(struct strbuf *out, const struct report_table *t)
{
    strbuf_puts(out, "<div class=\"scroll\" tabindex=\"0\"><table>\n");
    if (given(t->caption)) markup_element(out, "caption", t->caption);
    strbuf_puts(out, "<thead><tr>");
    for (size_t j = 0; j < t->n_columns; j++) markup_element(out, "th scope=\"col\"", t->header[j]);
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        strbuf_puts(out, "<tr>");
        for (size_t j = 0; j < t->n_columns; j++) markup_element(out, "td", t->cells[i * t->n_columns + j]);
        strbuf_puts(out, "</tr>\n");
    }
    strbuf_puts(out, "</tbody></table></div>\n");
}

static void put_cell(struct strbuf *out, double value)
{
    if (isfinite(value))
        strbuf_printf(out, "<td>%.6g</td>", value);
    else
        strbuf_puts(out, "<td></td>");
}

/* The points of a figure as a table, for those who cannot see it or want the numbers. */
static void put_points(struct strbuf *out, const struct plot_figure *f)
{
    strbuf_puts(out, "<details><summary>The numbers</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
    if (f->heat) {
        strbuf_puts(out, "<th></th>");
        for (size_t i = 0; i < f->heat->nx; i++) markup_element(out, "th scope=\"col\"", f->heat->x_labels[i]);
    } else {
        markup_element(out, "th scope=\"col\"", "series");
        markup_element(out, "th scope=\"col\"", f->x.label);
        markup_element(out, "th scope=\"col\"", f->y.label);
        strbuf_puts(out, "<th scope=\"col\">low</th><th scope=\"col\">high</th>");
    }
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t j = f->heat ? f->heat->ny : 0; j-- > 0;) {
        strbuf_puts(out, "<tr>");
        markup_element(out, "th scope=\"row\"", f->heat->y_labels[j]);
        for (size_t i = 0; i < f->heat->nx; i++) put_cell(out, f->heat->values[j * f->heat->nx + i]);
        strbuf_puts(out, "</tr>\n");
    }
    for (size_t k = 0; !f->heat && k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n; i++) {
            strbuf_puts(out, "<tr>");
            markup_element(out, "td", s->name);
            put_cell(out, s->x[i]);
            put_cell(out, s->y[i]);
            put_cell(out, s->low ? s->low[i] : (double)NAN);
            put_cell(out, s->high ? s->high[i] : (double)NAN);
            strbuf_puts(out, "</tr>\n");
        }
    }
    strbuf_puts(out, "</tbody></table></div></details>\n");
}

static snellen_status put_figure(struct strbuf *out, const struct plot_figure *f, snellen_error *err)
{
    strbuf_printf(out, "<figure id=\"%s\">\n<div class=\"scroll sheet\" role=\"img\" tabindex=\"0\" aria-label=\"", f->id);
    markup_text(out, f->title);
    strbuf_puts(out, ". ");
    markup_text(out, given(f->alt) ? f->alt : f->caption);
    strbuf_puts(out, "\">\n");
    TRY(plot_svg_text(f, out, err));
    strbuf_puts(out, "</div>\n");
    if (given(f->caption)) markup_element(out, "figcaption", f->caption);
    if (given(f->command)) markup_element(out, "code", f->command);
    strbuf_puts(out, "<p class=\"links\">");
    static const char *const forms[] = {"png", "svg", "csv"};
    for (size_t i = 0; i < COUNT_OF(forms); i++) strbuf_printf(out, "<a href=\"%s.%s\">%s</a>", f->id, forms[i], forms[i]);
    strbuf_puts(out, "</p>\n");
    put_points(out, f);
    strbuf_puts(out, "</figure>\n");
    return SNELLEN_OK;
}

static snellen_status put_section(struct strbuf *out, const struct report_section *s, size_t number, snellen_error *err)
{
    strbuf_printf(out, "<section id=\"section-%zu\">\n", number);
    markup_element(out, "h2", s->heading);
    if (given(s->lead)) markup_element(out, "p", s->lead);
    for (size_t i = 0; i < s->n_figures; i++) TRY(put_figure(out, s->figures[i], err));
    for (size_t i = 0; i < s->n_tables; i++) put_table(out, &s->tables[i]);
    strbuf_puts(out, "</section>\n");
    return SNELLEN_OK;
}

/* ---- the page ---------------------------------------------------------------------------------------------------------------- */

static snellen_status put_page(struct strbuf *out, const struct report_page *page, snellen_error *err)
{
    strbuf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    strbuf_printf(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
                       "'unsafe-inline'; script-src '%s'; base-uri 'none'; form-action 'none'\">\n", page_js_hash);
    markup_element(out, "title", page->title);
    strbuf_printf(out, "\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<header>\n", page_css);
    markup_element(out, "h1", page->title);
    if (given(page->subtitle)) markup_element(out, "p class=\"subtitle\"", page->subtitle);
    if (given(page->warning)) markup_element(out, "p class=\"warning\"", page->warning);
    put_subject(out, page->facts, page->n_facts);
    strbuf_puts(out, "</header>\n");
    overview_cards(out, page);
    if (page->n_cards) put_contents(out, page);
    overview_rankings(out, page);
    put_findings(out, page);
    if (!page->n_cards) put_contents(out, page);
    for (size_t i = 0; i < page->n_sections; i++) TRY(put_section(out, &page->sections[i], i + 1, err));
    strbuf_puts(out, "<footer id=\"made\">\n<h2>How this was made</h2>\n");
    put_facts(out, page->footer, page->n_footer);
    strbuf_puts(out, "</footer>\n</main>\n<script>\n");
    strbuf_puts(out, page_js);
    strbuf_puts(out, "</script>\n</body>\n</html>\n");
    return SNELLEN_OK;
}

snellen_status report_write_html(const struct report_page *page, const char *path, snellen_error *err)
{
    struct strbuf out = {0};
    snellen_status status = put_page(&out, page, err);
    if (!status && out.failed) status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    if (!status) status = file_write_atomic(path, out.text, out.n, err);
    strbuf_free(&out);
    return status;
}
