/* rewrite: cures for a text of the user's own, and the way back in the answer. No model is needed. */
#include "cli/cli.h"

#include <string.h>

struct what {
    const char *text, *file, *notes, *undo;
    snellen_rewrite_options options;
};

static snellen_status save_notes(const struct what *w, const snellen_rewritten *r, snellen_error *err)
{
    return w->notes ? file_write_atomic(w->notes, r->notes, strlen(r->notes), err) : SNELLEN_OK;
}

static bool tell_changes(const struct what *w, const snellen_rewritten *r)
{
    json_error_t where;
    if (ui.json)
        return ui_json(json_pack("{s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "text", cli_json_text(r->text, r->n), "notes",
                                 json_loads(r->notes, 0, &where), "changes", "groups", (json_int_t)r->n_groups, "names",
                                 (json_int_t)r->n_names, "fives", (json_int_t)r->n_fives, "steps", (json_int_t)r->n_steps));
    fwrite(r->text, 1, r->n, stdout);
    if (w->text) putchar('\n');
    if (r->n_groups + r->n_names + r->n_fives + r->n_steps == 0)
        ui_note("nothing to cure was found: no number of more than %lld digits, no list, no word ten times in a row",
                (long long)w->options.longer);
    else
        ui_note("%lld numbers in groups, %lld items named, %lld repetitions in fives", (long long)r->n_groups,
                (long long)r->n_names, (long long)r->n_fives);
    if (!w->notes && r->n_groups + r->n_names > 0)
        ui_note("--notes FILE keeps what `snellen rewrite --undo FILE` needs to put an answer into the old words");
    return true;
}

static snellen_status rewrite(const struct what *w, const char *text, size_t n, snellen_error *err)
{
    snellen_rewritten *r;
    TRY(snellen_rewrite(text, n, &w->options, &r, err));
    snellen_status status = save_notes(w, r, err);
    if (!status) tell_changes(w, r);
    snellen_rewritten_free(r);
    return status;
}

static snellen_status undo(const struct what *w, const char *answer, size_t n, snellen_error *err)
{
    char *notes, *text;
    size_t n_notes, n_text;
    TRY(cli_read_text(w->undo, &notes, &n_notes, err));
    snellen_status status = snellen_rewrite_undo(notes, answer, n, &text, &n_text, err);
    mem_free(notes);
    if (status) return error_prefix(err, status, "%s", w->undo);
    if (ui.json) {
        ui_json(json_pack("{s:o}", "text", cli_json_text(text, n_text)));
    } else {
        fwrite(text, 1, n_text, stdout);
        if (w->text) putchar('\n');
    }
    snellen_free(text);
    return SNELLEN_OK;
}

static int run(int argc, char **argv)
{
    struct what w = {.options = snellen_rewrite_options_default()};
    const struct opt table[] = {
        OPT_GROUP("what to read (standard input without -p and -f)"),
        OPT_TEXT('p', "prompt", "TEXT", &w.text, "this text"),
        OPT_TEXT('f', "file", "FILE", &w.file, "this file's bytes as they are; - is standard input"),
        OPT_GROUP("what to make of it"),
        OPT_TEXT(0, "cure", "LIST", &w.options.cures, "groups: long numbers get a separator after every few digits; names: "
                 "items of a list get random words to look them up by; fives: a word ten times and more in a row gets "
                 "brackets around every five; steps: a request to reason step by step at the end"),
        OPT_INT(0, "every", "N", &w.options.every, 1, 1000, "groups: digits of a group"),
        OPT_INT(0, "longer", "N", &w.options.longer, 1, 1000000, "groups: numbers of more digits than that"),
        OPT_TEXT(0, "separator", "TEXT", &w.options.separator, "groups: what stands between them"),
        OPT_SEED(0, "seed", "N", &w.options.seed, "names: which words"),
        OPT_TEXT(0, "notes", "FILE", &w.notes, "write what --undo needs"),
        OPT_TEXT(0, "undo", "FILE", &w.undo, "the other way, by the notes of a rewriting: the text is an answer, separators "
                 "and names go out of it"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_rewrite, table, COUNT_OF(table), argc, argv, NULL);
    if (status >= 0) return status;
    if (w.text && w.file) return ui_wrong("rewrite: -p and -f exclude each other");
    if (w.notes && w.undo) return ui_wrong("rewrite: --notes is written, --undo reads it: one of the two");
    snellen_error err;
    char *read = NULL;
    const char *text = w.text;
    size_t n = text ? strlen(text) : 0;
    if (!text && cli_read_text(w.file ? w.file : "-", &read, &n, &err)) return ui_fail(&err);
    if (!text) text = read;
    snellen_status failed = w.undo ? undo(&w, text, n, &err) : rewrite(&w, text, n, &err);
    mem_free(read);
    return failed ? ui_fail(&err) : 0;
}

const struct verb verb_rewrite = {
    .name = "rewrite",
    .summary = "cure a prompt: digits in groups, names for list items; and the way back",
    .run = run,
    .usage = "[-p TEXT | -f FILE] [options]",
    .about = "Models lose count in long runs of the same and find things by what they are, not by where they stand. These "
             "rewritings give them something to hold on to; what each gains is measured by `snellen checkup` and "
             "`snellen study array-parity`.",
    .args = "",
    .examples = { "snellen rewrite -p 'Copy 11111111111111110' | snellen run smollm2 --chat",
                  "snellen rewrite -f list.txt --notes notes.json > cured.txt" },
};
