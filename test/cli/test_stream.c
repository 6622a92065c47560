/* Texts read in pieces: the tokens are those of the whole text, however its bytes arrive. The tokenizers here are
 * small ones of the test's own, strict about what the real ones are strict about: white space and the beginning of a
 * text. */
#include "cli/cli.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct ui ui;
static bool space_first;   /* as SentencePiece: a text begins with a space of its own */

/* ---- the tokenizer: words with the space before them; runs of white space but their last character --------------- */

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

static int32_t id_of(const char *text, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 16777619u;
    return (int32_t)(h >> 1);
}

snellen_status snellen_tokenize(const snellen_model *model, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err)
{
    (void)model, (void)err;
    size_t n = n_bytes + space_first, count = 0;
    char *t = malloc(n + 1);
    int32_t *out = malloc((n + 2) * sizeof(*out));
    assert_non_null(t);
    assert_non_null(out);
    if (space_first) t[0] = ' ';
    if (n_bytes) memcpy(t + space_first, text, n_bytes);
    if (flags & SNELLEN_BOS) out[count++] = 1;
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (blank(t[i]) &&
            (t[i] != ' ' || end == n || blank(t[end]))) { /* white space, of which a word takes a space */
            while (end < n && blank(t[end])) end++;
            if (end < n && t[end - 1] == ' ' && end - 1 > i) end--;
        } else {
            while (end < n && !blank(t[end])) end++;
        }
        out[count++] = id_of(t + i, end - i);
    }
    free(t);
    *ids = out;
    *n_ids = count;
    return SNELLEN_OK;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static char *make_text(size_t n, const char *alphabet, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed, 0);
    char *text = malloc(n + 1);
    assert_non_null(text);
    size_t letters = strlen(alphabet);
    for (size_t i = 0; i < n; i++) text[i] = alphabet[rng_below(&r, letters)];
    text[n] = 0;
    return text;
}

struct writer {
    int fd;
    const char *text;
    size_t n;
};

/* Writes the text to a pipe in pieces of uneven size. */
static void *write_pieces(void *data)
{
    const struct writer *w = data;
    struct rng r;
    rng_seed(&r, 3, 0);
    for (size_t at = 0, n; at < w->n; at += n) {
        n = 1 + (size_t)rng_below(&r, 3000);
        n = MIN(n, w->n - at);
        if (write(w->fd, w->text + at, n) != (ssize_t)n) break;
    }
    close(w->fd);
    return NULL;
}

/* The tokens of a stream over `path`; the number of pieces in *n_pieces. */
static int32_t *read_all(const char *path, unsigned flags, size_t *n, size_t *n_pieces)
{
    struct token_stream *s;
    snellen_error err;
    const int32_t *ids;
    size_t got;
    int32_t *all = NULL;
    *n = *n_pieces = 0;
    assert_int_equal(token_stream_open(path, NULL, flags, &s, &err), SNELLEN_OK);
    while (!token_stream_next(s, &ids, &got, &err) && got) {
        all = realloc(all, (*n + got) * sizeof(*all));
        assert_non_null(all);
        memcpy(all + *n, ids, got * sizeof(*all));
        *n += got;
        ++*n_pieces;
    }
    token_stream_close(s);
    return all;
}

/* Does the stream give the whole text's tokens, from a pipe that is fed unevenly? */
static void expect_same(const char *text, unsigned flags, size_t least_pieces)
{
    int32_t *whole, *streamed;
    size_t n_whole, n_streamed, n_pieces;
    int fds[2];
    char path[64];
    pthread_t thread;
    assert_int_equal(pipe(fds), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    struct writer w = { fds[1], text, strlen(text) };
    assert_int_equal(pthread_create(&thread, NULL, write_pieces, &w), 0);
    streamed = read_all(path, flags, &n_streamed, &n_pieces);
    pthread_join(thread, NULL);
    close(fds[0]);
    snellen_tokenize(NULL, text, w.n, flags, &whole, &n_whole, NULL);
    assert_true(n_pieces >= least_pieces);
    assert_int_equal(n_streamed, n_whole);
    if (n_whole) assert_memory_equal(streamed, whole, n_whole * sizeof(*whole));
    free(whole);
    free(streamed);
}

static void test_same_tokens(void **unused)
{
    (void)unused;
    static const char *const alphabets[] = {
        "abcdefghij  \n",                /* lines of words */
        "ab\n\n\n  \t",                  /* hardly anything but white space */
        "abcdefghijklmnop ",             /* one line without an end */
        "\xc3\xa4\xc3\xb6 \n",           /* bytes that are no valid UTF-8 either */
    };
    for (int i = 0; i < 2; i++) {
        space_first = i;
        for (size_t k = 0; k < COUNT_OF(alphabets); k++) {
            char *text = make_text(200000, alphabets[k], k + 1);
            expect_same(text, 0, 5);
            expect_same(text, SNELLEN_BOS, 5);
            free(text);
        }
    }
    space_first = false;
}

static void test_small_texts(void **unused)
{
    (void)unused;
    static const char *const texts[] = { "", "a", "\n", " ", "a\n", "a\nb", "\n\na" };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        expect_same(texts[i], 0, 0);
        expect_same(texts[i], SNELLEN_BOS, 1);
    }
}

/* Nowhere to cut: the pieces may split what belongs together, but nothing is lost and no character is cut. */
static void test_one_endless_word(void **unused)
{
    (void)unused;
    char *text = make_text(100001, "a", 1);
    int32_t *ids;
    size_t n, n_pieces;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, 100001, f), 100001);
    assert_int_equal(fflush(f), 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(f));
    ids = read_all(path, 0, &n, &n_pieces);
    assert_true(n >= 100001 / 20000);
    assert_int_equal(n, n_pieces);
    free(ids);
    free(text);
    fclose(f);
}

static void test_errors(void **unused)
{
    (void)unused;
    struct token_stream *s;
    snellen_error err;
    assert_int_equal(token_stream_open("/nothing/there", NULL, 0, &s, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "/nothing/there: No such file"));
    assert_int_equal(token_stream_open("/", NULL, 0, &s, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "is a folder"));
    const int32_t *ids;
    size_t n;
    assert_int_equal(token_stream_open("/dev/zero", NULL, 0, &s, &err), SNELLEN_OK);
    ui.interrupted = 1;
    assert_int_equal(token_stream_next(s, &ids, &n, &err), SNELLEN_E_CANCELLED);
    ui.interrupted = 0;
    token_stream_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_tokens),
        cmocka_unit_test(test_small_texts),
        cmocka_unit_test(test_one_endless_word),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
