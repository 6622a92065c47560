/* The memory that a model was trained with: its settings, and what a feedback memory begins with. */
#include "model/model.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const place_names[] = {"last", "float", "zero"};

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

/* ---- the prompt of a file ---------------------------------------------------------------------------------------- */

/* *prompt by mem_free(); NULL where the file has none. */
static snellen_status read_prompt(const struct snellen_model *model, const struct safetensors *file, const char *path,
                                  float **prompt, int64_t *n_rows, int64_t *fam, snellen_error *err)
{
    const char *type;
    const int64_t *shape;
    const void *data;
    int n_dims;
    uint64_t n_bytes;
    int64_t d = model->desc.d_model, n_layers = model->desc.n_layers;
    *prompt = NULL;
    if (!safetensors_raw(file, "fam.prompt", &type, &n_dims, &shape, &data, &n_bytes)) return SNELLEN_OK;
    bool layers = n_dims == 3 && shape[0] == n_layers;
    FAIL_IF(strcmp(type, "F32") || (n_dims != 2 && !layers) || shape[n_dims - 1] != d || shape[n_dims - 2] < 1, SNELLEN_E_FORMAT,
            "%s: tensor 'fam.prompt': %s of %d dimensions, the last %lld; F32 [rows, %lld] or [%lld, rows, %lld] expected",
            path, type, n_dims, n_dims ? (long long)shape[n_dims - 1] : 0, (long long)d, (long long)n_layers, (long long)d);
    *fam = shape[n_dims - 2];
    *n_rows = layers ? n_layers * *fam : *fam;
    TRY(NEW_ARRAY(prompt, *n_rows * d, "memory's prompt", err));
    memcpy(*prompt, data, (size_t)n_bytes); /* the file's bytes may lie at an odd address */
    return SNELLEN_OK;
}

static snellen_status take_prompt(struct snellen_model *model, const struct safetensors *file, const char *path,
                                  snellen_error *err)
{
    snellen_model_memory memory = model->memory;
    float *prompt;
    TRY(read_prompt(model, file, path, &prompt, &memory.prompt_rows, &memory.fam, err));
    FAIL_IF(!prompt, SNELLEN_E_FORMAT, "%s: no tensor 'fam.prompt'", path);
    memory.prompt = prompt;
    snellen_status status = snellen_model_set_memory(model, &memory, err);
    mem_free(prompt);
    return status;
}

snellen_status snellen_model_load_prompt(snellen_model *model, const char *path, snellen_error *err)
{
    struct safetensors *file;
    TRY(safetensors_open(path, &file, err));
    snellen_status status = take_prompt(model, file, path, err);
    safetensors_close(file);
    return status;
}

static bool place_named(const char *name, size_t n, snellen_fam_positions *place)
{
    for (size_t i = 0; i < COUNT_OF(place_names); i++)
        if (n == strlen(place_names[i]) && !memcmp(name, place_names[i], n)) {
            *place = (snellen_fam_positions)i;
            return true;
        }
    return false;
}

/* ---- in a GGUF file ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *key;
    size_t offset;              /* in snellen_model_memory, an int64_t */
} numbers[] = {{"fam.block", offsetof(snellen_model_memory, block)},
               {"fam.segments", offsetof(snellen_model_memory, segments)},
               {"fam.window", offsetof(snellen_model_memory, window)},
               {"fam.length", offsetof(snellen_model_memory, fam)},
               {"fam.blocks", offsetof(snellen_model_memory, fam_blocks)}};

void model_memory_put_gguf(const struct snellen_model *model, struct gguf_writer *w)
{
    const snellen_model_memory *m = &model->memory;
    if (m->kind == SNELLEN_MEMORY_FULL && !m->prompt) return;
    gguf_put_text(w, "fam.kind", snellen_memory_name(m->kind));
    gguf_put_text(w, "fam.positions", place_names[m->fam_positions]);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        gguf_put_int(w, numbers[i].key, *(const int64_t *)((const char *)m + numbers[i].offset));
}

static snellen_status gguf_prompt(const struct snellen_model *model, snellen_model_memory *m, snellen_error *err)
{
    const struct tensor *t = model_file_find(model->file, "fam.prompt");
    if (!t) return SNELLEN_OK;
    FAIL_IF(t->type != DT_F32 || t->n_dims != 2 || t->shape[1] != model->desc.d_model, SNELLEN_E_FORMAT,
            "%s: tensor 'fam.prompt': %s [%lld, %lld], F32 [rows, %lld] expected", model->file->path,
            dtype_infos[t->type].name, (long long)t->shape[0], (long long)t->shape[1], (long long)model->desc.d_model);
    m->prompt = t->data;
    m->prompt_rows = t->shape[0];
    return SNELLEN_OK;
}

static snellen_status load_gguf(struct snellen_model *model, snellen_error *err)
{
    const struct gguf *g = model->file->gguf;
    snellen_model_memory m = {.kind = SNELLEN_MEMORY_FULL};
    const char *text;
    char kind[16];
    size_t n;
    if (!gguf_text(g, "fam.kind", &text, &n)) return SNELLEN_OK;
    snprintf(kind, sizeof kind, "%.*s", (int)MIN(n, sizeof kind), text);
    snellen_status status = snellen_memory_parse(kind, &m.kind, err);
    if (status) return error_prefix(err, SNELLEN_E_UNSUPPORTED, "%s", model->file->path);
    FAIL_IF(!gguf_text(g, "fam.positions", &text, &n) || !place_named(text, n, &m.fam_positions), SNELLEN_E_FORMAT,
            "%s: key fam.positions: last, float or zero expected", model->file->path);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        FAIL_IF(!gguf_int(g, numbers[i].key, (int64_t *)((char *)&m + numbers[i].offset)), SNELLEN_E_FORMAT,
                "%s: key %s: a number expected", model->file->path, numbers[i].key);
    TRY(gguf_prompt(model, &m, err));
    status = snellen_model_set_memory(model, &m, err);
    return status ? error_prefix(err, SNELLEN_E_FORMAT, "%s", model->file->path) : SNELLEN_OK;
}

/* ---- beside a model's weights ------------------------------------------------------------------------------------ */

json_t *model_memory_json(const snellen_model_memory *m)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "kind", snellen_memory_name(m->kind), "block",
                     (json_int_t)m->block, "segments", (json_int_t)m->segments, "window", (json_int_t)m->window, "fam",
                     (json_int_t)m->fam, "fam_blocks", (json_int_t)m->fam_blocks, "positions",
                     place_names[m->fam_positions]);
}

static char *about_memory(const snellen_model_memory *m)
{
    json_t *o = model_memory_json(m);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

static snellen_status write_memory(const struct snellen_model *model, const char *path, const char *about,
                                   snellen_error *err)
{
    const snellen_model_memory *m = &model->memory;
    struct safetensors_writer *w;
    struct safetensors_spec specs[2] = {{"about", "U8", 1, {(int64_t)strlen(about)}}};
    bool layers = m->prompt_rows > m->fam;
    if (layers) specs[1] = (struct safetensors_spec){"fam.prompt", "F32", 3, {model->desc.n_layers, m->fam, model->desc.d_model}};
    else specs[1] = (struct safetensors_spec){"fam.prompt", "F32", 2, {m->fam, model->desc.d_model}};
    TRY(safetensors_writer_new(path, specs, m->prompt ? 2 : 1, &w, err));
    snellen_status status = safetensors_writer_put(w, 0, 0, about, strlen(about), err);
    if (!status && m->prompt)
        status = safetensors_writer_put(w, 1, 0, m->prompt, (uint64_t)(m->prompt_rows * model->desc.d_model) * sizeof(float), err);
    if (!status) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return status;
}

snellen_status model_memory_save(const struct snellen_model *model, const char *folder, snellen_error *err)
{
    if (model->memory.kind == SNELLEN_MEMORY_FULL && !model->memory.prompt) return SNELLEN_OK;
    struct strbuf path = {0};
    char *about = about_memory(&model->memory);
    strbuf_printf(&path, "%s/fam.safetensors", folder);
    snellen_status status = about && !path.failed ? write_memory(model, path.text, about, err)
                                                  : error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", folder);
    free(about);
    strbuf_free(&path);
    return status;
}

snellen_status model_memory_from_json(const json_t *o, const char *path, snellen_model_memory *m, snellen_error *err)
{
    const char *kind, *positions;
    json_int_t block, segments, window, fam, fam_blocks;
    FAIL_IF(json_unpack((json_t *)(uintptr_t)o, "{s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "kind", &kind, "block", &block,
                        "segments", &segments, "window", &window, "fam", &fam, "fam_blocks", &fam_blocks, "positions",
                        &positions),
            SNELLEN_E_FORMAT, "%s: tensor 'about': a memory's kind, block, segments, window, fam, fam_blocks and positions "
            "as JSON expected", path);
    *m = (snellen_model_memory){.block = block, .segments = segments, .window = window, .fam = fam,
                                .fam_blocks = fam_blocks};
    TRY(snellen_memory_parse(kind, &m->kind, err));
    FAIL_IF(!place_named(positions, strlen(positions), &m->fam_positions), SNELLEN_E_FORMAT,
            "%s: positions '%s': last, float or zero expected", path, positions);
    return SNELLEN_OK;
}

static snellen_status read_settings(const struct safetensors *file, const char *path, snellen_model_memory *m,
                                    snellen_error *err)
{
    const char *type;
    const int64_t *shape;
    const void *data;
    int n_dims;
    uint64_t n;
    bool found = safetensors_raw(file, "about", &type, &n_dims, &shape, &data, &n);
    json_t *o = found ? json_loadb(data, n, 0, NULL) : NULL;
    snellen_status status = model_memory_from_json(o, path, m, err);
    json_decref(o);
    return status;
}

static snellen_status read_memory(struct snellen_model *model, const char *path, snellen_error *err)
{
    struct safetensors *file;
    snellen_model_memory memory = {.kind = SNELLEN_MEMORY_FULL};
    float *prompt = NULL;
    TRY(safetensors_open(path, &file, err));
    snellen_status status = read_settings(file, path, &memory, err);
    if (!status) status = read_prompt(model, file, path, &prompt, &memory.prompt_rows, &memory.fam, err);
    memory.prompt = prompt;
    if (!status) status = snellen_model_set_memory(model, &memory, err);
    mem_free(prompt);
    safetensors_close(file);
    return status;
}

snellen_status model_memory_load(struct snellen_model *model, snellen_error *err)
{
    const char *folder = model->file->folder;
    struct strbuf path = {0};
    if (model->file->gguf) return load_gguf(model, err);
    if (!folder) return SNELLEN_OK;
    strbuf_printf(&path, "%s/fam.safetensors", folder);
    snellen_status status = path.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", folder) : SNELLEN_OK;
    if (!status && file_exists(path.text)) status = read_memory(model, path.text, err);
    strbuf_free(&path);
    return status;
}
