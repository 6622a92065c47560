/* Lanes against sessions: what lanes read side by side, in any order and any pieces, is what each would read alone.
 * argv[1] = folder of golden values. */
#include "test/test.h"

#include "base/base.h"

static const char *golden;
enum { LANES = 5, LENGTH = 90, VOCAB = 101 };

static void random_tokens(int32_t tokens[LANES][LENGTH])
{
    struct rng rng;
    rng_seed(&rng, 7, 0);
    for (int i = 0; i < LANES * LENGTH; i++) tokens[i / LENGTH][i % LENGTH] = (int32_t)rng_below(&rng, VOCAB);
}

/* want [LANES, LENGTH, VOCAB]: logits after each token, by sessions. */
static void read_alone(const snellen_model *model, const snellen_session_options *o, int32_t tokens[LANES][LENGTH],
                       int64_t length, float *want)
{
    for (int lane = 0; lane < LANES; lane++) {
        snellen_session *session;
        snellen_outputs out = {.logits = want + (int64_t)lane * LENGTH * VOCAB};
        MUST(snellen_session_new(model, o, &session, err));
        MUST(snellen_session_feed(session, tokens[lane], (size_t)length, &out, err));
        snellen_session_free(session);
    }
}

/* Random pieces for random lanes until all are full; some lanes are cleared on the way and begin anew. */
static void read_together(snellen_lanes *lanes, int32_t tokens[LANES][LENGTH], int64_t length, int64_t longest,
                          const float *want)
{
    int64_t at[LANES] = {0};
    bool cleared = false;
    struct rng rng;
    rng_seed(&rng, 3, 0);
    for (int open = LANES; open > 0;) {
        snellen_lane_feed feeds[LANES];
        float logits[LANES * VOCAB];
        size_t n = 0;
        for (int lane = LANES - 1; lane >= 0; lane--) {
            if (at[lane] == length || rng_below(&rng, 4) == 0) continue;
            if (at[lane] > length / 2 && !cleared) {
                snellen_lanes_clear(lanes, lane);
                at[lane] = 0;
                cleared = true;
            }
            int64_t piece = 1 + (int64_t)rng_below(&rng, (uint64_t)MIN(longest, length - at[lane]));
            feeds[n++] = (snellen_lane_feed){lane, tokens[lane] + at[lane], (size_t)piece};
            at[lane] += piece;
            open -= at[lane] == length;
        }
        MUST(snellen_lanes_feed(lanes, feeds, n, logits, err));
        for (size_t i = 0; i < n; i++) {
            int64_t lane = feeds[i].lane;
            const float *row = want + (lane * LENGTH + at[lane] - 1) * VOCAB;
            assert_true(worst_difference(logits + i * VOCAB, row, VOCAB) < 1e-4);
        }
    }
    assert_true(cleared);
}

static void test_lanes_are_sessions(void **state)
{
    (void)state;
    static float want[LANES * LENGTH * VOCAB];
    static const char *const archs[] = {"llama", "gemma3", "gpt2", "bloom", "gpt_neox", "opt"};
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_FULL, SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_SINK};
    int32_t tokens[LANES][LENGTH];
    random_tokens(tokens);
    for (size_t a = 0; a < COUNT_OF(archs); a++) {
        snellen_model *model = load_model(golden, archs[a]);
        bool learned = !strcmp(snellen_model_get_info(model)->positions, "learned");
        int64_t length = MIN(LENGTH, snellen_model_get_info(model)->n_context);
        for (size_t k = 0; k < COUNT_OF(kinds) - learned; k++) {
            snellen_session_options o = snellen_session_options_default();
            o.memory = kinds[k];
            o.window = kinds[k] == SNELLEN_MEMORY_FULL ? 0 : 11;
            o.sinks = 3;
            o.n_context = length;
            read_alone(model, &o, tokens, length, want);
            for (o.chunk = 0; o.chunk < 12; o.chunk += 7) {   /* batches of 512 rows, and of 7 */
                snellen_lanes *lanes;
                MUST(snellen_lanes_new(model, &o, LANES, &lanes, err));
                read_together(lanes, tokens, length, o.chunk ? 5 : 80, want);
                snellen_lanes_free(lanes);
            }
        }
        snellen_model_free(model);
    }
}

static void test_threads_change_no_byte(void **state)
{
    (void)state;
    int32_t tokens[LANES][LENGTH];
    float logits[2][LANES * VOCAB];
    random_tokens(tokens);
    snellen_model *model = load_model(golden, "llama");
    for (int threads = 1; threads < 3; threads++) {
        snellen_session_options o = snellen_session_options_default();
        snellen_lanes *lanes;
        snellen_lane_feed feeds[LANES];
        o.n_threads = threads;
        MUST(snellen_lanes_new(model, &o, LANES, &lanes, err));
        for (int i = 0; i < LANES; i++) feeds[i] = (snellen_lane_feed){i, tokens[i], 50 + (size_t)i};
        MUST(snellen_lanes_feed(lanes, feeds, LANES, logits[threads - 1], err));
        snellen_lanes_free(lanes);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    snellen_model_free(model);
}

static void test_errors(void **state)
{
    (void)state;
    int32_t tokens[LANES][LENGTH], wrong = VOCAB;
    float logits[3 * VOCAB], again[VOCAB];
    random_tokens(tokens);
    snellen_model *model = load_model(golden, "llama");
    snellen_session_options o = snellen_session_options_default();
    snellen_lanes *lanes;
    o.n_context = 20;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_lanes_new(model, &o, 0, &lanes, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_lanes_new(model, &o, SNELLEN_MAX_LANES + 1, &lanes, err));
    MUST(snellen_lanes_new(model, &o, 2, &lanes, err));
    const snellen_lane_feed good = {0, tokens[0], 20}, bad[] = {
        {2, tokens[1], 3}, {-1, tokens[1], 3}, {0, tokens[0], 1}, {1, tokens[1], 0}, {1, &wrong, 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const snellen_lane_feed feeds[] = {good, bad[i]};
        MUST_FAIL(SNELLEN_E_USAGE, snellen_lanes_feed(lanes, feeds, 2, logits, err));
    }
    const snellen_lane_feed three[] = {good, {1, tokens[1], 3}, {1, tokens[1], 3}}, too_long = {1, tokens[1], 21};
    MUST_FAIL(SNELLEN_E_USAGE, snellen_lanes_feed(lanes, three, 3, logits, err));
    MUST_FAIL(SNELLEN_E_CONTEXT, snellen_lanes_feed(lanes, &too_long, 1, logits, err));
    MUST(snellen_lanes_feed(lanes, &good, 1, logits, err));   /* nothing had been read */
    MUST_FAIL(SNELLEN_E_CONTEXT, snellen_lanes_feed(lanes, &(snellen_lane_feed){0, tokens[0], 1}, 1, again, err));
    snellen_lanes_clear(lanes, 0);
    MUST(snellen_lanes_feed(lanes, &good, 1, again, err));
    assert_memory_equal(logits, again, sizeof again);
    snellen_lanes_free(lanes);
    o.n_context = (int64_t)1 << 30;
    MUST_FAIL(SNELLEN_E_MEMORY, snellen_lanes_new(model, &o, 64, &lanes, err));
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes_are_sessions),
        cmocka_unit_test(test_threads_change_no_byte),
        cmocka_unit_test(test_errors),
    };
    golden = argc > 1 ? argv[1] : "test/golden";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
