/* Journals: append, cut, sync. */
#include "train/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the lines up to `step` end. A line that is cut short or no JSON ends them too. */
static off_t end_of_step(FILE *file, int64_t step)
{
    char *line = NULL;
    size_t room = 0;
    off_t end = 0;
    for (ssize_t n; (n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n'; end += n) {
        json_t *object = json_loadb(line, (size_t)n, 0, NULL);
        bool keep = object && json_is_integer(json_object_get(object, "step")) &&
                    json_integer_value(json_object_get(object, "step")) <= step;
        json_decref(object);
        if (!keep) break;
    }
    free(line);
    return end;
}

snellen_status journal_open(struct journal *j, const char *folder, const char *name, int64_t step, snellen_error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", folder, name);
    TRY(strbuf_take(&path, &j->path, NULL, err));
    j->file = fopen(j->path, "a+e");
    bool good = j->file && !fseek(j->file, 0, SEEK_SET);
    if (good)
        good = !ftruncate(fileno(j->file), step > 0 ? end_of_step(j->file, step) : 0) && !fseek(j->file, 0, SEEK_END);
    FAIL_IF(!good, SNELLEN_E_IO, "%s: %s", j->path, strerror(errno));
    return SNELLEN_OK;
}

snellen_status journal_add(struct journal *j, json_t *object, snellen_error *err)
{
    char *text = object ? json_dumps(object, JSON_REAL_PRECISION(9) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(object);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "%s: memory ran out", j->path);
    bool good = fprintf(j->file, "%s\n", text) > 0 && !fflush(j->file);
    free(text);
    FAIL_IF(!good, SNELLEN_E_IO, "%s: %s", j->path, strerror(errno));
    return SNELLEN_OK;
}

snellen_status journal_sync(struct journal *j, snellen_error *err)
{
    FAIL_IF(fflush(j->file) || fsync(fileno(j->file)), SNELLEN_E_IO, "%s: %s", j->path, strerror(errno));
    return SNELLEN_OK;
}

void journal_close(struct journal *j)
{
    if (j->file) fclose(j->file);
    snellen_free(j->path);
    *j = (struct journal){0};
}
