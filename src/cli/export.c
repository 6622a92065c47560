/* export: a model's weights, description and tokenizer as a GGUF file or a Hugging Face folder. */
#include "cli/cli.h"

#include <string.h>

enum { MAX_OTHERS = 63 };

/* What becomes part of the weights. */
struct parts {
    const char *lora;       /* or NULL */
    const char *mean;       /* names of models, separated by commas; "" = none */
};

static void print_notes(const char *notes)
{
    while (*notes) {
        int n = (int)strcspn(notes, "\n");
        ui_note("note: %.*s", n, notes);
        notes += n + (notes[n] == '\n');
    }
}

static bool report(const char *path, const snellen_export_result *r)
{
    char size[32];
    if (ui.json)
        return ui_json(json_pack("{s:o, s:I, s:I, s:o}", "out", cli_json_text(path, strlen(path)), "tensors",
                                 (json_int_t)r->n_tensors, "bytes", (json_int_t)r->n_bytes, "notes",
                                 cli_json_text(r->notes, strlen(r->notes))));
    printf("%s: %llu tensors, %s\n", path, (unsigned long long)r->n_tensors, ui_bytes(r->n_bytes, size));
    return true;
}

/* The models whose names stand in `list`, separated by commas; *n were loaded. */
static int load_others(const char *list, snellen_model *others[MAX_OTHERS], size_t *n)
{
    char name[4096];
    int status = 0;
    for (*n = 0; !status && *list; ++*n) {
        size_t length = strcspn(list, ",");
        if (*n == MAX_OTHERS) return ui_wrong("export: --mean takes up to %d models", MAX_OTHERS);
        if (!length || length >= sizeof name) return ui_wrong("export: --mean: names of models, separated by commas, expected");
        snprintf(name, sizeof name, "%.*s", (int)length, list);
        list += length + (list[length] == ',');
        if (!(others[*n] = cli_load(name, &status))) return status;
    }
    return status;
}

static int export_model(snellen_model *model, const struct parts *parts, const char *out,
                        const snellen_export_options *options)
{
    snellen_error err;
    snellen_export_result result;
    snellen_model *others[MAX_OTHERS];
    size_t n = 0;
    int status = load_others(parts->mean, others, &n);
    snellen_status failed = !status && parts->lora ? snellen_model_add_lora(model, parts->lora, &err) : SNELLEN_OK;
    if (!status && !failed && parts->lora) failed = snellen_model_merge_lora(model, &err);
    if (!status && !failed && n) failed = snellen_model_mean(model, (const snellen_model *const *)others, n, &err);
    if (!status && !failed) failed = snellen_model_export(model, out, options, ui_progress(), &result, &err);
    for (size_t i = 0; i < n; i++) snellen_model_free(others[i]);
    if (status) return status;
    if (failed) return ui_fail(&err);
    print_notes(result.notes);
    return report(out, &result) ? 0 : 1;
}

static int export(const char *model_path, const struct parts *parts, const char *out, const snellen_export_options *options)
{
    int status;
    snellen_model *model = cli_load(model_path, &status);
    if (!model) return status;
    status = export_model(model, parts, out, options);
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    snellen_export_options options = snellen_export_options_default();
    struct parts parts = {.mean = ""};
    const char *out = NULL, *args[1];
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT('o', "out", "PATH", &out,
                 "where to: a name that ends in .gguf is a GGUF file, any other a folder for Transformers"),
        OPT_CHOICE(0, "format", "FORMAT", &options.format, "gguf hf", "the kind of output, whatever its name",
                   .shown = "by the name of --out"),
        OPT_CHOICE(0, "type", "TYPE", &options.type, "f32 f16 bf16 q8_0 q4_0 q4_1",
                   "how weights are stored; f32, f16 and bf16 in a folder. Norms, biases and position tables stay f32 "
                   "in GGUF, and rows that are no whole blocks become f16",
                   .shown = "as they are; f32 in a folder where they are quantised"),
        OPT_TEXT(0, "lora", "FILE", &parts.lora, "low-rank factors of a training run (lora.safetensors, best.safetensors), which "
                 "become part of the weights"),
        OPT_TEXT(0, "mean", "MODEL,..", &parts.mean, "write the mean of the weights of MODEL and these, which were trained on "
                 "from one model: it often has the mistakes of none", .shown = "none"),
        OPT_FLAG(0, "no-tokenizer", &options.no_tokenizer, "leave the tokenizer out; the result takes token ids"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_export, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (!out) return ui_wrong("export: --out PATH is missing");
    if (parts.lora && *parts.mean) return ui_wrong("export: --lora and --mean are two steps: export the merged model first");
    return export(args[0], &parts, out, &options);
}

const struct verb verb_export = {
    .name = "export",
    .summary = "write a model as GGUF or as a Hugging Face folder",
    .run = run,
    .works = true,
    .usage = "MODEL -o PATH [options]",
    .about = "Weights, description and tokenizer go along: Hugging Face Transformers loads the folder, llama.cpp the "
             "file. Files appear when they are complete; a failed export leaves none.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen export smollm2 -o smollm2-hf --type bf16",
                  "snellen export run-1/model --mean run-2/model,run-3/model -o mean.gguf --type q8_0" },
};
