/* Collapse on real weights: the values measured for SmolLM2-135M-Instruct with another implementation (PyTorch, f32), and
 * what must hold whatever the weights are. Exit status 77 = skipped: the model has not been fetched. */
#include "test/test.h"

#include "base/base.h"

static snellen_model *model;

static const snellen_collapse_row *last_row(const snellen_collapse *c, size_t i)
{
    return &c->rows[(i + 1) * c->n_rows / 4 - 1]; /* four lengths, one prompt: the last layer of the i-th */
}

static snellen_collapse_options measured(const int64_t *lengths)
{
    snellen_collapse_options o = snellen_collapse_options_default();
    o.prompt = "<|im_start|>user\nHow many ones? ";
    o.lengths = lengths;
    o.n_lengths = 4;
    return o;
}

static void test_measured_values(void **state)
{
    (void)state;
    const int64_t lengths[] = {1, 4, 64, 512};
    const double expected[] = {0, 0.32, 0.054, 0.0105};
    snellen_collapse_options o = measured(lengths);
    snellen_collapse *ones, *commas;
    MUST(snellen_probe_collapse(model, &o, NULL, &ones, err));
    for (size_t i = 1; i < 4; i++)
        if (fabs(last_row(ones, i)->mean_abs / expected[i] - 1) > 0.02)
            fail_msg("n = %d: mean |difference| %.4f, measured %.4f", (int)lengths[i], last_row(ones, i)->mean_abs, expected[i]);
    /* Equal tokens have equal embeddings; the difference arises in the layers. */
    for (size_t i = 0; i < 4; i++) assert_true(ones->rows[i * ones->n_rows / 4].bit_equal);
    /* With commas it does not fade. */
    o.comma = 3;
    MUST(snellen_probe_collapse(model, &o, NULL, &commas, err));
    assert_true(last_row(commas, 3)->mean_abs > 20 * last_row(ones, 3)->mean_abs);
    snellen_collapse_free(ones);
    snellen_collapse_free(commas);
}

/* The vectors do not depend on which other lengths are asked for; rounding changes them, by less than it changes itself. */
static void test_consistency(void **state)
{
    (void)state;
    const int64_t few[] = {3, 20, 21, 40}, others[] = {7, 21, 22, 40};
    snellen_collapse_options o = measured(few);
    snellen_collapse *a, *b, *rounded;
    MUST(snellen_probe_collapse(model, &o, NULL, &a, err));
    o.lengths = others;
    MUST(snellen_probe_collapse(model, &o, NULL, &b, err));
    assert_true(last_row(a, 2)->l1 == last_row(b, 1)->l1);
    assert_true(last_row(a, 3)->l1 == last_row(b, 3)->l1);
    o.session.precision = SNELLEN_BF16;
    MUST(snellen_probe_collapse(model, &o, NULL, &rounded, err));
    const float *y = b->vectors, *r = rounded->vectors;
    double size = 0, off = 0;
    for (size_t i = 0; i < 576; i++) {
        uint32_t bits;
        memcpy(&bits, &r[i], sizeof bits);
        assert_int_equal(bits & 0xffff, 0); /* a bf16 number */
        size += fabs((double)y[i]);
        off += fabs((double)y[i] - (double)r[i]);
    }
    assert_true(off > 0 && off < 0.2 * size);
    snellen_collapse_free(a);
    snellen_collapse_free(b);
    snellen_collapse_free(rounded);
}

/* One part of bf16 at a time, and the cache in q8_0, against f32. */
static void test_parts(void **state)
{
    (void)state;
    enum { D = 576, N_VECTORS = 4 * 2 * D };
    const int64_t lengths[] = {1, 2, 4, 16};
    snellen_collapse_options o = measured(lengths);
    snellen_collapse *f32, *part;
    MUST(snellen_probe_collapse(model, &o, NULL, &f32, err));
    for (unsigned parts = 0; parts <= SNELLEN_ROUND_LOGITS; parts = parts ? parts * 2 : 1) {
        o.session.precision = parts ? SNELLEN_BF16 : SNELLEN_Q8_0;
        o.session.round_parts = parts;
        MUST(snellen_probe_collapse(model, &o, NULL, &part, err));
        double off = worst_difference(f32->vectors, part->vectors, N_VECTORS);
        assert_true(parts == SNELLEN_ROUND_LOGITS ? off == 0 : off > 0 && off < 2);
        for (size_t i = 0; i < 4; i++) /* a bit-equal embedding, whose table is rounded alike */
            assert_true(part->rows[i * part->n_rows / 4].bit_equal);
        if (parts == SNELLEN_ROUND_LOGITS) assert_true(last_row(f32, 3)->shift != last_row(part, 3)->shift);
        snellen_collapse_free(part);
    }
    o.session.precision = SNELLEN_Q8_0;
    o.session.round_parts = SNELLEN_ROUND_WEIGHTS;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(model, &o, NULL, &part, err));
    snellen_collapse_free(f32);
}

int main(void)
{
    snellen_error err;
    if (snellen_model_load("smollm2", &model, &err)) {
        fprintf(stderr, "skipped: %s\n", err.message);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_measured_values), cmocka_unit_test(test_consistency),
                                       cmocka_unit_test(test_parts)};
    int failed = cmocka_run_group_tests_name("collapse of smollm2", tests, NULL, NULL);
    snellen_model_free(model);
    return failed;
}
