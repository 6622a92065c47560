/* The tensors that an exported model has: names, shapes and types of the container, and for each where its rows come
 * from. Names and changes of Hugging Face folders follow from the table that reads them (hf_names.c). */
#include "model/export.h"

#include <math.h>
#include <string.h>

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

static bool name_is(const struct weight_entry *e, const char *name)
{
    const char *part = e->layer < 0 ? e->name : strchr(e->name + 4, '.') + 1;
    size_t n = strlen(name);
    return !strncmp(part, name, n) && part[n] == '.';
}

/* Vectors are rows of one entry, so that orders of rows hold for biases too. */
static struct weight as_rows(const struct weight_entry *e)
{
    struct weight w = e->weight;
    if (e->n_dims == 1) w = (struct weight){w.type, w.data, e->shape[0], 1};
    return w;
}

/* In GGUF files of llama rotary pairs are neighbours, nowhere else. */
static enum row_order pairing(const struct snellen_model *model, bool gguf)
{
    bool wanted = gguf && !strcmp(model->desc.arch, "llama"), is = model->desc.rope_interleaved;
    if (model->desc.positions != POSITION_ROTARY || wanted == is) return ROWS_SAME;
    return wanted ? ROWS_PAIRED : ROWS_UNPAIRED;
}

static bool is_float(enum dtype type)
{
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

/* The type that a tensor is written in. */
static enum dtype type_of(const struct export_tensor *t, const struct weight_entry *e, bool gguf, int type,
                          bool *unblocked)
{
    enum dtype own = t->parts[0].type;
    *unblocked = false;
    if (e->n_dims == 1 || e->role == ROLE_POSITIONS) return gguf || type < 0 ? DT_F32 : (enum dtype)type;
    if (type < 0) return gguf || is_float(own) ? own : DT_F32;
    *unblocked = dtype_row_bytes((enum dtype)type, t->out.shape[1]) < 0;
    return *unblocked ? DT_F16 : (enum dtype)type;
}

/* What reading a folder changes is done backwards. */
static snellen_status undo_change(struct export_tensor *t, const struct snellen_model *model, enum hf_change change)
{
    int64_t rows = t->out.shape[0];
    switch (change) {
    case HF_TRANSPOSE:
        t->order = ROWS_COLUMNS;
        t->out.shape[0] = t->out.shape[1];
        t->out.shape[1] = rows;
        break;
    case HF_UNWEAVE_QKV:
        t->order = ROWS_WOVEN;
        t->n_heads = model->desc.n_heads;
        break;
    case HF_PLUS_ONE: t->minus_one = true; break;
    case HF_SKIP_TWO:
        t->order = t->order == ROWS_POSITIONS ? ROWS_POSITIONS_AFTER_TWO : ROWS_AFTER_TWO;
        t->out.shape[0] += 2;
        break;
    default: break;
    }
    return SNELLEN_OK;
}

/* ---- rotary divisors --------------------------------------------------------------------------------------------- */

bool export_has_divisors(const struct snellen_model *model)
{
    return model->desc.positions == POSITION_ROTARY &&
           (model->desc.rope_scaling == ROPE_LLAMA3 || model_file_find(model->file, "rope_freqs.weight"));
}

double export_divisor(const struct snellen_model *model, int64_t pair)
{
    double freq = pow(model->desc.rope_theta, -(double)pair / (double)model->rope.half);
    return freq / model->rope.inv_freq[pair];
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

struct lister {
    struct export_list *list;
    const struct snellen_model *model;
    bool gguf;
    int type;
};

static snellen_status add(const struct lister *l, struct export_tensor *t, const struct weight_entry *e,
                          const char *canonical, snellen_error *err)
{
    struct export_list *list = l->list;
    char name[HF_NAME_BYTES];
    enum hf_change change = HF_AS_IS;
    snprintf(name, sizeof name, "%s", canonical);
    FAIL_IF(!l->gguf && !hf_name_of(&l->model->desc, canonical, name, &change), SNELLEN_E_INTERNAL,
            "tensor '%s': folders of %s models have no name for it", canonical, l->model->desc.arch);
    t->out.n_dims = e->n_dims;
    TRY(undo_change(t, l->model, change));
    bool unblocked;
    t->out.type = type_of(t, e, l->gguf, l->type, &unblocked);
    list->n_unblocked += unblocked;
    t->out.name = arena_text(&list->arena, name, strlen(name));
    FAIL_IF(!t->out.name, SNELLEN_E_MEMORY, "%s: memory ran out", l->model->file->path);
    int64_t row_bytes = dtype_row_bytes(t->out.type, t->out.shape[1]);
    uint64_t bytes;
    FAIL_IF(row_bytes < 0 || !size_mul((uint64_t)row_bytes, (uint64_t)t->out.shape[0], &bytes) ||
            !size_add(list->n_bytes, bytes, &list->n_bytes), SNELLEN_E_INTERNAL, "tensor '%s': no such size", name);
    list->tensors[list->n] = *t;
    list->shapes[list->n++] = t->out;
    return SNELLEN_OK;
}

/* The tensor attn_qkv of q, which e describes, with k and v, which follow at i; weights or biases. */
static snellen_status add_fused(const struct lister *l, const struct weight_entry *e, bool bias, snellen_error *err)
{
    struct export_tensor t = {.out.shape = {0, bias ? 1 : e->shape[1]}, .n_parts = 3};
    struct weight_entry part;
    int n = 0;
    for (size_t i = 0; weights_next(l->model, &i, &part);) {
        bool wanted = part.layer == e->layer && (part.role == ROLE_BIAS) == bias &&
                      (name_is(&part, "attn_q") || name_is(&part, "attn_k") || name_is(&part, "attn_v"));
        if (!wanted || n == 3) continue;
        t.parts[n++] = as_rows(&part);
        t.out.shape[0] += part.shape[0];
    }
    FAIL_IF(n != 3 || t.parts[1].type != t.parts[0].type || t.parts[2].type != t.parts[0].type, SNELLEN_E_UNSUPPORTED,
            "tensor '%s': q, k and v of different kinds cannot be one tensor", e->name);
    char name[HF_NAME_BYTES];
    snprintf(name, sizeof name, "blk.%lld.attn_qkv.%s", (long long)e->layer, bias ? "bias" : "weight");
    return add(l, &t, e, name, err);
}

static snellen_status add_entry(const struct lister *l, const struct weight_entry *e, snellen_error *err)
{
    bool q = name_is(e, "attn_q"), k = name_is(e, "attn_k"), v = name_is(e, "attn_v");
    bool fused = desc_fused_qkv(&l->model->desc) && (q || k || v);
    if (fused) return q ? add_fused(l, e, e->role == ROLE_BIAS, err) : SNELLEN_OK;
    struct export_tensor t = {.out.shape = {e->shape[0], e->shape[1]}, .parts = {as_rows(e)}, .n_parts = 1};
    if (q || k) {
        t.order = pairing(l->model, l->gguf);
        t.n_heads = q ? l->model->desc.n_heads : l->model->desc.n_kv_heads;
    }
    return add(l, &t, e, e->name, err);
}

/* A table in place of positions that other programs cannot compute: sinusoids, or zeros for none. */
static snellen_status add_position_table(const struct lister *l, snellen_error *err)
{
    const struct model_desc *d = &l->model->desc;
    if (desc_positions(d->arch) != POSITION_LEARNED || !desc_emulates_positions(d)) return SNELLEN_OK;
    const struct weight_entry e = {.role = ROLE_POSITIONS, .n_dims = 2, .layer = -1};
    struct export_tensor t = {.out.shape = {d->n_context, d->d_model}, .order = ROWS_POSITIONS,
                              .parts = {{DT_F32, NULL, d->n_context, d->d_model}}, .n_parts = 1};
    return add(l, &t, &e, "position_embd.weight", err);
}

/* llama.cpp wants GPT-NeoX's output matrix even where it is the embedding. */
static snellen_status add_output_copy(const struct lister *l, snellen_error *err)
{
    const struct snellen_model *model = l->model;
    if (!l->gguf || strcmp(model->desc.arch, "gpt_neox") || !model->desc.tied_output) return SNELLEN_OK;
    const struct weight *w = &model->output.weight;
    const struct weight_entry e = {.role = ROLE_IN, .n_dims = 2, .layer = -1};
    struct export_tensor t = {.out.shape = {w->n_out, w->n_in}, .parts = {*w}, .n_parts = 1};
    return add(l, &t, &e, "output.weight", err);
}

/* GGUF carries Llama 3's scaling as one divisor a pair. */
static snellen_status add_divisors(const struct lister *l, snellen_error *err)
{
    const struct snellen_model *model = l->model;
    if (!l->gguf || !export_has_divisors(model)) return SNELLEN_OK;
    int64_t half = model->rope.half;
    float *divisors = arena_alloc(&l->list->arena, (size_t)half * sizeof *divisors);
    FAIL_IF(!divisors, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
    for (int64_t i = 0; i < half; i++) divisors[i] = (float)export_divisor(model, i);
    const struct weight_entry e = {.role = ROLE_NORM, .n_dims = 1, .layer = -1};
    struct export_tensor t = {.out.shape = {half, 1}, .parts = {{DT_F32, divisors, half, 1}}, .n_parts = 1};
    return add(l, &t, &e, "rope_freqs.weight", err);
}

/* GGUF carries the start of a feedback memory; a folder has a file for it. */
static snellen_status add_prompt(const struct lister *l, snellen_error *err)
{
    const snellen_model_memory *m = &l->model->memory;
    int64_t d = l->model->desc.d_model;
    if (!l->gguf || !m->prompt) return SNELLEN_OK;
    const struct weight_entry e = {.role = ROLE_POSITIONS, .n_dims = 2, .layer = -1};
    struct export_tensor t = {.out.shape = {m->prompt_rows, d}, .parts = {{DT_F32, m->prompt, m->prompt_rows, d}},
                              .n_parts = 1};
    return add(l, &t, &e, "fam.prompt", err);
}

static snellen_status list_all(const struct lister *l, snellen_error *err)
{
    struct weight_entry e;
    for (size_t i = 0; weights_next(l->model, &i, &e);) TRY(add_entry(l, &e, err));
    TRY(add_position_table(l, err));
    TRY(add_divisors(l, err));
    TRY(add_prompt(l, err));
    return add_output_copy(l, err);
}

snellen_status export_list_make(struct export_list *list, const struct snellen_model *model, bool gguf, int type,
                                snellen_error *err)
{
    *list = (struct export_list){0};
    struct weight_entry e;
    size_t most = 4;   /* those that are added */
    for (size_t i = 0; weights_next(model, &i, &e);) most++;
    const struct lister l = {list, model, gguf, type};
    snellen_status status = NEW_ARRAY(&list->tensors, most, "tensors to export", err);
    if (!status) status = NEW_ARRAY(&list->shapes, most, "tensors to export", err);
    if (!status) status = list_all(&l, err);
    if (status) export_list_free(list);
    return status;
}

void export_list_free(struct export_list *list)
{
    mem_free(list->tensors);
    mem_free(list->shapes);
    arena_free(&list->arena);
    *list = (struct export_list){0};
}
