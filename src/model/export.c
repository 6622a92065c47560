/* Exports: a model into a Hugging Face folder or a GGUF file, tensor by tensor in pieces of bounded size. */
#include "model/export.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 16 << 20 };   /* of rows that are held at once */

struct job {
    const struct snellen_model *model;
    const char *path;
    bool gguf, no_tokenizer;
    int type;                      /* enum dtype, or -1 = each as it is */
    struct model_desc desc;        /* as it will be written */
    struct export_list list;
    const snellen_progress *progress;
    uint64_t written;
    struct strbuf notes;
};

snellen_export_options snellen_export_options_default(void)
{
    return (snellen_export_options){0};
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static snellen_status choose_format(struct job *j, const char *format, snellen_error *err)
{
    size_t n = strlen(j->path);
    FAIL_IF(format && strcmp(format, "gguf") && strcmp(format, "hf"), SNELLEN_E_USAGE,
            "format '%s': gguf or hf expected", format);
    j->gguf = format ? !strcmp(format, "gguf") : n > 5 && !strcmp(j->path + n - 5, ".gguf");
    bool other = n > 12 && !strcmp(j->path + n - 12, ".safetensors");
    FAIL_IF(other, SNELLEN_E_USAGE, "%s: name a folder, which gets config.json and model.safetensors, or a .gguf file",
            j->path);
    return SNELLEN_OK;
}

static snellen_status choose_type(struct job *j, const char *type, snellen_error *err)
{
    static const struct {
        const char *name;
        enum dtype type;
    } types[] = {{"f32", DT_F32},   {"f16", DT_F16},   {"bf16", DT_BF16},
                 {"q8_0", DT_Q8_0}, {"q4_0", DT_Q4_0}, {"q4_1", DT_Q4_1}};
    size_t i = 0;
    j->type = -1;
    if (!type) return SNELLEN_OK;
    while (i < COUNT_OF(types) && strcmp(types[i].name, type)) i++;
    FAIL_IF(i == COUNT_OF(types), SNELLEN_E_USAGE, "type '%s': f32, f16, bf16, q8_0, q4_0 or q4_1 expected", type);
    FAIL_IF(!j->gguf && dtype_infos[types[i].type].block > 1, SNELLEN_E_USAGE,
            "type %s: only GGUF files have it; f32, f16 or bf16 expected for a folder", type);
    j->type = (int)types[i].type;
    return SNELLEN_OK;
}

/* The divisors of a GGUF file as the parameters of Llama 3 that give them: all published models have these. */
static snellen_status find_llama3(struct job *j, snellen_error *err)
{
    const struct snellen_model *model = j->model;
    struct model_desc *d = &j->desc;
    if (j->gguf || d->rope_scaling != ROPE_NONE || !export_has_divisors(model)) return SNELLEN_OK;
    int64_t half = model->rope.half;
    d->rope_scaling = ROPE_LLAMA3;
    d->rope_factor = export_divisor(model, half - 1);
    d->rope_low_freq_factor = 1;
    d->rope_high_freq_factor = 4;
    d->rope_original_context = 8192;
    for (int64_t i = 0; i < half; i++) {
        double freq = pow(d->rope_theta, -(double)i / (double)half);
        double wanted = freq / llama3_frequency(freq, d), found = export_divisor(model, i);
        FAIL_IF(fabs(wanted - found) > 1e-5 * wanted, SNELLEN_E_UNSUPPORTED,
                "%s: its rotary divisors (rope_freqs.weight) have no form in config.json", model->file->path);
    }
    return SNELLEN_OK;
}

static snellen_status refuse_factors(const struct snellen_model *model, snellen_error *err)
{
    FAIL_IF(model->lora_rank > 0, SNELLEN_E_UNSUPPORTED, "low-rank factors are not merged into the weights yet");
    return SNELLEN_OK;
}

/* A tokenizer that we cannot read can only go where its files are copied. */
static snellen_status check_tokenizer(const struct job *j, snellen_error *err)
{
    const struct model_file *f = j->model->file;
    bool copied = f->folder ? !j->gguf : j->gguf, there = false;
    if (j->no_tokenizer || j->model->tokenizer || copied) return SNELLEN_OK;
    const char *kind;
    size_t n;
    if (f->gguf) there = gguf_text(f->gguf, "tokenizer.ggml.model", &kind, &n) && (n != 4 || memcmp(kind, "none", 4));
    if (f->folder) {
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/tokenizer.json", f->folder);
        there = !path.failed && file_exists(path.text);
        strbuf_free(&path);
    }
    FAIL_IF(there, SNELLEN_E_UNSUPPORTED, "%s: it cannot be carried over; leave it out (--no-tokenizer)",
            j->model->no_tokenizer);
    return SNELLEN_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

typedef snellen_status put_rows(void *writer, size_t i, uint64_t at, const void *bytes, uint64_t n, snellen_error *err);

static snellen_status put_gguf(void *writer, size_t i, uint64_t at, const void *bytes, uint64_t n, snellen_error *err)
{
    return gguf_writer_put(writer, i, at, bytes, n, err);
}

static snellen_status put_safetensors(void *writer, size_t i, uint64_t at, const void *bytes, uint64_t n,
                                      snellen_error *err)
{
    return safetensors_writer_put(writer, i, at, bytes, n, err);
}

static snellen_status report(struct job *j, uint64_t n, snellen_error *err)
{
    j->written += n;
    bool go_on = !j->progress || !j->progress->step ||
                 j->progress->step(j->progress->user, "bytes", j->written, j->list.n_bytes);
    FAIL_IF(!go_on, SNELLEN_E_CANCELLED, "interrupted");
    return SNELLEN_OK;
}

static snellen_status write_tensor(struct job *j, size_t i, put_rows *put, void *writer, snellen_error *err)
{
    const struct export_tensor *t = &j->list.tensors[i];
    int64_t n_rows = t->out.shape[0], row_bytes = dtype_row_bytes(t->out.type, t->out.shape[1]);
    int64_t piece = MIN(MAX(PIECE_BYTES / (4 * t->out.shape[1]), 1), n_rows);
    char *rows = NULL;
    float *scratch = NULL;
    snellen_status status = NEW_ARRAY(&rows, piece * row_bytes, t->out.name, err);
    if (!status) status = NEW_ARRAY(&scratch, export_scratch(t, piece), t->out.name, err);
    for (int64_t at = 0; at < n_rows && !status; at += piece) {
        int64_t n = MIN(piece, n_rows - at);
        status = export_rows(j->model, t, at, n, rows, scratch, err);
        if (!status) status = put(writer, i, (uint64_t)(at * row_bytes), rows, (uint64_t)(n * row_bytes), err);
        if (!status) status = report(j, (uint64_t)(n * row_bytes), err);
    }
    mem_free(rows);
    mem_free(scratch);
    return status;
}

static snellen_status write_tensors(struct job *j, put_rows *put, void *writer, snellen_error *err)
{
    for (size_t i = 0; i < j->list.n; i++) TRY(write_tensor(j, i, put, writer, err));
    return SNELLEN_OK;
}

/* ---- a GGUF file ------------------------------------------------------------------------------------------------- */

static bool begins(const uint8_t *record, uint64_t n, const char *prefix)
{
    size_t size = strlen(prefix);
    return n > 8 + size && !memcmp(record + 8, prefix, size);   /* after the length */
}

/* From GGUF to GGUF a tokenizer stays what it is. */
static snellen_status put_tokenizer(struct job *j, struct gguf_writer *w, snellen_error *err)
{
    const struct snellen_model *model = j->model;
    const uint8_t *record;
    uint64_t n;
    if (j->no_tokenizer || (!model->file->gguf && !model->tokenizer)) {
        gguf_put_text(w, "tokenizer.ggml.model", "none");
        return SNELLEN_OK;
    }
    if (!model->file->gguf) return tokenizer_put_gguf(model->tokenizer, model->desc.n_vocab, w, err);
    for (size_t i = 0; gguf_record(model->file->gguf, i, &record, &n); i++)
        if (begins(record, n, "tokenizer.") || begins(record, n, "snellen.tokenizer")) gguf_put_record(w, record, n);
    return SNELLEN_OK;
}

static snellen_status fill_gguf(struct job *j, struct gguf_writer *w, snellen_error *err)
{
    bool foreign;
    enum dtype type = j->type < 0 ? j->model->layers[0].up.weight.type : (enum dtype)j->type;
    gguf_put_desc(w, &j->desc, type, &foreign);
    if (foreign) strbuf_puts(&j->notes, "llama.cpp has no such model: it will refuse the file\n");
    if (j->desc.window > 0 && j->desc.windowed && strcmp(j->desc.arch, "gemma3"))
        strbuf_printf(&j->notes, "llama.cpp has no windows in %s models: past %lld tokens it sees more\n", j->desc.arch,
                      (long long)j->desc.window);
    model_memory_put_gguf(j->model, w);
    if (j->model->memory.prompt)
        strbuf_puts(&j->notes, "llama.cpp has no feedback memories: it will refuse the file\n");
    TRY(put_tokenizer(j, w, err));
    TRY(gguf_writer_shapes(w, j->list.shapes, j->list.n, err));
    return write_tensors(j, put_gguf, w, err);
}

static snellen_status write_gguf(struct job *j, snellen_error *err)
{
    struct gguf_writer *w;
    FAIL_IF(file_is_folder(j->path), SNELLEN_E_USAGE, "%s: is a folder, a file expected", j->path);
    TRY(gguf_writer_new(j->path, &w, err));
    snellen_status status = fill_gguf(j, w, err);
    if (!status) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return status;
}

/* ---- a folder ---------------------------------------------------------------------------------------------------- */

static snellen_status write_side_file(const struct job *j, const char *name, const char *text, size_t n,
                                      snellen_error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", j->path, name);
    snellen_status status = path.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", name)
                                        : file_write_atomic(path.text, text, n, err);
    strbuf_free(&path);
    return status;
}

/* What stands beside the weights; the first three are no part of a tokenizer. */
static const char *const side_files[] = {"fam.safetensors", "config.json", "generation_config.json", "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model",
                                         "vocab.json", "merges.txt", "added_tokens.json", "chat_template.jinja"};

/* Files that another model left in the folder would be read as ours. */
static snellen_status remove_side_files(const struct job *j, snellen_error *err)
{
    struct strbuf path = {0};
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < COUNT_OF(side_files) && !status; i++) {
        path.n = 0;
        strbuf_printf(&path, "%s/%s", j->path, side_files[i]);
        if (path.failed)
            status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", j->path);
        else if (unlink(path.text) && errno != ENOENT)
            status = error_set(err, SNELLEN_E_IO, "%s: %s", path.text, strerror(errno));
    }
    strbuf_free(&path);
    return status;
}

static snellen_status copy_side_files(const struct job *j, snellen_error *err)
{
    struct strbuf from = {0};
    snellen_status status = SNELLEN_OK;
    for (size_t i = 2; i < (j->no_tokenizer ? 3 : COUNT_OF(side_files)) && !status; i++) {
        struct file_map map;
        from.n = 0;
        strbuf_printf(&from, "%s/%s", j->model->file->folder, side_files[i]);
        if (from.failed) status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", side_files[i]);
        if (status || !file_exists(from.text)) continue;
        status = file_map_open(&map, from.text, err);
        if (status) break;
        status = write_side_file(j, side_files[i], (const char *)map.data, map.size, err);
        file_map_close(&map);
    }
    strbuf_free(&from);
    return status;
}

static snellen_status write_texts(const struct job *j, const char *tokenizer, const char *config, snellen_error *err)
{
    TRY(write_side_file(j, "tokenizer.json", tokenizer, strlen(tokenizer), err));
    return config ? write_side_file(j, "tokenizer_config.json", config, strlen(config), err) : SNELLEN_OK;
}

static snellen_status write_tokenizer(const struct job *j, snellen_error *err)
{
    const struct snellen_model *model = j->model;
    if (model->file->folder) return copy_side_files(j, err);
    if (j->no_tokenizer || !model->tokenizer) return SNELLEN_OK;
    if (model->file->tokenizer) return write_texts(j, model->file->tokenizer, model->file->tokenizer_config, err);
    char *tokenizer, *config;
    TRY(tokenizer_write_json(model->tokenizer, &tokenizer, &config, err));
    snellen_status status = write_texts(j, tokenizer, config, err);
    free(tokenizer);
    free(config);
    return status;
}

static snellen_status write_config(struct job *j, snellen_error *err)
{
    static const char *const dtypes[] = {[DT_F32] = "float32", [DT_F16] = "float16", [DT_BF16] = "bfloat16"};
    const struct tokenizer *t = j->no_tokenizer ? NULL : j->model->tokenizer;
    enum dtype type = j->list.tensors[0].out.type;   /* the embedding's */
    char *text;
    bool foreign;
    int32_t bos = t ? tokenizer_bos(t, NULL) : -1, eos = t ? tokenizer_eos(t) : -1;
    TRY(config_write(&j->desc, dtypes[type], bos, eos, &text, &foreign, err));
    if (foreign) strbuf_puts(&j->notes, "Transformers has no such model: it will refuse the folder\n");
    snellen_status status = write_side_file(j, "config.json", text, strlen(text), err);
    free(text);
    return status ? status : model_memory_save(j->model, j->path, err);
}

static snellen_status write_weights(struct job *j, const char *path, snellen_error *err)
{
    const struct safetensors_note note = {"format", "pt"};   /* Transformers 4 asks for it */
    struct safetensors_spec *specs;
    struct safetensors_writer *w;
    TRY(NEW_ARRAY(&specs, j->list.n, path, err));
    for (size_t i = 0; i < j->list.n; i++) {
        const struct tensor *t = &j->list.shapes[i];
        specs[i] = (struct safetensors_spec){.name = t->name, .type = dtype_infos[t->type].name, .n_dims = t->n_dims,
                                             .shape = {t->shape[0], t->shape[1]}};
    }
    snellen_status status = safetensors_writer_noted(path, specs, j->list.n, &note, 1, &w, err);
    mem_free(specs);
    if (status) return status;
    status = write_tensors(j, put_safetensors, w, err);
    if (!status) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return status;
}

/* Weights in shards would be found beside ours: a folder that has another model's index is refused. */
static snellen_status write_folder(struct job *j, snellen_error *err)
{
    struct strbuf weights = {0}, index = {0};
    FAIL_IF(file_exists(j->path) && !file_is_folder(j->path), SNELLEN_E_USAGE, "%s: is a file, a folder expected (or a "
            "name that ends in .gguf)", j->path);
    TRY(folder_make(j->path, err));
    strbuf_printf(&weights, "%s/model.safetensors", j->path);
    strbuf_printf(&index, "%s/model.safetensors.index.json", j->path);
    snellen_status status = SNELLEN_OK;
    if (weights.failed || index.failed)
        status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", j->path);
    else if (file_exists(index.text))
        status = error_set(err, SNELLEN_E_USAGE, "%s: holds a model in shards already; name another folder", j->path);
    if (!status) status = remove_side_files(j, err);
    if (!status) status = write_weights(j, weights.text, err);
    if (!status) status = write_tokenizer(j, err);
    if (!status) status = write_config(j, err);
    strbuf_free(&weights);
    strbuf_free(&index);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* A folder must not be written over itself: its weights are mapped while they are read. */
static snellen_status refuse_itself(const struct job *j, snellen_error *err)
{
    char *to = realpath(j->path, NULL), *from = realpath(j->model->file->path, NULL);
    bool same = to && from && !strcmp(to, from);
    free(to);
    free(from);
    FAIL_IF(same, SNELLEN_E_USAGE, "%s: is the model itself; name another place", j->path);
    return SNELLEN_OK;
}

static snellen_status run(struct job *j, const snellen_export_options *o, snellen_error *err)
{
    TRY(choose_format(j, o->format, err));
    TRY(choose_type(j, o->type, err));
    TRY(refuse_itself(j, err));
    TRY(refuse_factors(j->model, err));
    TRY(check_tokenizer(j, err));
    TRY(find_llama3(j, err));
    TRY(export_list_make(&j->list, j->model, j->gguf, j->type, err));
    if (j->list.n_unblocked)
        strbuf_printf(&j->notes, "%zu matrices have rows that are no whole blocks of %s: they are F16\n",
                      j->list.n_unblocked, dtype_infos[j->type].name);
    return j->gguf ? write_gguf(j, err) : write_folder(j, err);
}

snellen_status snellen_model_export(const snellen_model *model, const char *path, const snellen_export_options *options,
                                    const snellen_progress *progress, snellen_export_result *result, snellen_error *err)
{
    FAIL_IF(!path || !*path, SNELLEN_E_USAGE, "export: no place named to write to");
    struct job j = {.model = model, .path = path, .desc = model->desc, .progress = progress};
    const snellen_export_options none = {0};
    j.no_tokenizer = options && options->no_tokenizer;
    snellen_status status = run(&j, options ? options : &none, err);
    if (!status && result) {
        result->n_tensors = j.list.n;
        result->n_bytes = j.list.n_bytes;
        snprintf(result->notes, sizeof result->notes, "%s", j.notes.text ? j.notes.text : "");
    }
    export_list_free(&j.list);
    strbuf_free(&j.notes);
    return status;
}
