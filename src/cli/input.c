/* What verbs are given: whole texts, lists of token ids, names of files to write. Texts of any length: stream.c. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t max_text = (uint64_t)1 << 30;

snellen_status cli_read_text(const char *path, char **text, size_t *n, snellen_error *err)
{
    if (!strcmp(path, "-")) return file_read_stream(0, "standard input", max_text, text, n, err);
    return file_read(path, max_text, text, n, err);
}

/* Ids in text; `name` stands in messages. */
static snellen_status parse_ids(const char *text, size_t n_bytes, const char *name, int64_t n_vocab, int32_t *ids,
                                size_t *n, snellen_error *err)
{
    static const char blank[] = " \t\r\n,";
    const char *at = text, *end = text + n_bytes;
    for (;;) {
        while (at < end && *at && strchr(blank, *at)) at++;
        if (at == end) return SNELLEN_OK;
        int64_t id = 0;
        const char *start = at;
        while (at < end && *at >= '0' && *at <= '9' && id < n_vocab) id = id * 10 + (*at++ - '0');
        bool ends = at == end || (*at && strchr(blank, *at));
        if (!ends || at == start || id >= n_vocab) {
            char word[41];   /* for the message, printable */
            size_t length = 0;
            while (start + length < end && length < 40 && start[length] && !strchr(blank, start[length])) length++;
            for (size_t i = 0; i < length; i++) word[i] = start[i] > ' ' && start[i] < 0x7f ? start[i] : '?';
            word[length] = 0;
            FAIL(SNELLEN_E_USAGE, "%s: token %zu: '%s' found, a number from 0 to %lld expected", name, *n, word,
                 (long long)n_vocab - 1);
        }
        ids[(*n)++] = (int32_t)id;
    }
}

snellen_status cli_token_ids(const char *text_or_path, int64_t n_vocab, int32_t **ids, size_t *n, snellen_error *err)
{
    bool standard_input = !strcmp(text_or_path, "-"), file = standard_input || file_exists(text_or_path);
    char *content = NULL;
    size_t n_bytes = strlen(text_or_path);
    /* A word that holds no digit at all was meant as a file. */
    FAIL_IF(!file && !strpbrk(text_or_path, "0123456789"), SNELLEN_E_IO,
            "%s: no such file, and no list of token ids such as 1,2,3", text_or_path);
    if (file) TRY(cli_read_text(text_or_path, &content, &n_bytes, err));
    int32_t *found;
    snellen_status status = NEW_ARRAY(&found, n_bytes / 2 + 1, "token ids", err);
    *n = 0;
    if (!status)
        status = parse_ids(file ? content : text_or_path, n_bytes, standard_input ? "standard input"
                           : file ? text_or_path : "--tokens", n_vocab, found, n, err);
    if (file && status == SNELLEN_E_USAGE && err) err->status = status = SNELLEN_E_FORMAT;   /* the file is wrong */
    mem_free(content);
    if (status) {
        if (status != SNELLEN_E_MEMORY) mem_free(found);
        return status;
    }
    *ids = found;
    return SNELLEN_OK;
}

snellen_status cli_check_output(const char *path, snellen_error *err)
{
    struct stat st;
    if (!stat(path, &st)) {
        FAIL_IF(S_ISDIR(st.st_mode), SNELLEN_E_IO, "%s: is a folder, the name of a file to write expected", path);
        FAIL_IF(!S_ISREG(st.st_mode), SNELLEN_E_IO, "%s: is no regular file, the name of a file to write expected",
                path);
    }
    const char *slash = strrchr(path, '/');
    struct strbuf folder = { 0 };
    if (!slash) strbuf_puts(&folder, ".");
    else strbuf_put(&folder, path, (size_t)MAX(slash - path, 1));
    int failed = folder.failed ? ENOMEM : access(folder.text, W_OK | X_OK) ? errno : 0;
    strbuf_free(&folder);
    FAIL_IF(failed, SNELLEN_E_IO, "%s: cannot be written: %s", path, strerror(failed));
    return SNELLEN_OK;
}

snellen_status cli_tokenize_prompt(const snellen_model *model, const char *text, size_t n_bytes, int32_t **ids,
                                   size_t *n, snellen_error *err)
{
    int32_t bos = snellen_token_bos(model, NULL);
    TRY(snellen_tokenize(model, text, n_bytes, SNELLEN_SPECIAL | SNELLEN_BOS, ids, n, err));
    if (bos >= 0 && *n >= 2 && (*ids)[0] == bos && (*ids)[1] == bos)   /* put there, and spelled by the text */
        memmove(*ids, *ids + 1, --*n * sizeof(**ids));
    return SNELLEN_OK;
}

snellen_status cli_depths(const char *text, double *depths, size_t room, size_t *n, snellen_error *err)
{
    *n = 0;
    for (const char *p = text;; p++) {
        char *end;
        double depth = strtod(p, &end);
        FAIL_IF(end == p || (*end && *end != ',') || !(depth >= 0 && depth <= 1), SNELLEN_E_USAGE,
                "--depths: '%.60s' found, numbers from 0 to 1 separated by commas expected", text);
        FAIL_IF(*n == room, SNELLEN_E_USAGE, "--depths: more than %zu of them", room);
        depths[(*n)++] = depth;
        p = end;
        if (!*p) return SNELLEN_OK;
    }
}
