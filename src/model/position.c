/* Positions: the frequencies of rotary embeddings with their scalings, ALiBi slopes, vectors that are added. */
#include "model/model.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

/* ---- scalings of rotary frequencies ---------------------------------------------------------------------------------- */

/* Llama 3: wavelengths beyond original_context / low_freq_factor are stretched by the factor, those shorter than
 * original_context / high_freq_factor stay, between them a linear blend. */
double llama3_frequency(double freq, const struct model_desc *d)
{
    double turns = d->rope_original_context * freq / (2 * PI);  /* full turns within the original context */
    if (turns > d->rope_high_freq_factor) return freq;
    if (turns < d->rope_low_freq_factor) return freq / d->rope_factor;
    double keep = (turns - d->rope_low_freq_factor) / (d->rope_high_freq_factor - d->rope_low_freq_factor);
    return (1 - keep) * freq / d->rope_factor + keep * freq;
}

/* The (real-valued) pair whose frequency makes `turns` full turns within the original context. */
static double yarn_pair(double turns, int64_t rope_dim, double theta, double context)
{
    return (double)rope_dim * log(context / (turns * 2 * PI)) / (2 * log(theta));
}

/* YaRN (arXiv 2309.00071): pairs that turn more than beta_fast times within the original context stay, those below
 * beta_slow are stretched, a linear ramp over the pair's index between them. */
static double yarn_frequency(double freq, int64_t pair, int64_t rope_dim, double theta, const struct model_desc *d)
{
    double low = floor(yarn_pair(d->rope_beta_fast, rope_dim, theta, d->rope_original_context));
    double high = ceil(yarn_pair(d->rope_beta_slow, rope_dim, theta, d->rope_original_context));
    low = MAX(low, 0);
    high = MIN(high, (double)(rope_dim - 1));
    double stretch = ((double)pair - low) / (high > low ? high - low : 0.001);
    stretch = MIN(MAX(stretch, 0), 1);
    return freq / d->rope_factor * stretch + freq * (1 - stretch);
}

static snellen_status rope_init(struct snellen_model *model, struct rope *rope, double theta, bool scaled,
                                snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    int64_t rope_dim = d->rope_dim;
    rope->half = rope_dim / 2;
    rope->scale = 1;
    rope->inv_freq = arena_alloc(&model->arena, (size_t)rope->half * sizeof(double));
    FAIL_IF(!rope->inv_freq, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
    enum rope_scaling scaling = scaled ? d->rope_scaling : ROPE_NONE;
    for (int64_t i = 0; i < rope->half; i++) {
        double freq = pow(theta, -2.0 * (double)i / (double)rope_dim);
        if (scaling == ROPE_LINEAR) freq /= d->rope_factor;
        if (scaling == ROPE_LLAMA3) freq = llama3_frequency(freq, d);
        if (scaling == ROPE_YARN) freq = yarn_frequency(freq, i, rope_dim, theta, d);
        rope->inv_freq[i] = freq;
    }
    if (scaling == ROPE_YARN)
        rope->scale = (float)(d->rope_attn_factor > 0 ? d->rope_attn_factor
                              : d->rope_factor > 1    ? 0.1 * log(d->rope_factor) + 1
                                                      : 1);
    return SNELLEN_OK;
}

/* GGUF files of Llama 3 carry the scaling as one divisor a pair. */
static snellen_status rope_divide(struct snellen_model *model, struct rope *rope, snellen_error *err)
{
    const struct tensor *t = model_file_find(model->file, "rope_freqs.weight");
    if (!t) return SNELLEN_OK;
    FAIL_IF(t->type != DT_F32 || t->n_dims != 1 || t->shape[0] < rope->half, SNELLEN_E_FORMAT,
            "%s: tensor 'rope_freqs.weight': %s of %lld entries found, F32 of %lld expected", model->file->path,
            dtype_infos[t->type].name, (long long)t->shape[0], (long long)rope->half);
    for (int64_t i = 0; i < rope->half; i++) {
        float divisor;
        memcpy(&divisor, (const char *)t->data + i * (int64_t)sizeof divisor, sizeof divisor);
        FAIL_IF(!(divisor > 0) || !isfinite(divisor), SNELLEN_E_FORMAT,
                "%s: tensor 'rope_freqs.weight': entry %lld is %g, a positive number expected", model->file->path,
                (long long)i, (double)divisor);
        rope->inv_freq[i] /= (double)divisor;
    }
    return SNELLEN_OK;
}

/* ---- ALiBi ---------------------------------------------------------------------------------------------------------------- */

void alibi_slopes(float *slopes, int64_t n_heads, double max_bias)
{
    int64_t power = 1;
    while (power * 2 <= n_heads) power *= 2;
    for (int64_t i = 0; i < n_heads; i++) {
        double exponent = i < power ? (double)(i + 1) / (double)power
                                    : ((double)(i - power) + 0.5) / (double)power;
        slopes[i] = (float)exp2(-max_bias * exponent);
    }
}

/* ---- vectors that are added ----------------------------------------------------------------------------------------------- */

bool positions_added(const struct snellen_model *model)
{
    return model->desc.positions == POSITION_LEARNED || model->desc.positions == POSITION_SINUSOIDAL;
}

static void sinusoids(float *y, int64_t position, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        double angle = (double)position * pow(10000, -(double)(i / 2 * 2) / (double)d);
        y[i] = (float)(i % 2 ? cos(angle) : sin(angle));
    }
}

void position_vector(const struct snellen_model *model, float *y, int64_t position)
{
    if (model->desc.positions == POSITION_SINUSOIDAL)
        sinusoids(y, position, model->desc.d_model);
    else
        weight_row(y, &model->position_table.weight, position);
}

/* ---- what a model needs ----------------------------------------------------------------------------------------------------- */

snellen_status positions_init(struct snellen_model *model, snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    if (model->desc.positions == POSITION_ROTARY) {
        TRY(rope_init(model, &model->rope, d->rope_theta, true, err));
        TRY(rope_divide(model, &model->rope, err));
        if (d->window > 0)
            TRY(rope_init(model, &model->rope_local, d->rope_theta_local > 0 ? d->rope_theta_local : d->rope_theta,
                          d->rope_theta_local <= 0 || d->rope_scaling_local, err));
    }
    if (model->desc.positions == POSITION_ALIBI) {
        model->alibi = arena_alloc(&model->arena, (size_t)d->n_heads * sizeof(float));
        FAIL_IF(!model->alibi, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
        alibi_slopes(model->alibi, d->n_heads, d->alibi_max_bias);
    }
    return SNELLEN_OK;
}
