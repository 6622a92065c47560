/* perplexity: how well the model predicts a text of any length, overall, by position and by distance. */
#include "cli/cli.h"

#include "format/format.h"
#include "report/plot.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- the value of each token ------------------------------------------------------------------------------------- */

/* The number of tokens is known only at the end, the file's header needs it first: values wait in temporary files
 * without a name, which vanish with the process. */
struct values {
    FILE *nll, *ids;
    uint64_t n;
    float *piece;        /* values of the piece being read */
    size_t capacity;
};

static snellen_status values_open(struct values *v, snellen_error *err)
{
    v->nll = tmpfile();
    v->ids = tmpfile();
    FAIL_IF(!v->nll || !v->ids, SNELLEN_E_IO, "temporary file: %s", strerror(errno));
    return SNELLEN_OK;
}

static void values_close(struct values *v)
{
    if (v->nll) fclose(v->nll);
    if (v->ids) fclose(v->ids);
    mem_free(v->piece);
}

static snellen_status values_room(struct values *v, size_t n, snellen_error *err)
{
    if (n <= v->capacity) return SNELLEN_OK;
    mem_free(v->piece);
    v->capacity = 0;
    v->piece = NULL;
    TRY(NEW_ARRAY(&v->piece, n, "values of a piece", err));
    v->capacity = n;
    return SNELLEN_OK;
}

static snellen_status values_put(struct values *v, const int32_t *ids, size_t n, snellen_error *err)
{
    FAIL_IF(fwrite(v->piece, sizeof(float), n, v->nll) != n || fwrite(ids, sizeof(int32_t), n, v->ids) != n,
            SNELLEN_E_IO, "temporary file: %s", strerror(errno));
    v->n += n;
    return SNELLEN_OK;
}

static snellen_status copy_to_tensor(FILE *from, struct safetensors_writer *w, size_t tensor, snellen_error *err)
{
    char block[65536];
    uint64_t at = 0;
    FAIL_IF(fflush(from) || fseek(from, 0, SEEK_SET), SNELLEN_E_IO, "temporary file: %s", strerror(errno));
    for (size_t n; (n = fread(block, 1, sizeof(block), from)) > 0; at += n)
        TRY(safetensors_writer_put(w, tensor, at, block, n, err));
    FAIL_IF(ferror(from), SNELLEN_E_IO, "temporary file: %s", strerror(errno));
    return SNELLEN_OK;
}

static snellen_status values_write(struct values *v, const char *path, snellen_error *err)
{
    const struct safetensors_spec specs[] = {
        { .name = "nll", .type = "F32", .n_dims = 1, .shape = { (int64_t)v->n } },
        { .name = "tokens", .type = "I32", .n_dims = 1, .shape = { (int64_t)v->n } },
    };
    struct safetensors_writer *w;
    TRY(safetensors_writer_new(path, specs, COUNT_OF(specs), &w, err));
    snellen_status status = copy_to_tensor(v->nll, w, 0, err);
    if (!status) status = copy_to_tensor(v->ids, w, 1, err);
    if (status) {
        safetensors_writer_abort(w);
        return status;
    }
    return safetensors_writer_commit(w, err);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct work {
    struct token_stream *stream;
    snellen_perplexity *ppl;
    struct values values;
    bool want_values;
    struct state_opts state;
    double seconds;
};

enum { STEP = 256 };   /* tokens between two steps of the bar */

/* Scores n tokens of one piece. */
static snellen_status feed_piece(struct work *w, const int32_t *ids, size_t n, uint64_t *done, snellen_error *err)
{
    uint64_t size = token_stream_size(w->stream);
    for (size_t at = 0; at < n; at += STEP) {
        size_t step = MIN((size_t)STEP, n - at);
        if (w->want_values) TRY(values_room(&w->values, step, err));
        TRY(snellen_perplexity_feed(w->ppl, ids + at, step, w->want_values ? w->values.piece : NULL, err));
        if (w->want_values) TRY(values_put(&w->values, ids + at, step, err));
        *done += step;
        /* The number of tokens to come is known from the share of the bytes that was read. */
        uint64_t read = token_stream_bytes(w->stream);
        uint64_t total = size && read ? (uint64_t)((double)(*done + n - at - step) * (double)size / (double)read) : 0;
        FAIL_IF(!ui_step("tokens", *done, total ? MAX(total, *done + 1) : 0), SNELLEN_E_CANCELLED, "interrupted");
    }
    return SNELLEN_OK;
}

static snellen_status feed_all(struct work *w, snellen_error *err)
{
    double start = ui_seconds();
    uint64_t done = 0;
    snellen_status status;
    const int32_t *ids;
    size_t n;
    ui_step("tokens", 0, 0);   /* the bar's clock starts here */
    while (!(status = token_stream_next(w->stream, &ids, &n, err)) && n)
        if ((status = feed_piece(w, ids, n, &done, err))) break;
    w->seconds = ui_seconds() - start;
    return status;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* Bucket i holds 2^i .. 2^(i+1) - 1; the first one also `least` where that is 0. right may be NULL. */
static void print_buckets(const char *title, uint64_t least, const uint64_t *count, const double *sum,
                          const uint64_t *right)
{
    printf("\n%-24s %10s %10s %12s%s\n", title, "tokens", "nll", "perplexity", right ? "     right" : "");
    for (int i = 0; i < SNELLEN_PPL_BUCKETS; i++) {
        if (!count[i]) continue;
        char range[64];
        uint64_t low = i ? (uint64_t)1 << i : least, high = ((uint64_t)1 << (i + 1)) - 1;
        if (low < high) snprintf(range, sizeof(range), "%" PRIu64 "..%" PRIu64, low, high);
        else snprintf(range, sizeof(range), "%" PRIu64, low);
        double mean = sum[i] / (double)count[i];
        printf("%-24s %10" PRIu64 " %10.4f %12.4f", range, count[i], mean, exp(mean));
        if (right) printf(" %8.2f%%", 100 * (double)right[i] / (double)count[i]);
        printf("\n");
    }
}

static void print_text(const snellen_perplexity_result *r)
{
    printf("perplexity %.4f +- %.4f\n", exp(r->nll), exp(r->nll) * r->nll_stderr);
    printf("mean nll   %.4f +- %.4f nats over %" PRIu64 " of %" PRIu64 " tokens in %" PRIu64 " window%s\n", r->nll,
           r->nll_stderr, r->n_scored, r->n_tokens, r->n_windows, r->n_windows == 1 ? "" : "s");
    printf("right      %.2f%%: the likeliest token is the one that stands there\n",
           100 * (double)r->n_right / (double)r->n_scored);
    print_buckets("position in the window", 0, r->position_count, r->position_nll, r->position_right);
    print_buckets("distance to its last", 1, r->distance_count, r->distance_nll, NULL);
    if (r->first_count)
        printf("%-24s %10" PRIu64 " %10.4f %12.4f\n", "never before", r->first_count,
               r->first_nll / (double)r->first_count, exp(r->first_nll / (double)r->first_count));
}

static json_t *buckets_json(uint64_t least, const uint64_t *count, const double *sum, const uint64_t *right)
{
    json_t *list = json_array();
    for (int i = 0; list && i < SNELLEN_PPL_BUCKETS; i++) {
        if (!count[i]) continue;
        json_t *o = json_pack("{s:I, s:I, s:I, s:o}", "from", i ? (json_int_t)1 << i : (json_int_t)least, "to",
                              ((json_int_t)1 << (i + 1)) - 1, "tokens", (json_int_t)count[i], "nll",
                              cli_json_number(sum[i] / (double)count[i]));
        if (right) json_object_set_new(o, "right", json_integer((json_int_t)right[i]));
        json_array_append_new(list, o);
    }
    return list;
}

static bool print_json(const snellen_perplexity_result *r, const struct work *w)
{
    json_t *o = json_pack(
        "{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:I}", "perplexity", cli_json_number(exp(r->nll)), "nll",
        cli_json_number(r->nll), "nll_stderr", cli_json_number(r->nll_stderr), "tokens", (json_int_t)r->n_tokens,
        "scored", (json_int_t)r->n_scored, "right", (json_int_t)r->n_right, "windows", (json_int_t)r->n_windows,
        "seconds", w->seconds, "by_position",
        buckets_json(0, r->position_count, r->position_nll, r->position_right), "by_distance",
        buckets_json(1, r->distance_count, r->distance_nll, NULL), "first_tokens", (json_int_t)r->first_count);
    if (o && r->first_count)
        json_object_set_new(o, "first_nll", cli_json_number(r->first_nll / (double)r->first_count));
    return ui_json(o);
}

/* nll and the share of right tokens over the position; each bucket stands at its middle (of logarithms). */
static snellen_status draw(const snellen_perplexity_result *r, const char *memory, const char *folder,
                           snellen_error *err)
{
    double x[SNELLEN_PPL_BUCKETS], nll[SNELLEN_PPL_BUCKETS], right[SNELLEN_PPL_BUCKETS];
    size_t n = 0;
    for (int i = 0; i < SNELLEN_PPL_BUCKETS; i++) {
        if (!r->position_count[i]) continue;
        x[n] = ldexp(sqrt(2), i);
        nll[n] = r->position_nll[i] / (double)r->position_count[i];
        right[n++] = (double)r->position_right[i] / (double)r->position_count[i];
    }
    char caption[128];
    snprintf(caption, sizeof caption,
             "%" PRIu64 " tokens scored, by their place in the window or stream, in powers of two.", r->n_scored);
    struct plot_series line = {.name = memory, .n = n, .x = x, .y = nll};
    struct plot_figure f = {.id = "nll-position", .title = "How well the text is predicted, over what was read",
                            .caption = caption, .alt = "", .command = ui_command(),
                            .x = {.label = "tokens read before", .scale = PLOT_LOG},
                            .y = {.label = "nll, nats a token"}, .series = &line, .n_series = 1};
    TRY(folder_make(folder, err));
    TRY(plot_write_all(&f, folder, err));
    f.id = "right-position";
    f.title = "Tokens that the model held for the likeliest, over what was read";
    f.y = (struct plot_axis){.label = "share of right tokens"};
    line.y = right;
    return plot_write_all(&f, folder, err);
}

/* The state is written first: after an interruption it is what the user waits for. */
static snellen_status keep_state(const struct work *w, uint64_t n_tokens, snellen_error *err)
{
    if (!w->state.out) return SNELLEN_OK;
    TRY(snellen_perplexity_save(w->ppl, w->state.out, err));
    state_note(&w->state, (int64_t)n_tokens);
    return SNELLEN_OK;
}

/* Files that come out beside what is printed; NULL = not asked for. */
struct outputs {
    const char *nll, *figures, *memory;
};

static snellen_status score(struct work *w, const char *path, int64_t context, const struct outputs *out,
                            snellen_error *err)
{
    snellen_perplexity_result r;
    if (w->want_values) TRY(values_open(&w->values, err));
    if (w->state.in) TRY(snellen_perplexity_restore(w->ppl, w->state.in, err));
    snellen_status status = feed_all(w, err);
    snellen_perplexity_get(w->ppl, &r);
    if (!status || status == SNELLEN_E_CANCELLED) {
        snellen_error own;
        if (keep_state(w, r.n_tokens, &own)) {
            *err = own;
            return own.status;
        }
    }
    if (status == SNELLEN_E_CANCELLED && r.n_scored) {
        ui_note("interrupted after %" PRIu64 " tokens; so far%s:", r.n_tokens,
                w->state.out ? "" : " (the same command starts again)");
        if (ui.json) print_json(&r, w);
        else print_text(&r);
    }
    TRY(status);
    FAIL_IF(!r.n_scored && context, SNELLEN_E_USAGE,
            "%s: %" PRIu64 " tokens, at least one window of --context %" PRId64 " expected", path, r.n_tokens,
            context);
    FAIL_IF(!r.n_scored, SNELLEN_E_FORMAT,
            "%s: %" PRIu64 " tokens, at least 2 expected: the first cannot be predicted", path, r.n_tokens);
    if (out->nll) TRY(values_write(&w->values, out->nll, err));
    if (out->figures) TRY(draw(&r, out->memory, out->figures, err));
    if (ui.json) print_json(&r, w);
    else print_text(&r);
    ui_note("%" PRIu64 " tokens in %.1f s, %.0f tokens/s", r.n_tokens, w->seconds, (double)r.n_tokens / w->seconds);
    return SNELLEN_OK;
}

static snellen_status perplexity(const snellen_model *model, const char *path,
                                 const snellen_perplexity_options *options, const struct state_opts *state,
                                 const struct outputs *out, snellen_error *err)
{
    struct work w = { .want_values = out->nll != NULL, .state = *state };
    /* With windows the text starts as llama.cpp starts it; else the library begins each window with the begin token. */
    unsigned flags = options->context && !state->in ? SNELLEN_BOS : 0;
    snellen_status status = token_stream_open(path, model, flags, &w.stream, err);
    if (!status) status = snellen_perplexity_new(model, options, &w.ppl, err);
    if (!status) status = score(&w, !strcmp(path, "-") ? "standard input" : path, options->context, out, err);
    values_close(&w.values);
    snellen_perplexity_free(w.ppl);
    token_stream_close(w.stream);
    return status;
}

static int run(int argc, char **argv)
{
    struct common_opts common = common_opts_default();
    struct state_opts state = { 0 };
    const char *file = "-", *args[1];
    struct outputs out = { 0 };
    int64_t context = 0;
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT('f', "file", "FILE", &file, "text to score, of any length; - is standard input"),
        OPT_INT(0, "context", "N", &context, 4, CLI_MAX_TOKENS,
                "windows of N tokens that do not overlap, of each the second half is scored, a last window that is "
                "not full is left out: the way of llama.cpp, to compare with it",
                .shown = "none: every token is scored"),
        OPT_TEXT('o', "figures", "DIR", &out.figures,
                 "folder for PNG, SVG and CSV of nll and right tokens over the position"),
        OPT_TEXT(0, "nll", "FILE", &out.nll,
                 "safetensors file with each token's value: nll [tokens] f32 (NaN where it was not scored), tokens "
                 "[tokens] i32"),
        OPTS_LORA(&common),
        OPTS_MEMORY(&common),
        OPTS_STATE(&state),
        OPTS_ATTENTION(&common),
        OPTS_NUMBERS(&common),
        OPTS_THREADS(&common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_perplexity, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    snellen_error err;
    snellen_perplexity_options options = { .context = context };
    if (common_session(&common, &options.session, &err) || (out.nll && cli_check_output(out.nll, &err)) ||
        (state.out && cli_check_output(state.out, &err)))
        return ui_fail(&err);
    snellen_model *model = common_load(args[0], &common, &status);
    if (!model) return status;
    common_own_memory(&common, model, &options.session);
    out.memory = snellen_memory_name(options.session.memory);
    status = perplexity(model, file, &options, &state, &out, &err) ? ui_fail(&err) : 0;
    snellen_model_free(model);
    return status;
}

const struct verb verb_perplexity = {
    .name = "perplexity",
    .summary = "how well a model predicts a text: overall, by position, by distance",
    .run = run,
    .works = true,
    .usage = "MODEL -f FILE [--context N] [options]",
    .about = "Full memory reads windows as long as the model's context and scores every token but a window's first; "
             "the other memories read one endless stream. Position counts tokens in the window or stream; distance "
             "counts back to the same token's last occurrence, so it shows how far the model makes use of what it has "
             "seen. Right are the tokens that the model held for the likeliest: over a book, how well it goes on with "
             "it.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen perplexity smollm2 -f book.txt --context 512",
                  "snellen perplexity smollm2 -f book.txt --memory sink --window 1024 --nll values.safetensors" },
};
