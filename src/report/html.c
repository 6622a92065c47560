/* The page: markup around figures. Works without scripts, in the dark, on a phone and on paper. */
#include "report/draw.h"
#include "report/html.h"

#include <math.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2126;--soft:#5b636d;--paper:#fbfbf9;--card:#fff;--line:#e2e4e8;"
    "--good:#0a7a55;--warn:#9a5b00;--bad:#b3261e;--link:#0b5cad}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a2aab4;--paper:#15181c;--card:#1e2227;--line:#343a42;"
    "--good:#5fd3a4;--warn:#f0b45b;--bad:#ff8a80;--link:#8ab8ff}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\n"
    "main{max-width:900px;margin:0 auto;padding:24px 16px 48px}h1{font-size:1.9rem;line-height:1.2;margin:.2em 0}"
    "h2{font-size:1.35rem;margin:2.2em 0 .3em;padding-top:.4em;border-top:1px solid var(--line)}"
    "h3{font-size:1.05rem;margin:0 0 .4em}.subtitle,.note,figcaption,footer{color:var(--soft)}\n"
    "a{color:var(--link)}.warning{border:2px solid var(--warn);border-radius:10px;padding:10px 14px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:8px;margin:1.1em 0}"
    ".cards div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:7px 12px}"
    ".cards dt{color:var(--soft);font-size:.78rem}.cards dd{margin:0;font-weight:600;font-size:.95rem;"
    "overflow-wrap:anywhere}\n"
    "nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:1.4em 0 0}figure:target{outline:3px solid var(--link)}\n"
    ".findings{list-style:none;padding:0;margin:1.2em 0}.findings li{background:var(--card);border:1px solid var(--line);"
    "border-left:6px solid var(--soft);border-radius:8px;padding:9px 14px;margin:8px 0}"
    ".findings .good{border-left-color:var(--good)}.findings .warn{border-left-color:var(--warn)}"
    ".findings .bad{border-left-color:var(--bad)}.findings b{margin-right:.35em}"
    ".good b{color:var(--good)}.warn b{color:var(--warn)}.bad b{color:var(--bad)}\n"
    ".scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}table{border-collapse:collapse;font-size:.9rem;"
    "font-variant-numeric:tabular-nums}th,td{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid var(--line);"
    "white-space:nowrap}caption{text-align:left;font-weight:600;padding:6px 0}.facts td{white-space:normal;overflow-wrap:anywhere}\n"
    "figure{margin:1.4em 0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px}"
    "figure .sheet{background:#fff;border-radius:6px}figure svg{display:block;width:100%;height:auto;min-width:520px}"
    "figcaption{margin:.6em 0 .2em}code{display:block;overflow-x:auto;background:var(--paper);border:1px solid var(--line);"
    "border-radius:6px;padding:7px 10px;margin:.5em 0;font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace;white-space:pre;"
    "user-select:all}"
    "details{margin-top:.5em}summary{cursor:pointer;color:var(--soft)}.links a{margin-right:1em}\n"
    "@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--paper:#fff;--card:#fff;--line:#bbb}"
    "main{max-width:none;padding:0}figure,.findings li,tr{break-inside:avoid}h2,h3{break-after:avoid}"
    "details,.links,nav{display:none}code{white-space:pre-wrap}figure svg{min-width:0;max-height:12cm}.scroll{overflow:visible}}\n";

/* ---- text -------------------------------------------------------------------------------------------------------------- */

/* Text as markup-free HTML, whole however long; invalid UTF-8 and control characters become U+FFFD. */
static void put_text(struct strbuf *out, const char *text)
{
    for (const char *p = text ? text : ""; *p;) {
        size_t n = text_character(p);
        switch (*p) {
        case '&': strbuf_puts(out, "&amp;"); break;
        case '<': strbuf_puts(out, "&lt;"); break;
        case '>': strbuf_puts(out, "&gt;"); break;
        case '"': strbuf_puts(out, "&quot;"); break;
        case '\'': strbuf_puts(out, "&#39;"); break;
        case '\n':
        case '\t': strbuf_put(out, p, 1); break;
        default: strbuf_put(out, n ? p : "\xef\xbf\xbd", n ? n : 3);
        }
        p += n ? n : 1;
    }
}

/* <tag ..>text</tag>; the closing tag is the opening one's first word. */
static void put_element(struct strbuf *out, const char *tag, const char *text)
{
    strbuf_printf(out, "<%s>", tag);
    put_text(out, text);
    strbuf_printf(out, "</%.*s>", (int)strcspn(tag, " "), tag);
}

static bool given(const char *text)
{
    return text && text[0];
}

/* ---- parts ---------------------------------------------------------------------------------------------------------------- */

static void put_facts(struct strbuf *out, const struct report_fact *facts, size_t n)
{
    strbuf_puts(out, "<div class=\"scroll\"><table class=\"facts\">\n");
    for (size_t i = 0; i < n; i++) {
        strbuf_puts(out, "<tr>");
        put_element(out, "th scope=\"row\"", facts[i].name);
        put_element(out, "td", facts[i].value);
        strbuf_puts(out, "</tr>\n");
    }
    strbuf_puts(out, "</table></div>\n");
}

/* What the page is about, as small cards. */
static void put_cards(struct strbuf *out, const struct report_fact *facts, size_t n)
{
    if (!n) return;
    strbuf_puts(out, "<dl class=\"cards\">\n");
    for (size_t i = 0; i < n; i++) {
        strbuf_puts(out, "<div>");
        put_element(out, "dt", facts[i].name);
        put_element(out, "dd", facts[i].value);
        strbuf_puts(out, "</div>\n");
    }
    strbuf_puts(out, "</dl>\n");
}

static void put_contents(struct strbuf *out, const struct report_page *page)
{
    strbuf_puts(out, "<nav aria-label=\"contents\">");
    for (size_t i = 0; i < page->n_sections; i++) {
        strbuf_printf(out, "<a href=\"#section-%zu\">", i + 1);
        put_text(out, page->sections[i].heading);
        strbuf_puts(out, "</a> ");
    }
    strbuf_puts(out, "<a href=\"#made\">How this was made</a></nav>\n");
}

static void put_findings(struct strbuf *out, const struct report_page *page)
{
    static const char *const classes[] = {"good", "warn", "bad", "plain"};
    static const char *const marks[] = {"\xe2\x9c\x93", "!", "\xe2\x9c\x97", "\xe2\x80\xa2"};
    strbuf_puts(out, "<ul class=\"findings\">\n");
    for (size_t i = 0; i < page->n_findings; i++) {
        const struct report_finding *f = &page->findings[i];
        strbuf_printf(out, "<li class=\"%s\"><b aria-hidden=\"true\">%s</b>", classes[f->level], marks[f->level]);
        put_text(out, f->text);
        if (f->figure) {
            strbuf_puts(out, " <a href=\"#");
            put_text(out, f->figure);
            strbuf_puts(out, "\">figure</a>");
        }
        strbuf_puts(out, "</li>\n");
    }
    strbuf_puts(out, "</ul>\n");
}

static void put_table(struct strbuf *out, const struct report_table *t)
{
    strbuf_puts(out, "<div class=\"scroll\"><table>\n");
    if (given(t->caption)) put_element(out, "caption", t->caption);
    strbuf_puts(out, "<thead><tr>");
    for (size_t j = 0; j < t->n_columns; j++) put_element(out, "th scope=\"col\"", t->header[j]);
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        strbuf_puts(out, "<tr>");
        for (size_t j = 0; j < t->n_columns; j++) put_element(out, "td", t->cells[i * t->n_columns + j]);
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
    strbuf_puts(out, "<details><summary>The numbers</summary><div class=\"scroll\"><table><thead><tr>");
    if (f->heat) {
        strbuf_puts(out, "<th></th>");
        for (size_t i = 0; i < f->heat->nx; i++) put_element(out, "th scope=\"col\"", f->heat->x_labels[i]);
    } else {
        put_element(out, "th scope=\"col\"", "series");
        put_element(out, "th scope=\"col\"", f->x.label);
        put_element(out, "th scope=\"col\"", f->y.label);
        strbuf_puts(out, "<th scope=\"col\">low</th><th scope=\"col\">high</th>");
    }
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t j = f->heat ? f->heat->ny : 0; j-- > 0;) {
        strbuf_puts(out, "<tr>");
        put_element(out, "th scope=\"row\"", f->heat->y_labels[j]);
        for (size_t i = 0; i < f->heat->nx; i++) put_cell(out, f->heat->values[j * f->heat->nx + i]);
        strbuf_puts(out, "</tr>\n");
    }
    for (size_t k = 0; !f->heat && k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n; i++) {
            strbuf_puts(out, "<tr>");
            put_element(out, "td", s->name);
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
    strbuf_printf(out, "<figure id=\"%s\">\n<div class=\"scroll sheet\" role=\"img\" aria-label=\"", f->id);
    put_text(out, f->title);
    strbuf_puts(out, ". ");
    put_text(out, given(f->alt) ? f->alt : f->caption);
    strbuf_puts(out, "\">\n");
    TRY(plot_svg_text(f, out, err));
    strbuf_puts(out, "</div>\n");
    if (given(f->caption)) put_element(out, "figcaption", f->caption);
    if (given(f->command)) put_element(out, "code", f->command);
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
    put_element(out, "h2", s->heading);
    if (given(s->lead)) put_element(out, "p", s->lead);
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
    put_element(out, "title", page->title);
    strbuf_printf(out, "\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<header>\n", style);
    put_element(out, "h1", page->title);
    if (given(page->subtitle)) put_element(out, "p class=\"subtitle\"", page->subtitle);
    if (given(page->warning)) put_element(out, "p class=\"warning\"", page->warning);
    put_cards(out, page->facts, page->n_facts);
    strbuf_puts(out, "</header>\n");
    put_findings(out, page);
    put_contents(out, page);
    for (size_t i = 0; i < page->n_sections; i++) TRY(put_section(out, &page->sections[i], i + 1, err));
    strbuf_puts(out, "<footer id=\"made\">\n<h2>How this was made</h2>\n");
    put_facts(out, page->footer, page->n_footer);
    strbuf_puts(out, "</footer>\n</main>\n</body>\n</html>\n");
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
