/* One answer: sample, show, feed. Invariant: every token that was made has been fed, except an end token and the last
 * one of a full context. */
#include "cli/generate.h"

#include <stdlib.h>
#include <string.h>

static snellen_status keep_id(struct generation *g, int32_t id, snellen_error *err)
{
    if (g->n == g->capacity) {
        size_t capacity = g->capacity ? g->capacity * 2 : 256;
        int32_t *ids;
        TRY(NEW_ARRAY(&ids, capacity, "token ids", err));
        if (g->n) memcpy(ids, g->ids, g->n * sizeof(*ids));
        mem_free(g->ids);
        g->ids = ids;
        g->capacity = capacity;
    }
    g->ids[g->n++] = id;
    return SNELLEN_OK;
}

/* Shows what is whole of g->text from *shown on; all of it at the end. */
static bool show(struct generation *g, size_t *shown, bool end)
{
    if (g->silent || !g->text.text) return true;
    size_t whole = end ? g->text.n : *shown + cli_whole_utf8(g->text.text + *shown, g->text.n - *shown);
    if (whole == *shown) return true;
    fwrite(g->text.text + *shown, 1, whole - *shown, stdout);
    *shown = whole;
    return ui_flush();
}

snellen_status generate(struct generation *g, snellen_error *err)
{
    double start = ui_seconds();
    size_t shown = g->text.n;
    snellen_status status = SNELLEN_OK;
    g->stop = STOP_LIMIT;
    for (int64_t made = 0; made < g->limit; made++) {
        if (ui.interrupted) {
            g->stop = STOP_INTERRUPTED;
            break;
        }
        int32_t id = snellen_sample(g->sampler, snellen_session_logits(g->session));
        if (snellen_token_ends(g->model, id) && !g->ignore_end) {
            g->stop = STOP_END;
            break;
        }
        TRY_GOTO(keep_id(g, id, err), done);
        size_t n = 0;
        const char *bytes = snellen_token_bytes(g->model, id, &n);
        bool special = !strcmp(snellen_token_kind(g->model, id), "special");
        if (bytes && !special) strbuf_put(&g->text, bytes, n);
        if (!show(g, &shown, false)) {
            g->stop = STOP_OUTPUT;
            break;
        }
        if (made + 1 == g->limit) break;   /* what comes after the last token is not asked */
        if (snellen_session_length(g->session) >= snellen_session_capacity(g->session)) {
            g->stop = STOP_CONTEXT;
            break;
        }
        TRY_GOTO(snellen_session_feed(g->session, &id, 1, NULL, err), done);
    }
    show(g, &shown, true);
done:
    g->seconds += ui_seconds() - start;
    if (!status && g->text.failed) status = error_set(err, SNELLEN_E_MEMORY, "answer: memory ran out");
    return status;
}

const char *stop_name(enum stop stop)
{
    static const char *const names[] = { [STOP_LIMIT] = "limit", [STOP_END] = "end", [STOP_CONTEXT] = "context",
                                         [STOP_INTERRUPTED] = "interrupted", [STOP_OUTPUT] = "output" };
    return names[stop];
}

void generation_free(struct generation *g)
{
    strbuf_free(&g->text);
    mem_free(g->ids);
    g->ids = NULL;
    g->n = g->capacity = 0;
}
