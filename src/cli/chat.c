/* Chat: questions in the form of the model's template; a conversation on the terminal.
 *
 * A conversation is kept as messages. Before each answer the whole of it is put into the template and tokenised, and
 * only what the session has not read yet is fed: the tokens that both have in common stay. */
#include "cli/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

snellen_status chat_once(struct runner *r, const char *question, snellen_error *err)
{
    const snellen_message messages[] = { { "system", r->system ? r->system : "" }, { "user", question } };
    size_t skip = r->system ? 0 : 1;
    char *text;
    TRY(snellen_chat_format(r->model, messages + skip, COUNT_OF(messages) - skip, true, &text, err));
    snellen_status status = runner_feed_text(r, text, strlen(text), err);
    snellen_free(text);
    return status;
}

snellen_status chat_file(struct runner *r, const char *path, snellen_error *err)
{
    char *text;
    size_t n;
    TRY(cli_read_text(path, &text, &n, err));
    snellen_status status = SNELLEN_OK;
    const char *name = strcmp(path, "-") ? path : "standard input";
    if (memchr(text, 0, n))
        status = error_set(err, SNELLEN_E_FORMAT, "%s: holds a zero byte, text expected", name);
    else if (n == 0)
        status = error_set(err, SNELLEN_E_FORMAT, "%s: the prompt is empty", name);
    if (!status) status = chat_once(r, text, err);
    mem_free(text);
    return status;
}

/* ---- a conversation ---------------------------------------------------------------------------------------------- */

struct talk {
    struct runner *r;
    struct arena arena;           /* the messages' texts */
    snellen_message *messages;
    size_t n_messages, capacity;
    int32_t *read;                /* the tokens that the session holds */
    size_t n_read;
};

static snellen_status add_message(struct talk *t, const char *role, const char *text, size_t n, snellen_error *err)
{
    if (t->n_messages == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 16;
        snellen_message *messages = realloc(t->messages, capacity * sizeof(*messages));
        FAIL_IF(!messages, SNELLEN_E_MEMORY, "conversation: memory ran out");
        t->messages = messages;
        t->capacity = capacity;
    }
    char *copy = arena_text(&t->arena, text, n);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "conversation: memory ran out");
    t->messages[t->n_messages++] = (snellen_message){ role, copy };
    return SNELLEN_OK;
}

/* Replaces what is known of the session by `head` and then `tail`. */
static snellen_status remember(struct talk *t, const int32_t *head, size_t n_head, const int32_t *tail, size_t n_tail,
                               snellen_error *err)
{
    int32_t *all;
    TRY(NEW_ARRAY(&all, n_head + n_tail + 1, "conversation", err));
    if (n_head) memcpy(all, head, n_head * sizeof(*all));
    if (n_tail) memcpy(all + n_head, tail, n_tail * sizeof(*all));
    mem_free(t->read);
    t->read = all;
    t->n_read = n_head + n_tail;
    return SNELLEN_OK;
}

/* Brings the session to the conversation as it stands, ready for an answer. */
static snellen_status catch_up(struct talk *t, const int32_t *ids, size_t n, snellen_error *err)
{
    size_t same = 0;
    while (same < n && same < t->n_read && ids[same] == t->read[same]) same++;
    if (same == n && same > 0) same--;   /* logits need a token to follow */
    if (same < t->n_read && snellen_session_truncate(t->r->session, (int64_t)same, err)) {
        same = 0;   /* what has left a window cannot come back: the conversation is read again from its start */
        TRY(snellen_session_truncate(t->r->session, 0, err));
    }
    TRY(runner_feed(t->r, ids + same, n - same, err));
    return remember(t, ids, n, NULL, 0, err);
}

static snellen_status answer(struct talk *t, snellen_error *err)
{
    struct runner *r = t->r;
    char *text;
    int32_t *ids;
    size_t n;
    TRY(snellen_chat_format(r->model, t->messages, t->n_messages, true, &text, err));
    snellen_status status = cli_tokenize_prompt(r->model, text, strlen(text), &ids, &n, err);
    snellen_free(text);
    if (status) return status;
    status = catch_up(t, ids, n, err);
    snellen_free(ids);
    if (status) return status;
    int64_t before = snellen_session_length(r->session);
    TRY(runner_answer(r, err));
    const struct generation *g = &r->generation;
    size_t n_fed = (size_t)(snellen_session_length(r->session) - before);
    TRY(remember(t, t->read, t->n_read, g->ids, n_fed, err));
    if (g->stop == STOP_CONTEXT)
        ui_note("the context is full: this answer was cut and the conversation cannot go on; --memory sink has no "
                "end");
    if (g->stop == STOP_LIMIT) ui_note("(cut after %lld tokens; -n N allows more)", (long long)g->limit);
    return add_message(t, "assistant", g->text.text ? g->text.text : "", g->text.n, err);
}

/* One line from the terminal without its end; false at the end of the input. */
static bool ask(char **line, size_t *capacity, size_t *n)
{
    ui_clear();
    fputs(ui_colour() ? "\033[1m> \033[0m" : "> ", stderr);
    errno = 0;
    ssize_t got = getline(line, capacity, stdin);
    if (got < 0) return false;
    while (got > 0 && ((*line)[got - 1] == '\n' || (*line)[got - 1] == '\r')) (*line)[--got] = 0;
    *n = strlen(*line);
    return true;
}

static snellen_status talk_on(struct talk *t, snellen_error *err)
{
    char *line = NULL;
    size_t capacity = 0, n;
    snellen_status status = SNELLEN_OK;
    if (t->r->system) status = add_message(t, "system", t->r->system, strlen(t->r->system), err);
    ui_note("a line is a question; Ctrl-D ends the conversation");
    while (!status && !ui.interrupted && ask(&line, &capacity, &n)) {
        if (!n) continue;
        status = add_message(t, "user", line, n, err);
        if (!status) status = answer(t, err);
        if (t->r->generation.stop == STOP_CONTEXT || t->r->generation.stop == STOP_OUTPUT) break;
    }
    if (!status && !ui.interrupted) ui_note("%s", "");
    free(line);
    if (!status && ui.interrupted) return error_set(err, SNELLEN_E_CANCELLED, "interrupted");
    return status;
}

snellen_status chat_talk(struct runner *r, snellen_error *err)
{
    struct talk t = { .r = r };
    snellen_session_set_progress(r->session, ui_interruptible());
    snellen_status status = talk_on(&t, err);
    arena_free(&t.arena);
    free(t.messages);
    mem_free(t.read);
    return status;
}
