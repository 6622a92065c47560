/* Bytes that should be text, as the terminal and JSON can take them. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

/* Length of the UTF-8 character that begins with this byte; 0 when none does. */
static size_t utf8_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Length of the valid character at text; 0 when there is none. */
static size_t utf8_valid(const unsigned char *text, size_t n)
{
    size_t length = n ? utf8_length(text[0]) : 0;
    if (!length || length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (text[0] == 0xe0 && text[1] < 0xa0) return 0;    /* overlong */
    if (text[0] == 0xf0 && text[1] < 0x90) return 0;
    if (text[0] == 0xed && text[1] > 0x9f) return 0;    /* surrogates */
    if (text[0] == 0xf4 && text[1] > 0x8f) return 0;    /* past U+10FFFF */
    return length;
}

size_t cli_whole_utf8(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xc0) == 0x80) continue;
        return utf8_length(c) > back ? n - back : n;
    }
    return n;
}

json_t *cli_json_text(const char *bytes, size_t n)
{
    struct strbuf b = { 0 };
    const unsigned char *u = (const unsigned char *)bytes;
    strbuf_put(&b, "", 0);
    for (size_t i = 0, length; i < n; i += length) {
        length = utf8_valid(u + i, n - i);
        if (length) strbuf_put(&b, u + i, length);
        else strbuf_puts(&b, "\xef\xbf\xbd"), length = 1;
    }
    json_t *text = b.failed ? NULL : json_stringn(b.text ? b.text : "", b.n);
    strbuf_free(&b);
    return text;
}

json_t *cli_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

void cli_put_escaped(FILE *out, const char *bytes, size_t n)
{
    const unsigned char *u = (const unsigned char *)bytes;
    for (size_t i = 0, length; i < n; i += length) {
        length = utf8_valid(u + i, n - i);
        if (u[i] == '\n') fputs("\\n", out);
        else if (u[i] == '\t') fputs("\\t", out);
        else if (u[i] == '\\') fputs("\\\\", out);
        else if (length == 0 || u[i] < 0x20 || u[i] == 0x7f || (u[i] == 0xc2 && u[i + 1] < 0xa0))
            fprintf(out, "\\x%02x", u[i]), length = 1;   /* also the control characters U+0080..U+009F */
        else fwrite(u + i, 1, length, out);
    }
}
