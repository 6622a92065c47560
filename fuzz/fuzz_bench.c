/* What an earlier bench printed: rows that come out are in their ranges and are found again, differences to itself
 * are none, and those to another run are told in ASCII from the space on. */
#include "fuzz.h"

#include "cli/bench.h"

#include <string.h>

static void check_rows(const struct earlier *e)
{
    for (size_t i = 0; i < e->n_rows; i++) {
        const struct bench_row *row = &e->rows[i], *found = earlier_find(e, row);
        CHECK(row->tokens >= 0 && row->depth >= 0);
        CHECK(row->least >= 1e-6 && row->least <= row->median && row->median <= row->most && row->most <= 1e12);
        CHECK(found && found <= row && !strcmp(found->test, row->test));
        if (i == 100) break;   /* each is looked for among all */
    }
}

static void check_differences(const struct earlier *e)
{
    struct strbuf same = {0}, other = {0};
    json_t *now = json_pack("{s:s, s:s, s:s, s:{s:s, s:i, s:s}}", "model", "a/b.gguf", "memory", "full", "cache", "f32",
                            "machine", "cpu", "C", "threads", 2, "isa", "scalar");
    CHECK(now);
    earlier_differences(e, e->run, &same);
    CHECK(!same.n);
    earlier_differences(e, now, &other);
    for (size_t i = 0; i < other.n; i++) CHECK(other.text[i] >= 32);
    json_decref(now);
    strbuf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct earlier e;
    snellen_error err;
    if (earlier_parse((const char *)bytes, n, "before.json", &e, &err)) {
        CHECK(err.status != SNELLEN_OK && !strncmp(err.message, "before.json: ", 13));
    } else {
        check_rows(&e);
        check_differences(&e);
        earlier_free(&e);
    }
    return 0;
}
