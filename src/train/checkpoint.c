/* Checkpoints: tensors and state in one file, atomically. */
#include "train/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list of tensors ----------------------------------------------------------------------------------------- */

struct item {
    char name[144];
    float *data;
    uint64_t n;
};

/* Item i: values first, then moments and what is carried on. False past the last one. */
static bool item_at(const struct params *params, struct optim *optim, const struct train_state *state, size_t i,
                    struct item *item)
{
    struct optim_state moment;
    if (i < params->n) {
        const struct param *p = &params->list[i];
        snprintf(item->name, sizeof item->name, "%s%s", optim ? "value." : "", p->name);
        item->data = p->value;
        item->n = p->n;
        return true;
    }
    if (!optim) return false;
    if (!optim_state_at(optim, i - params->n, &moment)) {
        bool carried = state->carried && (i == params->n || optim_state_at(optim, i - params->n - 1, &moment));
        *item = (struct item){"carried", state->carried, state->n_carried};
        return carried;
    }
    snprintf(item->name, sizeof item->name, "%s.%s", moment.slot, moment.param->name);
    item->data = moment.data;
    item->n = moment.n;
    return true;
}

/* All items, and a text (may be NULL) as a tensor of bytes. */
static snellen_status write_items(const char *path, const struct params *params, struct optim *optim,
                                  const struct train_state *state, const char *name, const char *text, snellen_error *err)
{
    struct item item, *items;
    struct safetensors_spec *specs;
    size_t n = 0, at = 0;
    while (item_at(params, optim, state, n, &item)) n++;
    TRY(NEW_ARRAY(&items, n, "checkpoint", err));
    snellen_status status = NEW_ARRAY(&specs, n + 1, "checkpoint", err);
    struct safetensors_writer *w = NULL;
    if (status) goto done;
    for (; at < n && item_at(params, optim, state, at, &items[at]); at++)
        specs[at] = (struct safetensors_spec){items[at].name, "F32", 1, {(int64_t)items[at].n}};
    if (text) specs[at++] = (struct safetensors_spec){name, "U8", 1, {(int64_t)strlen(text)}};
    TRY_GOTO(safetensors_writer_new(path, specs, at, &w, err), done);
    for (size_t i = 0; i < n && !status; i++)
        status = safetensors_writer_put(w, i, 0, items[i].data, items[i].n * sizeof(float), err);
    if (!status && text) status = safetensors_writer_put(w, n, 0, text, strlen(text), err);
    if (status) safetensors_writer_abort(w);
    else status = safetensors_writer_commit(w, err);
done:
    mem_free(items);
    mem_free(specs);
    return status;
}

static snellen_status read_items(const struct safetensors *file, const char *path, const struct params *params,
                                 struct optim *optim, const struct train_state *state, snellen_error *err)
{
    struct item item;
    for (size_t i = 0; item_at(params, optim, state, i, &item); i++) {
        const char *type;
        int n_dims;
        const int64_t *shape;
        const void *data;
        uint64_t n_bytes;
        bool found = safetensors_raw(file, item.name, &type, &n_dims, &shape, &data, &n_bytes);
        FAIL_IF(!found || strcmp(type, "F32") || n_bytes != item.n * sizeof(float), SNELLEN_E_FORMAT,
                "%s: tensor '%s' of %llu values is not in it: of another model or other settings", path, item.name,
                (unsigned long long)item.n);
        memcpy(item.data, data, n_bytes);
    }
    return SNELLEN_OK;
}

/* ---- state ------------------------------------------------------------------------------------------------------- */

/* JSON has no NaN: a best measure that does not exist is left out. */
static json_t *state_json(const struct train_state *s, const struct source *source)
{
    json_t *recent = json_array();
    for (int i = 0; i < TRAIN_RECENT; i++) json_array_append_new(recent, json_real(s->recent[i]));
    json_t *o = json_pack("{s:I, s:I, s:f, s:f, s:I, s:I, s:b, s:o, s:o}", "step", (json_int_t)s->step, "tokens",
                          (json_int_t)s->tokens, "seconds", s->seconds, "loss", s->loss, "best_step",
                          (json_int_t)s->best_step, "evals_since_best", (json_int_t)s->evals_since_best, "jumping",
                          (int)s->jumping, "recent", recent, "position", source->position(source));
    if (o && !isnan(s->best)) json_object_set_new(o, "best", json_real(s->best));
    return o;
}

static bool state_from_json(const json_t *o, struct train_state *s)
{
    json_int_t step, tokens, best_step, evals;
    const json_t *recent, *best = json_object_get(o, "best");
    if (json_unpack((json_t *)(uintptr_t)o, "{s:I, s:I, s:F, s:F, s:I, s:I, s:o}", "step", &step, "tokens", &tokens,
                    "seconds", &s->seconds, "loss", &s->loss, "best_step", &best_step, "evals_since_best", &evals,
                    "recent", &recent)) return false;
    if (step < 0 || tokens < 0 || best_step < 0 || evals < 0 || json_array_size(recent) != TRAIN_RECENT) return false;
    s->step = step;
    s->tokens = (uint64_t)tokens;
    s->best_step = best_step;
    s->evals_since_best = evals;
    s->jumping = json_is_true(json_object_get(o, "jumping"));
    s->best = best ? json_number_value(best) : (double)NAN;
    for (size_t i = 0; i < TRAIN_RECENT; i++) s->recent[i] = json_number_value(json_array_get(recent, i));
    return true;
}

/* ---- whole checkpoints ------------------------------------------------------------------------------------------- */

snellen_status checkpoint_save(const char *path, const struct train_state *state, struct optim *optim,
                               const struct params *params, const struct source *source, snellen_error *err)
{
    FAIL_IF(!isfinite(optim_value_norm(optim)), SNELLEN_E_FORMAT, "%s: not written, a weight is not finite", path);
    json_t *o = state_json(state, source);
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    snellen_status status = write_items(path, params, optim, state, "state", text, err);
    free(text);
    return status;
}

static snellen_status read_state(const struct safetensors *file, const char *path, struct train_state *state,
                                 struct source *source, snellen_error *err)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *text;
    uint64_t n;
    bool found = safetensors_raw(file, "state", &type, &n_dims, &shape, &text, &n);
    json_t *o = found ? json_loadb(text, n, 0, NULL) : NULL;
    snellen_status status = SNELLEN_OK;
    if (!o || !state_from_json(o, state)) status = error_set(err, SNELLEN_E_FORMAT, "%s: is no checkpoint", path);
    if (!status) status = source->seek(source, json_object_get(o, "position"), err);
    json_decref(o);
    return status;
}

snellen_status checkpoint_load(const char *path, struct train_state *state, struct optim *optim, struct params *params,
                               struct source *source, snellen_error *err)
{
    struct safetensors *file;
    TRY(safetensors_open(path, &file, err));
    snellen_status status = read_items(file, path, params, optim, state, err);
    if (!status) status = read_state(file, path, state, source, err);
    if (!status) optim_set_steps(optim, state->step);
    safetensors_close(file);
    return status;
}

snellen_status values_save(const char *path, const struct params *params, const char *about, snellen_error *err)
{
    return write_items(path, params, NULL, NULL, "about", about, err);
}

snellen_status values_load(const char *path, struct params *params, snellen_error *err)
{
    struct safetensors *file;
    TRY(safetensors_open(path, &file, err));
    snellen_status status = read_items(file, path, params, NULL, NULL, err);
    safetensors_close(file);
    return status;
}
