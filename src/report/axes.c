/* Text, frames, ticks and labels: what lines and heat maps share. */
#include "report/draw.h"

#include <math.h>
#include <string.h>

const char draw_font[] = "DejaVu Sans";

void draw_colour(cairo_t *cr, struct colour c, double alpha)
{
    cairo_set_source_rgba(cr, c.r, c.g, c.b, alpha);
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

size_t text_character(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = *p < 0x80 ? *p >= 0x20 && *p != 0x7f : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool bad = (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))) ||
               (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)));
    return bad ? 0 : n;
}

void text_clean(const char *text, char *out, size_t room, size_t most)
{
    size_t at = 0, n = 0;
    const char *p = text ? text : "";
    for (; *p && n < most && at + 8 < room; n++) {
        size_t length = text_character(p);
        const char *piece = length ? p : *p == '\n' || *p == '\t' ? " " : "\xef\xbf\xbd";
        size_t size = length ? length : strlen(piece);
        memcpy(out + at, piece, size);
        at += size;
        p += length ? length : 1;
    }
    if (*p) {
        memcpy(out + at, "\xe2\x80\xa6", 3);
        at += 3;
    }
    out[at] = 0;
}

enum { TEXT_ROOM = 1024, TEXT_MOST = 120 };

static void set_font(cairo_t *cr, double size, bool bold)
{
    cairo_select_font_face(cr, draw_font, CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

double text_width(cairo_t *cr, double size, bool bold, const char *text)
{
    char clean[TEXT_ROOM];
    cairo_text_extents_t e;
    text_clean(text, clean, sizeof clean, TEXT_MOST);
    set_font(cr, size, bold);
    cairo_text_extents(cr, clean, &e);
    return e.x_advance;
}

void draw_text(cairo_t *cr, double x, double y, double ax, double ay, double size, bool bold, const char *text)
{
    char clean[TEXT_ROOM];
    text_clean(text, clean, sizeof clean, TEXT_MOST);
    set_font(cr, size, bold);
    cairo_text_extents_t e;
    cairo_text_extents(cr, clean, &e);
    cairo_move_to(cr, x - ax * e.x_advance, y + ay * size * 0.72);
    cairo_show_text(cr, clean);
}

void draw_text_in(cairo_t *cr, double x, double y, double ax, double ay, double size, double room, const char *text)
{
    char clean[TEXT_ROOM];
    size_t fits = 1, most = TEXT_MOST;   /* the most characters that are known to fit, and may fit */
    while (fits < most) {
        size_t n = (fits + most + 1) / 2;
        text_clean(text, clean, sizeof clean, n);
        if (text_width(cr, size, false, clean) <= room)
            fits = n;
        else
            most = n - 1;
    }
    text_clean(text, clean, sizeof clean, fits);
    draw_text(cr, x, y, ax, ay, size, false, clean);
}

/* ---- axes ------------------------------------------------------------------------------------------------------------- */

static void line(cairo_t *cr, double x0, double y0, double x1, double y1)
{
    /* Half pixels make thin lines sharp. */
    cairo_move_to(cr, floor(x0) + 0.5, floor(y0) + 0.5);
    cairo_line_to(cr, floor(x1) + 0.5, floor(y1) + 0.5);
    cairo_stroke(cr);
}

static void draw_x_ticks(cairo_t *cr, struct box area, const struct scale *x)
{
    struct tick ticks[MAX_TICKS];
    size_t n = scale_ticks(x, ticks);
    double free_from = -1e9;   /* labels that would touch the one before are left out */
    for (size_t i = 0; i < n; i++) {
        double at = scale_place(x, ticks[i].value);
        draw_pen(cr, PEN_FAINT, ticks[i].minor ? 0.55 : 1);
        line(cr, at, area.top, at, area.bottom);
        double width = ticks[i].minor ? 0 : text_width(cr, 12, false, ticks[i].label);
        if (ticks[i].minor || at - width / 2 < free_from) continue;
        draw_pen(cr, PEN_SOFT, 1);
        draw_text(cr, at, area.bottom + 18, 0.5, 0, 12, false, ticks[i].label);
        free_from = at + width / 2 + 8;
    }
}

static void draw_y_ticks(cairo_t *cr, struct box area, const struct scale *y)
{
    struct tick ticks[MAX_TICKS];
    size_t n = scale_ticks(y, ticks);
    double free_below = 1e9;
    for (size_t i = 0; i < n; i++) {
        double at = scale_place(y, ticks[i].value);
        draw_pen(cr, PEN_FAINT, ticks[i].minor ? 0.55 : 1);
        line(cr, area.left, at, area.right, at);
        if (ticks[i].minor || at + 6 > free_below) continue;
        draw_pen(cr, PEN_SOFT, 1);
        draw_text(cr, area.left - 8, at, 1, 0.5, 12, false, ticks[i].label);
        free_below = at - 8;
    }
}

/* Two short strokes across the y axis: from here down to zero the scale does not hold. */
static void draw_break(cairo_t *cr, double x, double y)
{
    draw_pen(cr, PEN_GROUND, 1);
    cairo_rectangle(cr, x - 2, y - 2, 5, 4);
    cairo_fill(cr);
    draw_pen(cr, PEN_SOFT, 1);
    for (int i = -1; i <= 1; i += 2) {
        cairo_move_to(cr, x - 5, y + 2.5 * i + 2.5);
        cairo_line_to(cr, x + 6, y + 2.5 * i - 2.5);
    }
    cairo_stroke(cr);
    draw_pen(cr, PEN_INK, 1);
}

void draw_axes(cairo_t *cr, const struct plot_figure *f, struct box area, const struct scale *x, const struct scale *y)
{
    cairo_set_line_width(cr, 1);
    if (x) draw_x_ticks(cr, area, x);
    if (y) draw_y_ticks(cr, area, y);
    draw_pen(cr, PEN_SOFT, 1);
    line(cr, area.left, area.bottom, area.right, area.bottom);
    line(cr, area.left, area.top, area.left, area.bottom);
    draw_pen(cr, PEN_INK, 1);
    if (y && y->has_zero) draw_break(cr, area.left, (scale_place(y, y->low) + scale_place(y, y->low * 10)) / 2);
    draw_text_in(cr, (area.left + area.right) / 2, area.bottom + 40, 0.5, 0, 13, area.right - area.left, f->x.label);
    cairo_save(cr);
    cairo_translate(cr, 20, (area.top + area.bottom) / 2);
    cairo_rotate(cr, -acos(-1) / 2);
    draw_text_in(cr, 0, 0, 0.5, 0, 13, area.bottom - area.top + 30, f->y.label);
    cairo_restore(cr);
}
