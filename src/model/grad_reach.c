/* Weights of attention's paths, taken from a row down to the input (arXiv 2406.04267, theorem 5.1):
 *
 *     a layer gives        y_i = (x_i + 1/beta sum_j A_ij x_j) / (1 + 1/beta)
 *     so weights go back   w_j <- (w_j + 1/beta sum_i w_i A_ij) / (1 + 1/beta)
 *
 * They go the way that gradients go, through blocks and memories. sum_i w_i A_ij is what attention's backward adds to the
 * values when dout = w: each head takes head_dim sets of weights at once, one in each lane, and gives its share of the mean.
 * A lane begins in one layer, so that one way down gives the products of the layers 0..l for every l. */
#include "model/grad_step.h"

#include <math.h>
#include <string.h>

struct reach {
    const double *beta;         /* [n_layers] */
    int64_t first, n_lanes;     /* the layers first .. first + n_lanes - 1 begin, each with the last row, in a lane of its own */
};

void reach_layer_down(struct grad *g, const struct reach *reach, int64_t layer, const struct grad_block *b, float *weights)
{
    const struct model_desc *desc = &g->model->desc;
    int64_t d = desc->d_model, e = desc->head_dim, lanes = MIN(d, e), begins = layer - reach->first;
    float beta = (float)reach->beta[layer], share = 1 / (float)desc->n_heads;
    const float *dv = g->kv[layer].dv + b->row0 * desc->n_kv_heads * e;

    if (b->index + 1 == grad_blocks(g) && begins >= 0 && begins < reach->n_lanes) weights[(b->n_tokens - 1) * d + begins] = 1;
    memset(g->s.dmix, 0, (size_t)(b->n_rows * desc->n_heads * e) * sizeof(float));
    for (int64_t row = 0; row < b->n_rows; row++)
        for (int64_t head = 0; head < desc->n_heads; head++)
            for (int64_t lane = 0; lane < lanes; lane++)
                g->s.dmix[(row * desc->n_heads + head) * e + lane] = share * weights[row * d + lane];
    grad_attend_backward(g, layer, b, grad_remember_attention(g, b, layer));
    for (int64_t row = 0; row < b->n_rows; row++)
        for (int64_t lane = 0; lane < lanes; lane++) {
            float attended = 0;
            for (int64_t kv = 0; kv < desc->n_kv_heads; kv++) attended += dv[(row * desc->n_kv_heads + kv) * e + lane];
            weights[row * d + lane] = (beta * weights[row * d + lane] + attended) / (beta + 1);
        }
}

/* What a norm divides a row by. */
static double length_of(const struct grad *g, const float *x)
{
    int64_t d = g->model->desc.d_model;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < d; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    double mean = g->model->arch->norm == NORM_RMS ? 0 : sum / (double)d;
    return sqrt(squares / (double)d - mean * mean + g->model->desc.norm_eps);
}

/* Means over the tokens' rows of each layer's input. */
static void add_lengths(struct grad *g, const struct grad_block *b, void *user)
{
    double *beta = user;
    int64_t d = g->model->desc.d_model, n_layers = g->model->desc.n_layers;
    for (int64_t layer = 0; layer < n_layers; layer++)
        for (int64_t row = 0; row < b->n_tokens; row++)
            beta[layer] += length_of(g, g->inputs[b->index * n_layers + layer] + row * d) / (double)g->n_tokens;
}

static void take_lane(const float *rows, int64_t n, int64_t d, int64_t lane, float *reach)
{
    for (int64_t row = 0; row < n; row++) reach[row] = rows[row * d + lane];
}

static snellen_status ways_down(struct grad *g, struct step *step, struct reach *reach, int64_t n_repeats, float *rows,
                                float *to, const snellen_progress *progress, snellen_error *err)
{
    int64_t n_layers = g->model->desc.n_layers, d = g->model->desc.d_model, n = g->n_tokens;
    int64_t lanes = MIN(d, g->model->desc.head_dim), n_first = (n_layers + lanes - 1) / lanes, n_ways = n_first + n_repeats;
    for (int64_t way = 0; way < n_ways; way++) {
        FAIL_IF(!grad_told(progress, "products", way, n_ways), SNELLEN_E_CANCELLED, "stopped at product %lld of %lld",
                (long long)way, (long long)n_ways);
        reach->first = way * lanes;
        reach->n_lanes = way < n_first ? MIN(lanes, n_layers - reach->first) : 0;
        grad_copy_rows(g, rows, true);
        grad_step_down(g, step);
        grad_copy_rows(g, rows, false);
        for (int64_t lane = 0; lane < reach->n_lanes; lane++) take_lane(rows, n, d, lane, to + (reach->first + lane) * n);
        if (way >= n_first) take_lane(rows, n, d, 0, to + (n_layers + way - n_first) * n);
        if (way + 1 < n_first) memset(rows, 0, (size_t)(n * d) * sizeof *rows);
        else if (way + 1 == n_first)   /* the product of all layers goes down again, alone */
            for (int64_t row = 0; row < n; row++) {
                memset(rows + row * d, 0, (size_t)d * sizeof *rows);
                rows[row * d] = to[(n_layers - 1) * n + row];
            }
    }
    return SNELLEN_OK;
}

snellen_status grad_reach(struct grad *g, const int32_t *tokens, int64_t n, int64_t n_repeats, double *beta, float *reach,
                          const snellen_progress *progress, snellen_error *err)
{
    struct reach down = {.beta = beta};
    struct step step = {.tokens = tokens, .reach = &down};
    float *rows;
    FAIL_IF(!g->options.inputs_only, SNELLEN_E_USAGE, "prepared for training, not for paths");
    FAIL_IF(g->options.rmt, SNELLEN_E_UNSUPPORTED, "rmt: its rows go from the last layer to the first, paths are not followed there");
    TRY(grad_begin(g, tokens, 1, n, 0, err));
    TRY(NEW_ARRAY(&rows, n * g->model->desc.d_model, "weights of paths", err));
    memset(rows, 0, (size_t)(n * g->model->desc.d_model) * sizeof *rows);
    memset(beta, 0, (size_t)g->model->desc.n_layers * sizeof *beta);
    grad_step_up(g, &step, add_lengths, beta);
    snellen_status status = ways_down(g, &step, &down, n_repeats, rows, reach, progress, err);
    mem_free(rows);
    return status;
}
