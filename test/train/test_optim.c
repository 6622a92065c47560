/* Optimisers against PyTorch's values, schedules against their formulas, and no byte that depends on the threads.
 * argv[1] = optim.json (make_optim.py). */
#include "test/test.h"

#include "train/optim.h"

#include <jansson.h>
#include <omp.h>

static const char *golden;

/* ---- params of a test -------------------------------------------------------------------------------------------- */

struct set {
    struct param list[2];   /* a matrix and a vector */
    struct params params;
    float *values, *grads;
};

static struct set set_new(int64_t n_rows, int64_t n_cols, int64_t n)
{
    uint64_t matrix = (uint64_t)(n_rows * n_cols), all = matrix + (uint64_t)n;
    struct set s = {.values = calloc(all, sizeof(float)), .grads = calloc(all, sizeof(float))};
    s.list[0] = (struct param){.name = "m", .n_dims = 2, .shape = {n_rows, n_cols}, .matrix = true, .rate = 1, .n = matrix,
                               .value = s.values, .grad = s.grads};
    s.list[1] = (struct param){.name = "v", .n_dims = 1, .shape = {n, 1}, .rate = 1, .n = (uint64_t)n,
                               .value = s.values + matrix, .grad = s.grads + matrix};
    s.params = (struct params){.n = 2, .n_values = all, .values = s.values, .grads = s.grads};
    return s;
}

static void set_free(struct set *s)
{
    free(s->values);
    free(s->grads);
}

static void read_floats(float *x, const json_t *tensors)
{
    size_t i, k;
    json_t *tensor, *value;
    json_array_foreach(tensors, i, tensor)
        json_array_foreach(tensor, k, value) *x++ = (float)json_number_value(value);
}

static struct optim_options options_of(const char *name, const json_t *run)
{
    struct optim_options o = optim_options_default();
    for (o.kind = 0; strncmp(name, optim_names[o.kind], strlen(optim_names[o.kind]));) o.kind++;
    o.relative_step = strstr(name, "relative") != NULL;
    o.weight_decay = json_number_value(json_object_get(run, "weight_decay"));
    o.momentum = json_number_value(json_object_get(run, "momentum"));
    if (o.kind == OPTIM_ADAMW) {
        o.beta1 = json_number_value(json_array_get(json_object_get(run, "betas"), 0));
        o.beta2 = json_number_value(json_array_get(json_object_get(run, "betas"), 1));
        o.eps = json_number_value(json_object_get(run, "eps"));
    }
    return o;
}

static void check_run(const json_t *file, const json_t *run)
{
    const char *name = json_string_value(json_object_get(run, "name"));
    struct set s = set_new(5, 3, 4);
    s.params.list = s.list;
    struct optim_options options = options_of(name, run);
    struct optim *optim;
    float expected[19];
    size_t i;
    json_t *after;
    read_floats(s.values, json_object_get(file, "start"));
    MUST(optim_new(&options, &s.params, &optim, err));
    json_array_foreach(json_object_get(run, "after"), i, after)
    {
        read_floats(s.grads, json_array_get(json_object_get(file, "grads"), i));
        read_floats(expected, after);
        /* Gradients that count twice and are half as large are the same gradients. */
        for (size_t k = 0; k < 19; k++) s.grads[k] *= 0.5f;
        optim_step(optim, json_number_value(json_object_get(run, "lr")), 2);
        double worst = worst_difference(s.values, expected, 19);
        if (!(worst < 2e-6)) fail_msg("%s: step %zu is off by %g", name, i, worst);
    }
    assert_int_equal(i, 10);
    assert_int_equal(optim_steps(optim), 10);
    optim_free(optim);
    set_free(&s);
}

/* A param that has half the rate goes where all go at half the learning rate, beside one that has all of it. */
static void test_rates_of_params(void **state)
{
    (void)state;
    for (int kind = 0; kind < OPTIM_COUNT; kind++) {
        struct set s[3];
        struct optim_options options = optim_options_default();
        options.kind = (enum optim_kind)kind;
        options.relative_step = kind == OPTIM_ADAFACTOR;
        for (int i = 0; i < 3; i++) {   /* all whole, all half, the matrix half */
            struct optim *optim;
            s[i] = set_new(5, 3, 4);
            s[i].params.list = s[i].list;
            s[i].list[0].rate = i == 2 ? 0.5 : 1;
            for (int k = 0; k < 19; k++) s[i].values[k] = (float)(k % 5) - 1.5f, s[i].grads[k] = (float)(k % 7) - 2.5f;
            MUST(optim_new(&options, &s[i].params, &optim, err));
            for (int step = 0; step < 3; step++) optim_step(optim, i == 1 ? 0.01 : 0.02, 1);
            optim_free(optim);
        }
        assert_memory_equal(s[2].values, s[1].values, 15 * sizeof(float));
        assert_memory_equal(s[2].values + 15, s[0].values + 15, 4 * sizeof(float));
        assert_true(worst_difference(s[0].values, s[1].values, 15) > 1e-4);
        for (int i = 0; i < 3; i++) set_free(&s[i]);
    }
}

static void test_steps_are_those_of_pytorch(void **state)
{
    (void)state;
    json_t *file = json_load_file(golden, 0, NULL), *run;
    assert_non_null(file);
    size_t i;
    json_array_foreach(json_object_get(file, "runs"), i, run) check_run(file, run);
    assert_int_equal(i, 5);
    json_decref(file);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static struct set trained(enum optim_kind kind, int threads, double *norm)
{
    struct set s = set_new(300, 211, 40000);
    s.params.list = s.list;
    struct optim_options options = optim_options_default();
    options.kind = kind;
    options.momentum = 0.9;
    options.relative_step = true;
    struct optim *optim;
    struct rng r;
    rng_seed(&r, 3, 0);
    for (uint64_t i = 0; i < s.params.n_values; i++) s.values[i] = (float)rng_normal(&r);
    omp_set_num_threads(threads);
    MUST(optim_new(&options, &s.params, &optim, err));
    for (int step = 0; step < 3; step++) {
        for (uint64_t i = 0; i < s.params.n_values; i++) s.grads[i] = (float)rng_normal(&r);
        norm[0] = optim_grad_norm(optim);
        norm[1] = optim_value_norm(optim);
        optim_step(optim, 0.01, optim_clip_factor(norm[0], 1));
    }
    optim_free(optim);
    return s;
}

static void test_bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int kind = 0; kind < OPTIM_COUNT; kind++) {
        double norms[2][2];
        struct set a = trained(kind, 1, norms[0]), b = trained(kind, 3, norms[1]);
        assert_memory_equal(a.values, b.values, a.params.n_values * sizeof(float));
        assert_memory_equal(norms[0], norms[1], sizeof norms[0]);
        set_free(&a);
        set_free(&b);
    }
}

/* ---- norms, moments, schedules ----------------------------------------------------------------------------------- */

static void test_norm_and_clip(void **state)
{
    (void)state;
    struct set s = set_new(3, 5, 20);
    s.params.list = s.list;
    struct optim_options options = optim_options_default();
    struct optim *optim;
    MUST(optim_new(&options, &s.params, &optim, err));
    for (int i = 0; i < 35; i++) s.grads[i] = 2, s.values[i] = -1;
    assert_true(fabs(optim_grad_norm(optim) - sqrt(140)) < 1e-12);
    assert_true(fabs(optim_value_norm(optim) - sqrt(35)) < 1e-12);
    s.grads[34] = NAN;
    assert_true(isnan(optim_grad_norm(optim)));
    s.grads[34] = INFINITY;
    assert_true(isinf(optim_grad_norm(optim)));
    assert_true(fabs(optim_clip_factor(4, 1) - 1 / 4.000001) < 1e-15);
    assert_true(optim_clip_factor(0.5, 1) == 1 && optim_clip_factor(50, 0) == 1);
    optim_free(optim);
    set_free(&s);
}

static void test_moments_are_listed(void **state)
{
    (void)state;
    static const struct { enum optim_kind kind; double momentum; const char *slots; uint64_t n; } cases[] = {
        {OPTIM_ADAMW, 0, "exp_avg exp_avg_sq exp_avg exp_avg_sq ", 38}, {OPTIM_SGD, 0, "", 0},
        {OPTIM_SGD, 0.9, "momentum momentum ", 19}, {OPTIM_ADAFACTOR, 0, "row_var col_var variance ", 12}};
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct set s = set_new(5, 3, 4);
        s.params.list = s.list;
        struct optim_options options = {.kind = cases[c].kind, .momentum = cases[c].momentum};
        struct optim *optim;
        struct optim_state moment;
        char slots[200] = "";
        uint64_t bytes, n = 0;
        MUST(optim_new(&options, &s.params, &optim, err));
        for (size_t i = 0; optim_state_at(optim, i, &moment); i++, n += moment.n)
            strcat(strcat(slots, moment.slot), " ");
        assert_string_equal(slots, cases[c].slots);
        assert_int_equal(n, cases[c].n);
        assert_true(optim_bytes(options.kind, options.momentum != 0, &s.params, &bytes));
        assert_int_equal(bytes, n * sizeof(float));
        optim_free(optim);
        set_free(&s);
    }
}

static void test_schedules(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_COSINE, .lr = 2, .end = 0.1, .warmup = 4, .steps = 12};
    assert_true(schedule_lr(&s, 0) == 0.5 && schedule_lr(&s, 3) == 2 && schedule_lr(&s, 4) == 2);
    assert_true(fabs(schedule_lr(&s, 8) - 2 * 0.55) < 1e-12);
    assert_true(fabs(schedule_lr(&s, 12) - 0.2) < 1e-12 && schedule_lr(&s, 100) == schedule_lr(&s, 12));
    s.kind = SCHEDULE_LINEAR;
    assert_true(fabs(schedule_lr(&s, 6) - 2 * 0.775) < 1e-12 && fabs(schedule_lr(&s, 12) - 0.2) < 1e-12);
    s.kind = SCHEDULE_CONSTANT;
    s.warmup = 0;
    assert_true(schedule_lr(&s, 0) == 2 && schedule_lr(&s, 11) == 2);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_those_of_pytorch),
        cmocka_unit_test(test_rates_of_params), cmocka_unit_test(test_bytes_do_not_depend_on_threads),
        cmocka_unit_test(test_norm_and_clip),              cmocka_unit_test(test_moments_are_listed),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
