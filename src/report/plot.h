/* plot: figures as data, drawn by Cairo to PNG, SVG and text for a page, written as CSV.
 *
 * One description gives all forms, and the same bytes each time. A figure is lines over two axes, or a heat map. */
#ifndef REPORT_PLOT_H
#define REPORT_PLOT_H

#include "base/base.h"

/* PLOT_SYMLOG is linear near zero and logarithmic far from it, for values of both signs. On a logarithmic axis zero is
 * drawn on a line of its own at the bottom, labelled 0; negative values are left out. */
enum plot_scale { PLOT_LINEAR, PLOT_LOG, PLOT_SYMLOG };

struct plot_axis {
    const char *label;
    enum plot_scale scale;
    double low, high;       /* range; low >= high: from the data */
};

enum plot_style { PLOT_LINE, PLOT_POINTS, PLOT_BARS };

/* n points; NaN in y leaves a gap. low and high (both or none) are drawn as a band. */
struct plot_series {
    const char *name;
    enum plot_style style;
    bool dashed;
    bool aside;             /* somebody else's values: grey, hollow */
    bool follows;           /* the same in another way: colour and marker of the series before, hollow */
    size_t n;
    const double *x, *y, *low, *high;
};

/* A straight line across the figure with a few words at its end. */
struct plot_rule {
    bool vertical;
    double at;
    const char *label;
    bool shaded;            /* vertical: what lies left of it has a light ground */
};

/* values [ny][nx], the first row at the bottom; NaN = no value. */
struct plot_heat {
    size_t nx, ny;
    const double *values;
    const char *const *x_labels, *const *y_labels;  /* [nx], [ny] */
    bool log;               /* colours by the logarithm; values <= 0 have the lowest colour */
    double low, high;       /* values of the first and the last colour; low >= high: from the data */
    const char *label;      /* what a colour means */
    const char *const *cells; /* [ny][nx] what stands in a cell, where all of it fits; NULL = nothing, a cell's too */
};

struct plot_figure {
    const char *id;         /* file name without ending; letters, digits, - and _ */
    const char *title;
    const char *caption;    /* what to see; "" = none. Title and caption are UTF-8, like all texts here */
    const char *alt;        /* the figure in words, for those who cannot see it; "" = the caption */
    const char *command;    /* what draws it again */
    struct plot_axis x, y;
    const struct plot_series *series;
    size_t n_series;
    const struct plot_rule *rules;
    size_t n_rules;
    const struct plot_heat *heat;  /* NULL: series over axes; else the axes only give their labels */
};

enum { PLOT_WIDTH = 800, PLOT_HEIGHT = 500 };  /* CSS pixels; PNG has twice as many */

/* Files appear whole or not at all. */
snellen_status plot_write_png(const struct plot_figure *f, const char *path, snellen_error *err);
snellen_status plot_write_svg(const struct plot_figure *f, const char *path, snellen_error *err);
/* All points: series, x, y, low, high; of a heat map: x, y, value. */
snellen_status plot_write_csv(const struct plot_figure *f, const char *path, snellen_error *err);
/* The three of them as folder/id.png, .svg and .csv. */
snellen_status plot_write_all(const struct plot_figure *f, const char *folder, snellen_error *err);
/* The <svg> element alone, for a page: its ids begin with the figure's, so that several can stand in one page; colours are
 * var(--plot-NAME, the colour as drawn), names as in pens.c; and the last group, class "spots", has an invisible element with a
 * <title> where each value stands. */
snellen_status plot_svg_text(const struct plot_figure *f, struct strbuf *out, snellen_error *err);

#endif
