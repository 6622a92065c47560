/* bench --stream: one session reads on and on. How fast it reads and makes tokens, and what the process takes, at equal
 * distances; Ctrl-C ends the stream and keeps what was measured. */
#include "cli/bench.h"

#include "report/plot.h"

#include <math.h>

enum { POINTS = 25, PIECE = 1024 };

struct stream {
    const struct stream_options *o;
    snellen_session *session;
    int32_t tokens[PIECE];
    double read[POINTS];                      /* tokens in the session */
    double prompt[POINTS], decode[POINTS];    /* tokens a second */
    double resident[POINTS];                  /* megabytes of the process */
    size_t n;
};

/* ---- measuring ------------------------------------------------------------------------------------------------------- */

static snellen_status feed(struct stream *s, int64_t n, int64_t piece, double *rate, snellen_error *err)
{
    double start = ui_seconds();
    for (int64_t at = 0; at < n; at += piece) {
        int64_t m = MIN(piece, n - at);
        TRY(snellen_session_feed(s->session, s->tokens + at % (PIECE - m + 1), (size_t)m, NULL, err));
        FAIL_IF(!ui_step("tokens", (uint64_t)snellen_session_length(s->session), (uint64_t)s->o->n_tokens),
                SNELLEN_E_CANCELLED, "interrupted");
    }
    *rate = (double)n / (ui_seconds() - start);
    return SNELLEN_OK;
}

static void print_point(const struct stream *s, size_t i)
{
    if (ui.json) return;
    ui_clear();
    printf("%12.0f %13.1f %13.1f %12.1f\n", s->read[i], s->prompt[i], s->decode[i], s->resident[i]);
    ui_flush();
}

static snellen_status read_on(struct stream *s, snellen_error *err)
{
    const struct stream_options *o = s->o;
    ui_step("tokens", 0, (uint64_t)o->n_tokens);   /* the bar's clock starts here */
    for (; s->n < POINTS; s->n++) {
        int64_t until = (int64_t)((double)o->n_tokens / POINTS * (double)(s->n + 1));
        int64_t left = MAX(until - snellen_session_length(s->session) - o->n_decode, 1);
        TRY(feed(s, left, PIECE, &s->prompt[s->n], err));
        TRY(feed(s, o->n_decode, 1, &s->decode[s->n], err));
        s->read[s->n] = (double)snellen_session_length(s->session);
        s->resident[s->n] = (double)resident_bytes() / 1e6;
        print_point(s, s->n);
    }
    return SNELLEN_OK;
}

/* ---- telling --------------------------------------------------------------------------------------------------------- */

static snellen_status draw(const struct stream *s, const char *memory, snellen_error *err)
{
    const struct plot_series speed[] = {{.name = "reading", .n = s->n, .x = s->read, .y = s->prompt},
                                        {.name = "one by one", .n = s->n, .x = s->read, .y = s->decode}};
    const struct plot_series resident = {.name = "process", .n = s->n, .x = s->read, .y = s->resident};
    char title[64], caption[128];
    snprintf(title, sizeof title, "A stream through memory %s", memory);
    snprintf(caption, sizeof caption, "%.0f tokens, at %zu places %lld tokens one by one.", s->read[s->n - 1], s->n,
             (long long)s->o->n_decode);
    struct plot_figure f = {.id = "stream-speed", .title = title, .caption = caption, .alt = "", .command = ui_command(),
                            .x = {.label = "tokens read"}, .y = {.label = "tokens a second", .scale = PLOT_LOG},
                            .series = speed, .n_series = COUNT_OF(speed)};
    TRY(plot_write_all(&f, s->o->folder, err));
    double most = 0;
    for (size_t i = 0; i < s->n; i++) most = fmax(most, s->resident[i]);
    f.id = "stream-memory";
    f.y = (struct plot_axis){.label = "resident megabytes", .low = 0, .high = most * 1.25};
    f.series = &resident;
    f.n_series = 1;
    return plot_write_all(&f, s->o->folder, err);
}

static void print_json(const struct stream *s, const char *memory)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(rows, json_pack("{s:I, s:f, s:f, s:f}", "tokens", (json_int_t)s->read[i], "prompt",
                                              s->prompt[i], "decode", s->decode[i], "resident_mb", s->resident[i]));
    ui_json(json_pack("{s:s, s:s, s:I, s:o}", "version", snellen_version(), "memory", memory, "decoded",
                      (json_int_t)s->o->n_decode, "results", rows));
}

/* The last quarter beside the first one, by medians of seven points at most. */
static double change(const double *values, size_t n)
{
    struct measure first = {.reps = (int64_t)MAX(n / 4, 1)}, last = first;
    for (int64_t i = 0; i < first.reps; i++) {
        first.rate[i] = values[i];
        last.rate[i] = values[n - 1 - (size_t)i];
    }
    measure_sort(&first);
    measure_sort(&last);
    return measure_median(&last) / measure_median(&first);
}

static snellen_status tell(const struct stream *s, const char *memory, snellen_error *err)
{
    if (!s->n) return SNELLEN_OK;
    if (ui.json) print_json(s, memory);
    else
        printf("\nlast quarter to first: reading %.3f, one by one %.3f, resident %.3f\n", change(s->prompt, s->n),
               change(s->decode, s->n), change(s->resident, s->n));
    return s->o->folder ? draw(s, memory, err) : SNELLEN_OK;
}

snellen_status bench_stream(const snellen_model *model, const snellen_session_options *options,
                            const struct stream_options *stream, snellen_error *err)
{
    struct stream *s;
    struct rng r;
    const char *memory = snellen_memory_name(options->memory);
    TRY(NEW_ARRAY(&s, 1, "measures", err));
    s->o = stream;
    rng_seed(&r, 1, 0);
    uint64_t n_vocab = (uint64_t)snellen_model_get_info(model)->n_vocab;
    for (int i = 0; i < PIECE; i++) s->tokens[i] = (int32_t)rng_below(&r, n_vocab);
    snellen_status status = snellen_session_new(model, options, &s->session, err);
    if (!status && !ui.json)
        printf("memory %s\n\n%12s %13s %13s %12s\n", memory, "tokens read", "reading tok/s", "decode tok/s", "resident MB");
    if (!status) {
        snellen_session_set_progress(s->session, ui_interruptible());
        status = read_on(s, err);
        ui_clear();
        if (!status || status == SNELLEN_E_CANCELLED) {
            snellen_error why;
            snellen_status told = tell(s, memory, &why);
            if (told) *err = why, status = told;
        }
    }
    snellen_session_free(s->session);
    mem_free(s);
    return status;
}
