/* YAML by libfyaml; its messages are taken from the list of errors, nothing is printed. */
#include "train/yaml.h"

static void discard(struct fy_diag *diag, void *user, const char *text, size_t n)
{
    (void)diag, (void)user, (void)text, (void)n;
}

static snellen_status syntax_error(const char *name, bool place, struct fy_diag *diag, snellen_error *err)
{
    void *at = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);
    if (!e) FAIL(SNELLEN_E_USAGE, "%.300s: no YAML", name);
    if (!place) FAIL(SNELLEN_E_USAGE, "%.300s: no YAML: %s", name, e->msg);
    FAIL(SNELLEN_E_USAGE, "%.300s:%d:%d: no YAML: %s", name, e->line, e->column, e->msg);
}

snellen_status yaml_parse(const char *name, bool place, const char *text, size_t n, struct fy_document **document,
                          snellen_error *err)
{
    struct fy_diag_cfg diag_options;
    fy_diag_cfg_default(&diag_options);
    diag_options.fp = NULL;
    diag_options.output_fn = discard;
    struct fy_diag *diag = fy_diag_create(&diag_options);
    FAIL_IF(!diag, SNELLEN_E_MEMORY, "%.300s: memory ran out", name);
    fy_diag_set_collect_errors(diag, true);
    const struct fy_parse_cfg options = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
    *document = fy_document_build_from_string(&options, text, n);
    snellen_status status = *document ? SNELLEN_OK : syntax_error(name, place, diag, err);
    fy_diag_destroy(diag);
    return status;
}
