/* Heat maps: a cell a value, and a bar that says what the colours mean. */
#include "report/draw.h"

#include <math.h>
#include <string.h>

/* Dark blue over green to yellow, even in lightness, so that it reads without colour too. */
static const struct colour stops[] = {
    {0.267, 0.005, 0.329}, {0.230, 0.322, 0.546}, {0.128, 0.567, 0.551}, {0.369, 0.789, 0.383}, {0.993, 0.906, 0.144},
};
enum { MOST_LABEL = 200 };   /* pixels of a row's label */
/* On the colours of cells, which no scheme changes. */
static const struct colour on_light = {0.10, 0.11, 0.13}, on_dark = {0.98, 0.98, 0.98}, none = {0.93, 0.93, 0.94};

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
    struct plot_axis axis = {.scale = h->log ? PLOT_LOG : PLOT_LINEAR, .low = h->low, .high = h->high};
    return scale_of(&axis, &seen);
}

/* Pixels along one side of the picture of n cells: some for each cell, so that their edges stay sharp when it is scaled,
 * but never so many that a map of many cells becomes large. */
static int picture_side(size_t n)
{
    enum { FINE = 1400, MOST = 2048 };
    return n <= FINE ? (int)(FINE / n * n) : (int)MIN(n, MOST);
}

/* One picture instead of a rectangle a cell: an SVG of a thousand cells stays small. */
static void draw_cells(cairo_t *cr, const struct plot_heat *h, struct box area, struct scale colours)
{
    int width = picture_side(h->nx), height = picture_side(h->ny);
    cairo_surface_t *picture = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_surface_flush(picture);
    unsigned char *pixels = cairo_image_surface_get_data(picture);
    size_t stride = (size_t)cairo_image_surface_get_stride(picture);
    colours.from = 0;
    colours.to = 1;
    for (size_t j = 0; pixels && j < (size_t)height; j++)
        for (size_t i = 0; i < (size_t)width; i++) {
            size_t row = h->ny - 1 - j * h->ny / (size_t)height, column = i * h->nx / (size_t)width;
            double value = h->values[row * h->nx + column];
            struct colour c = isnan(value) ? none : colour_at(scale_place(&colours, value));
            const uint32_t pixel = (uint32_t)lround(c.r * 255) << 16 | (uint32_t)lround(c.g * 255) << 8 |
                                   (uint32_t)lround(c.b * 255);
            memcpy(pixels + j * stride + i * sizeof pixel, &pixel, sizeof pixel);
        }
    cairo_surface_mark_dirty(picture);
    cairo_save(cr);
    cairo_translate(cr, area.left, area.top);
    cairo_scale(cr, (area.right - area.left) / width, (area.bottom - area.top) / height);
    cairo_set_source_surface(cr, picture, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_rectangle(cr, 0, 0, width, height);
    cairo_fill(cr);
    cairo_restore(cr);
    cairo_surface_destroy(picture);
}

/* Dark on light cells, light on dark ones; half of the colours are dark. */
static void draw_cell_texts(cairo_t *cr, const struct plot_heat *h, struct box area, const struct scale *colours)
{
    enum { SMALLEST = 6, LARGEST = 12 };
    double width = (area.right - area.left) / (double)h->nx, height = (area.bottom - area.top) / (double)h->ny;
    double size = fmin(fmin(height * 0.7, width * 0.8), LARGEST);
    if (size < SMALLEST) return;
    for (size_t i = 0; i < h->nx * h->ny; i++) {
        const char *text = h->cells[i];
        double fits = size;
        if (!text || isnan(h->values[i])) continue;
        while (fits >= SMALLEST && text_width(cr, fits, false, text) > width - 1) fits -= 0.5;
        if (fits < SMALLEST) continue;
        bool dark = scale_place(colours, h->values[i]) < 0.6;
        double x = area.left + ((double)(i % h->nx) + 0.5) * width;
        double y = area.bottom - ((double)(i / h->nx) + 0.5) * height;
        draw_colour(cr, dark ? on_dark : on_light, 1);
        draw_text(cr, x, y, 0.5, 0.5, fits, false, text);
    }
}

static void draw_labels(cairo_t *cr, const struct plot_heat *h, struct box area)
{
    double width = (area.right - area.left) / (double)h->nx, height = (area.bottom - area.top) / (double)h->ny;
    double free_from = -1e9, free_below = 1e9;
    draw_pen(cr, PEN_INK, 0.75);
    for (size_t i = 0; i < h->nx; i++) {
        double at = area.left + ((double)i + 0.5) * width;
        double half = fmin(text_width(cr, 12, false, h->x_labels[i]), 110) / 2;
        if (at - half < free_from) continue;
        draw_text_in(cr, at, area.bottom + 18, 0.5, 0, 12, 110, h->x_labels[i]);
        free_from = at + half + 8;
    }
    for (size_t j = 0; j < h->ny; j++) {
        double at = area.bottom - ((double)j + 0.5) * height;
        if (at + 6 > free_below) continue;
        draw_text_in(cr, area.left - 8, at, 1, 0.5, 12, MOST_LABEL, h->y_labels[j]);
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
    draw_pen(cr, PEN_INK, 0.75);
    for (size_t i = 0; i < n; i++) {
        double at = scale_place(&colours, ticks[i].value);
        if (ticks[i].minor || at + 6 > free_below) continue;
        draw_text(cr, bar.right + 6, at, 0, 0.5, 11, false, ticks[i].label);
        free_below = at - 8;
    }
    draw_pen(cr, PEN_INK, 1);
    draw_text_in(cr, bar.right + 50, bar.top - 12, 1, 0, 12, PLOT_WIDTH - 60, h->label);
}

void draw_heat(cairo_t *cr, const struct plot_figure *f, struct box sheet, struct strbuf *spots)
{
    const struct plot_heat *h = f->heat;
    double widest = 0;
    for (size_t j = 0; j < h->ny; j++) widest = fmax(widest, text_width(cr, 12, false, h->y_labels[j]));
    struct box area = {.left = 44 + fmin(widest, MOST_LABEL), .top = sheet.top + 26, .right = sheet.right - 110,
                       .bottom = sheet.bottom - 60};
    if (h->nx && h->ny) {
        struct scale colours = colours_of(h);
        draw_cells(cr, h, area, colours);
        colours.from = 0, colours.to = 1;
        if (h->cells) draw_cell_texts(cr, h, area, &colours);
        draw_labels(cr, h, area);
        draw_bar(cr, h, (struct box){area.right + 24, area.top, area.right + 42, area.bottom}, colours);
    }
    draw_axes(cr, f, area, NULL, NULL);
    if (spots) spots_heat(spots, f, area);
}
