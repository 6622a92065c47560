/* Scales: ranges, places, ticks, and numbers as text. Pure arithmetic. */
#include "report/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- ranges --------------------------------------------------------------------------------------------------------- */

void extent_see(struct extent *e, double value)
{
    if (!isfinite(value)) return;
    if (!e->any || value < e->low) e->low = value;
    if (!e->any || value > e->high) e->high = value;
    if (value > 0 && (!(e->smallest > 0) || value < e->smallest)) e->smallest = value;
    if (value == 0) e->zero = true;
    if (value != floor(value)) e->broken = true;
    e->any = true;
}

static struct scale log_scale(const struct extent *e)
{
    struct scale s = {.kind = PLOT_LOG, .low = 0.1, .high = 1};
    if (e->smallest > 0) {
        s.low = e->smallest;
        s.high = fmax(e->high, e->smallest);
        if (s.high < s.low * 1.01) {
            s.low /= 2;
            s.high *= 2;
        }
        double margin = pow(s.high / s.low, 0.04);
        s.low /= margin;
        s.high *= margin;
    }
    if (e->zero) {   /* a line below all that is positive */
        s.has_zero = true;
        s.low = pow(10, floor(log10(s.low)) - 1);
    }
    return s;
}

static struct scale flat_scale(enum plot_scale kind, const struct extent *e)
{
    struct scale s = {.kind = kind, .low = e->any ? e->low : 0, .high = e->any ? e->high : 1};
    double margin = (s.high - s.low) * 0.04;
    if (!(margin > 0)) margin = fmax(fabs(s.high) * 0.1, 0.5);
    s.low -= margin;
    s.high += margin;
    return s;
}

struct scale scale_of(const struct plot_axis *axis, const struct extent *e)
{
    struct scale s = axis->scale == PLOT_LOG ? log_scale(e) : flat_scale(axis->scale, e);
    bool given = axis->low < axis->high && (axis->scale != PLOT_LOG || axis->low > 0);
    if (given) {
        s.low = s.has_zero ? axis->low / 10 : axis->low;
        s.high = axis->high;
    }
    s.whole = e->any && !e->broken;
    return s;
}

/* ---- places ------------------------------------------------------------------------------------------------------------ */

static double bend(const struct scale *s, double value)
{
    if (s->kind == PLOT_LOG) return log10(fmax(value, s->low));
    return s->kind == PLOT_SYMLOG ? asinh(value) : value;
}

double scale_place(const struct scale *s, double value)
{
    double low = bend(s, s->low), high = bend(s, s->high);
    return s->from + (bend(s, value) - low) / (high - low) * (s->to - s->from);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------ */

static void group_thousands(double value, char text[24])
{
    char digits[24];
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    size_t n = strlen(digits), at = 0;
    if (value < 0) text[at++] = '-';
    for (size_t i = 0; i < n && at < 22; i++) {
        text[at++] = digits[i];
        if ((n - 1 - i) % 3 == 0 && i + 1 < n) text[at++] = ',';
    }
    text[at] = 0;
}

/* 10 with a raised exponent, in Unicode's superscripts. */
static void power_text(int exponent, char text[24])
{
    static const char *const raised[] = {"\xe2\x81\xb0", "\xc2\xb9", "\xc2\xb2", "\xc2\xb3", "\xe2\x81\xb4",
                                         "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
    char digits[8];
    int n = snprintf(digits, sizeof digits, "%d", exponent < 0 ? -exponent : exponent);
    strcpy(text, exponent < 0 ? "10\xe2\x81\xbb" : "10");
    for (int i = 0; i < n && strlen(text) + 4 < 24; i++) strcat(text, raised[digits[i] - '0']);
}

void number_text(double value, char text[24])
{
    double size = fabs(value);
    if (value == 0) {
        strcpy(text, "0");
    } else if (size >= 1000 && size < 1e7 && value == floor(value)) {
        group_thousands(value, text);
    } else if ((size >= 1e7 || size < 1e-3) && fabs(log10(size) - round(log10(size))) < 1e-9 && value > 0) {
        power_text((int)round(log10(size)), text);
    } else {
        char digits[24], raised[24];
        snprintf(digits, sizeof digits, "%.4g", value);
        char *exponent = strchr(digits, 'e');
        if (exponent) {
            power_text(atoi(exponent + 1), raised);
            *exponent = 0;
            snprintf(text, 24, "%.7s\xc3\x97%.14s", digits, raised);
        } else {
            memcpy(text, digits, 24);
        }
    }
}

/* ---- ticks ---------------------------------------------------------------------------------------------------------------- */

static size_t add_tick(struct tick *ticks, size_t n, double value, bool minor)
{
    if (n == MAX_TICKS) return n;
    ticks[n] = (struct tick){.value = value, .minor = minor};
    if (!minor) number_text(value, ticks[n].label);
    return n + 1;
}

static size_t flat_ticks(const struct scale *s, struct tick *ticks)
{
    double range = s->high - s->low, step = pow(10, floor(log10(range / 5)));
    if (range / step > 25) step *= 5;
    else if (range / step > 10) step *= 2;
    if (s->whole) step = fmax(step, 1);
    size_t n = 0;
    for (double k = ceil(s->low / step - 1e-9); k * step <= s->high + step * 1e-9 && n < MAX_TICKS; k++)
        n = add_tick(ticks, n, fabs(k) < 0.5 ? 0 : k * step, false);
    return n;
}

/* Decades; in short ranges 2 and 5 are labelled too, in long ones only every second or third decade. */
static size_t decade_ticks(const struct scale *s, struct tick *ticks)
{
    int first = (int)floor(log10(s->low) + 1e-9), last = (int)floor(log10(s->high) + 1e-9);
    int every = (last - first) / 8 + 1;
    bool fine = last - first <= 2, minors = last - first <= 5;
    size_t n = 0;
    if (s->has_zero) {
        n = add_tick(ticks, n, 0, false);
        first++;
    }
    for (int decade = first; decade <= last; decade++)
        for (int i = 1; i < 10; i++) {
            double value = i * pow(10, decade);
            bool labelled = (i == 1 && (decade - first) % every == 0) || (fine && (i == 2 || i == 5));
            if (value < s->low * 0.999 || value > s->high * 1.001 || (!labelled && !minors)) continue;
            if (s->has_zero && value < s->low * 10) continue;
            n = add_tick(ticks, n, value, !labelled);
        }
    return n;
}

static size_t log_ticks(const struct scale *s, struct tick *ticks)
{
    size_t n = decade_ticks(s, ticks), labelled = 0;
    for (size_t i = 0; i < n; i++) labelled += !ticks[i].minor;
    /* Between 2 and 5, say, no decade lies: even steps say more. */
    return labelled < 2 && !s->has_zero ? flat_ticks(s, ticks) : n;
}

static size_t symlog_ticks(const struct scale *s, struct tick *ticks)
{
    size_t n = 0;
    double largest = fmax(fabs(s->low), fabs(s->high));
    if (largest < 3) return flat_ticks(s, ticks);
    static const double marks[] = {1, 3, 10, 30, 100, 300, 1000, 1e4, 1e5};
    for (int i = (int)COUNT_OF(marks) - 1; i >= 0; i--)
        if (-marks[i] >= s->low) n = add_tick(ticks, n, -marks[i], false);
    if (s->low <= 0 && s->high >= 0) n = add_tick(ticks, n, 0, false);
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (marks[i] <= s->high) n = add_tick(ticks, n, marks[i], false);
    return n;
}

size_t scale_ticks(const struct scale *s, struct tick ticks[MAX_TICKS])
{
    switch (s->kind) {
    case PLOT_LOG: return log_ticks(s, ticks);
    case PLOT_SYMLOG: return symlog_ticks(s, ticks);
    default: return flat_ticks(s, ticks);
    }
}
