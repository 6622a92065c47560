/* draw: what the parts of a figure share: the pen, scales from values to places, text. */
#ifndef REPORT_DRAW_H
#define REPORT_DRAW_H

#include "report/plot.h"

#include <cairo.h>

/* A rectangle of the sheet, in CSS pixels. */
struct box {
    double left, top, right, bottom;
};

struct colour {
    double r, g, b;
};

/* Colours by name (pens.c). */
enum pen { PEN_GROUND, PEN_INK, PEN_SOFT, PEN_FAINT, PEN_ASIDE, PEN_SERIES, PEN_ALL_SERIES = 8, PEN_COUNT = PEN_SERIES + PEN_ALL_SERIES };
struct colour pen_colour(enum pen pen);
/* The name of the pen of this colour, NULL = none. */
const char *pen_name(struct colour c);

/* An axis with its range decided. */
struct scale {
    enum plot_scale kind;
    double low, high;       /* range in the values' own unit */
    bool has_zero;          /* log: zeros are drawn at `low`, a decade below all else */
    bool whole;             /* all values are whole numbers, and so are the ticks */
    double from, to;        /* places of low and high */
};

enum { MAX_TICKS = 64 };
struct tick {
    double value;
    bool minor;             /* a small line without a label */
    char label[24];
};

/* The range of an axis over all values given with scale_see(), then its ends. */
struct extent {
    double low, high, smallest;  /* smallest: the least positive one */
    bool any, zero, broken;      /* broken: one is no whole number */
};
void extent_see(struct extent *e, double value);
struct scale scale_of(const struct plot_axis *axis, const struct extent *e);
double scale_place(const struct scale *s, double value);
size_t scale_ticks(const struct scale *s, struct tick ticks[MAX_TICKS]);
/* A number as a person writes it: 1,000; 0.05; 10 with a raised -5. */
void number_text(double value, char text[24]);
/* CSS pixels: PLOT_HEIGHT, and more where the legend has many rows. */
double figure_height(const struct plot_figure *f);

extern const char draw_font[];
void draw_colour(cairo_t *cr, struct colour c, double alpha);
void draw_pen(cairo_t *cr, enum pen pen, double alpha);
/* Text with its anchor at (x, y): ax 0 left, 0.5 middle, 1 right; ay 0 baseline, 0.5 middle of capitals. */
void draw_text(cairo_t *cr, double x, double y, double ax, double ay, double size, bool bold, const char *text);
/* The same in at most `room` pixels: what is longer ends in an ellipsis. */
void draw_text_in(cairo_t *cr, double x, double y, double ax, double ay, double size, double room, const char *text);
double text_width(cairo_t *cr, double size, bool bold, const char *text);
/* Bytes of the character at p when it is valid UTF-8 and no control character, else 0. p is not at the text's end. */
size_t text_character(const char *p);
/* A copy with invalid UTF-8 replaced, as Cairo demands; at most `most` characters, then an ellipsis. */
void text_clean(const char *text, char *out, size_t room, size_t most);

/* The whole figure as SVG, and, where `spots` is not NULL, what stands where (below). */
snellen_status draw_svg(const struct plot_figure *f, struct strbuf *out, struct strbuf *spots, snellen_error *err);
/* Parts (lines.c, heat.c). Each draws into the box below the title; spots as in draw_svg(). */
void draw_lines(cairo_t *cr, const struct plot_figure *f, struct box sheet, struct strbuf *spots);
void draw_heat(cairo_t *cr, const struct plot_figure *f, struct box sheet, struct strbuf *spots);
/* Whether a point has a place on these axes. */
bool on_axes(const struct scale *x, const struct scale *y, double vx, double vy);
/* Bars of series k: `left` of the place of their x, so wide. */
struct bars {
    double left, width;
};
struct bars bars_of(const struct plot_figure *f, size_t k, const struct scale *x, struct box area);

/* Spots (spots.c): elements of SVG, a point or a cell each, with its values as their <title>, for those who point at them. Of
 * figures with very many points every few have one; large maps have none. */
void spots_lines(struct strbuf *out, const struct plot_figure *f, const struct scale *x, const struct scale *y, struct box area);
void spots_heat(struct strbuf *out, const struct plot_figure *f, struct box area);

/* Frame, grid, ticks and labels of both axes. */
void draw_axes(cairo_t *cr, const struct plot_figure *f, struct box area, const struct scale *x, const struct scale *y);

#endif
