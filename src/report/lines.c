/* Lines, points, bars and bands over two axes, with a legend below them. */
#include "report/draw.h"

#include <math.h>

/* Which look a series has: those that are aside take none, one that follows has that of the series before. */
static size_t look_of(const struct plot_figure *f, size_t i)
{
    size_t n = 0;
    for (size_t j = 0; j <= i; j++) n += !f->series[j].aside && !f->series[j].follows;
    return n ? n - 1 : 0;
}

static struct colour colour_of(const struct plot_figure *f, size_t i)
{
    return pen_colour(f->series[i].aside ? PEN_ASIDE : (enum pen)(PEN_SERIES + look_of(f, i) % PEN_ALL_SERIES));
}

/* After the last colour the first comes again, with another marker. */
static size_t shape_of(const struct plot_figure *f, size_t i)
{
    size_t look = look_of(f, i);
    return f->series[i].aside ? i : look + look / PEN_ALL_SERIES;
}

/* Lines that lie upon each other are all seen: the first is the widest, each later one narrower. One of many points is thin, its
 * ups and downs are what is to be seen. */
static double width_of(const struct plot_figure *f, size_t i)
{
    enum { MANY = 200 };
    size_t later = 0;
    for (size_t j = i + 1; j < f->n_series; j++) later += !f->series[j].aside && f->series[j].style == PLOT_LINE;
    if (f->series[i].n > MANY) return 1;
    return f->series[i].aside ? 1.6 : 1.8 + 0.9 * (double)MIN(later, 2);
}

/* ---- one series ------------------------------------------------------------------------------------------------------- */

static void marker(cairo_t *cr, size_t shape, double x, double y, double r, struct colour c, bool hollow)
{
    cairo_new_path(cr);
    switch (shape % 4) {
    case 0: cairo_arc(cr, x, y, r, 0, 2 * acos(-1)); break;
    case 1: cairo_rectangle(cr, x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8); break;
    case 2:
        cairo_move_to(cr, x, y - r * 1.2);
        cairo_line_to(cr, x + r * 1.1, y + r * 0.8);
        cairo_line_to(cr, x - r * 1.1, y + r * 0.8);
        break;
    default:
        cairo_move_to(cr, x, y - r * 1.3);
        cairo_line_to(cr, x + r * 1.3, y);
        cairo_line_to(cr, x, y + r * 1.3);
        cairo_line_to(cr, x - r * 1.3, y);
    }
    cairo_close_path(cr);
    draw_colour(cr, hollow ? pen_colour(PEN_GROUND) : c, 1);
    cairo_fill_preserve(cr);
    draw_colour(cr, c, 1);
    cairo_set_line_width(cr, 1.2);
    cairo_stroke(cr);
}

bool on_axes(const struct scale *x, const struct scale *y, double vx, double vy)
{
    return isfinite(vx) && isfinite(vy) && (x->kind != PLOT_LOG || vx > 0 || x->has_zero) &&
           (y->kind != PLOT_LOG || vy >= 0);
}

static bool banded(const struct plot_series *s, size_t i)
{
    return s->low && s->high && isfinite(s->low[i]) && isfinite(s->high[i]);
}

/* Points i.. that follow each other without a gap. */
static size_t run_length(const struct plot_series *s, const struct scale *x, const struct scale *y, size_t i)
{
    size_t n = 0;
    while (i + n < s->n && on_axes(x, y, s->x[i + n], s->y[i + n])) n++;
    return n;
}

static void draw_band(cairo_t *cr, const struct plot_series *s, const struct scale *x, const struct scale *y, size_t i,
                      size_t n, struct colour c, double strength)
{
    cairo_new_path(cr);
    for (size_t j = 0; j < n; j++)
        if (banded(s, i + j)) cairo_line_to(cr, scale_place(x, s->x[i + j]), scale_place(y, s->high[i + j]));
    for (size_t j = n; j-- > 0;)
        if (banded(s, i + j)) cairo_line_to(cr, scale_place(x, s->x[i + j]), scale_place(y, s->low[i + j]));
    cairo_close_path(cr);
    draw_colour(cr, c, strength);
    cairo_fill(cr);
}

/* Below all lines, and fainter where there are many of them, so that lines stay to be seen where bands pile up. */
static void draw_bands(cairo_t *cr, const struct plot_figure *f, const struct scale *x, const struct scale *y)
{
    size_t n_banded = 0;
    for (size_t k = 0; k < f->n_series; k++) n_banded += f->series[k].style == PLOT_LINE && f->series[k].low;
    for (size_t k = 0; k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n && s->style == PLOT_LINE && s->low;) {
            size_t n = run_length(s, x, y, i);
            if (n > 1) draw_band(cr, s, x, y, i, n, colour_of(f, k), n_banded > 4 ? 0.64 / (double)n_banded : 0.16);
            i += n + 1;
        }
    }
}

static void draw_bar(cairo_t *cr, double x, double low, double high, struct colour c)
{
    draw_colour(cr, c, 0.7);
    cairo_set_line_width(cr, 1.2);
    cairo_move_to(cr, x, low);
    cairo_line_to(cr, x, high);
    cairo_stroke(cr);
}

static void draw_run(cairo_t *cr, const struct plot_series *s, const struct scale *x, const struct scale *y, size_t i,
                     size_t n, struct colour c, double width)
{
    static const double dashes[] = {7, 4};
    if (n == 1 && banded(s, i)) draw_bar(cr, scale_place(x, s->x[i]), scale_place(y, s->low[i]), scale_place(y, s->high[i]), c);
    cairo_new_path(cr);
    for (size_t j = 0; j < n; j++) cairo_line_to(cr, scale_place(x, s->x[i + j]), scale_place(y, s->y[i + j]));
    draw_colour(cr, c, 1);
    cairo_set_line_width(cr, width);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(cr, dashes, s->dashed || s->aside ? 2 : 0, 0);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

/* The room of one place on the x axis, shared by all series of bars: the least distance of two neighbours. */
static double bar_slot(const struct plot_figure *f, const struct scale *x, struct box area)
{
    double slot = fmin((area.right - area.left) / 3, 52);
    for (size_t k = 0; k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 1; i < s->n && s->style == PLOT_BARS; i++) {
            double gap = fabs(scale_place(x, s->x[i]) - scale_place(x, s->x[i - 1]));
            if (gap > 0.5) slot = fmin(slot, gap);
        }
    }
    return slot * 0.86;
}

/* Bars of several series stand side by side. */
struct bars bars_of(const struct plot_figure *f, size_t k, const struct scale *x, struct box area)
{
    size_t n = 0, mine = 0;
    for (size_t j = 0; j < f->n_series; j++) {
        if (j == k) mine = n;
        n += f->series[j].style == PLOT_BARS;
    }
    double slot = bar_slot(f, x, area);
    return (struct bars){.left = slot * ((double)mine / (double)n - 0.5), .width = fmax(slot / (double)n, 1.6)};
}

static void draw_bars(cairo_t *cr, const struct plot_figure *f, size_t k, const struct scale *x, const struct scale *y,
                      struct box area)
{
    const struct plot_series *s = &f->series[k];
    struct bars bars = bars_of(f, k, x, area);
    double zero = fmin(scale_place(y, fmax(y->low, 0)), area.bottom);
    draw_colour(cr, colour_of(f, k), 0.8);
    for (size_t i = 0; i < s->n; i++) {
        if (!on_axes(x, y, s->x[i], s->y[i])) continue;
        double left = scale_place(x, s->x[i]) + bars.left, top = scale_place(y, s->y[i]);
        cairo_rectangle(cr, left, fmin(top, zero), bars.width, fabs(zero - top));
        cairo_fill(cr);
    }
}

static void draw_series(cairo_t *cr, const struct plot_figure *f, size_t k, const struct scale *x, const struct scale *y,
                        struct box area)
{
    const struct plot_series *s = &f->series[k];
    struct colour c = colour_of(f, k);
    if (s->style == PLOT_BARS) {
        draw_bars(cr, f, k, x, y, area);
        return;
    }
    for (size_t i = 0; i < s->n && s->style == PLOT_LINE;) {
        size_t n = run_length(s, x, y, i);
        if (n) draw_run(cr, s, x, y, i, n, c, width_of(f, k));
        i += n + 1;
    }
    bool crowded = s->n > 60;
    for (size_t i = 0; i < s->n; i++) {
        if (!on_axes(x, y, s->x[i], s->y[i])) continue;
        double px = scale_place(x, s->x[i]), py = scale_place(y, s->y[i]);
        if (s->style == PLOT_POINTS && banded(s, i)) draw_bar(cr, px, scale_place(y, s->low[i]), scale_place(y, s->high[i]), c);
        if (crowded && s->style != PLOT_POINTS) continue;
        marker(cr, shape_of(f, k), px, py, crowded ? 2 : 2.6 + width_of(f, k) / 3, c, s->aside || s->follows);
    }
}

/* ---- rules and legend --------------------------------------------------------------------------------------------------- */

static void draw_shade(cairo_t *cr, const struct plot_rule *r, const struct scale *x, struct box area)
{
    if (!r->vertical || !r->shaded || !(r->at > x->low)) return;
    double right = scale_place(x, fmin(r->at, x->high));
    draw_pen(cr, PEN_ASIDE, 0.13);
    cairo_rectangle(cr, area.left, area.top, right - area.left, area.bottom - area.top);
    cairo_fill(cr);
}

static void draw_rule(cairo_t *cr, const struct plot_rule *r, const struct scale *x, const struct scale *y, struct box area)
{
    static const double dashes[] = {2, 3};
    const struct scale *s = r->vertical ? x : y;
    if (!isfinite(r->at) || r->at < s->low || r->at > s->high) return;
    double at = scale_place(s, r->at);
    draw_pen(cr, PEN_INK, 0.75);
    cairo_set_line_width(cr, 1.2);
    cairo_set_dash(cr, dashes, 2, 0);
    cairo_move_to(cr, r->vertical ? at : area.left, r->vertical ? area.top : at);
    cairo_line_to(cr, r->vertical ? at : area.right, r->vertical ? area.bottom : at);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

/* Whether the piece from (x0, y0) to (x1, y1) touches the box: Liang and Barsky's clipping. */
static bool touches(struct box b, double x0, double y0, double x1, double y1)
{
    const double step[4] = {x0 - x1, x1 - x0, y0 - y1, y1 - y0};
    const double room[4] = {x0 - b.left, b.right - x0, y0 - b.top, b.bottom - y0};
    double from = 0, to = 1;
    for (int i = 0; i < 4; i++) {
        if (step[i] == 0 && room[i] < 0) return false;
        if (step[i] < 0) from = fmax(from, room[i] / step[i]);
        if (step[i] > 0) to = fmin(to, room[i] / step[i]);
    }
    return from <= to;
}

/* How many pieces of the series' lines, bars and bands' edges would lie under a label. */
static size_t hidden_by(const struct plot_figure *f, struct box label, const struct scale *x, const struct scale *y)
{
    size_t n = 0;
    for (size_t k = 0; k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n; i++) {
            if (!on_axes(x, y, s->x[i], s->y[i])) continue;
            double x1 = scale_place(x, s->x[i]), y1 = scale_place(y, s->y[i]), x0 = x1, y0 = y1;
            if (s->style == PLOT_BARS) {
                y0 = scale_place(y, fmax(y->low, 0));
            } else if (s->style == PLOT_LINE && i && on_axes(x, y, s->x[i - 1], s->y[i - 1])) {
                x0 = scale_place(x, s->x[i - 1]);
                y0 = scale_place(y, s->y[i - 1]);
            }
            n += touches(label, x0, y0, x1, y1);
        }
    }
    return n;
}

static bool overlap(struct box a, struct box b)
{
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/* The words of a rule, on a light ground, at that end and side of it where they hide least and lie on no words of the rules
 * before; where they came to lie. */
enum { MOST_LABELS = 16 };   /* words that others keep off */
static struct box label_rule(cairo_t *cr, const struct plot_figure *f, const struct plot_rule *r, const struct scale *x,
                             const struct scale *y, struct box area, const struct box *before, size_t n_before)
{
    enum { SIZE = 11, PLACES = 6, WORDS = 1 << 20 };
    const struct scale *s = r->vertical ? x : y;
    if (!r->label || !isfinite(r->at) || r->at < s->low || r->at > s->high) return (struct box){0};
    double at = scale_place(s, r->at), width = fmin(text_width(cr, SIZE, false, r->label), area.right - area.left - 8);
    struct box best = {0};
    size_t least = SIZE_MAX;
    for (int i = 0; i < PLACES; i++) {
        bool first_side = i % 2 == 0;
        double along = i / 2 * 0.5;   /* at the right or upper end, in the middle, at the other end */
        double left = first_side ? at + 5 : at - 5 - width, top = area.top + 3 + along * (area.bottom - area.top - 20);
        if (!r->vertical) {
            left = area.right - 4 - width - along * (area.right - area.left - width - 8);
            top = first_side ? at - 16 : at + 3;
        }
        struct box b = {left - 3, top, left + width + 3, top + 13};
        if (b.left < area.left || b.right > area.right + 3 || b.top < area.top - 6 || b.bottom > area.bottom) continue;
        size_t n = hidden_by(f, b, x, y);
        for (size_t k = 0; k < n_before; k++) n += overlap(b, before[k]) ? WORDS : 0;
        if (n < least) best = b;
        least = MIN(n, least);
    }
    if (least >= WORDS) return (struct box){0};
    draw_pen(cr, PEN_GROUND, 0.85);
    cairo_rectangle(cr, best.left, best.top, best.right - best.left, best.bottom - best.top);
    cairo_fill(cr);
    draw_pen(cr, PEN_INK, 0.85);
    draw_text_in(cr, best.left + 3, best.top + 10, 0, 0, SIZE, width, r->label);
    return best;
}

enum { LEGEND_ROW = 20, LEGEND_SAMPLE = 28, LEGEND_GAP = 22, LEGEND_TEXT = 12, LEGEND_MOST = 60 };

static void draw_sample(cairo_t *cr, const struct plot_figure *f, size_t i, double x, double y)
{
    static const double dashes[] = {7, 4};
    const struct plot_series *s = &f->series[i];
    struct colour c = colour_of(f, i);
    draw_colour(cr, c, s->style == PLOT_BARS ? 0.8 : 1);
    cairo_set_line_width(cr, s->style == PLOT_BARS ? 9 : width_of(f, i));
    cairo_set_dash(cr, dashes, (s->dashed || s->aside) && s->style == PLOT_LINE ? 2 : 0, 0);
    if (s->style != PLOT_POINTS) {
        cairo_move_to(cr, x, y);
        cairo_line_to(cr, x + LEGEND_SAMPLE, y);
        cairo_stroke(cr);
    }
    cairo_set_dash(cr, NULL, 0, 0);
    if (s->style != PLOT_BARS) marker(cr, shape_of(f, i), x + LEGEND_SAMPLE / 2.0, y, 3.4, c, s->aside || s->follows);
}

/* Rows of entries from left to right, LEGEND_MOST at most; draws when `draw`, returns the number of rows. */
static int legend(cairo_t *cr, const struct plot_figure *f, double left, double right, double top, bool draw)
{
    double x = left;
    int row = 0;
    for (size_t i = 0; i < f->n_series; i++) {
        double room = right - left - LEGEND_SAMPLE - 6;
        double width = LEGEND_SAMPLE + 6 + fmin(text_width(cr, LEGEND_TEXT, false, f->series[i].name), room);
        if (x > left && x + width > right) {
            if (row + 1 == LEGEND_MOST) break;
            x = left;
            row++;
        }
        if (draw) {
            double y = top + row * LEGEND_ROW;
            draw_sample(cr, f, i, x, y);
            draw_pen(cr, PEN_INK, 1);
            draw_text_in(cr, x + LEGEND_SAMPLE + 6, y, 0, 0.5, LEGEND_TEXT, room, f->series[i].name);
        }
        x += width + LEGEND_GAP;
    }
    return f->n_series ? row + 1 : 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------ */

static void see_all(const struct plot_figure *f, struct extent *x, struct extent *y)
{
    for (size_t k = 0; k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n; i++) {
            extent_see(x, s->x[i]);
            if (!isnan(s->y[i])) extent_see(y, s->y[i]);
            if (banded(s, i) && (f->y.scale != PLOT_LOG || s->low[i] > 0)) extent_see(y, s->low[i]);
            if (banded(s, i)) extent_see(y, s->high[i]);
        }
        if (s->style == PLOT_BARS) extent_see(y, 0);
    }
    for (size_t i = 0; i < f->n_rules; i++) extent_see(f->rules[i].vertical ? x : y, f->rules[i].at);
}

enum { MARGIN_LEFT = 44, MARGIN_RIGHT = 18, MARGIN_BOTTOM = 56, ROWS_WITHIN = 4 };

double figure_height(const struct plot_figure *f)
{
    if (f->heat || !f->n_series) return PLOT_HEIGHT;
    cairo_surface_t *scrap = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cr = cairo_create(scrap);
    /* Narrower than the legend will be, so that it never has more rows than are counted here. */
    int rows = legend(cr, f, 0, PLOT_WIDTH - MARGIN_LEFT - MARGIN_RIGHT - 120, 0, false);
    cairo_destroy(cr);
    cairo_surface_destroy(scrap);
    return PLOT_HEIGHT + LEGEND_ROW * MAX(rows - ROWS_WITHIN, 0);
}

static bool has_bars(const struct plot_figure *f)
{
    for (size_t k = 0; k < f->n_series; k++)
        if (f->series[k].style == PLOT_BARS) return true;
    return false;
}

void draw_lines(cairo_t *cr, const struct plot_figure *f, struct box sheet, struct strbuf *spots)
{
    struct extent seen_x = {0}, seen_y = {0};
    see_all(f, &seen_x, &seen_y);
    struct scale x = scale_of(&f->x, &seen_x), y = scale_of(&f->y, &seen_y);
    if (has_bars(f) && y.kind == PLOT_LINEAR && seen_y.low == 0 && y.low < 0) y.low = 0;   /* bars stand on the axis */
    struct tick ticks[MAX_TICKS];
    size_t n_ticks = scale_ticks(&y, ticks);
    double widest = 0;
    for (size_t i = 0; i < n_ticks; i++) widest = fmax(widest, text_width(cr, 12, false, ticks[i].label));
    struct box area = {.left = MARGIN_LEFT + fmin(widest, 120), .top = sheet.top + 6, .right = sheet.right - MARGIN_RIGHT};
    int rows = legend(cr, f, area.left, area.right, 0, false);
    area.bottom = sheet.bottom - MARGIN_BOTTOM - rows * LEGEND_ROW;
    x.from = area.left;
    x.to = area.right;
    y.from = area.bottom;
    y.to = area.top;

    draw_axes(cr, f, area, &x, &y);
    cairo_save(cr);
    cairo_rectangle(cr, area.left, area.top - 6, area.right - area.left + 6, area.bottom - area.top + 12);
    cairo_clip(cr);
    for (size_t i = 0; i < f->n_rules; i++) draw_shade(cr, &f->rules[i], &x, area);
    for (size_t i = 0; i < f->n_rules; i++) draw_rule(cr, &f->rules[i], &x, &y, area);
    draw_bands(cr, f, &x, &y);
    for (size_t i = 0; i < f->n_series; i++) draw_series(cr, f, i, &x, &y, area);
    struct box labels[MOST_LABELS];
    for (size_t i = 0; i < f->n_rules; i++) {
        struct box label = label_rule(cr, f, &f->rules[i], &x, &y, area, labels, MIN(i, MOST_LABELS));
        if (i < MOST_LABELS) labels[i] = label;
    }
    cairo_restore(cr);
    legend(cr, f, area.left, area.right, area.bottom + 64, true);
    if (spots) spots_lines(spots, f, &x, &y, area);
}
