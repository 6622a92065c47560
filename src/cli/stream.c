/* A text of any length as tokens, in bounded memory.
 *
 * Bytes are read in blocks of a fixed size, so that the tokens do not depend on how they arrive. Each block is cut
 * after a single line end between two characters that are no white space: no tokenizer that is supported joins across
 * it. What follows such a cut may still be read differently at the beginning of a text (SentencePiece puts a space
 * there), so each piece is tokenised together with the line before it, and the line's own tokens are taken away
 * again. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 14, MAX_LINE = 1 << 11 };

struct token_stream {
    const snellen_model *model;
    const char *name;
    unsigned flags;
    int fd;
    bool first, ended;          /* no piece was given yet; the file's end was met */
    uint64_t bytes_read, size;
    size_t line;                /* bytes at the start of the buffer that were given already: the line before */
    size_t n;                   /* bytes in the buffer */
    int32_t *ids;               /* the piece handed out last */
    char buffer[MAX_LINE + BLOCK];
};

snellen_status token_stream_open(const char *path, const snellen_model *model, unsigned flags,
                                 struct token_stream **out, snellen_error *err)
{
    bool standard_input = !strcmp(path, "-");
    struct stat st;
    int fd = standard_input ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    FAIL_IF(fd < 0, SNELLEN_E_IO, "%s: %s", path, strerror(errno));
    bool known = !fstat(fd, &st);
    if (known && S_ISDIR(st.st_mode)) {
        if (!standard_input) close(fd);
        FAIL(SNELLEN_E_IO, "%s: is a folder, a text file expected", path);
    }
    struct token_stream *s;
    snellen_status status = NEW_ARRAY(&s, 1, "a block of text", err);
    if (status) {
        if (!standard_input) close(fd);
        return status;
    }
    s->model = model;
    s->name = standard_input ? "standard input" : path;
    s->flags = flags;
    s->fd = fd;
    s->first = true;
    s->size = known && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    *out = s;
    return SNELLEN_OK;
}

void token_stream_close(struct token_stream *s)
{
    if (!s) return;
    if (s->fd != 0) close(s->fd);
    snellen_free(s->ids);
    mem_free(s);
}

uint64_t token_stream_bytes(const struct token_stream *s)
{
    return s->bytes_read;
}

uint64_t token_stream_size(const struct token_stream *s)
{
    return s->size;
}

/* Reads until a whole block of new bytes is there or the file ends. */
static snellen_status fill(struct token_stream *s, snellen_error *err)
{
    while (!s->ended && s->n - s->line < BLOCK) {
        ssize_t got = read(s->fd, s->buffer + s->n, s->line + BLOCK - s->n);
        FAIL_IF(ui.interrupted, SNELLEN_E_CANCELLED, "%s: interrupted", s->name);
        if (got < 0 && errno == EINTR) continue;
        FAIL_IF(got < 0, SNELLEN_E_IO, "%s: byte %llu: %s", s->name, (unsigned long long)s->bytes_read,
                strerror(errno));
        if (got == 0) s->ended = true;
        s->n += (size_t)got;
        s->bytes_read += (uint64_t)got;
    }
    return SNELLEN_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f';
}

/* Where the piece that begins at s->line may end, the later the better: after a line end between visible characters,
 * else before a single space between such, else at the start of a character. */
static size_t find_cut(const struct token_stream *s)
{
    const char *b = s->buffer;
    size_t low = s->line + 1;
    for (size_t i = s->n - 1; i > low; i--)
        if (b[i - 1] == '\n' && !is_blank(b[i]) && !is_blank(b[i - 2])) return i;
    for (size_t i = s->n - 2; i > low; i--)
        if (b[i] == ' ' && !is_blank(b[i + 1]) && !is_blank(b[i - 1])) return i;
    for (size_t i = s->n - 1; i > s->n - 5; i--)
        if (((unsigned char)b[i] & 0xc0) != 0x80) return i;
    return s->n;
}

/* Where the line before `cut` begins: it goes with the next piece as its context. */
static size_t line_before(const struct token_stream *s, size_t cut)
{
    size_t from = cut;
    while (from > 1 && cut - from < MAX_LINE - 1 && !(from < cut && s->buffer[from - 1] == '\n')) from--;
    if (from <= 1) from = 0;
    while (from < cut && ((unsigned char)s->buffer[from] & 0xc0) == 0x80) from++;
    return from;
}

/* Tokens of the buffer's text up to `cut` without those of the line before; the ids stay in s->ids. */
static snellen_status tokenize_piece(struct token_stream *s, size_t cut, const int32_t **ids, size_t *n,
                                     snellen_error *err)
{
    unsigned flags = s->first ? s->flags : s->flags & ~(unsigned)SNELLEN_BOS;
    size_t line_tokens = 0;
    int32_t *line_ids = NULL;
    snellen_free(s->ids);
    s->ids = NULL;
    if (s->line) TRY(snellen_tokenize(s->model, s->buffer, s->line, flags, &line_ids, &line_tokens, err));
    snellen_status status = snellen_tokenize(s->model, s->buffer, cut, flags, &s->ids, n, err);
    if (!status && line_tokens && (line_tokens > *n || memcmp(line_ids, s->ids, line_tokens * sizeof(*line_ids)))) {
        /* The cut went through a token after all: the piece stands for itself. */
        snellen_free(s->ids);
        s->ids = NULL;
        line_tokens = 0;
        status = snellen_tokenize(s->model, s->buffer + s->line, cut - s->line, flags, &s->ids, n, err);
    }
    snellen_free(line_ids);
    if (status) return status;
    *ids = s->ids + line_tokens;
    *n -= line_tokens;
    return SNELLEN_OK;
}

snellen_status token_stream_next(struct token_stream *s, const int32_t **ids, size_t *n, snellen_error *err)
{
    *n = 0;
    *ids = NULL;
    do {
        TRY(fill(s, err));
        if (s->n == s->line && !s->first) return SNELLEN_OK;
        size_t cut = s->ended ? s->n : find_cut(s);
        TRY(tokenize_piece(s, cut, ids, n, err));
        size_t from = line_before(s, cut);
        memmove(s->buffer, s->buffer + from, s->n - from);
        s->n -= from;
        s->line = cut - from;
        s->first = false;
    } while (*n == 0);
    return SNELLEN_OK;
}
