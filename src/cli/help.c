/* The help of a verb, drawn from its option table: nothing is said twice, so nothing can disagree. */
#include "cli/opts.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HELP_COLUMN = 26 };   /* where the explanations stand */

/* Appends words of text, `from` columns used already, wrapped to `width`; further lines start at `indent`. */
static void put_wrapped(struct strbuf *out, const char *text, int from, int indent, int width)
{
    int column = from;
    bool fresh = true;   /* no word stands on this line yet */
    while (*text) {
        if (*text == '\n') {
            strbuf_printf(out, "\n%*s", indent, "");
            column = indent;
            fresh = true;
            text++;
            continue;
        }
        int n = (int)strcspn(text, " \n");
        if (!fresh && column + 1 + n > width) {
            strbuf_printf(out, "\n%*s", indent, "");
            column = indent;
            fresh = true;
        }
        if (!fresh) strbuf_put(out, " ", 1), column++;
        strbuf_put(out, text, (size_t)n);
        column += n;
        fresh = false;
        text += n;
        text += strspn(text, " ");
    }
    strbuf_puts(out, "\n");
}

static void put_integer(struct strbuf *out, int64_t v)
{
    if (v >= 1 << 30 && v % (1 << 30) == 0) strbuf_printf(out, "%" PRId64 "G", v >> 30);
    else if (v >= 1 << 20 && v % (1 << 20) == 0) strbuf_printf(out, "%" PRId64 "M", v >> 20);
    else strbuf_printf(out, "%" PRId64, v);
}

/* "1..4096", "full|swa|sink", or nothing. */
static void put_range(struct strbuf *out, const struct opt *o)
{
    switch (o->kind) {
    case OPT_KIND_INT:
    case OPT_KIND_INTS:
        put_integer(out, o->low);
        strbuf_puts(out, "..");
        put_integer(out, o->high);
        return;
    case OPT_KIND_SEED: strbuf_puts(out, "0..2^63-1"); return;
    case OPT_KIND_REAL: strbuf_printf(out, "%g..%g", o->real_low, o->real_high); return;
    case OPT_KIND_CHOICE:
        for (const char *c = o->choices; *c; c++) strbuf_put(out, *c == ' ' ? "|" : c, 1);
        return;
    default: return;
    }
}

static void put_default(struct strbuf *out, const struct opt *o)
{
    if (o->shown) {
        strbuf_puts(out, o->shown);
        return;
    }
    switch (o->kind) {
    case OPT_KIND_INT: put_integer(out, *o->to.integer); return;
    case OPT_KIND_SEED: strbuf_printf(out, "%" PRIu64, *o->to.seed); return;
    case OPT_KIND_REAL: strbuf_printf(out, "%g", *o->to.real); return;
    case OPT_KIND_TEXT:
    case OPT_KIND_CHOICE:
        if (*o->to.text) strbuf_puts(out, *o->to.text);
        return;
    case OPT_KIND_INTS:
        for (size_t i = 0; i < o->to.ints->n; i++)
            strbuf_printf(out, "%s%" PRId64, i ? "," : "", o->to.ints->v[i]);
        return;
    default: return;
    }
}

static void put_option(struct strbuf *out, const struct opt *o, int width)
{
    struct strbuf left = { 0 }, text = { 0 }, range = { 0 }, standard = { 0 };
    if (o->letter) strbuf_printf(&left, "  -%c, ", o->letter);
    else strbuf_puts(&left, "      ");
    strbuf_printf(&left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    strbuf_puts(&text, o->help);
    put_range(&range, o);
    put_default(&standard, o);
    if (range.n && standard.n) strbuf_printf(&text, " [%s, default %s]", range.text, standard.text);
    else if (range.n) strbuf_printf(&text, " [%s]", range.text);
    else if (standard.n) strbuf_printf(&text, " [default %s]", standard.text);
    strbuf_puts(out, left.text ? left.text : "");
    int used = (int)left.n;
    if (used + 2 > HELP_COLUMN) strbuf_printf(out, "\n%*s", HELP_COLUMN, "");
    else strbuf_printf(out, "%*s", HELP_COLUMN - used, "");
    put_wrapped(out, text.text ? text.text : "", HELP_COLUMN, HELP_COLUMN, width);
    strbuf_free(&left);
    strbuf_free(&text);
    strbuf_free(&range);
    strbuf_free(&standard);
}

void opts_help(const struct verb *verb, const struct opt *table, size_t n, int width, struct strbuf *out)
{
    strbuf_printf(out, "snellen %s: %s\n\nusage: snellen %s %s\n", verb->name, verb->summary, verb->name, verb->usage);
    if (verb->about) {
        strbuf_puts(out, "\n");
        put_wrapped(out, verb->about, 0, 0, width);
    }
    if (n && table[0].kind != OPT_KIND_GROUP) strbuf_puts(out, "\noptions\n");
    for (size_t i = 0; i < n; i++) {
        if (table[i].kind == OPT_KIND_GROUP) strbuf_printf(out, "\n%s\n", table[i].name);
        else put_option(out, &table[i], width);
    }
    strbuf_puts(out, "  -h, --help              this help\n\nexamples\n");
    for (size_t i = 0; i < COUNT_OF(verb->examples); i++) strbuf_printf(out, "  %s\n", verb->examples[i]);
}

int opts_parse(const struct verb *verb, const struct opt *table, size_t n, int argc, char **argv, const char **args)
{
    snellen_error err;
    bool help;
    if (opts_read(verb, table, n, argc, argv, args, &help, &err)) {
        fprintf(stderr, "snellen: %s\n", err.message);
        return 2;
    }
    if (!help) return -1;
    struct winsize size;
    int width = isatty(1) && !ioctl(1, TIOCGWINSZ, &size) && size.ws_col >= 60 ? MIN(size.ws_col, 110) : 100;
    struct strbuf text = { 0 };
    opts_help(verb, table, n, width, &text);
    if (!text.failed) fwrite(text.text, 1, text.n, stdout);
    bool failed = text.failed;
    strbuf_free(&text);
    return failed ? 1 : 0;
}
