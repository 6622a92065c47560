/* One drawing, several papers: PNG, SVG, and the numbers as CSV. */
#include "report/draw.h"

#include <cairo-svg.h>
#include <errno.h>
#include <math.h>
#include <string.h>

static void draw_figure(cairo_t *cr, const struct plot_figure *f, struct strbuf *spots)
{
    struct box sheet = {0, 40, PLOT_WIDTH, figure_height(f)};
    draw_pen(cr, PEN_GROUND, 1);
    cairo_paint(cr);
    draw_pen(cr, PEN_INK, 1);
    double size = 15;
    while (size > 11 && text_width(cr, size, true, f->title) > PLOT_WIDTH - 40) size -= 0.5;
    if (text_width(cr, size, true, f->title) <= PLOT_WIDTH - 40)
        draw_text(cr, 20, 27, 0, 0, size, true, f->title);
    else
        draw_text_in(cr, 20, 27, 0, 0, size, PLOT_WIDTH - 40, f->title);
    if (f->heat)
        draw_heat(cr, f, sheet, spots);
    else
        draw_lines(cr, f, sheet, spots);
}

static snellen_status check_figure(const struct plot_figure *f, snellen_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    FAIL_IF(!f->id || !f->id[0] || f->id[strspn(f->id, letters)], SNELLEN_E_USAGE,
            "figure '%s': the name may hold letters, digits, - and _", f->id ? f->id : "");
    FAIL_IF(f->heat && f->heat->ny && f->heat->nx > 1000000 / f->heat->ny, SNELLEN_E_USAGE,
            "figure %s: a heat map of %zu x %zu cells", f->id, f->heat->nx, f->heat->ny);
    return SNELLEN_OK;
}

/* Cairo writes through this; a failed write ends the drawing. */
static cairo_status_t to_buffer(void *closure, const unsigned char *data, unsigned n)
{
    struct strbuf *out = closure;
    strbuf_put(out, data, n);
    return out->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static snellen_status cairo_result(cairo_status_t status, const struct plot_figure *f, snellen_error *err)
{
    FAIL_IF(status != CAIRO_STATUS_SUCCESS, status == CAIRO_STATUS_NO_MEMORY ? SNELLEN_E_MEMORY : SNELLEN_E_INTERNAL,
            "figure %s: %s", f->id, cairo_status_to_string(status));
    return SNELLEN_OK;
}

static snellen_status draw_png(const struct plot_figure *f, struct strbuf *out, snellen_error *err)
{
    TRY(check_figure(f, err));
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, PLOT_WIDTH * 2,
                                                          (int)figure_height(f) * 2);
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, 2, 2);
    draw_figure(cr, f, NULL);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    if (!status) status = cairo_surface_write_to_png_stream(surface, to_buffer, out);
    cairo_surface_destroy(surface);
    return cairo_result(status, f, err);
}

snellen_status draw_svg(const struct plot_figure *f, struct strbuf *out, struct strbuf *spots, snellen_error *err)
{
    TRY(check_figure(f, err));
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(to_buffer, out, PLOT_WIDTH, figure_height(f));
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    cairo_t *cr = cairo_create(surface);
    draw_figure(cr, f, spots);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    cairo_surface_finish(surface);
    if (!status) status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    return cairo_result(status, f, err);
}

static snellen_status draw_svg_alone(const struct plot_figure *f, struct strbuf *out, snellen_error *err)
{
    return draw_svg(f, out, NULL, err);
}

static snellen_status write_drawn(snellen_status (*draw)(const struct plot_figure *, struct strbuf *, snellen_error *),
                                  const struct plot_figure *f, const char *path, snellen_error *err)
{
    struct strbuf bytes = {0};
    snellen_status status = draw(f, &bytes, err);
    if (!status) status = file_write_atomic(path, bytes.text, bytes.n, err);
    strbuf_free(&bytes);
    return status;
}

snellen_status plot_write_png(const struct plot_figure *f, const char *path, snellen_error *err)
{
    return write_drawn(draw_png, f, path, err);
}

snellen_status plot_write_svg(const struct plot_figure *f, const char *path, snellen_error *err)
{
    return write_drawn(draw_svg_alone, f, path, err);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

/* RFC 4180: quoted where a comma, a quote or a line end stands in it. */
static void put_field(struct strbuf *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        strbuf_puts(out, text);
        return;
    }
    strbuf_puts(out, "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"') strbuf_puts(out, "\"");
        strbuf_put(out, p, 1);
    }
    strbuf_puts(out, "\"");
}

static void put_number(struct strbuf *out, double value)
{
    if (isfinite(value)) strbuf_printf(out, "%.9g", value);
}

snellen_status plot_write_csv(const struct plot_figure *f, const char *path, snellen_error *err)
{
    struct strbuf out = {0};
    strbuf_puts(&out, f->heat ? "x,y,value\r\n" : "series,x,y,low,high\r\n");
    for (size_t k = 0; !f->heat && k < f->n_series; k++) {
        const struct plot_series *s = &f->series[k];
        for (size_t i = 0; i < s->n; i++) {
            const double values[] = {s->x[i], s->y[i], s->low ? s->low[i] : (double)NAN, s->high ? s->high[i] : (double)NAN};
            put_field(&out, s->name);
            for (size_t j = 0; j < COUNT_OF(values); j++) {
                strbuf_puts(&out, ",");
                put_number(&out, values[j]);
            }
            strbuf_puts(&out, "\r\n");
        }
    }
    for (size_t j = 0; f->heat && j < f->heat->ny; j++)
        for (size_t i = 0; i < f->heat->nx; i++) {
            put_field(&out, f->heat->x_labels[i]);
            strbuf_puts(&out, ",");
            put_field(&out, f->heat->y_labels[j]);
            strbuf_puts(&out, ",");
            put_number(&out, f->heat->values[j * f->heat->nx + i]);
            strbuf_puts(&out, "\r\n");
        }
    snellen_status status = out.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", path)
                                       : file_write_atomic(path, out.text, out.n, err);
    strbuf_free(&out);
    return status;
}

snellen_status plot_write_all(const struct plot_figure *f, const char *folder, snellen_error *err)
{
    static const struct {
        const char *ending;
        snellen_status (*write)(const struct plot_figure *f, const char *path, snellen_error *err);
    } forms[] = {{"png", plot_write_png}, {"svg", plot_write_svg}, {"csv", plot_write_csv}};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s.%s", folder, f->id, forms[i].ending);
        snellen_status status = path.failed ? error_set(err, SNELLEN_E_MEMORY, "figure: memory ran out")
                                            : forms[i].write(f, path.text, err);
        strbuf_free(&path);
        TRY(status);
    }
    return SNELLEN_OK;
}
