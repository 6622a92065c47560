/* Weights of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json names. Tensors
 * stay mapped where they are canonical already; what must change its order or its values is copied once. */
#include "format/hf_names.h"
#include "format/json_guard.h"
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SHARDS = 4096, LARGEST_INDEX = 64 << 20 };

struct hf {
    struct arena arena;         /* names, paths, changed tensors */
    char **paths;               /* [n_files] */
    struct safetensors **files; /* [n_files] */
    size_t n_files;
    struct tensor *tensors;
    size_t n_tensors;
};

/* ---- what changes on the way ------------------------------------------------------------------------------------- */

static snellen_status changed_data(struct hf *hf, const struct tensor *t, uint64_t n_bytes, void **out,
                                   snellen_error *err)
{
    *out = arena_alloc(&hf->arena, n_bytes);
    FAIL_IF(!*out, SNELLEN_E_MEMORY, "tensor '%s': %.1f MB cannot be had (%.1f MB available)", t->name,
            (double)n_bytes / 1e6, (double)mem_available() / 1e6);
    return SNELLEN_OK;
}

/* [n_in, n_out] to [n_out, n_in], by tiles so that both sides stay in cache. */
static snellen_status transpose(struct hf *hf, struct tensor *t, snellen_error *err)
{
    enum { TILE = 32 };
    FAIL_IF(t->n_dims != 2, SNELLEN_E_FORMAT, "tensor '%s': %d dimensions, 2 expected", t->name, t->n_dims);
    int64_t rows = t->shape[0], columns = t->shape[1], size = dtype_infos[t->type].block_bytes;
    const char *from = t->data;
    void *to;
    TRY(changed_data(hf, t, t->n_bytes, &to, err));
    for (int64_t i0 = 0; i0 < rows; i0 += TILE)
        for (int64_t j0 = 0; j0 < columns; j0 += TILE)
            for (int64_t i = i0; i < MIN(i0 + TILE, rows); i++)
                for (int64_t j = j0; j < MIN(j0 + TILE, columns); j++)
                    memcpy((char *)to + (j * rows + i) * size, from + (i * columns + j) * size, (size_t)size);
    t->data = to;
    t->shape[0] = columns;
    t->shape[1] = rows;
    return SNELLEN_OK;
}

/* Rows [head][q, k, v][head_dim] to [q, k, v][head][head_dim]; a bias is rows of one element. */
static snellen_status unweave_qkv(struct hf *hf, const struct model_desc *desc, struct tensor *t, snellen_error *err)
{
    int64_t heads = desc->n_heads, width = desc->head_dim;
    FAIL_IF(t->n_dims > 2 || t->shape[0] != 3 * heads * width, SNELLEN_E_FORMAT,
            "tensor '%s': %lld rows, 3 x %lld heads x %lld expected", t->name, (long long)t->shape[0],
            (long long)heads, (long long)width);
    uint64_t part_bytes = t->n_bytes / (uint64_t)(3 * heads);  /* of one head's q, k or v */
    const char *from = t->data;
    void *to;
    TRY(changed_data(hf, t, t->n_bytes, &to, err));
    for (int64_t head = 0; head < heads; head++)
        for (int64_t part = 0; part < 3; part++)
            memcpy((char *)to + (uint64_t)(part * heads + head) * part_bytes,
                   from + (uint64_t)(head * 3 + part) * part_bytes, part_bytes);
    t->data = to;
    return SNELLEN_OK;
}

static snellen_status plus_one(struct hf *hf, struct tensor *t, snellen_error *err)
{
    FAIL_IF(t->n_dims != 1, SNELLEN_E_FORMAT, "tensor '%s': %d dimensions, 1 expected", t->name, t->n_dims);
    uint64_t n = (uint64_t)t->shape[0];
    void *to;
    TRY(changed_data(hf, t, n * sizeof(float), &to, err));
    for (uint64_t i = 0; i < n; i++) {
        float w;
        uint16_t half;
        if (t->type == DT_F32) {
            memcpy(&w, (const char *)t->data + i * sizeof w, sizeof w);
        } else {
            memcpy(&half, (const char *)t->data + i * sizeof half, sizeof half);
            w = t->type == DT_F16 ? f16_to_f32(half) : bf16_to_f32(half);
        }
        ((float *)to)[i] = 1 + w;
    }
    t->data = to;
    t->type = DT_F32;
    t->n_bytes = n * sizeof(float);
    return SNELLEN_OK;
}

static snellen_status skip_two(struct tensor *t, snellen_error *err)
{
    FAIL_IF(t->n_dims != 2 || t->shape[0] < 3, SNELLEN_E_FORMAT,
            "tensor '%s': a table with more than two rows expected", t->name);
    uint64_t two_rows = t->n_bytes / (uint64_t)t->shape[0] * 2;
    t->data = (const char *)t->data + two_rows;
    t->n_bytes -= two_rows;
    t->shape[0] -= 2;
    return SNELLEN_OK;
}

static snellen_status make_canonical(struct hf *hf, const struct model_desc *desc, struct tensor *t,
                                     enum hf_change change, snellen_error *err)
{
    switch (change) {
    case HF_TRANSPOSE: return transpose(hf, t, err);
    case HF_UNWEAVE_QKV: return unweave_qkv(hf, desc, t, err);
    case HF_PLUS_ONE: return plus_one(hf, t, err);
    case HF_SKIP_TWO: return skip_two(t, err);
    case HF_REFUSE: FAIL(SNELLEN_E_UNSUPPORTED, "tensor '%s': models with '%s' are not supported", t->name, t->name);
    default: return SNELLEN_OK;
    }
}

/* ---- all tensors ------------------------------------------------------------------------------------------------- */

/* A tensor that is wanted must be one that the decoder can use: say so here, not that it is missing later. */
static snellen_status check_entries(const struct model_desc *desc, const struct safetensors *s, size_t *n,
                                    snellen_error *err)
{
    const struct safetensors_entry *e;
    char canonical[HF_NAME_BYTES];
    enum hf_change change;
    for (size_t i = 0; safetensors_entry_at(s, i, &e); i++) {
        if (!hf_name(desc, e->name, canonical, &change)) continue;
        FAIL_IF(!e->type->known, SNELLEN_E_UNSUPPORTED,
                "tensor '%s': its type %s is not supported (F32, F16 and BF16 are)", e->name, e->type->name);
        FAIL_IF(e->n_dims < 1 || e->n_dims > 4 || e->n_bytes == 0, SNELLEN_E_FORMAT,
                "tensor '%s': %d dimensions and %llu bytes: not a weight", e->name, e->n_dims,
                (unsigned long long)e->n_bytes);
        ++*n;
    }
    return SNELLEN_OK;
}

static snellen_status take_tensors(struct hf *hf, const struct model_desc *desc, const struct safetensors *s,
                                   snellen_error *err)
{
    const struct tensor *all;
    size_t n = safetensors_tensors(s, &all);
    for (size_t i = 0; i < n; i++) {
        char canonical[HF_NAME_BYTES];
        enum hf_change change;
        if (!hf_name(desc, all[i].name, canonical, &change)) continue;
        struct tensor *t = &hf->tensors[hf->n_tensors];
        *t = all[i];
        TRY(make_canonical(hf, desc, t, change, err));  /* messages have the name as it is in the file */
        t->name = arena_text(&hf->arena, canonical, strlen(canonical));
        FAIL_IF(!t->name, SNELLEN_E_MEMORY, "memory ran out");
        hf->n_tensors++;
    }
    return SNELLEN_OK;
}

static snellen_status open_files(struct hf *hf, const struct model_desc *desc, snellen_error *err)
{
    size_t n = 0;
    TRY(NEW_ARRAY(&hf->files, hf->n_files, hf->paths[0], err));
    for (size_t i = 0; i < hf->n_files; i++) {
        TRY(safetensors_open(hf->paths[i], &hf->files[i], err));
        snellen_status status = check_entries(desc, hf->files[i], &n, err);
        if (status) return error_prefix(err, status, "%s", hf->paths[i]);
    }
    TRY(NEW_ARRAY(&hf->tensors, n, hf->paths[0], err));
    for (size_t i = 0; i < hf->n_files; i++) {
        snellen_status status = take_tensors(hf, desc, hf->files[i], err);
        if (status) return error_prefix(err, status, "%s", hf->paths[i]);
    }
    return SNELLEN_OK;
}

/* ---- which files ------------------------------------------------------------------------------------------------- */

static bool is_plain_file_name(const char *name)
{
    return name_is_good(name, strlen(name)) && !strchr(name, '/') && name[0] != '.';
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The shards that the index names, each once, sorted. */
static snellen_status list_shards(struct hf *hf, const char *folder, const char *index, const json_t *root,
                                  snellen_error *err)
{
    json_t *map = json_object_get(root, "weight_map"), *value;
    size_t n = json_object_size(map), kept = 0;
    FAIL_IF(!json_is_object(map) || n == 0, SNELLEN_E_FORMAT, "%s: 'weight_map' with the file of each tensor expected",
            index);
    const char **names, *tensor;
    TRY(NEW_ARRAY(&names, n, index, err));
    snellen_status status = SNELLEN_OK;
    n = 0;
    json_object_foreach(map, tensor, value) {
        const char *name = json_string_value(value);
        char shown[SHOWN_BYTES];
        if (!name || !is_plain_file_name(name)) {
            status = error_set(err, SNELLEN_E_FORMAT, "%s: a file of weights is called '%s'; the name of a file in the "
                               "same folder expected", index, name ? name_shown(shown, name, strlen(name)) : "");
            break;
        }
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, text_order);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[kept - 1])) names[kept++] = names[i];
    if (!status && kept > MOST_SHARDS)
        status = error_set(err, SNELLEN_E_FORMAT, "%s: %zu files of weights, at most %d expected", index, kept,
                           MOST_SHARDS);
    if (!status) status = NEW_ARRAY(&hf->paths, kept, index, err);
    for (size_t i = 0; i < kept && !status; i++) {
        hf->paths[i] = arena_printf(&hf->arena, "%s/%s", folder, names[i]);
        if (!hf->paths[i]) status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", index);
        hf->n_files = i + 1;
    }
    mem_free(names);
    return status;
}

static snellen_status read_index(struct hf *hf, const char *folder, const char *index, snellen_error *err)
{
    char *text;
    size_t n;
    json_t *root;
    TRY(file_read(index, LARGEST_INDEX, &text, &n, err));
    snellen_status status = json_parse_object(text, n, index, &root, err);
    mem_free(text);
    TRY(status);
    status = list_shards(hf, folder, index, root, err);
    json_decref(root);
    return status;
}

static snellen_status find_files(struct hf *hf, const char *folder, snellen_error *err)
{
    char *single = arena_printf(&hf->arena, "%s/model.safetensors", folder);
    char *index = arena_printf(&hf->arena, "%s/model.safetensors.index.json", folder);
    FAIL_IF(!single || !index, SNELLEN_E_MEMORY, "%s: memory ran out", folder);
    if (file_exists(single)) {
        TRY(NEW_ARRAY(&hf->paths, 1, folder, err));
        hf->paths[hf->n_files++] = single;
        return SNELLEN_OK;
    }
    FAIL_IF(!file_exists(index), SNELLEN_E_IO,
            "%s: neither model.safetensors nor model.safetensors.index.json is in the folder", folder);
    return read_index(hf, folder, index, err);
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

snellen_status hf_open(const char *folder, const struct model_desc *desc, struct hf **out, snellen_error *err)
{
    struct hf *hf;
    TRY(NEW_ARRAY(&hf, 1, folder, err));
    snellen_status status = find_files(hf, folder, err);
    if (!status) status = open_files(hf, desc, err);
    if (status) {
        hf_close(hf);
        return status;
    }
    *out = hf;
    return SNELLEN_OK;
}

void hf_close(struct hf *hf)
{
    if (!hf) return;
    for (size_t i = 0; hf->files && i < hf->n_files; i++) safetensors_close(hf->files[i]);
    mem_free(hf->files);
    mem_free(hf->paths);
    mem_free(hf->tensors);
    arena_free(&hf->arena);
    mem_free(hf);
}

size_t hf_tensors(const struct hf *hf, const struct tensor **tensors)
{
    *tensors = hf->tensors;
    return hf->n_tensors;
}

const char *hf_file(const struct hf *hf, size_t i)
{
    return i < hf->n_files ? hf->paths[i] : NULL;
}
