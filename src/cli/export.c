/* export: a model's weights, description and tokenizer as a GGUF file or a Hugging Face folder. */
#include "cli/cli.h"

#include <string.h>

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

static int export(const char *model_path, const char *lora, const char *out, const snellen_export_options *options)
{
    int status;
    snellen_error err;
    snellen_export_result result;
    snellen_model *model = cli_load(model_path, &status);
    if (!model) return status;
    snellen_status failed = lora ? snellen_model_add_lora(model, lora, &err) : SNELLEN_OK;
    if (!failed && lora) failed = snellen_model_merge_lora(model, &err);
    if (!failed) failed = snellen_model_export(model, out, options, ui_progress(), &result, &err);
    if (failed) {
        status = ui_fail(&err);
    } else {
        print_notes(result.notes);
        status = report(out, &result) ? 0 : 1;
    }
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    snellen_export_options options = snellen_export_options_default();
    const char *out = NULL, *lora = NULL, *args[1];
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
        OPT_TEXT(0, "lora", "FILE", &lora, "low-rank factors of a training run (lora.safetensors, best.safetensors), which "
                 "become part of the weights"),
        OPT_FLAG(0, "no-tokenizer", &options.no_tokenizer, "leave the tokenizer out; the result takes token ids"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_export, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (!out) return ui_wrong("export: --out PATH is missing");
    return export(args[0], lora, out, &options);
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
                  "snellen export smollm2-hf -o smollm2.gguf --type q8_0" },
};
