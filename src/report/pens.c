/* The colours of figures by name. Files have them as they stand here; a page gives each a value of its own for light and
 * dark (page.css, --plot-NAME), so that figures follow the page's scheme. */
#include "report/draw.h"

#include <math.h>

/* Eight colours of series that stay apart for colour-blind eyes (Okabe and Ito 2008); each series also has a marker of its
 * own. */
static const struct {
    const char *name;
    struct colour colour;
} PENS[PEN_COUNT] = {
    [PEN_GROUND] = {"ground", {1, 1, 1}},
    [PEN_INK] = {"ink", {0.13, 0.15, 0.18}},
    [PEN_SOFT] = {"soft", {0.40, 0.43, 0.47}},
    [PEN_FAINT] = {"faint", {0.87, 0.88, 0.90}},
    [PEN_ASIDE] = {"aside", {0.45, 0.47, 0.50}},
    [PEN_SERIES] = {"series-1", {0.000, 0.447, 0.698}},
    [PEN_SERIES + 1] = {"series-2", {0.835, 0.369, 0.000}},
    [PEN_SERIES + 2] = {"series-3", {0.000, 0.620, 0.451}},
    [PEN_SERIES + 3] = {"series-4", {0.800, 0.475, 0.655}},
    [PEN_SERIES + 4] = {"series-5", {0.337, 0.706, 0.914}},
    [PEN_SERIES + 5] = {"series-6", {0.902, 0.624, 0.000}},
    [PEN_SERIES + 6] = {"series-7", {0.250, 0.250, 0.250}},
    [PEN_SERIES + 7] = {"series-8", {0.600, 0.400, 0.200}},
};

struct colour pen_colour(enum pen pen) { return PENS[pen].colour; }

const char *pen_name(struct colour c)
{
    static const double same = 0.002;   /* an SVG has rounded values */
    for (size_t i = 0; i < PEN_COUNT; i++) {
        struct colour p = PENS[i].colour;
        if (fabs(p.r - c.r) < same && fabs(p.g - c.g) < same && fabs(p.b - c.b) < same) return PENS[i].name;
    }
    return NULL;
}

void draw_pen(cairo_t *cr, enum pen pen, double alpha) { draw_colour(cr, pen_colour(pen), alpha); }
