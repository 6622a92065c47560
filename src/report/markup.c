/* Text into HTML and SVG. */
#include "report/markup.h"
#include "report/draw.h"

#include <string.h>

void markup_text(struct strbuf *out, const char *text)
{
    for (const char *p = text ? text : ""; *p;) {
        size_t n = text_character(p);
        switch (*p) {
        case '&': strbuf_puts(out, "&amp;"); break;
        case '<': strbuf_puts(out, "&lt;"); break;
        case '>': strbuf_puts(out, "&gt;"); break;
        case '"': strbuf_puts(out, "&quot;"); break;
        case '\'': strbuf_puts(out, "&#39;"); break;
        case '\n':
        case '\t': strbuf_put(out, p, 1); break;
        default: strbuf_put(out, n ? p : "\xef\xbf\xbd", n ? n : 3);
        }
        p += n ? n : 1;
    }
}

void markup_element(struct strbuf *out, const char *tag, const char *text)
{
    strbuf_printf(out, "<%s>", tag);
    markup_text(out, text);
    strbuf_printf(out, "</%.*s>", (int)strcspn(tag, " "), tag);
}
