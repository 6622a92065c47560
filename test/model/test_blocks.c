/* Memories of blocks (bswa, xl, fam) against values that PyTorch computed, and states of all memories: restored =
 * uninterrupted, and refused where they do not fit. argv[1] = folder of golden values. */
#include "test/test.h"

#include "base/base.h"
#include "format/format.h"

static const char *golden;
enum { N = 45, VOCAB = 101, LAYERS = 3, FAM = 4, D = 32, BLOCK = 8 };

static void in_golden(char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/%s", golden, name);
}

/* The tensor of a file, copied. */
static void tensor(const char *file, const char *name, void *to, uint64_t n_bytes)
{
    char path[4096];
    struct safetensors *st;
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n;
    in_golden(path, file);
    MUST(safetensors_open(path, &st, err));
    assert_true(safetensors_raw(st, name, &type, &n_dims, &shape, &data, &n));
    assert_int_equal(n, n_bytes);
    memcpy(to, data, n);
    safetensors_close(st);
}

static void golden_tokens(int32_t tokens[N])
{
    int64_t wide[N];
    tensor("fam/inputs.safetensors", "tokens", wide, sizeof wide);
    for (int i = 0; i < N; i++) tokens[i] = (int32_t)wide[i];
}

/* The golden model with the golden prompt. */
static snellen_model *load(snellen_fam_positions positions)
{
    char path[4096];
    snellen_model *model;
    in_golden(path, "fam");
    MUST(snellen_model_load(path, &model, err));
    in_golden(path, "fam/inputs.safetensors");
    MUST(snellen_model_load_prompt(model, path, err));
    snellen_model_memory memory = *snellen_model_get_memory(model);
    memory.fam_positions = positions;
    MUST(snellen_model_set_memory(model, &memory, err));
    return model;
}

static snellen_session_options options_of(snellen_memory_kind kind, int64_t segments)
{
    snellen_session_options o = snellen_session_options_default();
    o.memory = kind;
    o.n_threads = 1;
    if (kind == SNELLEN_MEMORY_FULL) o.n_context = 256;
    if (kind == SNELLEN_MEMORY_SWA || kind == SNELLEN_MEMORY_SINK) o.window = 12;
    if (kind >= SNELLEN_MEMORY_BSWA) {
        o.block = BLOCK;
        o.segments = segments;
    }
    return o;
}

/* ---- golden values ----------------------------------------------------------------------------------------------- */

struct golden_case {
    const char *file;
    int64_t segments, fam_blocks;
    snellen_fam_positions positions;
    bool carried;               /* begins with the rows start.N */
};

static void check_case(const struct golden_case *c, int64_t chunk)
{
    static float logits[N * VOCAB], expected[N * VOCAB], rows[LAYERS * FAM * D];
    int32_t tokens[N];
    golden_tokens(tokens);
    snellen_model *model = load(c->positions);
    snellen_session_options o = options_of(SNELLEN_MEMORY_FAM, c->segments);
    snellen_session *s;
    o.fam_blocks = c->fam_blocks;
    o.chunk = chunk;
    MUST(snellen_session_new(model, &o, &s, err));
    for (int layer = 0; layer < LAYERS && c->carried; layer++) {
        char name[16];
        snprintf(name, sizeof name, "start.%d", layer);
        tensor("fam/inputs.safetensors", name, rows + layer * FAM * D, FAM * D * sizeof(float));
    }
    if (c->carried) MUST(snellen_session_set_memory(s, rows, err));
    assert_null(snellen_session_memory(s, 0));
    MUST(snellen_session_feed(s, tokens, N, &(snellen_outputs){.logits = logits}, err));
    tensor(c->file, "logits", expected, sizeof expected);
    assert_true(worst_difference(logits, expected, N * VOCAB) < 1e-4);
    for (int layer = 0; layer < LAYERS; layer++) {
        char name[16];
        snprintf(name, sizeof name, "memory.%d", layer);
        tensor(c->file, name, expected, FAM * D * sizeof(float));
        assert_true(worst_difference(snellen_session_memory(s, layer), expected, FAM * D) < 1e-4);
    }
    snellen_session_free(s);
    snellen_model_free(model);
}

/* Rotary positions only differ, so that an offset of all of them (offset300) moves nothing. */
static void test_fam_is_as_pytorch_has_it(void **state)
{
    (void)state;
    static const struct golden_case cases[] = {
        {"fam/fam-b8-m0-f4.safetensors", .segments = 0},
        {"fam/fam-b8-m1-f4.safetensors", .segments = 1},
        {"fam/fam-b8-m1-f4-offset300.safetensors", .segments = 1},
        {"fam/fam-b8-m1-f4-blocks2.safetensors", .segments = 1, .fam_blocks = 2},
        {"fam/fam-b8-m1-f4-float.safetensors", .segments = 1, .positions = SNELLEN_FAM_FLOAT},
        {"fam/fam-b8-m1-f4-zero.safetensors", .segments = 1, .positions = SNELLEN_FAM_ZERO},
        {"fam/fam-b8-m1-f4-state.safetensors", .segments = 1, .carried = true},
    };
    static const int64_t chunks[] = {1, 3, BLOCK, 512};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t j = 0; j < COUNT_OF(chunks); j++) check_case(&cases[i], chunks[j]);
}

/* Each layer's first memory given by itself, as the prompt makes it, is the same memory. */
static void test_a_prefix_that_the_prompt_makes_is_the_prompt(void **state)
{
    (void)state;
    static float rows[LAYERS * FAM * D], by_prompt[N * VOCAB], by_prefix[N * VOCAB];
    int32_t tokens[N];
    golden_tokens(tokens);
    snellen_model *model = load(SNELLEN_FAM_LAST);
    snellen_session_options o = options_of(SNELLEN_MEMORY_FAM, 1);
    for (int pass = 0; pass < 2; pass++) {
        snellen_session *s;
        MUST(snellen_session_new(model, &o, &s, err));
        MUST(snellen_session_feed(s, tokens, 1, NULL, err));
        for (int layer = 0; layer < LAYERS && !pass; layer++)
            memcpy(rows + layer * FAM * D, snellen_session_memory(s, layer), FAM * D * sizeof(float));
        MUST(snellen_session_truncate(s, 0, err));
        MUST(snellen_session_feed(s, tokens, N, &(snellen_outputs){.logits = pass ? by_prefix : by_prompt}, err));
        snellen_session_free(s);
        snellen_model_memory memory = *snellen_model_get_memory(model);
        memory.prompt = rows;
        memory.prompt_rows = LAYERS * FAM;
        if (!pass) MUST(snellen_model_set_memory(model, &memory, err));
    }
    assert_memory_equal(by_prompt, by_prefix, sizeof by_prompt);
    snellen_model_free(model);
}

/* ---- any architecture -------------------------------------------------------------------------------------------------- */

static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};

static snellen_model *load_arch(const char *arch)
{
    char path[4096];
    static float prompt[FAM * 256];
    snellen_model *model;
    struct rng rng;
    in_golden(path, arch);
    MUST(snellen_model_load(path, &model, err));
    int64_t d = snellen_model_get_info(model)->d_model;
    assert_true(d <= 256);
    rng_seed(&rng, 7, 0);
    for (int64_t i = 0; i < FAM * d; i++) prompt[i] = (float)rng_normal(&rng);
    const snellen_model_memory memory = {.kind = SNELLEN_MEMORY_FAM, .block = BLOCK, .segments = 1, .fam = FAM,
                                         .prompt = prompt, .prompt_rows = FAM};
    MUST(snellen_model_set_memory(model, &memory, err));
    return model;
}

static void feed_in_pieces(snellen_session *s, const int32_t *tokens, size_t n, size_t piece, float *logits)
{
    for (size_t i = 0; i < n; i += piece) {
        const snellen_outputs out = {.logits = logits + i * VOCAB};
        MUST(snellen_session_feed(s, tokens + i, MIN(piece, n - i), &out, err));
    }
}

static void test_any_chunk_gives_the_same_logits(void **state)
{
    (void)state;
    static float whole[N * VOCAB], pieces[N * VOCAB];
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_BSWA, SNELLEN_MEMORY_XL, SNELLEN_MEMORY_FAM,
                                                SNELLEN_MEMORY_RMT};
    static const struct { int64_t chunk; size_t piece; } ways[] = {{1, 45}, {3, 11}, {8, 8}, {512, 13}};
    int32_t tokens[N];
    golden_tokens(tokens);
    for (size_t i = 0; i < COUNT_OF(archs) * COUNT_OF(kinds); i++) {
        snellen_model *model = load_arch(archs[i / COUNT_OF(kinds)]);
        snellen_session_options o = options_of(kinds[i % COUNT_OF(kinds)], 1);
        if (o.memory == SNELLEN_MEMORY_XL) o.window = 11;
        for (size_t j = 0; j <= COUNT_OF(ways); j++) {
            snellen_session *s;
            o.chunk = j ? ways[j - 1].chunk : 512;
            MUST(snellen_session_new(model, &o, &s, err));
            feed_in_pieces(s, tokens, N, j ? ways[j - 1].piece : N, j ? pieces : whole);
            if (j) assert_true(worst_difference(whole, pieces, N * VOCAB) < 1e-4);
            snellen_session_free(s);
        }
        snellen_model_free(model);
    }
}

/* What a block reads of the ones before it: under bswa nothing beyond its segments in one layer's reach, under fam the
 * first block for ever. */
static void test_fam_remembers_what_bswa_forgets(void **state)
{
    (void)state;
    enum { LONG = 20 * BLOCK };
    int32_t tokens[2][LONG];
    float last[2][VOCAB];
    struct rng rng;
    rng_seed(&rng, 3, 0);
    for (int i = 0; i < LONG; i++) tokens[0][i] = tokens[1][i] = (int32_t)rng_below(&rng, VOCAB);
    tokens[1][3] = (tokens[1][3] + 1) % VOCAB;
    snellen_model *model = load(SNELLEN_FAM_LAST);
    for (int fam = 0; fam < 2; fam++) {
        for (int i = 0; i < 2; i++) {
            snellen_session_options o = options_of(fam ? SNELLEN_MEMORY_FAM : SNELLEN_MEMORY_BSWA, 1);
            snellen_session *s;
            MUST(snellen_session_new(model, &o, &s, err));
            MUST(snellen_session_feed(s, tokens[i], LONG, NULL, err));
            memcpy(last[i], snellen_session_logits(s), sizeof last[i]);
            snellen_session_free(s);
        }
        assert_int_equal(!memcmp(last[0], last[1], sizeof last[0]), !fam);
    }
    snellen_model_free(model);
}

/* ---- recurrent memory ------------------------------------------------------------------------------------------------------ */

/* Without positions one memory row that begins as a token's embedding is that token before the block and behind it: the
 * first block is full attention after the token, and the row written is what the token behind the block comes to. */
static void test_rmt_is_full_attention_between_memory_rows(void **state)
{
    (void)state;
    enum { ROW = 5, LAST = BLOCK + 1, WIDTH = 32, STAGES = 4 };
    static float full[(BLOCK + 2) * VOCAB], hidden[STAGES * (BLOCK + 2) * WIDTH], logits[2 * BLOCK * VOCAB], after[BLOCK * VOCAB];
    int32_t tokens[BLOCK + 2] = {ROW, 1, 2, 3, 4, 9, 8, 7, 6, ROW}, next[BLOCK] = {3, 1, 4, 1, 5, 9, 2, 6};
    snellen_model_design design = snellen_model_design_default();
    design.positions = "none";
    design.n_layers = STAGES - 2;
    design.d_model = WIDTH;
    design.n_heads = 4;
    design.n_vocab = VOCAB;
    snellen_model *model;
    snellen_session *s;
    MUST(snellen_model_new(&design, &model, err));
    snellen_session_options o = options_of(SNELLEN_MEMORY_FULL, 0);
    MUST(snellen_session_new(model, &o, &s, err));
    MUST(snellen_session_feed(s, tokens, BLOCK + 2, &(snellen_outputs){.logits = full, .hidden = hidden}, err));
    snellen_session_free(s);
    snellen_model_memory memory = {.kind = SNELLEN_MEMORY_RMT, .block = BLOCK, .fam = 1, .prompt = hidden, .prompt_rows = 1};
    MUST(snellen_model_set_memory(model, &memory, err));
    o = options_of(SNELLEN_MEMORY_RMT, 0);
    MUST(snellen_session_new(model, &o, &s, err));
    MUST(snellen_session_feed(s, tokens + 1, BLOCK, &(snellen_outputs){.logits = logits}, err));
    assert_true(worst_difference(logits, full + VOCAB, BLOCK * VOCAB) < 1e-4);
    MUST(snellen_session_feed(s, next, BLOCK, &(snellen_outputs){.logits = logits + BLOCK * VOCAB}, err));
    snellen_session_free(s);
    memory.prompt = hidden + ((STAGES - 2) * (BLOCK + 2) + LAST) * WIDTH;
    MUST(snellen_model_set_memory(model, &memory, err));
    MUST(snellen_session_new(model, &o, &s, err));
    MUST(snellen_session_feed(s, next, BLOCK, &(snellen_outputs){.logits = after}, err));
    assert_true(worst_difference(logits + BLOCK * VOCAB, after, BLOCK * VOCAB) < 1e-4);
    assert_true(worst_difference(logits + BLOCK * VOCAB, full + VOCAB, BLOCK * VOCAB) > 1e-3);
    snellen_session_free(s);
    snellen_model_free(model);
}

/* ---- perplexity -------------------------------------------------------------------------------------------------- */

static const snellen_memory_kind all_kinds[] = {SNELLEN_MEMORY_FULL, SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_SINK,
                                                SNELLEN_MEMORY_BSWA, SNELLEN_MEMORY_XL, SNELLEN_MEMORY_FAM,
                                                SNELLEN_MEMORY_RMT};

static int32_t likeliest(const float *logits)
{
    int32_t best = 0;
    for (int32_t k = 1; k < VOCAB; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

static double nll_of(const float *logits, int32_t token)
{
    double sum = 0, top = (double)logits[likeliest(logits)];
    for (int k = 0; k < VOCAB; k++) sum += exp((double)logits[k] - top);
    return top + log(sum) - (double)logits[token];
}

/* What the logits say of each token, by position, read one by one; every third token becomes the likeliest one. */
static void read_one_by_one(snellen_session *s, int32_t *tokens, snellen_perplexity_result *sums)
{
    *sums = (snellen_perplexity_result){0};
    for (int i = 0, bucket = 0; i < N; i++) {
        const float *logits = snellen_session_logits(s);
        if (i >= 2 << bucket) bucket++;
        if (logits) {
            if (i % 3 == 0) tokens[i] = likeliest(logits);
            sums->position_count[bucket]++;
            sums->position_right[bucket] += tokens[i] == likeliest(logits);
            sums->position_nll[bucket] += nll_of(logits, tokens[i]);
        }
        MUST(snellen_session_feed(s, tokens + i, 1, NULL, err));
    }
}

static void test_perplexity_is_that_of_the_logits(void **state)
{
    (void)state;
    int32_t tokens[N];
    golden_tokens(tokens);
    snellen_model *model = load(SNELLEN_FAM_LAST);
    for (size_t i = 0; i < COUNT_OF(all_kinds); i++) {
        const snellen_perplexity_options o = {.session = options_of(all_kinds[i], 1)};
        snellen_session *s;
        snellen_perplexity *ppl;
        snellen_perplexity_result expected, found;
        uint64_t right = 0;
        MUST(snellen_session_new(model, &o.session, &s, err));
        read_one_by_one(s, tokens, &expected);
        snellen_session_free(s);
        MUST(snellen_perplexity_new(model, &o, &ppl, err));
        for (size_t at = 0; at < N; at += 7) MUST(snellen_perplexity_feed(ppl, tokens + at, MIN(7, N - at), NULL, err));
        snellen_perplexity_get(ppl, &found);
        snellen_perplexity_free(ppl);
        for (int k = 0; k < SNELLEN_PPL_BUCKETS; k++) {
            assert_int_equal(found.position_count[k], expected.position_count[k]);
            assert_int_equal(found.position_right[k], expected.position_right[k]);
            assert_true(fabs(found.position_nll[k] - expected.position_nll[k]) < 1e-3);
            right += expected.position_right[k];
        }
        assert_int_equal(found.n_right, right);
        assert_true(right >= N / 3 - 1 && right < N - 1);
    }
    snellen_model_free(model);
}

/* ---- states -------------------------------------------------------------------------------------------------------------- */

static const char *const state_file = "blocks-test.state";

static void test_restored_is_uninterrupted(void **state)
{
    (void)state;
    static float rest[N * VOCAB], again[N * VOCAB];
    static const size_t cuts[] = {0, 1, 5, 8, 9, 16, 31, 40};
    int32_t tokens[N];
    golden_tokens(tokens);
    snellen_model *model = load(SNELLEN_FAM_LAST);
    for (size_t i = 0; i < COUNT_OF(all_kinds) * COUNT_OF(cuts); i++) {
        size_t cut = cuts[i % COUNT_OF(cuts)];
        snellen_session_options o = options_of(all_kinds[i / COUNT_OF(cuts)], 2);
        o.chunk = 5;
        o.cache = i % 2 ? SNELLEN_F16 : SNELLEN_F32;
        snellen_session *a, *b;
        snellen_sampler *one, *two;
        MUST(snellen_session_new(model, &o, &a, err));
        MUST(snellen_session_new(model, &o, &b, err));
        MUST(snellen_sampler_new(NULL, VOCAB, &one, err));
        MUST(snellen_sampler_new(NULL, VOCAB, &two, err));
        MUST(snellen_session_feed(a, tokens, cut, NULL, err));
        if (cut) snellen_sample(one, snellen_session_logits(a));
        MUST(snellen_session_feed(b, tokens, 7, NULL, err)); /* is replaced */
        MUST(snellen_session_save(a, one, state_file, err));
        MUST(snellen_session_restore(b, two, state_file, err));
        assert_int_equal(snellen_session_length(b), cut);
        if (cut)
            assert_memory_equal(snellen_session_logits(a), snellen_session_logits(b), VOCAB * sizeof(float));
        else
            assert_null(snellen_session_logits(b));
        feed_in_pieces(a, tokens + cut, N - cut, N, rest);
        feed_in_pieces(b, tokens + cut, N - cut, N, again);
        assert_memory_equal(rest, again, (N - cut) * VOCAB * sizeof(float));
        for (int j = 0; j < 20; j++)
            assert_int_equal(snellen_sample(one, snellen_session_logits(a)),
                             snellen_sample(two, snellen_session_logits(b)));
        snellen_sampler_free(one);
        snellen_sampler_free(two);
        snellen_session_free(a);
        snellen_session_free(b);
    }
    remove(state_file);
    snellen_model_free(model);
}

static char *saved_state(const snellen_model *model, const snellen_session_options *o, size_t *n)
{
    int32_t tokens[N];
    char *bytes;
    snellen_session *s;
    golden_tokens(tokens);
    MUST(snellen_session_new(model, o, &s, err));
    MUST(snellen_session_feed(s, tokens, 20, NULL, err));
    MUST(snellen_session_save(s, NULL, state_file, err));
    snellen_session_free(s);
    MUST(file_read(state_file, 1 << 24, &bytes, n, err));
    return bytes;
}

static void refused(const snellen_model *model, const snellen_session_options *o, snellen_status status, const char *why)
{
    snellen_session *s;
    snellen_error told;
    MUST(snellen_session_new(model, o, &s, err));
    assert_int_equal(snellen_session_restore(s, NULL, state_file, &told), status);
    if (!strstr(told.message, why)) fail_msg("%s", told.message);
    assert_int_equal(snellen_session_length(s), 0);
    assert_null(snellen_session_logits(s));
    int32_t token = 1;
    MUST(snellen_session_feed(s, &token, 1, NULL, err)); /* an empty session, as good as new */
    snellen_session_free(s);
}

static void test_states_that_do_not_fit_are_told(void **state)
{
    (void)state;
    snellen_model *model = load(SNELLEN_FAM_LAST), *other = load_arch("llama");
    const snellen_session_options fam = options_of(SNELLEN_MEMORY_FAM, 1);
    snellen_session_options o = fam;
    size_t n;
    mem_free(saved_state(model, &fam, &n));
    refused(other, &o, SNELLEN_E_USAGE, "model is");
    o.segments = 2;
    refused(model, &o, SNELLEN_E_USAGE, "segments is 1, this session's 2");
    o = fam;
    o.block = 16;
    refused(model, &o, SNELLEN_E_USAGE, "block is 8, this session's 16");
    o = fam;
    o.fam_blocks = 2;
    refused(model, &o, SNELLEN_E_USAGE, "fam_blocks is 1");
    o = fam;
    o.precision = SNELLEN_BF16;
    refused(model, &o, SNELLEN_E_USAGE, "precision is f32, this session's bf16");
    o.round_parts = SNELLEN_ROUND_CACHE | SNELLEN_ROUND_LOGITS;
    refused(model, &o, SNELLEN_E_USAGE, "precision is f32, this session's bf16 of cache, logits");
    o = options_of(SNELLEN_MEMORY_BSWA, 1);
    refused(model, &o, SNELLEN_E_USAGE, "memory is fam, this session's bswa");
    snellen_model_memory memory = *snellen_model_get_memory(model);
    float prompt[FAM * D] = {1};
    memory.prompt = prompt;
    MUST(snellen_model_set_memory(model, &memory, err));
    refused(model, &fam, SNELLEN_E_USAGE, "memory prompt is");
    remove(state_file);
    refused(model, &fam, SNELLEN_E_IO, "No such file");
    snellen_model_free(model);
    snellen_model_free(other);
}

/* Every byte of the start and of the end, and some between, changed; every length that cuts the start, and some more. */
static void test_states_cut_or_changed_are_refused(void **state)
{
    (void)state;
    snellen_model *model = load(SNELLEN_FAM_LAST);
    const snellen_session_options o = options_of(SNELLEN_MEMORY_FAM, 1);
    size_t n;
    char *bytes = saved_state(model, &o, &n);
    for (size_t i = 0; i < n; i += i < 100 || i > n - 20 ? 1 : 997) {
        bytes[i] ^= 4;
        MUST(file_write_atomic(state_file, bytes, n, err));
        refused(model, &o, i >= 8 && i < 12 ? SNELLEN_E_UNSUPPORTED : SNELLEN_E_FORMAT,
                i < 8 ? "not the state" : i < 12 ? "version" : "cut or changed");
        bytes[i] ^= 4;
        MUST(file_write_atomic(state_file, bytes, i, err));
        refused(model, &o, SNELLEN_E_FORMAT, i < 8 ? "not the state" : "cut");
    }
    mem_free(bytes);
    remove(state_file);
    snellen_model_free(model);
}

/* The sums go on too; a session's own state begins new ones. */
static void test_perplexity_goes_on(void **state)
{
    (void)state;
    int32_t tokens[N];
    golden_tokens(tokens);
    snellen_model *model = load(SNELLEN_FAM_LAST);
    for (int kind = 0; kind < (int)COUNT_OF(all_kinds); kind++) {
        const snellen_perplexity_options o = {.session = options_of(all_kinds[kind], 1)};
        snellen_perplexity_result whole, parts;
        snellen_perplexity *a, *b;
        MUST(snellen_perplexity_new(model, &o, &a, err));
        MUST(snellen_perplexity_new(model, &o, &b, err));
        MUST(snellen_perplexity_feed(a, tokens, 21, NULL, err));
        MUST(snellen_perplexity_save(a, state_file, err));
        MUST(snellen_perplexity_restore(b, state_file, err));
        MUST(snellen_perplexity_feed(a, tokens + 21, N - 21, NULL, err));
        MUST(snellen_perplexity_feed(b, tokens + 21, N - 21, NULL, err));
        snellen_perplexity_get(a, &whole);
        snellen_perplexity_get(b, &parts);
        assert_memory_equal(&whole, &parts, sizeof whole);
        snellen_perplexity_free(a);
        snellen_perplexity_free(b);
        snellen_session *s;
        MUST(snellen_session_new(model, &o.session, &s, err));
        MUST(snellen_session_restore(s, NULL, state_file, err)); /* without the sums */
        assert_int_equal(snellen_session_length(s), 21);
        MUST(snellen_session_save(s, NULL, state_file, err));
        MUST(snellen_perplexity_new(model, &o, &b, err));
        MUST(snellen_perplexity_restore(b, state_file, err));
        MUST(snellen_perplexity_feed(b, tokens + 21, N - 21, NULL, err));
        snellen_perplexity_get(b, &parts);
        assert_int_equal(parts.n_scored, N - 21);
        snellen_perplexity_free(b);
        snellen_session_free(s);
    }
    remove(state_file);
    snellen_model_free(model);
}

/* A session takes what its memory says, however much it reads; the shape alone decides that. */
static void test_memory_does_not_grow(void **state)
{
    (void)state;
    enum { LONG = 3000 };
    static int32_t tokens[LONG];
    struct rng rng;
    rng_seed(&rng, 5, 0);
    for (int i = 0; i < LONG; i++) tokens[i] = (int32_t)rng_below(&rng, VOCAB);
    snellen_model *model = load(SNELLEN_FAM_LAST);
    for (int kind = 1; kind < (int)COUNT_OF(all_kinds); kind++) {
        size_t size[2];
        char *bytes;
        snellen_session_options o = options_of(all_kinds[kind], 1);
        snellen_session *s;
        o.chunk = 64;
        MUST(snellen_session_new(model, &o, &s, err));
        for (int i = 0; i < 2; i++) {
            MUST(snellen_session_feed(s, tokens, i ? LONG : 100, NULL, err));
            MUST(snellen_session_save(s, NULL, state_file, err));
            MUST(file_read(state_file, 1 << 24, &bytes, &size[i], err));
            mem_free(bytes);
        }
        assert_int_equal(size[0], size[1]);
        snellen_session_free(s);
    }
    remove(state_file);
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fam_is_as_pytorch_has_it),
        cmocka_unit_test(test_a_prefix_that_the_prompt_makes_is_the_prompt),
        cmocka_unit_test(test_any_chunk_gives_the_same_logits),
        cmocka_unit_test(test_fam_remembers_what_bswa_forgets),
        cmocka_unit_test(test_rmt_is_full_attention_between_memory_rows),
        cmocka_unit_test(test_perplexity_is_that_of_the_logits),
        cmocka_unit_test(test_restored_is_uninterrupted),
        cmocka_unit_test(test_states_that_do_not_fit_are_told),
        cmocka_unit_test(test_states_cut_or_changed_are_refused),
        cmocka_unit_test(test_perplexity_goes_on),
        cmocka_unit_test(test_memory_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
