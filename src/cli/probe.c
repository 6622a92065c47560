/* probe: one measurement inside a model. Finds which, and hands over to it. */
#include "cli/probe.h"

#include <string.h>

static const struct verb *const probes[] = {&probe_collapse, &probe_attention, &probe_attribution, &probe_squash, &probe_memory,
                                            &probe_retrieval};

snellen_status probe_prompt(const snellen_model *model, const char *text, const char *tokens, int32_t **ids, size_t *n,
                            snellen_error *err)
{
    FAIL_IF(!text == !tokens, SNELLEN_E_USAGE, "probe: a prompt is wanted: -p TEXT or --tokens LIST");
    if (tokens) {
        TRY(cli_token_ids(tokens, snellen_model_get_info(model)->n_vocab, ids, n, err));
    } else {
        int32_t *found;
        TRY(cli_tokenize_prompt(model, text, strlen(text), &found, n, err));
        snellen_status status = NEW_ARRAY(ids, *n + 1, "tokens", err);
        if (!status && *n) memcpy(*ids, found, *n * sizeof *found);
        snellen_free(found);
        TRY(status);
    }
    if (*n) return SNELLEN_OK;
    mem_free(*ids);
    FAIL(SNELLEN_E_USAGE, "probe: the prompt holds no token, at least one expected");
}

/* "probe collapse" -> "collapse" */
static const char *short_name(const struct verb *probe)
{
    return strchr(probe->name, ' ') + 1;
}

static int unknown_probe(const char *word)
{
    const char *names[COUNT_OF(probes)];
    struct strbuf list = {0};
    for (size_t i = 0; i < COUNT_OF(probes); i++) {
        names[i] = short_name(probes[i]);
        strbuf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = text_nearest(word, names, COUNT_OF(probes));
    int status = near ? ui_wrong("probe: '%.100s' found; did you mean %s?", word, near)
                      : ui_wrong("probe: '%.100s' found, one of %s expected", word, list.text ? list.text : "");
    strbuf_free(&list);
    return status;
}

static int run(int argc, char **argv)
{
    const struct opt table[] = {OPTS_OUTPUT()};
    const char *args[2];
    for (size_t i = 0; argc > 1 && i < COUNT_OF(probes); i++)
        if (!strcmp(argv[1], short_name(probes[i]))) return probes[i]->run(argc - 1, argv + 1);
    int status = opts_parse(&verb_probe, table, COUNT_OF(table), argc, argv, args);
    return status < 0 ? unknown_probe(args[0]) : status;
}

const struct verb verb_probe = {
    .name = "probe",
    .summary = "one measurement: collapse, attention, attribution, squash, memory, retrieval",
    .run = run,
    .works = true,
    .usage = "WHAT MODEL [options]",
    .about = "collapse: how far apart a model holds n and n + 1 items (arXiv 2406.04267).\n"
             "attention: what each token looks at, by layer and head, and the rollout over all layers.\n"
             "attribution: what each context token did for each output (arXiv 2408.05506).\n"
             "squash: how much of each token reaches the last one (arXiv 2406.04267).\n"
             "memory: what goes through the rows that a memory carries from block to block (arXiv 2404.09173).\n"
             "retrieval: what a model finds at which depth of which length, by index and by content.\n"
             "`snellen probe WHAT --help` says more.",
    .args = "WHAT MODEL",
    .min_args = 2,
    .max_args = 2,
    .examples = { "snellen probe collapse smollm2 --precision all -o figures",
                  "snellen probe attention smollm2 -p 'The cat sat on the' -o figures" },
};
