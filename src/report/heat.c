/* Heat maps: a cell a value, and a bar that says what the colours mean. */
#include "report/draw.h"

#include <math.h>

/* Dark blue over green to yellow, even in lightness, so that it reads without colour too. */
static const struct colour stops[] = {
    {0.267, 0.005, 0.329}, {0.230, 0.322, 0.546}, {0.128, 0.567, 0.551}, {0.369, 0.789, 0.383}, {0.993, 0.906, 0.144},
};
static const struct colour ink = {0.13, 0.15, 0.18}, none = {0.93, 0.93, 0.94};

static struct colour colour_at(double t)
{
    t = fmin(fmax(t, 0), 1) * (COUNT_OF(stops) - 1);
    size_t i = MIN((size_t)t, COUNT_OF(stops) - 2);
    double k = t - (double)i;
    return (struct colour){stops[i].r + k * (stops[i + 1].r - stops[i].r), stops[i].g + k * (stops[i + 1].g - stops[i].g),
                           stops[i].b + k * (stops[i + 1].b - stops[i].b)};
}

static struct scale colours_of(const struct plot_heat *h)
{
    struct extent seen = {0};
    for (size_t i = 0; i < h->nx * h->ny; i++)
        if (!h->log || h->values[i] > 0) extent_see(&seen, h->values[i]);
    struct plot_axis axis = {.scale = h->log ? PLOT_LOG : PLOT_LINEAR};
    return scale_of(&axis, &seen);
}

static void draw_cells(cairo_t *cr, const struct plot_heat *h, struct box area, struct scale colours)
{
    double width = (area.right - area.left) / (double)h->nx, height = (area.bottom - area.top) / (double)h->ny;
    colours.from = 0;
    colours.to = 1;
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
    for (size_t j = 0; j < h->ny; j++)
        for (size_t i = 0; i < h->nx; i++) {
            double value = h->values[j * h->nx + i];
            draw_colour(cr, isnan(value) ? none : colour_at(scale_place(&colours, value)), 1);
            cairo_rectangle(cr, area.left + (double)i * width, area.bottom - (double)(j + 1) * height, width, height);
            cairo_fill(cr);
        }
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
}

static void draw_labels(cairo_t *cr, const struct plot_heat *h, struct box area)
{
    double width = (area.right - area.left) / (double)h->nx, height = (area.bottom - area.top) / (double)h->ny;
    double free_from = -1e9, free_below = 1e9;
    draw_colour(cr, ink, 0.75);
    for (size_t i = 0; i < h->nx; i++) {
        double at = area.left + ((double)i + 0.5) * width, half = text_width(cr, 12, false, h->x_labels[i]) / 2;
        if (at - half < free_from) continue;
        draw_text(cr, at, area.bottom + 18, 0.5, 0, 12, false, h->x_labels[i]);
        free_from = at + half + 8;
    }
    for (size_t j = 0; j < h->ny; j++) {
        double at = area.bottom - ((double)j + 0.5) * height;
        if (at + 6 > free_below) continue;
        draw_text(cr, area.left - 8, at, 1, 0.5, 12, false, h->y_labels[j]);
        free_below = at - 8;
    }
}

static void draw_bar(cairo_t *cr, const struct plot_heat *h, struct box bar, struct scale colours)
{
    struct tick ticks[MAX_TICKS];
    size_t n = scale_ticks(&colours, ticks);
    double free_below = 1e9;
    enum { STEPS = 64 };
    for (int i = 0; i < STEPS; i++) {
        double height = (bar.bottom - bar.top) / STEPS;
        draw_colour(cr, colour_at((i + 0.5) / STEPS), 1);
        cairo_rectangle(cr, bar.left, bar.bottom - (i + 1) * height, bar.right - bar.left, height + 0.5);
        cairo_fill(cr);
    }
    colours.from = bar.bottom;
    colours.to = bar.top;
    draw_colour(cr, ink, 0.75);
    for (size_t i = 0; i < n; i++) {
        double at = scale_place(&colours, ticks[i].value);
        if (ticks[i].minor || at + 6 > free_below) continue;
        draw_text(cr, bar.right + 6, at, 0, 0.5, 11, false, ticks[i].label);
        free_below = at - 8;
    }
    draw_colour(cr, ink, 1);
    draw_text(cr, bar.right + 50, bar.top - 12, 1, 0, 12, false, h->label ? h->label : "");
}

void draw_heat(cairo_t *cr, const struct plot_figure *f, struct box sheet)
{
    const struct plot_heat *h = f->heat;
    double widest = 0;
    for (size_t j = 0; j < h->ny; j++) widest = fmax(widest, text_width(cr, 12, false, h->y_labels[j]));
    struct box area = {.left = 44 + fmin(widest, 200), .top = sheet.top + 26, .right = sheet.right - 110,
                       .bottom = sheet.bottom - 60};
    if (h->nx && h->ny) {
        struct scale colours = colours_of(h);
        draw_cells(cr, h, area, colours);
        draw_labels(cr, h, area);
        draw_bar(cr, h, (struct box){area.right + 24, area.top, area.right + 42, area.bottom}, colours);
    }
    draw_axes(cr, f, area, NULL, NULL);
}
