/* Study files: settings that come out, written and read again, are the same settings. */
#include "fuzz.h"

#include "train/settings.h"

#include <string.h>

static void write_and_read(const struct settings *s)
{
    struct strbuf first = {0}, second = {0};
    struct settings again;
    snellen_error err;
    settings_write(s, &first);
    CHECK(!first.failed);
    CHECK(!settings_parse(first.text, first.n, "written.yaml", NULL, 0, &again, &err));
    settings_write(&again, &second);
    CHECK(first.n == second.n && !memcmp(first.text, second.text, first.n));
    settings_free(&again);
    strbuf_free(&first);
    strbuf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct settings settings;
    snellen_error err;
    if (settings_parse((const char *)bytes, n, "study.yaml", NULL, 0, &settings, &err)) {
        CHECK(err.status != SNELLEN_OK && strstr(err.message, "study.yaml"));
    } else {
        write_and_read(&settings);
        settings_free(&settings);
    }
    return 0;
}
