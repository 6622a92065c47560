/* The curriculum against plain arithmetic: when it goes on, by how much, and that it goes on alike after a stop. */
#include "test/test.h"

#include "study/curriculum.h"

#include <math.h>

static struct curriculum started(int64_t shortest, int64_t longest, int64_t step, double share, int64_t first)
{
    struct curriculum c = {.shortest = shortest, .longest = longest, .step = step, .share = share, .raise_below = 0.1};
    MUST(curriculum_start(&c, first, err));
    return c;
}

/* Ten steps learnt well are one raise. */
static int64_t raised(struct curriculum *c)
{
    for (int i = 0; i < 10; i++) curriculum_learned(c, 0.01);
    return c->top;
}

static void test_steps_and_shares(void **state)
{
    (void)state;
    struct curriculum by_step = started(64, 200, 32, 0, 64), by_share = started(64, 1000, 32, 0.5, 64);
    static const int64_t steps[] = {96, 128, 160, 192, 200, 200}, shares[] = {96, 128, 192, 288, 416, 608, 896, 1000};
    for (size_t i = 0; i < COUNT_OF(steps); i++) assert_int_equal(raised(&by_step), steps[i]);
    for (size_t i = 0; i < COUNT_OF(shares); i++) assert_int_equal(raised(&by_share), shares[i]);
}

static void test_what_is_not_learnt_stays(void **state)
{
    (void)state;
    struct curriculum c = started(1, 20, 1, 0, 4);
    for (int i = 0; i < 1000; i++) curriculum_learned(&c, 0.11);
    assert_int_equal(c.top, 4);
    struct rng rng;
    rng_seed(&rng, 3, 0);
    for (int i = 0; i < 1000; i++) {
        int64_t length = curriculum_draw(&c, &rng);
        assert_true(length >= 1 && length <= 4);
    }
    assert_int_equal(started(1, 20, 1, 0, 0).top, 20);
    c.longest = 20;
    MUST_FAIL(SNELLEN_E_USAGE, curriculum_start(&c, 21, err));
}

/* Lengths by their logarithm: each power of two has its share, shortest and longest are drawn. */
static void test_even_logarithms(void **state)
{
    (void)state;
    enum { DRAWS = 70000 };
    struct curriculum c = started(64, 8192, 1, 0, 0);
    struct rng rng;
    int64_t octaves[8] = {0}, least = 8192, most = 0;
    rng_seed(&rng, 3, 0);
    c.by_log = true;
    for (int i = 0; i < DRAWS; i++) {
        int64_t length = curriculum_draw(&c, &rng);
        assert_true(length >= 64 && length <= 8192);
        octaves[(int)log2((double)length / 64)]++;
        least = MIN(least, length), most = MAX(most, length);
    }
    for (int i = 0; i < 7; i++) assert_true(llabs(octaves[i] - DRAWS / 7) < DRAWS / 70);
    assert_true(least == 64 && most >= 8190);
    c = started(64, 100, 32, 0, 0), c.by_log = true;
    for (int i = 0; i < 100; i++) assert_int_equal(curriculum_draw(&c, &rng) % 32, 0);
}

static void test_goes_on_alike(void **state)
{
    (void)state;
    struct curriculum whole = started(64, 4096, 32, 0.25, 64), cut = whole;
    for (int i = 0; i < 100; i++) {
        double loss = 0.2 / (1 + i % 7);
        curriculum_learned(&whole, loss);
        curriculum_learned(&cut, loss);
        if (i != 42) continue;
        json_t *saved = json_object();
        curriculum_put(&cut, saved);
        cut = started(64, 4096, 32, 0.25, 64);
        MUST(curriculum_take(&cut, saved, err));
        json_decref(saved);
    }
    assert_true(whole.top > 64);
    assert_memory_equal(&whole, &cut, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_and_shares),
        cmocka_unit_test(test_what_is_not_learnt_stays),
        cmocka_unit_test(test_even_logarithms),
        cmocka_unit_test(test_goes_on_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
