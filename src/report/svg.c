/* A figure as an element of a page: Cairo's SVG with ids of its own, colours that the page can set, and spots to point at. */
#include "report/draw.h"

#include <stdio.h>
#include <string.h>

/* rgb(13%,15%,18%) at p; its length, 0 = none. */
static size_t read_colour(const char *p, struct colour *c)
{
    char head[80];   /* sscanf() measures all that it is given */
    int n = 0;
    snprintf(head, sizeof head, "%.*s", (int)sizeof head - 1, p);
    if (sscanf(head, "rgb(%lf%% ,%lf%% ,%lf%% )%n", &c->r, &c->g, &c->b, &n) != 3 || n <= 0) return 0;
    c->r /= 100, c->g /= 100, c->b /= 100;
    return (size_t)n;
}

/* Writes what stands at p instead of itself and returns how much of it that replaces; 0 = it stays as it is. */
static size_t replace_at(const char *p, const struct plot_figure *f, struct strbuf *out)
{
    static const char *const ids[] = {"id=\"", "href=\"#", "url(#"};   /* where Cairo names or uses an id */
    struct colour c;
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        size_t n = strlen(ids[i]);
        if (strncmp(p, ids[i], n)) continue;
        strbuf_printf(out, "%s%s-", ids[i], f->id);
        return n;
    }
    size_t n = strncmp(p, "rgb(", 4) ? 0 : read_colour(p, &c);
    const char *pen = n ? pen_name(c) : NULL;
    if (!pen) return 0;
    strbuf_printf(out, "var(--plot-%s,%.*s)", pen, (int)n, p);
    return n;
}

static void put_element(const char *svg, const char *end, const struct plot_figure *f, const struct strbuf *spots,
                        struct strbuf *out)
{
    while (svg < end) {
        size_t plain = strcspn(svg, "ihur");   /* the letters that what is replaced begins with */
        plain = MIN(plain, (size_t)(end - svg));
        strbuf_put(out, svg, plain);
        svg += plain;
        size_t n = svg < end ? replace_at(svg, f, out) : 0;
        if (!n && svg < end) strbuf_put(out, svg, n = 1);
        svg += n;
    }
    if (spots->n) {
        strbuf_puts(out, "<g class=\"spots\" fill=\"none\" pointer-events=\"all\">\n");
        strbuf_put(out, spots->text, spots->n);
        strbuf_puts(out, "</g>\n");
    }
    strbuf_puts(out, end);
}

snellen_status plot_svg_text(const struct plot_figure *f, struct strbuf *out, snellen_error *err)
{
    struct strbuf svg = {0}, spots = {0};
    snellen_status status = draw_svg(f, &svg, &spots, err);
    const char *start = svg.text ? strstr(svg.text, "<svg") : NULL, *end = NULL;
    for (const char *p = start; p && (p = strstr(p, "</svg>")); p++) end = p;
    if (!status && !end) status = error_set(err, SNELLEN_E_INTERNAL, "figure %s: no drawing", f->id);
    if (!status) put_element(start, end, f, &spots, out);
    if (!status && (out->failed || spots.failed)) status = error_set(err, SNELLEN_E_MEMORY, "figure %s: memory ran out", f->id);
    strbuf_free(&svg);
    strbuf_free(&spots);
    return status;
}
