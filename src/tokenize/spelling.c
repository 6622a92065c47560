/* Spellings: how files write the bytes of a piece as text, and UTF-8. Pure functions. */
#include "tokenize/vocab.h"

#include <string.h>
#include <utf8proc.h>

size_t utf8_next(const char *text, size_t n, int32_t *code)
{
    if (n == 0) return 0;
    if ((unsigned char)text[0] < 0x80) {
        if (code) *code = text[0];
        return 1;
    }
    utf8proc_int32_t c;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)MIN(n, 4), &c);
    if (size <= 0) return 0;
    if (code) *code = c;
    return (size_t)size;
}

size_t utf8_last(const char *text, size_t n, int32_t *code)
{
    for (size_t size = 1; size <= MIN(n, 4); size++)
        if (utf8_next(text + n - size, size, code) == size) return size;
    return 0;
}

bool utf8_is_space(int32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
    utf8proc_category_t c = utf8proc_category(code);
    return code == 0x85 || c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

bool utf8_is_word(int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NO) || c == UTF8PROC_CATEGORY_PC;
}

/* GPT-2's letters for bytes: those that print stand for themselves, the others, in order, for U+0100 and on. -1 for any
 * other character. */
static int byte_of_letter(int32_t code)
{
    enum { LOW = 0x100, HIGH = LOW + 33, LAST = HIGH + 34 };  /* 00..20, then 7F..A0, then AD */
    if ((code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xac) || (code >= 0xae && code <= 0xff)) return code;
    if (code >= LOW && code < HIGH) return code - LOW;
    if (code >= HIGH && code < LAST) return code - HIGH + 0x7f;
    return code == LAST ? 0xad : -1;
}

bool spelling_bytes(const char *text, size_t n, char *out, size_t *n_out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n;) {
        int32_t code = -1;
        size_t size = utf8_next(text + i, n - i, &code);
        int byte = size ? byte_of_letter(code) : -1;
        if (byte < 0) {
            memcpy(out, text, n);
            *n_out = n;
            return false;
        }
        out[kept++] = (char)byte;
        i += size;
    }
    *n_out = kept;
    return true;
}

size_t spelling_letters(const char *bytes, size_t n, char *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t byte = (uint8_t)bytes[i], code = byte;
        bool prints = byte_of_letter(byte) == byte;
        if (!prints) code = byte <= 0x20 ? 0x100 + byte : byte == 0xad ? 0x143 : 0x100 + 33 + (byte - 0x7f);
        kept += (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out + kept);
    }
    return kept;
}

size_t spelling_marks(const char *bytes, size_t n, char *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == ' ') {
            memcpy(out + kept, "\u2581", 3);
            kept += 3;
        } else {
            out[kept++] = bytes[i];
        }
    }
    return kept;
}

bool spelling_spaces(const char *text, size_t n, char *out, size_t *n_out)
{
    size_t kept = 0;
    bool good = true;
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && !memcmp(text + i, "\u2581", 3)) {
            out[kept++] = ' ';
            i += 3;
        } else {
            good &= text[i] != ' ';
            out[kept++] = text[i++];
        }
    }
    *n_out = kept;
    return good;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int spelling_byte_token(const char *text, size_t n)
{
    if (n != 6 || memcmp(text, "<0x", 3) || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

const char *spelling_shown(char out[SHOWN_PIECE], const char *text, size_t n)
{
    size_t kept = MIN(n, (size_t)SHOWN_PIECE - 1);
    for (size_t i = 0; i < kept; i++) out[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
    out[kept] = 0;
    return out;
}
