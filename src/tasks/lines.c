/* Lets a model write the output of lines: greedily, many side by side, never with the right symbol put in the place
 * of a wrong one. What is given (bits of `interleaved`, keys; anchors, when forced) is read together with the symbol
 * before it, so that a pass is made only where the model has to write.
 *
 * Invariant: a writer's tokens [0, n_known) are settled, [0, n_read) of them are in its lane; token n_known is to be
 * written. */
#include "tasks/symbols.h"
#include "tasks/tasks.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_SAMPLES = 100, MAX_SAMPLES = 1000000, DEFAULT_LANES = 64, COST_CHUNK = 64 };
static const uint64_t lanes_bytes = 512 << 20;

/* One lane's line. */
struct writer {
    struct line line;
    size_t job;                 /* index into result.written */
    int32_t *tokens;            /* [longest] begin token, if any, then the line as it is written */
    size_t n_tokens, n_known, n_read;
    bool busy;
};

/* A result with what it owns. */
struct owned_result {
    snellen_lines_result result;  /* first: the two share their address */
    struct arena texts;
};

struct writing {
    const snellen_lines_options *options;
    struct line_spec spec;
    struct symbol_tokens tokens;
    const int64_t *lengths;
    size_t n_lengths;
    size_t n_jobs, next_job, n_done;  /* a job is a sample of a length; .. */
    size_t n_lines;             /* .. so many of them have a content of their own and are asked */
    size_t longest;             /* tokens of the longest line */
    struct writer *writers;     /* [n_lanes] */
    int64_t n_lanes, n_vocab;
    snellen_lanes *lanes;
    snellen_lane_feed *feeds;   /* [n_lanes] */
    float *logits;              /* [n_lanes, n_vocab] */
    bool *done;                 /* [n_jobs] */
    struct owned_result *owned;
};

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static snellen_status make_job(const struct writing *w, size_t job, struct line *line, snellen_error *err)
{
    const snellen_line_options *o = &w->options->line;
    size_t n = w->options->n_samples;
    return line_make(&w->spec, w->lengths[job / n], o->train, o->seed, job % n, line, err);
}

/* Tokens that the lines of one length take at most, and how many there are; every symbol of every line must be a
 * token. */
static snellen_status measure_length(const struct writing *w, size_t i, struct line *line, size_t *longest,
                                     size_t *n_lines, snellen_error *err)
{
    size_t n = w->options->n_samples;
    int32_t id;
    *longest = *n_lines = 0;
    for (size_t job = i * n; job < (i + 1) * n; job++) {
        TRY(make_job(w, job, line, err));
        for (size_t j = 0; j < line->n; j++) TRY(symbol_token(&w->tokens, line->symbols[j], &id, err));
        *longest = MAX(*longest, line->n + (w->tokens.bos >= 0));
        *n_lines += !line->repeats;
    }
    return SNELLEN_OK;
}

/* Most tokens that may go into a lane; the last of a line is written and not read. */
static uint64_t context_limit(const struct writing *w)
{
    const snellen_session_options *s = &w->options->session;
    const snellen_model_info *info = snellen_model_get_info(w->tokens.model);
    if (s->memory == SNELLEN_MEMORY_FULL && s->n_context) return (uint64_t)s->n_context;
    return strcmp(info->positions, "learned") ? UINT64_MAX : (uint64_t)info->n_context;
}

/* Lengths and the longest line. Of the task's own grid the lengths that fit are taken. */
static snellen_status measure(struct writing *w, struct line *line, snellen_error *err)
{
    const snellen_task_info *info = &w->spec.task->info;
    bool own = !w->options->lengths;
    w->lengths = own ? info->lengths : w->options->lengths;
    w->n_lengths = own ? info->n_lengths : w->options->n_lengths;
    FAIL_IF(!w->n_lengths, SNELLEN_E_USAGE, "task %s: no length is given", info->name);
    for (size_t i = 0; i < w->n_lengths; i++) {
        size_t longest, n_lines;
        TRY(measure_length(w, i, line, &longest, &n_lines, err));
        bool fits = longest - 1 <= context_limit(w);
        if (own && !fits && i) {
            w->n_lengths = i;
            break;
        }
        FAIL_IF(!fits, SNELLEN_E_CONTEXT, "task %s: length %lld takes %zu tokens, the context holds %llu; shorter "
                "lengths, or a larger context (--context N) where the model's positions allow it", info->name,
                (long long)w->lengths[i], longest - 1, (unsigned long long)context_limit(w));
        w->longest = MAX(w->longest, longest);
        w->n_lines += n_lines;
    }
    w->n_jobs = w->n_lengths * w->options->n_samples;
    return SNELLEN_OK;
}

/* Lanes are bounded by a number of bytes and not by what is free now: they decide how many rows are summed up
 * together. */
static snellen_status open_lanes(struct writing *w, snellen_error *err)
{
    snellen_session_options o = w->options->session;
    snellen_session_cost cost;
    int64_t fit = w->options->n_lanes;
    if (!o.n_context) o.n_context = (int64_t)w->longest - 1;
    if (!fit) {
        snellen_session_options one = o;
        one.chunk = COST_CHUNK;
        TRY(snellen_session_cost_of(w->tokens.model, &one, &cost, err));
        fit = (int64_t)MAX(MIN(lanes_bytes / MAX(cost.cache_bytes, 1), DEFAULT_LANES), 1);
    }
    w->n_lanes = MIN(fit, (int64_t)w->n_lines);
    w->n_vocab = snellen_model_get_info(w->tokens.model)->n_vocab;
    TRY(snellen_lanes_new(w->tokens.model, &o, w->n_lanes, &w->lanes, err));
    TRY(NEW_ARRAY(&w->writers, w->n_lanes, "lanes", err));
    TRY(NEW_ARRAY(&w->feeds, w->n_lanes, "lanes", err));
    for (int64_t i = 0; i < w->n_lanes; i++) TRY(NEW_ARRAY(&w->writers[i].tokens, w->longest, "tokens", err));
    uint64_t n_logits;
    FAIL_IF(!size_mul((uint64_t)w->n_lanes, (uint64_t)w->n_vocab, &n_logits), SNELLEN_E_MEMORY, "logits do not fit");
    return NEW_ARRAY(&w->logits, n_logits, "logits", err);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* True when symbol i of the line is put there for the model. */
static bool put_there(const struct writing *w, const struct line *line, size_t i)
{
    unsigned given = MARK_GIVEN | (w->options->forced ? MARK_ANCHOR : 0u);
    return !(line->marks[i] & MARK_OUTPUT) || line->marks[i] & given;
}

/* Settles what comes next without the model. */
static void go_on(const struct writing *w, struct writer *writer)
{
    size_t bos = w->tokens.bos >= 0;
    for (; writer->n_known < writer->n_tokens; writer->n_known++) {
        size_t i = writer->n_known - bos;
        if (!put_there(w, &writer->line, i)) return;
        writer->tokens[writer->n_known] = w->tokens.ids[writer->line.symbols[i]];
    }
}

/* The next job for a writer that is free; false when there is none. */
static snellen_status take_job(struct writing *w, int64_t lane, snellen_error *err)
{
    struct writer *writer = &w->writers[lane];
    size_t bos = w->tokens.bos >= 0;
    for (writer->busy = false; !writer->busy; writer->busy = !writer->line.repeats) {
        if (w->next_job == w->n_jobs) return SNELLEN_OK;
        writer->job = w->next_job++;
        TRY(make_job(w, writer->job, &writer->line, err));
        w->n_done += writer->line.repeats;   /* the same content twice would narrow an interval without a reason */
    }
    writer->n_tokens = writer->line.n + bos;
    writer->n_read = 0;
    writer->n_known = bos;
    if (bos) writer->tokens[0] = w->tokens.bos;
    go_on(w, writer);
    snellen_lanes_clear(w->lanes, lane);
    return SNELLEN_OK;
}

/* The output as text: right as it should be, else as it was written. */
static snellen_status output_text(const struct writing *w, const struct writer *writer, bool right, const char **text,
                                  snellen_error *err)
{
    const struct line *line = &writer->line;
    size_t bos = w->tokens.bos >= 0;
    struct strbuf b = {0};
    for (size_t i = line->n_prompt; i < line->n; i++) {
        if (i > line->n_prompt) strbuf_puts(&b, " ");
        symbol_token_text(&w->tokens, right ? w->tokens.ids[line->symbols[i]] : writer->tokens[i + bos], &b);
    }
    *text = b.failed ? NULL : arena_text(&w->owned->texts, b.text ? b.text : "", b.n);
    strbuf_free(&b);
    FAIL_IF(!*text, SNELLEN_E_MEMORY, "lines: memory ran out");
    return SNELLEN_OK;
}

static snellen_status finish_job(struct writing *w, const struct writer *writer, snellen_error *err)
{
    const struct line *line = &writer->line;
    size_t bos = w->tokens.bos >= 0, n_samples = w->options->n_samples;
    snellen_written *out = &w->owned->result.written[writer->job];
    *out = (snellen_written){.length = w->lengths[writer->job / n_samples], .index = writer->job % n_samples,
                             .answer = true};
    for (size_t i = line->n_prompt; i < line->n; i++) {
        bool right = writer->tokens[i + bos] == w->tokens.ids[line->symbols[i]];
        if (line->marks[i] & MARK_ANSWER) out->answer = out->answer && right;
        if (put_there(w, line, i)) continue;
        out->n_symbols++;
        out->n_right += right;
    }
    out->exact = out->n_right == out->n_symbols;
    w->done[writer->job] = true;
    w->n_done++;
    TRY(output_text(w, writer, true, &out->expected, err));
    return output_text(w, writer, false, &out->text, err);
}

/* Reads what every busy writer has settled and writes one token in each. */
static snellen_status write_one_each(struct writing *w, snellen_error *err)
{
    size_t n = 0;
    for (int64_t lane = 0; lane < w->n_lanes; lane++) {
        struct writer *writer = &w->writers[lane];
        if (!writer->busy) TRY(take_job(w, lane, err));
        if (!writer->busy) continue;
        size_t n_new = writer->n_known - writer->n_read;
        w->feeds[n++] = (snellen_lane_feed){lane, writer->tokens + writer->n_read, n_new};
        writer->n_read = writer->n_known;
        w->owned->result.n_tokens += n_new;
    }
    TRY(snellen_lanes_feed(w->lanes, w->feeds, n, w->logits, err));
    for (size_t i = 0; i < n; i++) {
        struct writer *writer = &w->writers[w->feeds[i].lane];
        writer->tokens[writer->n_known++] = likeliest(w->logits + i * (size_t)w->n_vocab, w->n_vocab);
        go_on(w, writer);
        if (writer->n_known < writer->n_tokens) continue;
        TRY(finish_job(w, writer, err));
        writer->busy = false;
    }
    return SNELLEN_OK;
}

static snellen_status write_all(struct writing *w, const snellen_progress *progress, snellen_error *err)
{
    while (w->n_done < w->n_jobs) {
        bool go = !progress || !progress->step || progress->step(progress->user, "lines", w->n_done, w->n_jobs);
        FAIL_IF(!go, SNELLEN_E_CANCELLED, "stopped after %zu of %zu lines", w->n_done, w->n_jobs);
        TRY(write_one_each(w, err));
    }
    return SNELLEN_OK;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void count_line(snellen_lines_cell *cell, const snellen_written *line)
{
    cell->n++;
    cell->n_exact += line->exact;
    cell->n_answer += line->answer;
    cell->n_symbols += line->n_symbols;
    cell->n_right += line->n_right;
}

/* Finished lines move together, and are counted by length. */
static void score(const struct writing *w)
{
    snellen_lines_result *r = &w->owned->result;
    for (size_t i = 0; i < w->n_lengths; i++) {
        snellen_lines_cell cell = {.length = w->lengths[i]};
        for (size_t j = 0; j < w->options->n_samples; j++) {
            size_t job = i * w->options->n_samples + j;
            if (!w->done[job]) continue;
            count_line(&cell, &r->written[job]);
            r->written[r->n_written++] = r->written[job];
        }
        wilson_interval(cell.n_exact, cell.n, &cell.exact_low, &cell.exact_high);
        wilson_interval(cell.n_answer, cell.n, &cell.answer_low, &cell.answer_high);
        if (cell.n) r->cells[r->n_cells++] = cell;
    }
}

static snellen_status write_and_score(struct writing *w, const snellen_progress *progress, snellen_error *err)
{
    struct line line = {0};
    snellen_status status = measure(w, &line, err);
    line_free(&line);
    if (status) return status;
    TRY(open_lanes(w, err));
    TRY(NEW_ARRAY(&w->done, w->n_jobs, "lines", err));
    TRY(NEW_ARRAY(&w->owned->result.written, w->n_jobs, "lines", err));
    TRY(NEW_ARRAY(&w->owned->result.cells, w->n_lengths, "cells", err));
    status = write_all(w, progress, err);
    w->owned->result.n_lanes = w->n_lanes;
    if (!status || status == SNELLEN_E_CANCELLED) score(w);
    return status;
}

static void writing_free(struct writing *w)
{
    for (int64_t i = 0; w->writers && i < w->n_lanes; i++) {
        line_free(&w->writers[i].line);
        mem_free(w->writers[i].tokens);
    }
    snellen_lanes_free(w->lanes);
    mem_free(w->writers);
    mem_free(w->feeds);
    mem_free(w->logits);
    mem_free(w->done);
}

snellen_lines_options snellen_lines_options_default(void)
{
    return (snellen_lines_options){.line = snellen_line_options_default(), .n_samples = DEFAULT_SAMPLES,
                                   .session = snellen_session_options_default()};
}

snellen_status snellen_lines_eval(const snellen_model *model, const char *task, const snellen_lines_options *options,
                                  const snellen_progress *progress, snellen_lines_result **result, snellen_error *err)
{
    struct writing w = {.options = options};
    *result = NULL;
    TRY(line_spec_set(&w.spec, task, &options->line, err));
    FAIL_IF(options->n_samples < 1 || options->n_samples > MAX_SAMPLES, SNELLEN_E_USAGE,
            "samples are %u, 1 to %d expected", options->n_samples, MAX_SAMPLES);
    FAIL_IF(options->n_lanes < 0 || options->n_lanes > SNELLEN_MAX_LANES, SNELLEN_E_USAGE,
            "lanes are %lld, 1 to %d expected", (long long)options->n_lanes, SNELLEN_MAX_LANES);
    bool words = w.spec.task->words_needed(&w.spec, 1) > 0;
    TRY(symbol_tokens_set(&w.tokens, model, words ? w.spec.pool : 0, err));
    TRY(NEW_ARRAY(&w.owned, 1, "results", err));
    snellen_status status = write_and_score(&w, progress, err);
    writing_free(&w);
    *result = &w.owned->result;
    if (!status || status == SNELLEN_E_CANCELLED) return status;
    snellen_lines_result_free(*result);
    *result = NULL;
    return status;
}

void snellen_lines_result_free(snellen_lines_result *result)
{
    if (!result) return;
    struct owned_result *owned = (struct owned_result *)result;
    mem_free(result->written);
    mem_free(result->cells);
    arena_free(&owned->texts);
    mem_free(owned);
}
