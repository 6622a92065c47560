/* A model's file or folder as one thing: its tensors under canonical names, its description, its fingerprint. */
#include "format/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

struct model_file_private {
    struct gguf *gguf;
    struct hf *hf;
    struct arena arena;        /* path, desc.windowed */
    struct tensor *tensors;    /* of a model in memory */
    void *data;
    struct name_table names;   /* canonical name -> index into tensors */
};

/* ---- open -------------------------------------------------------------------------------------------------------- */

static snellen_status open_gguf(struct model_file *f, snellen_error *err)
{
    struct model_file_private *p = f->private;
    TRY(gguf_open(f->path, &p->gguf, err));
    f->container = "gguf";
    f->gguf = p->gguf;
    f->n_tensors = gguf_tensors(p->gguf, &f->tensors);
    return desc_from_gguf(p->gguf, f->path, &p->arena, &f->desc, err);
}

enum { LARGEST_CONFIG = 4 << 20 };

static snellen_status open_folder(struct model_file *f, snellen_error *err)
{
    struct model_file_private *p = f->private;
    f->container = "safetensors";
    f->folder = f->path;
    const char *config = arena_printf(&p->arena, "%s/config.json", f->path);
    FAIL_IF(!config, SNELLEN_E_MEMORY, "%s: memory ran out", f->path);
    FAIL_IF(access(f->path, R_OK | X_OK), SNELLEN_E_IO, "%s: %s", f->path, strerror(errno));
    FAIL_IF(!file_exists(config), SNELLEN_E_IO, "%s: a folder without config.json; a model's folder has that and "
            "model.safetensors", f->path);
    char *json;
    size_t n;
    TRY(file_read(config, LARGEST_CONFIG, &json, &n, err));
    snellen_status status = desc_from_config(json, n, config, &p->arena, &f->desc, err);
    mem_free(json);
    TRY(status);
    TRY(hf_open(f->path, &f->desc, &p->hf, err));
    f->n_tensors = hf_tensors(p->hf, &f->tensors);
    return SNELLEN_OK;
}

static snellen_status index_tensors(struct model_file *f, snellen_error *err)
{
    struct name_table *names = &f->private->names;
    TRY(name_table_init(names, f->n_tensors, f->path, err));
    for (size_t i = 0; i < f->n_tensors; i++)
        FAIL_IF(!name_table_put(names, f->tensors[i].name, strlen(f->tensors[i].name), (uint32_t)i), SNELLEN_E_FORMAT,
                "%s: tensor '%s' is there twice", f->path, f->tensors[i].name);
    return SNELLEN_OK;
}

/* config.json may leave the size of the vocabulary out; the embedding has it. */
static snellen_status complete_vocabulary(struct model_file *f, snellen_error *err)
{
    if (f->desc.n_vocab == 0) {
        const struct tensor *t = model_file_find(f, "token_embd.weight");
        FAIL_IF(!t, SNELLEN_E_FORMAT, "%s: no tensor with the token embeddings", f->path);
        f->desc.n_vocab = t->shape[0];
    }
    return desc_check(&f->desc, f->path, err);
}

static snellen_status open_parts(struct model_file *f, snellen_error *err)
{
    if (file_is_folder(f->path)) {
        TRY(open_folder(f, err));
    } else {
        size_t n = strlen(f->path);
        FAIL_IF(n > 12 && !strcmp(f->path + n - 12, ".safetensors"), SNELLEN_E_USAGE,
                "%s: name the folder with config.json instead of the weights' file", f->path);
        TRY(open_gguf(f, err));
    }
    TRY(index_tensors(f, err));
    return complete_vocabulary(f, err);
}

/* An object that has nothing but its path. */
static snellen_status new_file(const char *path, size_t n, struct model_file **out, snellen_error *err)
{
    struct model_file *f = calloc(1, sizeof *f);
    struct model_file_private *p = calloc(1, sizeof *p);
    char *copy = p ? arena_text(&p->arena, path, n) : NULL;
    if (!f || !copy) {
        if (p) arena_free(&p->arena);
        free(p);
        free(f);
        FAIL(SNELLEN_E_MEMORY, "%s: memory ran out", path);
    }
    f->private = p;
    f->path = copy;
    *out = f;
    return SNELLEN_OK;
}

static snellen_status copy_parts(struct model_file *f, const struct model_parts *parts, snellen_error *err)
{
    struct model_file_private *p = f->private;
    f->container = "memory";
    f->desc = parts->desc;
    TRY(NEW_ARRAY(&p->tensors, parts->n_tensors, f->path, err));
    f->tensors = p->tensors;
    f->n_tensors = parts->n_tensors;
    bool good = true;
    for (size_t i = 0; i < parts->n_tensors && good; i++) {
        p->tensors[i] = parts->tensors[i];
        p->tensors[i].name = arena_text(&p->arena, parts->tensors[i].name, strlen(parts->tensors[i].name));
        good = p->tensors[i].name != NULL;
        if (good) TRY(tensor_measure(&p->tensors[i], f->path, err));
    }
    if (parts->desc.windowed) {
        TRY(desc_windows(&f->desc, &p->arena, f->path, err));
        memcpy(f->desc.windowed, parts->desc.windowed, (size_t)f->desc.n_layers);
    }
    if (parts->tokenizer) f->tokenizer = arena_text(&p->arena, parts->tokenizer, strlen(parts->tokenizer));
    if (parts->tokenizer_config)
        f->tokenizer_config = arena_text(&p->arena, parts->tokenizer_config, strlen(parts->tokenizer_config));
    good &= !f->tokenizer == !parts->tokenizer && !f->tokenizer_config == !parts->tokenizer_config;
    FAIL_IF(!good, SNELLEN_E_MEMORY, "%s: memory ran out", f->path);
    TRY(index_tensors(f, err));
    return desc_check(&f->desc, f->path, err);
}

snellen_status model_file_new(const char *name, const struct model_parts *parts, struct model_file **out,
                              snellen_error *err)
{
    struct model_file *f;
    TRY(new_file(name, strlen(name), &f, err));
    snellen_status status = copy_parts(f, parts, err);
    if (status) {
        model_file_close(f);
        return status;
    }
    f->private->data = parts->data;
    *out = f;
    return SNELLEN_OK;
}

snellen_status model_file_open(const char *path, struct model_file **out, snellen_error *err)
{
    struct model_file *f;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    TRY(new_file(path, n, &f, err));
    snellen_status status = open_parts(f, err);
    if (status) {
        model_file_close(f);
        return status;
    }
    *out = f;
    return SNELLEN_OK;
}

void model_file_close(struct model_file *f)
{
    if (!f) return;
    struct model_file_private *p = f->private;
    gguf_close(p->gguf);
    hf_close(p->hf);
    name_table_free(&p->names);
    mem_free(p->tensors);
    mem_free(p->data);
    arena_free(&p->arena);
    free(p);
    free(f);
}

const struct tensor *model_file_find(const struct model_file *f, const char *name)
{
    int64_t i = name_table_get(&f->private->names, name, strlen(name));
    return i < 0 ? NULL : &f->tensors[i];
}

/* ---- fingerprint ------------------------------------------------------------------------------------------------- */

static snellen_status hash_file(XXH3_state_t *state, const char *path, snellen_error *err)
{
    struct file_map map;
    TRY(file_map_open(&map, path, err));
    bool good = XXH3_128bits_update(state, map.data, map.size) == XXH_OK;
    file_map_close(&map);
    FAIL_IF(!good, SNELLEN_E_INTERNAL, "%s: hashing failed", path);
    return SNELLEN_OK;
}

/* The files of a folder beside its weights that decide answers, in this order; each with its name and size before it,
 * so that bytes cannot move from one file into the next unseen. */
static snellen_status hash_folder(XXH3_state_t *state, const struct model_file *f, snellen_error *err)
{
    static const char *const names[] = {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "chat_template.jinja", "fam.safetensors",
    };
    struct arena paths = {0};
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; !status; i++) {
        const char *path = i < COUNT_OF(names) ? arena_printf(&paths, "%s/%s", f->folder, names[i])
                                               : hf_file(f->private->hf, i - COUNT_OF(names));
        if (!path && i >= COUNT_OF(names)) break;
        if (!path) {
            status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", f->path);
        } else if (i >= COUNT_OF(names) || file_exists(path)) {
            struct file_map map;
            status = file_map_open(&map, path, err);
            if (status) break;
            char head[512];
            int n = snprintf(head, sizeof head, "%s %llu\n", strrchr(path, '/') + 1, (unsigned long long)map.size);
            file_map_close(&map);
            XXH3_128bits_update(state, head, (size_t)MIN(n, (int)sizeof head - 1));
            status = hash_file(state, path, err);
        }
    }
    arena_free(&paths);
    return status;
}

/* What a model in memory is: its sizes, its tensors, its tokenizer. */
static snellen_status hash_memory(XXH3_state_t *state, const struct model_file *f, snellen_error *err)
{
    const struct model_desc *d = &f->desc;
    struct strbuf head = {0};
    strbuf_printf(&head, "%s %s %lld %lld %lld\n", d->arch, position_names[d->positions], (long long)d->n_heads,
                  (long long)d->n_kv_heads, (long long)d->n_context);
    if (f->tokenizer) strbuf_puts(&head, f->tokenizer);
    for (size_t i = 0; i < f->n_tensors; i++)
        strbuf_printf(&head, "%s %llu\n", f->tensors[i].name, (unsigned long long)f->tensors[i].n_bytes);
    bool good = !head.failed && XXH3_128bits_update(state, head.text, head.n) == XXH_OK;
    strbuf_free(&head);
    for (size_t i = 0; i < f->n_tensors; i++)
        good = good && XXH3_128bits_update(state, f->tensors[i].data, f->tensors[i].n_bytes) == XXH_OK;
    FAIL_IF(!good, SNELLEN_E_MEMORY, "%s: memory ran out", f->path);
    return SNELLEN_OK;
}

snellen_status model_file_hash(const struct model_file *f, char hash[33], snellen_error *err)
{
    XXH3_state_t *state = XXH3_createState();
    FAIL_IF(!state || XXH3_128bits_reset(state) != XXH_OK, SNELLEN_E_MEMORY, "%s: memory ran out", f->path);
    snellen_status status = f->folder ? hash_folder(state, f, err)
                            : f->gguf ? hash_file(state, f->path, err)
                                      : hash_memory(state, f, err);
    XXH128_hash_t sum = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    TRY(status);
    snprintf(hash, 33, "%016llx%016llx", (unsigned long long)sum.high64, (unsigned long long)sum.low64);
    return SNELLEN_OK;
}
