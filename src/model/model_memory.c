/* The memory that a model was trained with: its settings, and what a feedback memory begins with. */
#include "model/model.h"

#include <string.h>

const snellen_model_memory *snellen_model_get_memory(const snellen_model *model)
{
    return &model->memory;
}

static snellen_status check(const snellen_model *model, const snellen_model_memory *m, snellen_error *err)
{
    FAIL_IF(m->block < 0 || m->segments < 0 || m->window < 0 || m->fam < 0 || m->fam_blocks < 0 ||
                (unsigned)m->fam_positions > SNELLEN_FAM_ZERO,
            SNELLEN_E_USAGE, "a memory's sizes are 0 or more");
    FAIL_IF(!m->prompt != !m->prompt_rows, SNELLEN_E_USAGE, "a memory's prompt of %lld rows", (long long)m->prompt_rows);
    FAIL_IF(m->prompt && m->prompt_rows != m->fam && m->prompt_rows != m->fam * model->desc.n_layers, SNELLEN_E_USAGE,
            "the memory's prompt has %lld rows, %lld expected, or as many for each of the %lld layers",
            (long long)m->prompt_rows, (long long)m->fam, (long long)model->desc.n_layers);
    return SNELLEN_OK;
}

snellen_status snellen_model_set_memory(snellen_model *model, const snellen_model_memory *memory, snellen_error *err)
{
    uint64_t n;
    float *prompt = NULL;
    TRY(check(model, memory, err));
    if (memory->prompt) {
        FAIL_IF(!size_mul((uint64_t)memory->prompt_rows, (uint64_t)model->desc.d_model, &n), SNELLEN_E_MEMORY,
                "a prompt of %lld rows is more than any machine holds", (long long)memory->prompt_rows);
        TRY(NEW_ARRAY(&prompt, n, "memory's prompt", err));
        memcpy(prompt, memory->prompt, (size_t)n * sizeof *prompt);
    }
    mem_free(model->memory_prompt);
    model->memory = *memory;
    model->memory.prompt = model->memory_prompt = prompt;
    return SNELLEN_OK;
}

snellen_status snellen_model_load_prompt(snellen_model *model, const char *path, snellen_error *err)
{
    struct safetensors *file;
    const char *type;
    const int64_t *shape;
    const void *data;
    int n_dims;
    uint64_t n_bytes;
    TRY(safetensors_open(path, &file, err));
    bool found = safetensors_raw(file, "fam.prompt", &type, &n_dims, &shape, &data, &n_bytes);
    snellen_status status = SNELLEN_OK;
    if (!found) {
        status = error_set(err, SNELLEN_E_FORMAT, "%s: no tensor 'fam.prompt'", path);
    } else if (strcmp(type, "F32") || n_dims < 2 || n_dims > 3 || shape[n_dims - 1] != model->desc.d_model ||
               (n_dims == 3 && shape[0] != model->desc.n_layers) || shape[n_dims - 2] < 1) {
        status = error_set(err, SNELLEN_E_FORMAT, "%s: tensor 'fam.prompt': %s of %d dimensions, the last %lld; F32 [rows, "
                           "%lld] or [%lld, rows, %lld] expected", path, type, n_dims,
                           n_dims ? (long long)shape[n_dims - 1] : 0, (long long)model->desc.d_model,
                           (long long)model->desc.n_layers, (long long)model->desc.d_model);
    } else {
        snellen_model_memory memory = model->memory;
        float *prompt = NULL;
        memory.fam = shape[n_dims - 2];
        memory.prompt_rows = n_dims == 3 ? shape[0] * shape[1] : shape[0];
        status = NEW_ARRAY(&prompt, memory.prompt_rows * model->desc.d_model, "memory's prompt", err);
        if (!status) {
            memcpy(prompt, data, (size_t)n_bytes); /* the file's bytes may lie at an odd address */
            memory.prompt = prompt;
            status = snellen_model_set_memory(model, &memory, err);
        }
        mem_free(prompt);
    }
    safetensors_close(file);
    return status;
}
