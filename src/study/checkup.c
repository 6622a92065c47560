/* The eye exam from its first question to the report. What is finished when it is stopped is reported as that. */
#include "study/checkup.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const uint64_t DEFAULT_BUDGET = 30000;

snellen_checkup_options snellen_checkup_options_default(void)
{
    return (snellen_checkup_options){.budget = DEFAULT_BUDGET, .seed = 1, .session = snellen_session_options_default()};
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static snellen_status prepare(struct checkup *c, snellen_error *err)
{
    snellen_checkup_options *o = &c->options;
    FAIL_IF(!c->info->has_tokenizer, SNELLEN_E_UNSUPPORTED, "%s; an exam asks in words", c->info->no_tokenizer);
    FAIL_IF(o->session.memory != SNELLEN_MEMORY_FULL, SNELLEN_E_UNSUPPORTED,
            "a checkup needs full memory: its questions branch off one another");
    FAIL_IF(o->n_prompts > 1000, SNELLEN_E_USAGE, "%u prompts a cell, at most 1000 expected", o->n_prompts);
    FAIL_IF(!checkup_wants(c, "collapse") && !checkup_wants(c, "copying") && !checkup_wants(c, "counting") &&
            !checkup_wants(c, "retrieval"), SNELLEN_E_USAGE,
            "part '%s' is not known: collapse, copying, counting or retrieval", o->only);
    c->chat = c->info->chat[0] && strcmp(c->info->chat, "other");
    if (!o->model_name) o->model_name = c->info->path;
    if (!o->command)
        o->command = arena_printf(&c->arena, "snellen checkup %s --%s --seed %llu", o->model_name,
                                  o->full ? "full" : "quick", (unsigned long long)o->seed);
    FAIL_IF(!o->command, SNELLEN_E_MEMORY, "checkup: memory ran out");
    /* A folder that cannot be written must be found out before the work, not after it. */
    if (o->folder) TRY(folder_make(o->folder, err));
    TRY(snellen_model_hash(c->model, c->model_hash, err));
    if (!o->database || *o->database) {
        const snellen_run_start start = {.verb = "checkup", .command = o->command, .model_name = o->model_name,
                                         .seed = o->seed, .n_threads = o->session.n_threads};
        TRY(snellen_record_begin(o->database, c->model, &start, &c->recorder, err));
        c->run = snellen_record_id(c->recorder);
    }
    TRY(checkup_plan(c, err));
    return checkup_take_up(c, err);
}

/* What the caller gets: texts owned by the result. */
struct owned_checkup {
    snellen_checkup result;   /* first: the two share their address */
    char *summary, *json, *page;
};

snellen_status checkup_result(bool complete, bool continued, struct strbuf *summary, char *json, struct strbuf *page, int64_t run,
                              snellen_checkup **result, snellen_error *err)
{
    struct owned_checkup *owned = calloc(1, sizeof *owned);
    snellen_status status = owned ? SNELLEN_OK : error_set(err, SNELLEN_E_MEMORY, "checkup: memory ran out");
    if (!status) status = strbuf_take(page, &owned->page, NULL, err);
    if (!status) status = strbuf_take(summary, &owned->summary, NULL, err);
    strbuf_free(page);
    strbuf_free(summary);
    if (owned) owned->json = json;
    else free(json);
    if (status) {
        snellen_checkup_free(owned ? &owned->result : NULL);
        return status;
    }
    owned->result = (snellen_checkup){.complete = complete, .summary = owned->summary, .json = json, .page = owned->page, .run = run,
                                      .continued = continued};
    *result = &owned->result;
    return SNELLEN_OK;
}

static snellen_status write_report(struct checkup *c, bool complete, const struct checkup_words *words, const char *json,
                                   struct strbuf *page, snellen_error *err)
{
    const char *path = arena_printf(&c->arena, "%s/results.json", c->options.folder);
    FAIL_IF(!path, SNELLEN_E_MEMORY, "report: memory ran out");
    TRY(file_write_atomic(path, json, strlen(json), err));
    TRY(checkup_figures(c, &c->figures, &c->n_figures, err));
    TRY(checkup_page(c, complete, words, c->figures, c->n_figures, err));
    strbuf_printf(page, "%s/index.html", c->options.folder);
    return SNELLEN_OK;
}

static snellen_status report(struct checkup *c, bool complete, snellen_checkup **result, snellen_error *err)
{
    struct checkup_words words = {.n_lines = 0};
    struct strbuf page = {0};
    char *json = NULL;
    checkup_summary(c, complete, &words);
    strbuf_puts(&words.text, "");
    snellen_status status = words.text.failed ? error_set(err, SNELLEN_E_MEMORY, "summary: memory ran out")
                                              : checkup_json(c, complete, words.text.text, &json, err);
    if (!status && c->options.folder) status = write_report(c, complete, &words, json, &page, err);
    if (!status) return checkup_result(complete, c->continued, &words.text, json, &page, c->run, result, err);
    strbuf_free(&page);
    strbuf_free(&words.text);
    free(json);
    return status;
}

snellen_status checkup_examine(struct checkup *c, snellen_checkup **result, snellen_error *err)
{
    *result = NULL;
    double start = now();
    snellen_status status = prepare(c, err);
    if (!status) status = checkup_work(c, err);
    c->seconds = now() - start;
    bool stopped = status == SNELLEN_E_CANCELLED;
    snellen_status reported = status;
    snellen_error quiet;   /* why it was stopped is told, not that it could not be kept */
    if (stopped) checkup_keep(c, &quiet);
    if (!status || stopped) reported = report(c, !stopped, result, stopped ? NULL : err);
    const char *word = reported ? "failed" : stopped ? "incomplete" : "done";
    snellen_status recorded = snellen_record_finish(c->recorder, word, status || reported ? NULL : err);
    c->recorder = NULL;
    if (!status) status = reported ? reported : recorded;
    if (!status || stopped) return status;
    snellen_checkup_free(*result);
    *result = NULL;
    return status;
}

snellen_status snellen_checkup_run(const snellen_model *model, const snellen_checkup_options *options,
                                   const snellen_progress *progress, snellen_checkup **result, snellen_error *err)
{
    struct checkup c = {.model = model, .info = snellen_model_get_info(model), .progress = progress,
                        .options = options ? *options : snellen_checkup_options_default()};
    snellen_status status = checkup_examine(&c, result, err);
    if (!status) checkup_let_go(&c);
    checkup_free(&c);
    return status;
}

void checkup_free(struct checkup *c)
{
    checkup_plan_free(&c->plan);
    arena_free(&c->arena);
}

void snellen_checkup_free(snellen_checkup *result)
{
    if (!result) return;
    struct owned_checkup *owned = (struct owned_checkup *)result;
    snellen_free(owned->summary);
    snellen_free(owned->json);
    snellen_free(owned->page);
    free(owned);
}
