/* What a reader points at in a figure of a page: each value's place, with the value in words. */
#include "report/draw.h"
#include "report/markup.h"

#include <math.h>

enum { MOST_SPOTS = 4000, RADIUS = 6 };

static void put_value(struct strbuf *out, double value)
{
    char text[24];
    number_text(value, text);
    strbuf_puts(out, text);
}

/* "f32: n 64, margin 1.25 (0.8 .. 1.7)". */
static void put_title(struct strbuf *out, const struct plot_figure *f, const struct plot_series *s, size_t i)
{
    strbuf_puts(out, "<title>");
    markup_text(out, s->name);
    strbuf_puts(out, ": ");
    markup_text(out, f->x.label);
    strbuf_puts(out, " ");
    put_value(out, s->x[i]);
    strbuf_puts(out, ", ");
    markup_text(out, f->y.label);
    strbuf_puts(out, " ");
    put_value(out, s->y[i]);
    if (s->low && s->high && isfinite(s->low[i]) && isfinite(s->high[i])) {
        strbuf_puts(out, " (");
        put_value(out, s->low[i]);
        strbuf_puts(out, " .. ");
        put_value(out, s->high[i]);
        strbuf_puts(out, ")");
    }
    strbuf_puts(out, "</title>");
}

void spots_lines(struct strbuf *out, const struct plot_figure *f, const struct scale *x, const struct scale *y, struct box area)
{
    size_t all = 0;
    for (size_t k = 0; k < f->n_series; k++) all += f->series[k].n;
    size_t every = all / MOST_SPOTS + 1;
    for (size_t k = 0; k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        struct bars bars = s->style == PLOT_BARS ? bars_of(f, k, x, area) : (struct bars){0};
        for (size_t i = 0; i < s->n; i += every) {
            if (!on_axes(x, y, s->x[i], s->y[i])) continue;
            double at_x = scale_place(x, s->x[i]) + bars.left + bars.width / 2, at_y = scale_place(y, s->y[i]);
            strbuf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\">", at_x, at_y, RADIUS);
            put_title(out, f, s, i);
            strbuf_puts(out, "</circle>\n");
        }
    }
}

void spots_heat(struct strbuf *out, const struct plot_figure *f, struct box area)
{
    const struct plot_heat *h = f->heat;
    if (!h->nx || !h->ny || h->nx * h->ny > MOST_SPOTS) return;
    double width = (area.right - area.left) / (double)h->nx, height = (area.bottom - area.top) / (double)h->ny;
    for (size_t j = 0; j < h->ny; j++)
        for (size_t i = 0; i < h->nx; i++) {
            double value = h->values[j * h->nx + i];
            if (isnan(value)) continue;
            strbuf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.2f\"><title>", area.left + (double)i * width,
                          area.bottom - (double)(j + 1) * height, width, height);
            markup_text(out, f->x.label);
            strbuf_puts(out, " ");
            markup_text(out, h->x_labels[i]);
            strbuf_puts(out, ", ");
            markup_text(out, f->y.label);
            strbuf_puts(out, " ");
            markup_text(out, h->y_labels[j]);
            strbuf_puts(out, ": ");
            put_value(out, value);
            strbuf_puts(out, "</title></rect>\n");
        }
}
