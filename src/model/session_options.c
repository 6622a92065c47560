/* A session's options: defaults, what is left to the model, what is refused; the sizes and roundings that follow. */
#include "model/session.h"

#include <math.h>
#include <sched.h>
#include <string.h>

/* ---- threads ----------------------------------------------------------------------------------------------------------- */

/* Cores that the cgroup's quota allows; INT32_MAX without one. */
static int cgroup_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f) return INT32_MAX;
    double quota, period;
    int n = fscanf(f, "%lf %lf", &quota, &period);
    fclose(f);
    return n == 2 && quota > 0 && period > 0 ? (int)ceil(quota / period) : INT32_MAX;
}

int snellen_default_threads(void)
{
    cpu_set_t mask;
    int cores = sched_getaffinity(0, sizeof mask, &mask) ? 1 : CPU_COUNT(&mask);
    return MAX(1, MIN(cores, cgroup_cores()));
}

/* ---- options ------------------------------------------------------------------------------------------------------------- */

enum { DEFAULT_CHUNK = 512, MAX_CHUNK = 8192, DEFAULT_SINKS = 4, DEFAULT_SINK_WINDOW = 1024, MAX_THREADS = 1024,
       DEFAULT_BLOCK = 1024, DEFAULT_SEGMENTS = 3, DEFAULT_FAM = 64 };
static const int64_t max_context = (int64_t)1 << 40;

snellen_session_options snellen_session_options_default(void)
{
    return (snellen_session_options){.memory = SNELLEN_MEMORY_FULL, .sinks = DEFAULT_SINKS, .segments = -1,
                                     .precision = SNELLEN_F32,
                                     .cache = SNELLEN_F32, .attn_temp = 1};
}

snellen_status snellen_memory_parse(const char *name, snellen_memory_kind *kind, snellen_error *err)
{
    struct strbuf known = {0};
    for (size_t i = 0; memory_list(i); i++) {
        if (!strcmp(memory_list(i)->name, name)) {
            *kind = memory_list(i)->kind;
            strbuf_free(&known);
            return SNELLEN_OK;
        }
        strbuf_printf(&known, "%s%s", i ? ", " : "", memory_list(i)->name);
    }
    snellen_status status = error_set(err, SNELLEN_E_USAGE, "memory '%s' is not known; there are: %s", name,
                                      known.text ? known.text : "");
    strbuf_free(&known);
    return status;
}

const char *snellen_memory_name(snellen_memory_kind kind)
{
    const struct memory_ops *ops = memory_find(kind);
    return ops ? ops->name : "";
}

static snellen_status in_range(int64_t value, int64_t low, int64_t high, const char *what, snellen_error *err)
{
    FAIL_IF(value < low || value > high, SNELLEN_E_USAGE, "%s is %lld, %lld to %lld expected", what, (long long)value,
            (long long)low, (long long)high);
    return SNELLEN_OK;
}

/* bswa, xl, fam, rmt: what is not given is the model's own, then the paper's. */
static snellen_status resolve_blocks(const snellen_model *model, snellen_session_options *o, snellen_error *err)
{
    const snellen_model_memory *own = &model->memory;
    const char *name = snellen_memory_name(o->memory);
    if (o->block == 0) o->block = own->block ? own->block : DEFAULT_BLOCK;
    if (o->segments < 0) o->segments = own->block ? own->segments : DEFAULT_SEGMENTS;
    if (o->fam == 0) o->fam = own->fam ? own->fam : DEFAULT_FAM;
    if (o->fam_blocks == 0) o->fam_blocks = own->fam_blocks ? own->fam_blocks : 1;
    if (o->memory != SNELLEN_MEMORY_XL) o->window = 0;
    else if (o->window == 0) o->window = own->window ? own->window : o->block;
    if (o->memory == SNELLEN_MEMORY_RMT) o->segments = 0;
    TRY(in_range(o->block, 1, 1 << 24, "block", err));
    TRY(in_range(o->segments, 0, 1 << 16, "segments", err));
    if (o->memory == SNELLEN_MEMORY_XL) TRY(in_range(o->window, 1, max_context, "window", err));
    if (!memory_find(o->memory)->n_rows) return SNELLEN_OK;
    TRY(in_range(o->fam, 1, 1 << 16, "fam", err));
    TRY(in_range(o->fam_blocks, 1, MEMORY_MAX_FAM_BLOCKS, "fam_blocks", err));
    FAIL_IF(own->prompt && own->fam != o->fam, SNELLEN_E_USAGE, "memory %s: %lld rows wanted, the model's memory prompt has %lld",
            name, (long long)o->fam, (long long)own->fam);
    FAIL_IF(o->fam > o->block, SNELLEN_E_USAGE, "memory %s: %lld rows are more than the %lld tokens of a block",
            name, (long long)o->fam, (long long)o->block);
    FAIL_IF(o->memory == SNELLEN_MEMORY_FAM && own->fam_positions != SNELLEN_FAM_LAST && model->desc.positions == POSITION_ALIBI, SNELLEN_E_UNSUPPORTED,
            "memory fam: with ALiBi its rows stand on the last places of a block");
    return SNELLEN_OK;
}

static snellen_status resolve_window(const snellen_model *model, const struct memory_ops *ops, snellen_session_options *o,
                                     snellen_error *err)
{
    if (o->memory == SNELLEN_MEMORY_FULL) {
        o->window = 0;
        return SNELLEN_OK;
    }
    if (ops->room) return resolve_blocks(model, o, err);
    if (o->window == 0 && model->memory.kind == o->memory) o->window = model->memory.window;
    if (o->window == 0) o->window = model->desc.window;
    if (o->window == 0 && ops->shifts_positions) o->window = DEFAULT_SINK_WINDOW;
    FAIL_IF(o->window == 0, SNELLEN_E_USAGE, "memory swa: the model has no window of its own, give one (--window W)");
    TRY(in_range(o->window, 1, max_context, "window", err));
    TRY(in_range(o->sinks, 0, 1 << 20, "sinks", err));
    FAIL_IF(ops->shifts_positions && positions_added(model), SNELLEN_E_UNSUPPORTED,
            "memory sink: %s positions of a %s model cannot be counted inside the cache", model->info.positions,
            model->arch->name);
    return SNELLEN_OK;
}

/* Precision, its parts and the cache, so that equal sessions have equal options. */
static snellen_status resolve_numbers(const snellen_model *model, snellen_session_options *o, snellen_error *err)
{
    const unsigned every = SNELLEN_ROUND_COMPUTED | SNELLEN_ROUND_WEIGHTS;
    FAIL_IF((unsigned)o->precision > SNELLEN_Q8_0, SNELLEN_E_USAGE, "precision is f32, bf16, f16 or q8_0");
    FAIL_IF(o->round_parts & ~every, SNELLEN_E_USAGE,
            "round_parts %#x: SNELLEN_ROUND_WEIGHTS, _ACTIVATIONS, _CACHE and _LOGITS expected", o->round_parts);
    if (o->precision == SNELLEN_Q8_0) {
        FAIL_IF(o->round_parts & ~(unsigned)SNELLEN_ROUND_CACHE, SNELLEN_E_USAGE,
                "q8_0 is a format of the cache: weights, activations and logits are rounded to bf16 or f16");
        o->precision = SNELLEN_F32;
        o->cache = SNELLEN_Q8_0;
    }
    if (!o->round_parts || o->precision == SNELLEN_F32) o->round_parts = SNELLEN_ROUND_COMPUTED;
    if (o->round_parts & SNELLEN_ROUND_WEIGHTS) o->exact = true; /* only there they are numbers on their own */
    FAIL_IF(o->cache != SNELLEN_F32 && o->cache != SNELLEN_F16 && o->cache != SNELLEN_Q8_0, SNELLEN_E_USAGE,
            "cache is f32, f16 or q8_0");
    FAIL_IF(o->cache == SNELLEN_Q8_0 && dtype_row_bytes(DT_Q8_0, model->desc.head_dim) < 0, SNELLEN_E_UNSUPPORTED,
            "a q8_0 cache holds blocks of 32 numbers, but this model's heads are %lld wide: f16 or f32 can hold them",
            (long long)model->desc.head_dim);
    return SNELLEN_OK;
}

snellen_status session_resolve(const snellen_model *model, snellen_session_options *o, snellen_error *err)
{
    const struct memory_ops *ops = memory_find(o->memory);
    FAIL_IF(!ops, SNELLEN_E_USAGE, "memory kind %d is not known", (int)o->memory);
    TRY(resolve_numbers(model, o, err));
    if (o->attn_temp == 0) o->attn_temp = 1;
    FAIL_IF(!(o->attn_temp > 0 && o->attn_temp <= 1e6), SNELLEN_E_USAGE, "the temperature of attention is %g, more than 0 "
            "expected (--attn-temp T)", o->attn_temp);
    TRY(in_range(o->attn_log, 0, max_context, "the length from which attention is sharpened", err));
    FAIL_IF(o->attn_log == 1, SNELLEN_E_USAGE, "attention is sharpened by log(t) / log(n): n = 1 has no logarithm to "
            "divide by, 2 or more expected (--attn-log N)");
    TRY(resolve_window(model, ops, o, err));
    if (o->n_context == 0) o->n_context = model->desc.n_context;
    TRY(in_range(o->n_context, 1, max_context, "context", err));
    FAIL_IF(model->desc.positions == POSITION_LEARNED && o->n_context > model->desc.n_context, SNELLEN_E_USAGE,
            "context is %lld, but the model has learned positions for %lld tokens", (long long)o->n_context,
            (long long)model->desc.n_context);
    if (o->chunk == 0) o->chunk = DEFAULT_CHUNK;
    TRY(in_range(o->chunk, 1, MAX_CHUNK, "chunk", err));
    if (o->memory == SNELLEN_MEMORY_FULL) o->chunk = MIN(o->chunk, o->n_context);
    if (o->n_threads == 0) o->n_threads = snellen_default_threads();
    return in_range(o->n_threads, 1, MAX_THREADS, "threads", err);
}

static enum dtype kv_type_of(const snellen_session_options *o)
{
    if (o->cache == SNELLEN_Q8_0) return DT_Q8_0;
    bool bf16 = o->precision == SNELLEN_BF16 && o->round_parts & SNELLEN_ROUND_CACHE;
    return o->cache == SNELLEN_F16 && !bf16 ? DT_F16 : DT_F32;
}

struct memory_shape session_memory_shape(const snellen_model *model, const snellen_session_options *o)
{
    const struct model_desc *d = &model->desc;
    return (struct memory_shape){
        .n_layers = d->n_layers, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim, .windowed = d->windowed,
        .model_window = d->window,
        .kv_type = kv_type_of(o),
        .n_context = o->n_context,
        .max_position = model->desc.positions == POSITION_LEARNED ? d->n_context : INT64_MAX,
        .chunk = o->chunk, .window = o->window, .sinks = o->sinks,
        .block = o->block, .segments = o->segments, .fam = memory_find(o->memory)->n_rows ? o->fam : 0,
        .fam_blocks = o->fam_blocks, .fam_positions = model->memory.fam_positions, .n_heads = d->n_heads,
        .d_model = d->d_model, .prompt = model->memory.prompt,
        .prompt_each_layer = model->memory.prompt_rows > model->memory.fam,
    };
}

struct workspace_shape session_workspace_shape(const struct memory_shape *m, const snellen_session_options *o)
{
    static const enum rounding roundings[] = {[SNELLEN_F32] = ROUND_NONE, [SNELLEN_BF16] = ROUND_BF16,
                                              [SNELLEN_F16] = ROUND_F16};
    const struct memory_ops *ops = memory_find(o->memory);
    enum rounding to = roundings[o->precision];
    unsigned parts = o->round_parts;
    const struct roundings round = {.weights = parts & SNELLEN_ROUND_WEIGHTS ? to : ROUND_NONE,
                                    .activations = parts & SNELLEN_ROUND_ACTIVATIONS ? to : ROUND_NONE,
                                    .cache = parts & SNELLEN_ROUND_CACHE ? to : ROUND_NONE,
                                    .logits = parts & SNELLEN_ROUND_LOGITS ? to : ROUND_NONE};
    return (struct workspace_shape){.rows = o->chunk + 2 * m->fam, .branches = ops->branches, .shifts = ops->shifts_positions,
                                    .n_threads = o->n_threads, .round = round,
                                    .kv_type = m->kv_type, .exact = o->exact,
                                    .temper = {o->attn_temp != 1 || o->attn_log, o->attn_temp, o->attn_log}};
}
