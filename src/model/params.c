/* What is trained: all weights as f32, or low-rank factors beside them; and the factors' merge into the weights. */
#include "model/grad.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---------------------------------------------------------------------------------------------------- */

void params_free(struct params *params)
{
    if (!params) return;
    mem_free(params->list);
    mem_free(params->values);
    mem_free(params->grads);
    free(params);
}

void params_zero_grads(struct params *params)
{
    memset(params->grads, 0, params->n_values * sizeof *params->grads);
}

/* Room for n tensors of n_values elements altogether; *params is the model's from here on. */
static snellen_status params_new(struct snellen_model *model, size_t n, uint64_t n_values, struct params **params,
                                 snellen_error *err)
{
    uint64_t bytes;
    FAIL_IF(model->params, SNELLEN_E_USAGE, "%s: is being trained already", model->file->path);
    FAIL_IF(!size_mul(n_values, 2 * sizeof(float), &bytes) || bytes > mem_available(), SNELLEN_E_MEMORY,
            "%llu weights to train need %.1f MB with their gradients, %.1f MB are available; low-rank factors need "
            "less",
            (unsigned long long)n_values, (double)n_values * 2 * sizeof(float) / 1e6, (double)mem_available() / 1e6);
    struct params *p = calloc(1, sizeof *p);
    FAIL_IF(!p, SNELLEN_E_MEMORY, "weights to train: memory ran out");
    model->params = p;
    p->n_values = n_values;
    TRY(NEW_ARRAY(&p->list, n, "weights to train", err));
    TRY(NEW_ARRAY(&p->values, n_values, "weights to train", err));
    TRY(NEW_ARRAY(&p->grads, n_values, "gradients", err));
    *params = p;
    return SNELLEN_OK;
}

/* The next tensor of the list takes the next places of values and gradients. */
static struct param *params_add(struct params *params, const char *name, const char *suffix, int n_dims, int64_t n_out,
                                int64_t n_in)
{
    const struct param *before = params->n ? &params->list[params->n - 1] : NULL;
    uint64_t at = before ? (uint64_t)(before->value - params->values) + before->n : 0;
    struct param *p = &params->list[params->n++];
    snprintf(p->name, sizeof p->name, "%s%s", name, suffix);
    p->n_dims = n_dims;
    p->shape[0] = n_out;
    p->shape[1] = n_in;
    p->matrix = n_dims == 2;
    p->rate = 1;
    p->n = (uint64_t)n_out * (uint64_t)n_in;
    p->value = params->values + at;
    p->grad = params->grads + at;
    return p;
}

/* The memory's prompt is trained with whatever else is: it has no weight decay. */
static uint64_t prompt_size(const struct snellen_model *model)
{
    return model->memory.prompt ? (uint64_t)(model->memory.prompt_rows * model->desc.d_model) : 0;
}

static void add_prompt(struct snellen_model *model, struct params *params)
{
    if (!model->memory.prompt) return;
    struct param *p = params_add(params, "fam.prompt", "", 2, model->memory.prompt_rows, model->desc.d_model);
    p->matrix = false;
    memcpy(p->value, model->memory.prompt, (size_t)p->n * sizeof *p->value);
    model->memory.prompt = p->value;
    model->memory_dprompt = p->grad;
}

/* ---- all weights ------------------------------------------------------------------------------------------------- */

snellen_status params_full(struct snellen_model *model, struct params **out, snellen_error *err)
{
    struct weight_entry e;
    struct weight_place place;
    size_t n = 0;
    uint64_t n_values = 0;
    for (size_t i = 0; weights_next(model, &i, &e); n++) n_values += (uint64_t)(e.shape[0] * e.shape[1]);
    struct params *params;
    TRY(params_new(model, n + 1, n_values + prompt_size(model), &params, err));
    for (size_t i = 0; weights_next_place(model, &i, &e, &place);) {
        struct param *p = params_add(params, e.name, "", e.n_dims, e.shape[0], e.shape[1]);
        #pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < e.weight.n_out; row++) weight_row(p->value + row * e.weight.n_in, &e.weight, row);
        if (place.vector) *place.vector = p->value;
        else *place.matrix = (struct weight){DT_F32, p->value, e.shape[0], e.shape[1]};
        *place.gradient = p->grad;
    }
    add_prompt(model, params);
    if (model->desc.tied_output) {
        model->output.weight = model->embedding.weight;
        model->output.dweight = model->embedding.dweight;
    }
    *out = params;
    return SNELLEN_OK;
}

/* ---- low-rank factors -------------------------------------------------------------------------------------------- */

static const char all_maps[] = "attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down";

/* "blk.3.attn_q.weight" -> whether "attn_q" stands in the list of names */
static bool is_target(const struct weight_entry *e, const char *targets)
{
    const char *name = strchr(e->name + 4, '.') + 1;
    size_t n = strcspn(name, ".");
    for (const char *p = targets; *p; p += strspn(p, " ")) {
        size_t word = strcspn(p, " ");
        if (word == n && !memcmp(p, name, n)) return true;
        p += word;
    }
    return false;
}

static bool next_target(struct snellen_model *model, const char *targets, size_t *i, struct weight_entry *e,
                        struct weight_place *place)
{
    while (weights_next_place(model, i, e, place))
        if (e->layer >= 0 && place->map && is_target(e, targets)) return true;
    return false;
}

/* Every name must be that of a map; gate only where the model has one. */
static snellen_status check_targets(struct snellen_model *model, const char *targets, snellen_error *err)
{
    char word[32];
    for (const char *p = targets + strspn(targets, " "); *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " "), i = 0;
        struct weight_entry e;
        struct weight_place place;
        snprintf(word, sizeof word, "%.*s", (int)MIN(n, 31), p);
        FAIL_IF(!next_target(model, word, &i, &e, &place), SNELLEN_E_USAGE,
                "LoRA target '%s' is no map of this model; there are: %s", word, all_maps);
        p += n;
    }
    return SNELLEN_OK;
}

static void lora_attach(struct params *params, const struct weight_entry *e, struct linear *map, struct lora *lora,
                        const struct lora_options *o, struct rng *rng)
{
    char base[96];
    snprintf(base, sizeof base, "%.*s", (int)(strlen(e->name) - strlen("weight")), e->name);
    struct param *a = params_add(params, base, "lora_a", 2, o->rank, e->shape[1]);
    struct param *b = params_add(params, base, "lora_b", 2, e->shape[0], o->rank);
    double size = 1 / sqrt((double)e->shape[1]);
    for (uint64_t i = 0; i < a->n; i++) a->value[i] = (float)(size * rng_normal(rng));
    double alpha = o->alpha > 0 ? o->alpha : (double)o->rank;
    *lora = (struct lora){.rank = o->rank, .scale = (float)(alpha / (double)o->rank), .a = a->value, .b = b->value,
                          .da = a->grad, .db = b->grad};
    map->lora = lora;
}

snellen_status params_lora(struct snellen_model *model, const struct lora_options *o, struct params **out,
                           snellen_error *err)
{
    enum { MOST_RANK = 4096 };
    struct weight_entry e;
    struct weight_place place;
    const char *targets = o->targets ? o->targets : all_maps;
    FAIL_IF(o->rank < 1 || o->rank > MOST_RANK, SNELLEN_E_USAGE, "LoRA rank %lld, 1 to %d expected", (long long)o->rank,
            MOST_RANK);
    if (o->targets) TRY(check_targets(model, targets, err));
    size_t n = 0;
    uint64_t n_values = 0;
    for (size_t i = 0; next_target(model, targets, &i, &e, &place); n++)
        n_values += (uint64_t)((e.shape[0] + e.shape[1]) * o->rank);
    FAIL_IF(!n, SNELLEN_E_USAGE, "LoRA: no map is named");
    struct lora *factors = arena_alloc(&model->arena, n * sizeof *factors);
    FAIL_IF(!factors, SNELLEN_E_MEMORY, "LoRA: memory ran out");
    struct params *params;
    TRY(params_new(model, 2 * n + 1, n_values + prompt_size(model), &params, err));
    params->lora = true;
    struct rng rng;
    rng_seed(&rng, o->seed, 0);
    for (size_t i = 0; next_target(model, targets, &i, &e, &place);)
        lora_attach(params, &e, place.map, factors++, o, &rng);
    add_prompt(model, params);
    model->lora_rank = o->rank;
    model->lora_scale = (float)((o->alpha > 0 ? o->alpha : (double)o->rank) / (double)o->rank);
    *out = params;
    return SNELLEN_OK;
}

snellen_status lora_merge(struct snellen_model *model, snellen_error *err)
{
    struct weight_entry e;
    struct weight_place place;
    FAIL_IF(!model->params || !model->params->lora, SNELLEN_E_USAGE, "%s: has no low-rank factors", model->file->path);
    for (size_t i = 0; weights_next_place(model, &i, &e, &place);) {
        struct lora *lora = place.map ? place.map->lora : NULL;
        if (!lora) continue;
        int64_t n_out = e.shape[0], n_in = e.shape[1];
        float *merged = arena_alloc(&model->arena, (size_t)(n_out * n_in) * sizeof *merged);
        float *b = arena_alloc(&model->arena, (size_t)(n_out * lora->rank) * sizeof *b);
        FAIL_IF(!merged || !b, SNELLEN_E_MEMORY, "merging %s: memory ran out", e.name);
        for (int64_t row = 0; row < n_out; row++) weight_row(merged + row * n_in, &e.weight, row);
        for (int64_t j = 0; j < n_out * lora->rank; j++) b[j] = lora->scale * lora->b[j];
        gemm(merged, true, b, false, lora->a, false, n_out, n_in, lora->rank);
        *place.matrix = (struct weight){DT_F32, merged, n_out, n_in};
        place.map->lora = NULL;
    }
    if (model->memory.prompt && model->memory.prompt != model->memory_prompt) {   /* it lives in the params, and outlives them */
        memcpy(model->memory_prompt, model->memory.prompt, (size_t)prompt_size(model) * sizeof(float));
        model->memory.prompt = model->memory_prompt;
        model->memory_dprompt = NULL;
    }
    params_free(model->params);
    model->params = NULL;
    model->lora_rank = 0;
    model->lora_loaded = false;
    return SNELLEN_OK;
}
