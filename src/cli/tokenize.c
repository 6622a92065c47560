/* tokenize: text to token ids, or ids to text. */
#include "cli/cli.h"

#include <string.h>

struct what {
    const char *text, *file;
    bool ids, decode, bos, plain;
};

static json_t *token_json(const snellen_model *model, int32_t id)
{
    size_t n = 0;
    const char *bytes = snellen_token_bytes(model, id, &n);
    return json_pack("{s:i, s:s, s:o}", "id", id, "kind", snellen_token_kind(model, id), "piece",
                     cli_json_text(bytes ? bytes : "", n));
}

static bool print_json(const snellen_model *model, const int32_t *ids, size_t n)
{
    json_t *tokens = json_array();
    for (size_t i = 0; tokens && i < n; i++) json_array_append_new(tokens, token_json(model, ids[i]));
    return ui_json(tokens ? json_pack("{s:I, s:o}", "n", (json_int_t)n, "tokens", tokens) : NULL);
}

static void print_table(const snellen_model *model, const int32_t *ids, size_t n)
{
    printf("%8s %8s  %-8s %s\n", "index", "id", "kind", "piece");
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes = 0;
        const char *bytes = snellen_token_bytes(model, ids[i], &n_bytes);
        printf("%8zu %8d  %-8s '", i, ids[i], snellen_token_kind(model, ids[i]));
        cli_put_escaped(stdout, bytes ? bytes : "", n_bytes);
        puts("'");
    }
}

static snellen_status encode(const snellen_model *model, const struct what *w, const char *text, size_t n_bytes,
                             snellen_error *err)
{
    int32_t *ids;
    size_t n;
    unsigned flags = (w->plain ? 0 : SNELLEN_SPECIAL) | (w->bos ? SNELLEN_BOS : 0);
    TRY(snellen_tokenize(model, text, n_bytes, flags, &ids, &n, err));
    if (ui.json) {
        print_json(model, ids, n);
    } else if (w->ids) {
        for (size_t i = 0; i < n; i++) printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
    } else {
        print_table(model, ids, n);
    }
    snellen_free(ids);
    return SNELLEN_OK;
}

static snellen_status decode(const snellen_model *model, const struct what *w, const char *list, snellen_error *err)
{
    int32_t *ids;
    size_t n, n_bytes;
    char *text;
    TRY(cli_token_ids(list, snellen_model_get_info(model)->n_vocab, &ids, &n, err));
    snellen_status status = snellen_detokenize(model, ids, n, w->plain ? 0 : SNELLEN_SPECIAL, &text, &n_bytes, err);
    mem_free(ids);
    if (status) return status;
    if (ui.json) {
        json_t *s = cli_json_text(text, n_bytes);
        ui_json(s ? json_pack("{s:I, s:o}", "n", (json_int_t)n, "text", s) : NULL);
    } else {
        fwrite(text, 1, n_bytes, stdout);
    }
    snellen_free(text);
    return SNELLEN_OK;
}

static int run(int argc, char **argv)
{
    struct what w = { 0 };
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what to read (standard input without -p and -f)"),
        OPT_TEXT('p', "prompt", "TEXT", &w.text, "this text"),
        OPT_TEXT('f', "file", "FILE", &w.file,
                 "this file's bytes as they are, the last line end included; - is standard input"),
        OPT_GROUP("what to make of it"),
        OPT_FLAG(0, "ids", &w.ids, "only the ids, in one line with spaces between; else a table of pieces"),
        OPT_FLAG(0, "decode", &w.decode, "the other way: ids, separated by commas or white space, to text"),
        OPT_FLAG(0, "bos", &w.bos, "put the begin-of-sequence token first, if the model was made to see one"),
        OPT_FLAG(0, "plain", &w.plain,
                 "<|im_start|> and its like are text like any other; with --decode they are dropped"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_tokenize, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (w.text && w.file) return ui_wrong("tokenize: -p and -f exclude each other");
    if (w.decode && w.bos) return ui_wrong("tokenize: --bos makes no sense with --decode");
    if (w.decode && w.ids) return ui_wrong("tokenize: --ids makes no sense with --decode");
    snellen_model *model = cli_load(args[0], &status);
    if (!model) return status;
    snellen_error err;
    snellen_status failed;
    if (w.decode) {
        failed = decode(model, &w, w.text ? w.text : w.file ? w.file : "-", &err);
    } else if (w.text) {
        failed = encode(model, &w, w.text, strlen(w.text), &err);
    } else {
        char *text;
        size_t n;
        failed = cli_read_text(w.file ? w.file : "-", &text, &n, &err);
        if (!failed) {
            failed = encode(model, &w, text, n, &err);
            mem_free(text);
        }
    }
    snellen_model_free(model);
    return failed ? ui_fail(&err) : 0;
}

const struct verb verb_tokenize = {
    .name = "tokenize",
    .summary = "text to token ids, and back",
    .run = run,
    .usage = "MODEL [-p TEXT | -f FILE] [--ids | --decode] [options]",
    .about = "Text that spells a special token becomes that token, and no begin-of-sequence token is added, unless "
             "the options below say otherwise.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen tokenize smollm2 -p 'How many ones are in 11111?'",
                  "snellen tokenize smollm2 --decode -p '19556 905'" },
};
