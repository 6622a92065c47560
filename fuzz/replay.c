/* Runs a fuzz target over all files of folders, in the order of their names: what fuzzing has found stays found. */
#include "fuzz.h"

#include "base/base.h"

#include <dirent.h>
#include <string.h>

static int replay_file(const char *path)
{
    snellen_error err;
    char *bytes;
    size_t n;
    if (file_read(path, (uint64_t)64 << 20, &bytes, &n, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    /* A block of exactly n bytes: a read past the end is seen by sanitizers. */
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return 1;
    memcpy(exact, bytes, n);
    mem_free(bytes);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

static int not_hidden(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    int n_files = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **list;
        int n = scandir(argv[i], &list, not_hidden, alphasort);
        for (int j = 0; j < n; j++) {
            struct strbuf path = {0};
            strbuf_printf(&path, "%s/%s", argv[i], list[j]->d_name);
            failed += path.failed || replay_file(path.text);
            n_files++;
            strbuf_free(&path);
            free(list[j]);
        }
        if (n >= 0) free(list);
    }
    printf("%d inputs\n", n_files);
    return failed || n_files == 0;
}
