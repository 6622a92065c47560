/* probe attention: what each token looks at. */
#include "cli/probe.h"

#include "format/format.h"
#include "study/maps.h"

#include <string.h>

struct attention_args {
    struct common_opts common;
    snellen_attention_options options;
    const char *prompt, *tokens, *folder, *out;
    bool no_rollout;
};

struct attention_work {
    const struct attention_args *args;
    const snellen_model *model;
    int32_t *ids;
    size_t n;
    snellen_attention *maps;
};

/* ---- what one map says ------------------------------------------------------------------------------------------------ */

/* Where the last token looks in one layer, mean over the heads that are held. */
struct last_look {
    double first, self;   /* share of the first token, of the token itself */
    size_t top;           /* the one between them that gets most, and its share; 0 = there is none */
    double top_share;
};

static const float *map_of(const snellen_attention *a, int64_t layer, int64_t head)
{
    return a->weights + (layer * a->n_heads + head) * a->n_tokens * a->n_tokens;
}

static double last_share(const snellen_attention *a, int64_t layer, int64_t token)
{
    double sum = 0;
    for (int64_t h = 0; h < a->n_heads; h++)
        sum += (double)map_of(a, layer, h)[(a->n_tokens - 1) * a->n_tokens + token];
    return sum / (double)a->n_heads;
}

static struct last_look look_of(const snellen_attention *a, int64_t layer)
{
    struct last_look look = {.first = last_share(a, layer, 0), .self = last_share(a, layer, a->n_tokens - 1)};
    for (int64_t t = 1; t + 1 < a->n_tokens; t++) {
        double share = last_share(a, layer, t);
        if (share <= look.top_share) continue;
        look.top = (size_t)t;
        look.top_share = share;
    }
    return look;
}

static bool print_looks(const struct attention_work *w)
{
    const snellen_attention *a = w->maps;
    if (ui.json) {
        json_t *rows = json_array();
        for (int64_t l = 0; rows && l < a->n_layers; l++) {
            struct last_look look = look_of(a, l);
            json_array_append_new(rows, json_pack("{s:I, s:f, s:f, s:I, s:f}", "layer", (json_int_t)(a->first_layer + l),
                                                  "first", look.first, "self", look.self, "top",
                                                  (json_int_t)look.top, "top_share", look.top_share));
        }
        return ui_json(rows ? json_pack("{s:I, s:o}", "tokens", (json_int_t)a->n_tokens, "last_token", rows) : NULL);
    }
    ui_clear();
    printf("where the last of %lld tokens looks, mean over heads\n%5s  %11s  %6s  %s\n", (long long)a->n_tokens, "layer",
           "first token", "itself", "most of the others");
    for (int64_t l = 0; l < a->n_layers; l++) {
        struct last_look look = look_of(a, l);
        struct strbuf label = {0};
        if (look.top) token_label(w->model, w->ids[look.top], &label);
        printf("%5lld  %10.1f%%  %5.1f%%  ", (long long)(a->first_layer + l), 100 * look.first, 100 * look.self);
        if (look.top) printf("%5.1f%% token %zu '%s'\n", 100 * look.top_share, look.top, label.text ? label.text : "");
        else puts("-");
        strbuf_free(&label);
    }
    return ui_flush();
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

static snellen_status write_numbers(const struct attention_work *w, snellen_error *err)
{
    const snellen_attention *a = w->maps;
    int64_t n = a->n_tokens;
    const struct safetensors_spec specs[] = {
        {"attention", "F32", 4, {a->n_layers, a->n_heads, n, n}},
        {"tokens", "I32", 1, {n}},
        {"rollout", "F32", 2, {n, n}},
    };
    struct safetensors_writer *writer;
    TRY(safetensors_writer_new(w->args->out, specs, a->rollout ? 3 : 2, &writer, err));
    uint64_t map = (uint64_t)(n * n) * sizeof(float);
    snellen_status status = safetensors_writer_put(writer, 0, 0, a->weights, map * (uint64_t)(a->n_layers * a->n_heads), err);
    if (!status) status = safetensors_writer_put(writer, 1, 0, w->ids, (uint64_t)n * sizeof *w->ids, err);
    if (!status && a->rollout) status = safetensors_writer_put(writer, 2, 0, a->rollout, map, err);
    if (!status) return safetensors_writer_commit(writer, err);
    safetensors_writer_abort(writer);
    return status;
}

/* The maps asked for, as far as they are few; else the mean over all that were computed. */
static snellen_status draw_weights(const struct attention_work *w, struct token_map map, snellen_error *err)
{
    enum { MOST_FIGURES = 16 };
    const snellen_attention *a = w->maps;
    size_t cells = (size_t)(a->n_tokens * a->n_tokens), n_maps = (size_t)(a->n_layers * a->n_heads);
    char id[64], title[96];
    map.id = id;
    map.title = title;
    for (size_t i = 0; i < n_maps && n_maps <= MOST_FIGURES; i++) {
        int layer = (int)(a->first_layer + (int64_t)i / a->n_heads), head = (int)(a->first_head + (int64_t)i % a->n_heads);
        snprintf(id, sizeof id, "attention-layer%d-head%d", layer, head);
        snprintf(title, sizeof title, "Attention, layer %d, head %d", layer, head);
        map.values = a->weights + i * cells;
        TRY(token_map_write(w->model, &map, w->args->folder, err));
    }
    if (n_maps <= MOST_FIGURES) return SNELLEN_OK;
    float *mean;
    TRY(NEW_ARRAY(&mean, cells, "mean attention", err));
    for (size_t i = 0; i < n_maps; i++)
        for (size_t c = 0; c < cells; c++) mean[c] += a->weights[i * cells + c] / (float)n_maps;
    snprintf(id, sizeof id, "attention-mean");
    snprintf(title, sizeof title, "Attention, mean of %zu maps", n_maps);
    map.values = mean;
    snellen_status status = token_map_write(w->model, &map, w->args->folder, err);
    mem_free(mean);
    return status;
}

static snellen_status draw(const struct attention_work *w, snellen_error *err)
{
    struct token_map map = {
        .caption = "Row: the token that looks; column: the token it looks at.", .command = ui_command(),
        .x_label = "looked at", .y_label = "looks", .value_label = "share", .n_rows = w->n, .n_columns = w->n,
        .row_tokens = w->ids, .column_tokens = w->ids, .log = true,
    };
    TRY(folder_make(w->args->folder, err));
    TRY(draw_weights(w, map, err));
    if (!w->maps->rollout) return SNELLEN_OK;
    map.id = "rollout";
    map.title = "Attention rollout";
    map.caption = "Row: a token at the end of the model; column: the input tokens that attention carried to it, "
                  "as the product of (A + I) / 2 over the layers.";
    map.values = w->maps->rollout;
    return token_map_write(w->model, &map, w->args->folder, err);
}

/* ---- the verb ------------------------------------------------------------------------------------------------------------- */

static snellen_status probe(struct attention_work *w, const snellen_attention_options *options, snellen_error *err)
{
    if (w->args->out) TRY(cli_check_output(w->args->out, err));
    TRY(probe_prompt(w->model, w->args->prompt, w->args->tokens, &w->ids, &w->n, err));
    TRY(snellen_probe_attention(w->model, w->ids, w->n, options, ui_progress(), &w->maps, err));
    if (w->args->out) TRY(write_numbers(w, err));
    return w->args->folder ? draw(w, err) : SNELLEN_OK;
}

static int run(int argc, char **argv)
{
    struct attention_args a = {.common = common_opts_default(), .options = snellen_attention_options_default()};
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what is read"),
        OPT_TEXT('p', "prompt", "TEXT", &a.prompt, "a text; special tokens are read as such"),
        OPT_TEXT(0, "tokens", "LIST", &a.tokens, "token ids, as in 1,2,3, or a file of ids"),
        OPT_GROUP("which maps"),
        OPT_INT(0, "layer", "L", &a.options.layer, 0, 100000, "this layer alone, from 0", .shown = "all"),
        OPT_INT(0, "head", "H", &a.options.head, 0, 100000, "this head alone, from 0", .shown = "all"),
        OPT_FLAG(0, "no-rollout", &a.no_rollout, "leave out the rollout, which costs tokens^3 a layer"),
        OPTS_LORA(&a.common),
        OPTS_MEMORY(&a.common),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV: up to 16 maps, or the mean of all, and "
                 "the rollout"),
        OPT_TEXT(0, "out", "FILE", &a.out, "safetensors file: attention [layers, heads, T, T], tokens [T], rollout [T, T]"),
        OPTS_THREADS(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_attention, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    snellen_error err;
    if (common_session(&a.common, &a.options.session, &err)) return ui_fail(&err);
    a.options.rollout = !a.no_rollout;
    snellen_model *model = common_load(args[0], &a.common, &status);
    if (!model) return status;
    struct attention_work w = {.args = &a, .model = model};
    status = probe(&w, &a.options, &err) ? ui_fail(&err) : print_looks(&w) ? 0 : 1;
    snellen_attention_free(w.maps);
    mem_free(w.ids);
    snellen_model_free(model);
    return status;
}

const struct verb probe_attention = {
    .name = "probe attention",
    .summary = "what each token looks at",
    .run = run,
    .works = true,
    .usage = "MODEL (-p TEXT | --tokens LIST) [options]",
    .about = "The attention weights of a prompt, by layer and head, and their rollout over all layers (arXiv 2005.00928). "
             "Printed: where the last token looks, layer by layer.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe attention smollm2 -p 'The cat sat on the' -o figures",
                  "snellen probe attention smollm2 -p 'one two one' --layer 3 --out maps.safetensors" },
};
