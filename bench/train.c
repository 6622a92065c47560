/* bench_train: how fast a training step is, forward and backward, without the optimiser.
 *
 *     bench_train [--model FILE | --ff N] [--seqs N] [--tokens N] [--block N] [--lora RANK] [--checkpoint]
 *                 [--attribution N] [--steps N] [--threads N]
 *
 * Without a file: a Llama of 4 layers, width 128, feed-forward N (512: a million weights), 30 symbols, random weights.
 * --attribution N: the gradients of N logits by the input instead of a step. Prints for each step wall and processor
 * seconds and tokens a second; then what the step's memory was told to be and the process's peak. */
#include "model/grad.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct options {
    const char *model;
    int64_t ff, seqs, tokens, block, rank, seeds, steps, threads;
    bool checkpoint;
};

static int fail(const char *message)
{
    fprintf(stderr, "bench_train: %s\n", message);
    return 1;
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},   {"ff", required_argument, NULL, 'f'},
        {"seqs", required_argument, NULL, 's'},    {"tokens", required_argument, NULL, 't'},
        {"block", required_argument, NULL, 'b'},   {"lora", required_argument, NULL, 'l'},
        {"steps", required_argument, NULL, 'n'},   {"attribution", required_argument, NULL, 'a'},
        {"threads", required_argument, NULL, 'T'}, {"checkpoint", no_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        int64_t *number = NULL;
        switch (c) {
        case 'm': o->model = optarg; continue;
        case 'c': o->checkpoint = true; continue;
        case 'f': number = &o->ff; break;
        case 's': number = &o->seqs; break;
        case 't': number = &o->tokens; break;
        case 'b': number = &o->block; break;
        case 'l': number = &o->rank; break;
        case 'a': number = &o->seeds; break;
        case 'n': number = &o->steps; break;
        case 'T': number = &o->threads; break;
        default: return false;
        }
        char *end;
        *number = strtoll(optarg, &end, 10);
        if (*end || *number < 1 || *number > 1 << 20) return false;
    }
    return optind == argc;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static snellen_status open_model(const struct options *o, snellen_model **model, snellen_error *err)
{
    if (o->model) return snellen_model_load(o->model, model, err);
    snellen_model_design design = snellen_model_design_default();
    design.n_vocab = 30;
    design.d_ff = o->ff;
    return snellen_model_new(&design, model, err);
}

/* Arrays of a run; they live as long as the program. */
struct arrays {
    int32_t *tokens;         /* [seqs * tokens] */
    float *weights;          /* [seqs * tokens] */
    struct grad_seed *rows;  /* [seeds] the last rows */
    float *gradients;        /* [seeds, tokens, d_model] */
};

static bool fill(const struct options *o, const snellen_model *model, struct arrays *a)
{
    int64_t n = o->seqs * o->tokens;
    a->tokens = malloc((size_t)n * sizeof *a->tokens);
    a->weights = malloc((size_t)n * sizeof *a->weights);
    a->rows = malloc((size_t)(o->seeds + 1) * sizeof *a->rows);
    a->gradients = malloc((size_t)(o->seeds * o->tokens * model->desc.d_model + 1) * sizeof *a->gradients);
    if (!a->tokens || !a->weights || !a->rows || !a->gradients || o->seeds > o->tokens) return false;
    for (int64_t i = 0; i < n; i++) {
        a->tokens[i] = (int32_t)(i * 7919 % model->desc.n_vocab);
        a->weights[i] = 1;
    }
    for (int64_t i = 0; i < o->seeds; i++) a->rows[i] = (struct grad_seed){.row = o->tokens - 1 - i, .id = a->tokens[i]};
    return true;
}

static snellen_status run(const struct options *o, struct grad *g, const struct arrays *a, snellen_error *err)
{
    double loss, weight;
    if (o->seeds)
        return grad_inputs(g, a->tokens, o->tokens, a->rows, o->seeds, a->gradients, NULL, NULL, err);
    return grad_step(g, a->tokens, a->weights, o->seqs, o->tokens, 0, 1, &loss, &weight, NULL, err);
}

static snellen_status bench(const struct options *o, snellen_error *err)
{
    snellen_model *model;
    struct params *params;
    struct grad *g;
    struct arrays a;
    uint64_t bytes;
    struct grad_options go = {.n_seqs = o->seqs, .n_tokens = o->tokens, .block = o->block, .segments = o->block > 0,
                              .checkpoint = o->checkpoint, .inputs_only = o->seeds > 0, .n_threads = (int)o->threads};
    struct lora_options lora = {.rank = o->rank};
    TRY(open_model(o, &model, err));
    if (o->rank) TRY(params_lora(model, &lora, &params, err));
    else if (!o->seeds) TRY(params_full(model, &params, err));
    TRY(grad_bytes(model, &go, &bytes, err));
    TRY(grad_new(model, &go, &g, err));
    FAIL_IF(!fill(o, model, &a), SNELLEN_E_MEMORY, "no memory, or more seeds than rows");
    for (int64_t i = 0; i < o->steps; i++) {
        double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        TRY(run(o, g, &a, err));
        wall = seconds(CLOCK_MONOTONIC) - wall;
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        printf("%8.3f s  %8.3f s of processor  %9.1f tok/s\n", wall, cpu, (double)(o->seqs * o->tokens) / wall);
        fflush(stdout);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("step %.1f MB, peak of the process %.1f MB\n", (double)bytes / 1e6, (double)usage.ru_maxrss * 1024 / 1e6);
    grad_free(g);
    snellen_model_free(model);
    return SNELLEN_OK;
}

int main(int argc, char **argv)
{
    struct options o = {.ff = 512, .seqs = 1, .tokens = 512, .steps = 3, .threads = 2};
    snellen_error err;
    if (!parse(&o, argc, argv) || (o.seeds && o.seqs > 1)) return fail("see the head of bench/train.c for the options");
    return bench(&o, &err) ? fail(err.message) : 0;
}
