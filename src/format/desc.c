/* Descriptions: the bounds of every number, whatever container it came from. What passes desc_check() can be multiplied
 * and allocated for without further thought. */
#include "format/inner.h"

#include <math.h>
#include <string.h>

const char *const position_names[POSITION_COUNT] = {
    [POSITION_OWN] = "", [POSITION_ROTARY] = "rotary", [POSITION_ALIBI] = "alibi", [POSITION_LEARNED] = "learned",
    [POSITION_SINUSOIDAL] = "sinusoidal", [POSITION_NONE] = "none",
};

enum position_kind position_named(const char *name, size_t n)
{
    enum position_kind kind = POSITION_ROTARY;
    for (; kind < POSITION_COUNT; kind++)
        if (strlen(position_names[kind]) == n && !memcmp(position_names[kind], name, n)) break;
    return kind;
}

enum position_kind desc_positions(const char *arch)
{
    if (!strcmp(arch, "gpt2") || !strcmp(arch, "opt")) return POSITION_LEARNED;
    return strcmp(arch, "bloom") ? POSITION_ROTARY : POSITION_ALIBI;
}

struct bound {
    const char *name;
    int64_t value, low, high;
};

static snellen_status check_sizes(const struct model_desc *d, const char *file, snellen_error *err)
{
    const struct bound bounds[] = {
        {"layers", d->n_layers, 1, 1024},
        {"width (embedding length)", d->d_model, 1, 131072},
        {"attention heads", d->n_heads, 1, 4096},
        {"key and value heads", d->n_kv_heads, 1, d->n_heads},
        {"width of a head", d->head_dim, 1, 8192},
        {"width of the feed-forward layer", d->d_ff, 1, 4 << 20},
        {"vocabulary", d->n_vocab, 1, 4 << 20},
        {"context", d->n_context, 1, 1 << 30},
        {"rotary dimensions", d->rope_dim, 0, d->head_dim},
        {"sliding window", d->window, 0, 1 << 30},
    };
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        const struct bound *b = &bounds[i];
        FAIL_IF(b->value < b->low || b->value > b->high, SNELLEN_E_FORMAT, "%s: %s: %lld, %lld to %lld expected", file,
                b->name, (long long)b->value, (long long)b->low, (long long)b->high);
    }
    FAIL_IF(d->n_heads % d->n_kv_heads, SNELLEN_E_FORMAT,
            "%s: %lld attention heads cannot share %lld key and value heads evenly", file, (long long)d->n_heads,
            (long long)d->n_kv_heads);
    int64_t turning = d->rope_dim || d->rope_theta == 0 ? d->rope_dim : d->head_dim;
    FAIL_IF(turning % 2, SNELLEN_E_FORMAT, "%s: rotary dimensions: %lld, an even number expected", file,
            (long long)turning);
    return SNELLEN_OK;
}

static snellen_status check_numbers(const struct model_desc *d, const char *file, snellen_error *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } bounds[] = {
        {"epsilon of the norms", d->norm_eps, 0, 1},
        {"rotary base", d->rope_theta, 0, 1e15},
        {"rotary base of windowed layers", d->rope_theta_local, 0, 1e15},
        {"rotary scaling factor", d->rope_factor, 0, 1e6},
        {"rotary low frequency factor", d->rope_low_freq_factor, 0, 1e6},
        {"rotary high frequency factor", d->rope_high_freq_factor, 0, 1e6},
        {"original context of rotary scaling", d->rope_original_context, 0, 1 << 30},
        {"rotary attention factor", d->rope_attn_factor, 0, 1e3},
        {"rotary beta_fast", d->rope_beta_fast, 0, 1e6},
        {"rotary beta_slow", d->rope_beta_slow, 0, 1e6},
        {"ALiBi bias", d->alibi_max_bias, 0, 1e3},
        {"attention scale", d->attn_scale, 0, 1e3},
        {"soft cap of attention", d->attn_soft_cap, 0, 1e6},
        {"soft cap of logits", d->logit_soft_cap, 0, 1e6},
        {"embedding scale", d->embedding_scale, 0, 1e6},
    };
    for (size_t i = 0; i < COUNT_OF(bounds); i++)
        FAIL_IF(!(bounds[i].value >= bounds[i].low && bounds[i].value <= bounds[i].high), SNELLEN_E_FORMAT,
                "%s: %s: %g, %g to %g expected", file, bounds[i].name, bounds[i].value, bounds[i].low, bounds[i].high);
    FAIL_IF(d->rope_theta != 0 && d->rope_theta <= 1, SNELLEN_E_FORMAT, "%s: rotary base: %g, more than 1 expected",
            file, d->rope_theta);
    FAIL_IF(d->rope_theta_local != 0 && d->rope_theta_local <= 1, SNELLEN_E_FORMAT,
            "%s: rotary base of windowed layers: %g, more than 1 expected", file, d->rope_theta_local);
    return SNELLEN_OK;
}

static snellen_status check_scaling(const struct model_desc *d, const char *file, snellen_error *err)
{
    if (d->rope_scaling == ROPE_NONE) return SNELLEN_OK;
    FAIL_IF(d->rope_factor < 1e-6, SNELLEN_E_FORMAT, "%s: rotary scaling factor: %g, a positive number expected", file,
            d->rope_factor);
    if (d->rope_scaling == ROPE_LINEAR) return SNELLEN_OK;
    FAIL_IF(d->rope_original_context < 1, SNELLEN_E_FORMAT,
            "%s: original context of rotary scaling: %g, at least 1 expected", file, d->rope_original_context);
    if (d->rope_scaling == ROPE_LLAMA3)
        FAIL_IF(d->rope_low_freq_factor <= 0 || d->rope_high_freq_factor <= d->rope_low_freq_factor, SNELLEN_E_FORMAT,
                "%s: rotary frequency factors: low %g and high %g, 0 < low < high expected", file,
                d->rope_low_freq_factor, d->rope_high_freq_factor);
    if (d->rope_scaling == ROPE_YARN)
        FAIL_IF(d->rope_beta_slow <= 0 || d->rope_beta_fast <= d->rope_beta_slow, SNELLEN_E_FORMAT,
                "%s: rotary beta_slow %g and beta_fast %g, 0 < slow < fast expected", file, d->rope_beta_slow,
                d->rope_beta_fast);
    return SNELLEN_OK;
}

snellen_status desc_check(const struct model_desc *desc, const char *file, snellen_error *err)
{
    TRY(check_sizes(desc, file, err));
    TRY(check_numbers(desc, file, err));
    return check_scaling(desc, file, err);
}

snellen_status desc_windows(struct model_desc *desc, struct arena *arena, const char *file, snellen_error *err)
{
    FAIL_IF(desc->n_layers < 1 || desc->n_layers > 1024, SNELLEN_E_FORMAT, "%s: layers: %lld, 1 to 1024 expected", file,
            (long long)desc->n_layers);
    desc->windowed = arena_alloc(arena, (size_t)desc->n_layers);
    FAIL_IF(!desc->windowed, SNELLEN_E_MEMORY, "%s: memory ran out", file);
    return SNELLEN_OK;
}
