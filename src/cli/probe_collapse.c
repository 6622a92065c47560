/* probe collapse: how far apart a model holds n and n + 1 equal items. */
#include "cli/probe.h"
#include "study/checkup.h"

#include <math.h>
#include <string.h>

struct probe_args {
    struct common_opts common;
    struct probe_request request;
    struct int_list lengths;
    const char *tokens, *folder, *database;
    int64_t prompts, comma;
};

/* ---- results --------------------------------------------------------------------------------------------------------------- */

static json_t *number_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *row_json(const snellen_collapse_row *r)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o}", "n", (json_int_t)r->n, "prompt",
                     (json_int_t)r->prompt, "layer", (json_int_t)r->layer, "linf_mean", number_or_null(r->linf_mean),
                     "linf_min", number_or_null(r->linf_min), "linf_max", number_or_null(r->linf_max), "l1",
                     number_or_null(r->l1), "relative", number_or_null(r->relative), "mean_abs", number_or_null(r->mean_abs),
                     "bit_equal", (int)r->bit_equal, "same_logits", (int)r->same_logits, "same_top", (int)r->same_top,
                     "shift", number_or_null(r->shift));
}

/* What rounding does at each length; null without f32 to compare with. */
static json_t *points_json(const struct checkup *c, const struct checkup_collapse *k)
{
    const struct checkup_collapse *f32 = checkup_find_collapse(&c->plan, k->sequence, SNELLEN_F32);
    if (!f32 || k->precision == SNELLEN_F32) return json_null();
    json_t *points = json_array();
    for (size_t i = 0; points && i < k->n_lengths; i++)
        json_array_append_new(points, json_pack("{s:I, s:o, s:o}", "n", (json_int_t)k->lengths[i], "rounding",
                                                number_or_null(checkup_rounding_at(k, f32, i, c->info)), "loss",
                                                number_or_null(checkup_loss_at(k, f32, i, c->info))));
    return points;
}

static bool print_json(const struct checkup *c)
{
    json_t *all = json_array();
    for (size_t i = 0; all && i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        if (k->overflow)
            json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s}", "sequence", k->sequence, "precision",
                checkup_precision_name(k->precision), "part", checkup_part_name(k->part), "overflow", k->overflow));
        if (!k->result) continue;
        json_t *rows = json_array(), *points = points_json(c, k);
        for (size_t j = 0; rows && j < k->result->n_rows; j++) json_array_append_new(rows, row_json(&k->result->rows[j]));
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:o}", "sequence", k->sequence,
            "precision", checkup_precision_name(k->precision), "part", checkup_part_name(k->part), "blind_at",
            k->result->blind_at < 0 ? json_null() : json_integer(k->result->blind_at), "faint_at",
            k->result->faint_at < 0 ? json_null() : json_integer(k->result->faint_at), "tokens",
            (json_int_t)k->result->n_tokens, "rows", rows, "points", points));
    }
    return ui_json(all ? json_pack("{s:o}", "collapse", all) : NULL);
}

/* y_n only; --json and --out have every layer. */
static void print_table(const struct checkup *c, const struct checkup_collapse *k)
{
    int64_t last = c->info->n_layers + 1;
    printf("%s, %s: y_n against y*_n after the final norm\n", k->sequence, checkup_type_name(k));
    printf("%7s %6s %10s %10s %10s %10s %10s %10s  %s\n", "n", "prompt", "linf", "min head", "max head", "l1", "relative",
           "shift", "equal");
    for (size_t i = 0; i < k->result->n_rows; i++) {
        const snellen_collapse_row *r = &k->result->rows[i];
        if (r->layer != last) continue;
        printf("%7lld %6u %10.4g %10.4g %10.4g %10.4g %10.4g %10.4g  %s\n", (long long)r->n, r->prompt, r->linf_mean,
               r->linf_min, r->linf_max, r->l1, r->relative, r->shift,
               r->bit_equal ? "vectors" : r->same_logits ? "logits" : r->same_top ? "top" : "-");
    }
    struct collapse_finding f = checkup_judge_part(&c->plan, k, c->info);
    struct strbuf b = {0};
    strbuf_puts(&b, "tells n from n+1 ");
    checkup_put_reach(&b, &f.tells);
    strbuf_puts(&b, f.has_noise ? " (linf at least 2^-7, and more than rounding does)" : " (linf at least 2^-7)");
    strbuf_puts(&b, "; vectors differ in their bits ");
    checkup_put_reach(&b, &f.bits);
    if (b.text) puts(b.text);
    strbuf_free(&b);
    putchar('\n');
}

/* "161", "161 .. 512": and at some longer ones up to 512, "all tried", "none". */
static const char *reach_text(const struct reach *r, char text[32])
{
    if (!r->any) return "-";
    if (r->fails_at < 0) return "all tried";
    if (!r->last) return "none";
    if (r->again) snprintf(text, 32, "%lld .. %lld", (long long)r->up_to, (long long)r->last);
    else snprintf(text, 32, "%lld", (long long)r->up_to);
    return text;
}

/* How far one more item is told, by what is rounded. */
static void print_parts(const struct checkup *c)
{
    printf("how far one more item outdoes rounding, by what is rounded\n");
    printf("%-20s %-18s %14s %14s %14s %14s\n", "sequence", "rounded", "vector", "difference", "vectors differ",
           "logits differ");
    for (size_t i = 0; i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        struct collapse_finding f = checkup_judge_part(&c->plan, k, c->info);
        char text[4][32];
        if (!f.known) {
            if (k->overflow) printf("%-20s %-18s %14s\n", k->sequence, checkup_type_name(k), "overflows");
            continue;
        }
        printf("%-20s %-18s %14s %14s %14s %14s\n", k->sequence, checkup_type_name(k), reach_text(&f.noise, text[0]),
               reach_text(&f.kept, text[1]), reach_text(&f.bits, text[2]), reach_text(&f.logits, text[3]));
    }
}

static bool print_results(const struct checkup *c)
{
    if (ui.json) return print_json(c);
    ui_clear();
    for (size_t i = 0; i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        if (k->result) print_table(c, k);
        else if (k->overflow) printf("%s, %s: cannot be read: %s\n\n", k->sequence, checkup_type_name(k), k->overflow);
    }
    for (size_t i = 0; i < c->plan.n_collapses; i++)
        if (c->plan.collapses[i].part) {
            print_parts(c);
            break;
        }
    return ui_flush();
}

/* ---- the work ---------------------------------------------------------------------------------------------------------------- */

static snellen_status fill_request(struct probe_args *a, const snellen_model *model, int32_t **ids, snellen_error *err)
{
    struct probe_request *r = &a->request;
    TRY(common_session(&a->common, &r->collapse.session, err));
    r->collapse.n_prompts = (uint32_t)a->prompts;
    r->collapse.comma = (uint32_t)a->comma;
    r->collapse.seed = a->common.seed;
    if (a->lengths.n) {
        r->collapse.lengths = a->lengths.v;
        r->collapse.n_lengths = a->lengths.n;
    }
    if (!a->tokens) return SNELLEN_OK;
    TRY(cli_token_ids(a->tokens, snellen_model_get_info(model)->n_vocab, ids, &r->collapse.n_prompt_tokens, err));
    r->collapse.prompt_tokens = *ids;
    return SNELLEN_OK;
}

static int measure(struct probe_args *a, const char *path)
{
    int status = 0;
    snellen_error err;
    int32_t *ids = NULL;
    if (a->request.numbers && cli_check_output(a->request.numbers, &err)) return ui_fail(&err);
    snellen_model *model = common_load(path, &a->common, &status);
    if (!model) return status;
    struct checkup c = {.model = model, .progress = ui_progress()};
    c.options = snellen_checkup_options_default();
    c.options.folder = a->folder;
    c.options.database = a->database;
    c.options.model_name = path;
    c.options.command = ui_command();
    c.options.seed = a->common.seed;
    snellen_status done = fill_request(a, model, &ids, &err);
    if (!done) done = checkup_probe(&c, &a->request, &err);
    if ((!done || done == SNELLEN_E_CANCELLED) && !print_results(&c)) status = 1;
    if (done) status = ui_fail(&err);
    checkup_free(&c);
    mem_free(ids);
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    struct probe_args a = {.common = common_opts_default(), .prompts = 1,
                           .request = {.sequence = "ones", .part = "all", .up_to = 2001,
                                       .collapse = snellen_collapse_options_default()}};
    const char *args[1];
    a.request.precision = a.common.precision;
    const struct opt table[] = {
        OPT_GROUP("what is read"),
        OPT_CHOICE(0, "sequence", "NAME", &a.request.sequence, "ones digits copy commas alternate all",
                   "what ends the prompt: 1 repeated; random digits; 1 repeated, to be copied; the same with a comma every 3; 1 "
                   "and 0 by turns"),
        OPT_TEXT('p', "prompt", "TEXT", &a.request.collapse.prompt, "text before the sequence; special tokens are read as such",
                 .shown = "the paper's question"),
        OPT_TEXT(0, "tokens", "LIST", &a.tokens, "the same as token ids, as in 1,2,3, or a file of ids"),
        OPT_TEXT(0, "repeat", "TEXT", &a.request.collapse.repeat, "the item that is repeated; must be one token", .shown = "1"),
        OPT_INT(0, "comma", "K", &a.comma, 1, 1000000, "a comma after every K items", .shown = "as the sequence says"),
        OPT_FLAG(0, "chat", &a.request.collapse.chat, "in a user's turn of the model's chat template"),
        OPT_INT(0, "prompts", "N", &a.prompts, 1, 1000, "prompts: other wordings (at most 20), other digits"),
        OPT_INT(0, "up-to", "N", &a.request.up_to, 1, 2001, "longest sequence; about five lengths an octave"),
        OPT_INTS(0, "lengths", "LIST", &a.lengths, 1, 1 << 24, "lengths: 1,2,4 or 1..64:1; at most 96 of them",
                 .shown = "as --up-to says"),
        OPT_CHOICE(0, "precision", "TYPE", &a.request.precision, "f32 bf16 f16 q8_0 all",
                   "rounds every activation, every cached key and value, and the logits; q8_0: the cache alone"),
        OPT_CHOICE(0, "part", "PART", &a.request.part, "all each weights activations cache logits",
                   "what --precision rounds: all that is computed, or one part of the model alone, beside f32. each: "
                   "one after the other, which tells the part that makes n and n + 1 one"),
        OPT_SEED(0, "seed", "N", &a.common.seed, "decides the random digits"),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV of each figure"),
        OPT_TEXT(0, "out", "FILE", &a.request.numbers, "safetensors file of all numbers: NAME.TYPE.MEASURE [prompts, lengths, "
                 "layers] and NAME.TYPE.vectors [prompts, lengths, 2, width]"),
        OPT_TEXT(0, "db", "FILE", &a.database, "database that keeps the numbers; '' for none",
                 .shown = "the one of `snellen runs`"),
        OPT_INT(0, "chunk", "N", &a.common.chunk, 1, 8192, "tokens processed at a time", .shown = "512"),
        OPTS_THREADS(&a.common),
        OPTS_LORA(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_collapse, table, COUNT_OF(table), argc, argv, args);
    if (status < 0) status = measure(&a, args[0]);
    int_list_free(&a.lengths);
    return status;
}

const struct verb probe_collapse = {
    .name = "probe collapse",
    .summary = "how far apart a model holds n and n + 1 items",
    .run = run,
    .works = true,
    .usage = "MODEL [options]",
    .about = "How far apart the vectors of a prompt's last token lie when its sequence has n items, and n with the last "
             "item once more (arXiv 2406.04267). Shown at the end of the model; --json and --out have every layer.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe collapse smollm2 --precision all -o figures",
                  "snellen probe collapse smollm2 -p 'How many twos? ' --repeat 2 --lengths 1,10,100" },
};
