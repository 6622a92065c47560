/* task: questions with known answers: what there is, how they read, how a model does over lengths. */
#include "cli/task.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool task_named(const char *name, snellen_task_info *info)
{
    for (size_t i = 0; snellen_task_list(i, info); i++)
        if (!strcmp(info->name, name)) return true;
    return false;
}

bool task_options_fit(const struct task_args *a, const snellen_task_info *info)
{
    enum { WORDS = 1 << SNELLEN_TASK_WORDS, SYMBOLS = 1 << SNELLEN_TASK_SYMBOLS, LONG = 1 << SNELLEN_TASK_LONG };
    static const char *const kinds[] = {"in words", "of symbols", "of long memory"};
    const struct {
        const char *name;
        bool given;
        unsigned kinds;
    } options[] = {
        {"style", a->style, WORDS},        {"cure", a->cure, WORDS},         {"bare", a->bare, WORDS},
        {"generate", a->generate, WORDS},  {"max-new", a->max_new, WORDS},   {"format", a->format, SYMBOLS | LONG},
        {"pool", a->pool, SYMBOLS | LONG}, {"spacing", a->spacing, SYMBOLS}, {"cycle", a->cycle, SYMBOLS},
        {"train", a->train, SYMBOLS | LONG}, {"forced", a->forced, SYMBOLS}, {"lanes", a->lanes, SYMBOLS},
        {"depths", a->depths, LONG},       {"within", a->within, LONG},      {"pairs", a->pairs, LONG},
        {"every", a->every, LONG},         {"back", a->back, LONG},          {"digits", a->digits, LONG},
        {"needle", a->needle, LONG},       {"question", a->question, LONG},  {"haystack", a->haystack, LONG},
        {"vary", a->vary != snellen_long_options_default().vary, LONG},
    };
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        unsigned wanted = options[i].kinds, kind = SNELLEN_TASK_WORDS;
        if (!options[i].given || wanted >> info->kind & 1) continue;
        while (!(wanted >> kind & 1)) kind++;
        ui_wrong("task: --%s is for tasks %s, %s is one %s", options[i].name, kinds[kind], info->name,
                 kinds[info->kind]);
        return false;
    }
    return true;
}

static snellen_status task_options(const struct task_args *a, const snellen_model *model, snellen_task_options *o,
                                   snellen_error *err)
{
    *o = snellen_task_options_default(model);
    TRY(common_session(&a->common, &o->session, err));
    struct common_opts own = a->common;
    common_own_memory(&own, model, &o->session);
    o->lengths = a->lengths.n ? a->lengths.v : NULL;
    o->n_lengths = a->lengths.n;
    if (a->prompts) o->n_prompts = (uint32_t)a->prompts;
    o->n_generate = (uint32_t)a->generate;
    o->max_new = (uint32_t)a->max_new;
    if (a->style) o->style = a->style;
    if (a->cure) o->cure = a->cure;
    o->chat = o->chat && !a->bare;
    o->seed = a->common.seed;
    return SNELLEN_OK;
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

int task_show(const struct task_args *a, const snellen_task_info *info, const char *format, task_samples *make,
              const char *note)
{
    snellen_error err;
    json_t *samples = ui.json ? json_array() : NULL;
    if (make(a, info, samples, &err)) {
        json_decref(samples);
        return ui_fail(&err);
    }
    if (!ui.json) {
        ui_note("%s", note);
        return 0;
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:o}", "task", info->name, "format", format, "set",
                          a->train ? "train" : "test", "seed", (json_int_t)a->common.seed, "samples", samples);
    return ui_json(o) ? 0 : 1;
}

/* ---- list -------------------------------------------------------------------------------------------------------- */

static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    for (const char *p = words; list && *p;) {
        size_t n = strcspn(p, " ");
        json_array_append_new(list, json_stringn(p, n));
        p += n + (p[n] == ' ');
    }
    return list;
}

static json_t *task_json(const snellen_task_info *t)
{
    json_t *lengths = json_array();
    for (size_t i = 0; lengths && i < t->n_lengths; i++) json_array_append_new(lengths, json_integer(t->lengths[i]));
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "name", t->name, "summary", t->summary, "source",
                          t->source, "formats", words_json(t->formats), "styles", words_json(t->styles), "cures",
                          words_json(t->cures), "frame", t->frame, "lengths", lengths);
    /* "prompts": null = without end */
    if (o) json_object_set_new(o, "prompts", t->n_prompts == UINT32_MAX ? json_null() : json_integer(t->n_prompts));
    return o;
}

static int list_tasks(void)
{
    snellen_task_info t;
    if (ui.json) {
        json_t *list = json_array();
        for (size_t i = 0; list && snellen_task_list(i, &t); i++) json_array_append_new(list, task_json(&t));
        return ui_json(list ? json_pack("{s:o}", "tasks", list) : NULL) ? 0 : 1;
    }
    printf("%-17s %-22s %-22s %s\n", "task", "styles", "cures", "what is asked");
    for (size_t i = 0; snellen_task_list(i, &t) && t.kind == SNELLEN_TASK_WORDS; i++)
        printf("%-17s %-22s %-22s %s\n", t.name, t.styles, t.cures, t.summary);
    lines_list();
    long_list();
    ui_note("look at one: snellen task show TASK; ask a model: snellen task eval TASK MODEL");
    return 0;
}

/* ---- show -------------------------------------------------------------------------------------------------------- */

static snellen_status show_one(const char *task, const snellen_task_options *o, int64_t length, uint32_t prompt,
                               json_t *samples, snellen_error *err)
{
    char *text;
    int64_t expected;
    TRY(snellen_task_show(task, o, length, prompt, &text, &expected, err));
    if (samples)
        json_array_append_new(samples, json_pack("{s:I, s:I, s:s, s:I}", "length", (json_int_t)length, "prompt",
                                                 (json_int_t)prompt, "text", text, "expected", (json_int_t)expected));
    else
        printf("[%s, length %" PRId64 ", prompt %" PRIu32 ": the answer is %" PRId64 "]\n%s\n\n", task, length, prompt,
               expected, text);
    snellen_free(text);
    return SNELLEN_OK;
}

static const char *style_of(const struct task_args *a) { return a->style ? a->style : "plain"; }
static const char *cure_of(const struct task_args *a) { return a->cure ? a->cure : ""; }

static snellen_status show_all(const struct task_args *a, const char *task, json_t *samples, snellen_error *err)
{
    snellen_task_info info;
    snellen_task_options o;
    char *text;
    int64_t expected;
    TRY(task_options(a, NULL, &o, err));
    /* A wrong name fails in snellen_task_show(), which knows the right ones. */
    int64_t first = task_named(task, &info) ? info.lengths[0] : 1;
    uint32_t n = a->prompts ? (uint32_t)a->prompts : TASK_SHOWN;
    /* The last prompt first, unseen: what can be wrong is wrong there. */
    TRY(snellen_task_show(task, &o, first, n - 1, &text, &expected, err));
    snellen_free(text);
    for (size_t i = 0; i < MAX(a->lengths.n, 1); i++)
        for (uint32_t p = 0; p < n; p++)
            TRY(show_one(task, &o, a->lengths.n ? a->lengths.v[i] : first, p, samples, err));
    return SNELLEN_OK;
}

static int show(const struct task_args *a, const char *task)
{
    snellen_error err;
    snellen_task_info info;
    if (task_named(task, &info) && !task_options_fit(a, &info)) return 2;
    if (task_named(task, &info) && info.kind == SNELLEN_TASK_SYMBOLS) return lines_show(a, &info);
    if (task_named(task, &info) && info.kind == SNELLEN_TASK_LONG) return long_show(a, &info);
    json_t *samples = ui.json ? json_array() : NULL;
    if (show_all(a, task, samples, &err)) {
        json_decref(samples);
        return ui_fail(&err);
    }
    if (!ui.json) return 0;
    json_t *o = json_pack("{s:s, s:s, s:s, s:o}", "task", task, "style", style_of(a), "cure", cure_of(a), "samples",
                          samples);
    return ui_json(o) ? 0 : 1;
}

/* ---- eval -------------------------------------------------------------------------------------------------------- */

/* JSON has no NaN and no infinity. */
static json_t *number_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *cell_json(const snellen_cell *c)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "length", (json_int_t)c->length, "n",
                     (json_int_t)c->n, "margin", number_json(c->margin), "margin_low", number_json(c->margin_low),
                     "margin_high", number_json(c->margin_high), "positive", (json_int_t)c->n_positive, "generated",
                     (json_int_t)c->n_generated, "right", (json_int_t)c->n_right, "right_low",
                     number_json(c->right_low), "right_high", number_json(c->right_high),
                     "abs_error", number_json(c->abs_error));
}

static json_t *answer_json(const snellen_answer *a)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:o, s:I}", "length", (json_int_t)a->length, "prompt",
                          (json_int_t)a->prompt, "tokens", (json_int_t)a->n_tokens, "expected", (json_int_t)a->expected,
                          "margin", number_json((double)a->margin), "best_wrong", (json_int_t)a->best_wrong);
    if (!o || !a->generated) return o;
    json_object_set_new(o, "got", a->parsed ? json_integer(a->got) : json_null());
    json_object_set_new(o, "text", cli_json_text(a->text, strlen(a->text)));
    return o;
}

static bool print_result_json(const snellen_task_result *r, const char *task, const char *model,
                              const snellen_task_options *o, double seconds)
{
    json_t *cells = json_array(), *answers = json_array();
    for (size_t i = 0; cells && i < r->n_cells; i++) json_array_append_new(cells, cell_json(&r->cells[i]));
    for (size_t i = 0; answers && i < r->n_answers; i++) json_array_append_new(answers, answer_json(&r->answers[i]));
    return ui_json(json_pack("{s:s, s:o, s:s, s:s, s:b, s:I, s:I, s:o, s:o, s:f}", "task", task, "model",
                             cli_json_text(model, strlen(model)), "style", o->style, "cure", o->cure, "chat", o->chat,
                             "seed", (json_int_t)o->seed, "blind_at", (json_int_t)r->blind_at, "cells", cells,
                             "answers", answers, "seconds", seconds));
}

static void print_result(const snellen_task_result *r, bool generated)
{
    printf("%7s %8s %9s %20s %7s", "length", "prompts", "margin", "95 % interval", "> 0");
    if (generated) printf(" %9s %14s %10s", "answers", "right, 95 %", "off by");
    printf("\n");
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_cell *c = &r->cells[i];
        char interval[64] = "-", right[64] = "-", error[32] = "-";
        if (c->n > 1) snprintf(interval, sizeof(interval), "%.2f .. %.2f", c->margin_low, c->margin_high);
        printf("%7" PRId64 " %8" PRIu32 " %9.2f %20s %6.0f%%", c->length, c->n, c->margin, interval,
               100.0 * c->n_positive / c->n);
        if (generated) {
            if (c->n_generated)
                snprintf(right, sizeof(right), "%.0f..%.0f%%", 100 * c->right_low, 100 * c->right_high);
            if (!isnan(c->abs_error)) snprintf(error, sizeof(error), "%.4g", c->abs_error);
            printf(" %4" PRIu32 "/%-4" PRIu32 " %14s %10s", c->n_right, c->n_generated, right, error);
        }
        printf("\n");
    }
    if (r->blind_at >= 0)
        printf("blind from length %" PRId64 " on: there and at every longer one asked, at least half the margins are "
               "not above 0\n", r->blind_at);
    else if (r->n_cells)
        printf("not blind: at length %" PRId64 " more than half the margins are above 0\n",
               r->cells[r->n_cells - 1].length);
}

/* Every answer's numbers into the database. */
static snellen_status record_answers(snellen_recorder *recorder, const snellen_task_result *r, const char *task,
                                     const struct task_args *a, snellen_error *err)
{
    snellen_number *numbers;
    size_t n = 0;
    TRY(NEW_ARRAY(&numbers, 2 * r->n_answers, "numbers", err));
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_answer *answer = &r->answers[i];
        snellen_number number = {.subject = task, .cure = cure_of(a), .style = style_of(a),
                                 .precision = a->common.precision, .length = answer->length, .prompt = answer->prompt,
                                 .layer = -1, .metric = "margin", .value = (double)answer->margin};
        numbers[n++] = number;
        if (!answer->generated) continue;
        number.metric = "got";
        number.value = answer->parsed ? (double)answer->got : (double)NAN;
        numbers[n++] = number;
    }
    snellen_status status = snellen_record_add(recorder, numbers, n, err);
    mem_free(numbers);
    return status;
}

/* Asks, prints and records; what was finished before an interruption too. */
static snellen_status ask(const snellen_model *model, const char *name, const char *task, const struct task_args *a,
                          snellen_recorder *recorder, snellen_error *err)
{
    snellen_task_options o;
    snellen_task_result *r = NULL;
    double start = ui_seconds();
    TRY(task_options(a, model, &o, err));
    snellen_status status = snellen_task_eval(model, task, &o, ui_progress(), &r, err), recorded = SNELLEN_OK;
    ui_clear();
    if (r) {
        if (ui.json)
            print_result_json(r, task, name, &o, ui_seconds() - start);
        else
            print_result(r, o.n_generate > 0);
        if (recorder) recorded = record_answers(recorder, r, task, a, status ? NULL : err);
        if (status) ui_note("%zu prompts were finished before the interruption", r->n_answers);
    }
    snellen_task_result_free(r);
    return status ? status : recorded;
}

/* The kind of task decides who asks. */
static snellen_status ask_task(const snellen_model *model, const char *name, const char *task,
                               const struct task_args *a, snellen_recorder *recorder, snellen_error *err)
{
    snellen_task_info info;
    if (!task_named(task, &info) || info.kind == SNELLEN_TASK_WORDS) return ask(model, name, task, a, recorder, err);
    bool symbols = info.kind == SNELLEN_TASK_SYMBOLS;
    return (symbols ? lines_ask : long_ask)(a, &info, model, name, recorder, err);
}

static snellen_status ask_and_record(const snellen_model *model, const char *name, const char *task,
                                     const struct task_args *a, snellen_error *err)
{
    const snellen_run_start start = {.verb = "task", .command = ui_command(), .model_name = name,
                                     .seed = a->common.seed, .n_threads = (int)a->common.threads};
    snellen_recorder *recorder = NULL;
    snellen_error finish;
    bool record = !a->database || *a->database;
    if (record && snellen_record_begin(a->database, model, &start, &recorder, err))
        return error_prefix(err, err->status, "results database (--db '' does without)");
    snellen_status status = ask_task(model, name, task, a, recorder, err);
    const char *how = !status ? "done" : status == SNELLEN_E_CANCELLED ? "incomplete" : "failed";
    int64_t id = recorder ? snellen_record_id(recorder) : -1;
    if (record && snellen_record_finish(recorder, how, &finish) && !status) {
        *err = finish;
        return finish.status;
    }
    if (record && !status) ui_note("kept as run %" PRId64 ": snellen runs show %" PRId64, id, id);
    return status;
}

static int eval(const struct task_args *a, const char *task, const char *path)
{
    snellen_error err;
    snellen_task_info info;
    int status;
    /* MODEL comes first in other verbs: both orders are understood. */
    if (!task_named(task, &info) && task_named(path, &info)) {
        const char *swap = task;
        task = path;
        path = swap;
    }
    if (task_named(task, &info) && !task_options_fit(a, &info)) return 2;
    snellen_model *model = common_load(path, &a->common, &status);
    if (!model) return status;
    status = ask_and_record(model, path, task, a, &err) ? ui_fail(&err) : 0;
    snellen_model_free(model);
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

static int act(const struct task_args *a, const char *const *args)
{
    if (!strcmp(args[0], "list")) {
        if (args[1]) return ui_wrong("task: list takes no name, '%.100s' found", args[1]);
        return list_tasks();
    }
    if (!strcmp(args[0], "show")) {
        if (!args[1]) return ui_wrong("task: show needs the name of a TASK; `snellen task list` has them");
        if (args[2]) return ui_wrong("task: show needs no model, '%.100s' found", args[2]);
        if (a->common.lora) return ui_wrong("task: show asks no model: --lora means nothing");
        return show(a, args[1]);
    }
    if (strcmp(args[0], "eval")) return ui_wrong("task: '%.100s' found, list, show or eval expected", args[0]);
    if (!args[1] || !args[2]) return ui_wrong("task: eval needs a TASK and a MODEL");
    return eval(a, args[1], args[2]);
}

static int run(int argc, char **argv)
{
    struct task_args a = {.common = common_opts_default(), .vary = snellen_long_options_default().vary};
    const char *args[3];
    const struct opt table[] = {
        OPT_GROUP("what is asked"),
        OPT_INTS(0, "lengths", "LIST", &a.lengths, 1, SNELLEN_LONG_MAX, "lengths of the sequences: 5,10,20 or "
                 "10..100:10; of long memory: tokens in all, 64 to 10000000",
                 .shown = "the paper's, as far as the context reaches; show: the shortest of them"),
        OPT_INT(0, "prompts", "N", &a.prompts, 1, 10000, "prompts for each length; more give narrower intervals and "
                "take longer. In words the first is the paper's, further ones differ in what does not matter",
                .shown = "20, of symbols 100; show: 3, of long memory 1"),
        OPT_SEED(0, "seed", "N", &a.common.seed, "decides the prompts after the first; tasks of symbols: all of them"),
        OPT_GROUP("tasks of symbols"),
        OPT_TEXT(0, "format", "FORMAT", &a.format, "how the content is written; which formats a task has, `snellen "
                 "task list` says", .shown = "the first"),
        OPT_INT(0, "pool", "N", &a.pool, 1, 240, "words that anchors and keys are drawn from", .shown = "128"),
        OPT_INT(0, "spacing", "K", &a.spacing, 1, 1000, "parity: an anchor before every K-th bit only", .shown = "1"),
        OPT_INT(0, "cycle", "N", &a.cycle, 1, 240, "parity, format cyclic: anchors in the repeated sequence",
                .shown = "8"),
        OPT_FLAG(0, "forced", &a.forced, "eval: the anchors of the output are put there for the model, which writes "
                 "the rest; without it the model writes them itself"),
        OPT_INT(0, "lanes", "N", &a.lanes, 1, SNELLEN_MAX_LANES, "eval: lines that are written side by side; more are "
                "faster and take more memory", .shown = "64, or what takes 512 MB"),
        OPT_FLAG(0, "train", &a.train, "samples of the training set, not of the test set"),
        OPT_GROUP("tasks of long memory"),
        OPT_TEXT(0, "depths", "LIST", &a.depths, "passkey: where the key stands, 0 = at the start, 1 = right before "
                 "the question: 0,0.5,1; each with each length", .shown = "anywhere, drawn for each sample"),
        OPT_INT(0, "within", "N", &a.within, 1, SNELLEN_LONG_MAX, "passkey: the key ends within the first N tokens",
                .shown = "anywhere"),
        OPT_INT(0, "pairs", "N", &a.pairs, 1, 10000, "associative: pairs of a key and a value", .shown = "8"),
        OPT_INT(0, "every", "N", &a.every, 1, 1000000, "stream: a question after every N lines", .shown = "10"),
        OPT_INT(0, "back", "N", &a.back, 1, 1000000, "stream: the question is for the line N lines before the last",
                .shown = "20"),
        OPT_INT(0, "digits", "N", &a.digits, 1, 9, "digits of a key or value", .shown = "5, associative 1"),
        OPT_REAL(0, "vary", "SHARE", &a.vary, 0, 1, "symbols: filler words that are not those of its pattern"),
        OPT_TEXT(0, "needle", "TEXT", &a.needle, "passkey in words: what is said, {key} in the place of the digits",
                 .shown = "the paper's sentence"),
        OPT_TEXT(0, "question", "TEXT", &a.question, "passkey in words: what stands before the answer",
                 .shown = "the paper's"),
        OPT_TEXT(0, "haystack", "FILE", &a.haystack, "passkey in words: text that the filler comes from",
                 .shown = "the paper's sentences"),
        OPT_GROUP("tasks in words"),
        OPT_TEXT(0, "style", "STYLE", &a.style, "plain, or as the task has them: step (step by step), examples (two "
                 "worked ones first)", .shown = "plain"),
        OPT_TEXT(0, "cure", "CURE", &a.cure, "rewrites the prompt: hint, commas, commas:K (a comma after every K "
                 "items), alternate, anchors (a name before each five), reverse (turned round, the other end asked for), "
                 "fives (in brackets); which of them a task has, `snellen task list` says", .shown = "none"),
        OPT_FLAG(0, "bare", &a.bare, "without the model's chat template"),
        OPT_INT(0, "generate", "N", &a.generate, 0, 10000, "prompts of each length whose answer is also written out, "
                "greedily; slow"),
        OPT_INT(0, "max-new", "N", &a.max_new, 1, 65536, "tokens an answer may take",
                .shown = "32, in style examples 192, in style step 384"),
        OPTS_LORA(&a.common),
        OPTS_MEMORY(&a.common),
        OPTS_CONTEXT(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_NUMBERS(&a.common),
        OPTS_THREADS(&a.common),
        OPTS_OUTPUT(),
        OPT_TEXT(0, "db", "FILE", &a.database, "database that keeps the numbers; '' for none",
                 .shown = "the one of `snellen runs`"),
    };
    int status = opts_parse(&verb_task, table, COUNT_OF(table), argc, argv, args);
    if (status < 0) status = act(&a, args);
    int_list_free(&a.lengths);
    return status;
}

const struct verb verb_task = {
    .name = "task",
    .summary = "questions with known answers: list them, read them, ask a model over lengths",
    .run = run,
    .works = true,
    .usage = "list | show TASK | eval TASK MODEL [options]",
    .about = "The margin is log p(right answer) - log p(best wrong answer), in nats, with the answer's first words "
             "already written; above 0 the model would rather say the right one. A length where at least half the "
             "margins are not above 0, as at all longer ones, is where the model is called blind.\n\n"
             "Tasks of symbols have no margin: the model writes the output of a line, greedily, and its own symbols "
             "stand in what it reads. A line is right when all that it wrote is, an answer when the final answer is.",
    .args = "ACTION TASK MODEL",
    .min_args = 1,
    .max_args = 3,
    .examples = { "snellen task show parity --format mnemonic --lengths 8",
                  "snellen task eval copy-last smollm2 --lengths 2..64:2 --cure commas" },
};
