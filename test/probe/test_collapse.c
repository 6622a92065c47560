/* The collapse probe on a stand-in model whose vectors are known in closed form: the sum of its tokens' bytes so far,
 * weighted by position. So every row can be computed from the text alone, and a wrong position, a lost comma or a seam
 * between two pieces shows as a wrong number. */
#include "test/test.h"

#include "probe/probe.h"

enum { D = 4, LAYERS = 2, VOCAB = 256, CAPACITY = 4096 };

/* ---- the stand-in: tokens are bytes ---------------------------------------------------------------------------------------- */

struct snellen_session {
    int32_t tokens[CAPACITY];
    int64_t n, n_fed;
};

static snellen_model_info info = {.n_layers = LAYERS, .d_model = D, .n_heads = 2, .n_vocab = VOCAB,
                                  .n_context = CAPACITY, .positions = "rotary", .chat = "chatml"};
static bool with_bos, decay = true;
static snellen_session_options last_options;

const snellen_model_info *snellen_model_get_info(const snellen_model *model)
{
    (void)model;
    return &info;
}

snellen_session_options snellen_session_options_default(void)
{
    return (snellen_session_options){.cache = SNELLEN_F16};
}

const char *snellen_token_bytes(const snellen_model *model, int32_t id, size_t *n_bytes)
{
    (void)model;
    static char bytes[VOCAB];
    bytes[id] = (char)id;
    *n_bytes = 1;
    return &bytes[id];
}

const char *snellen_token_kind(const snellen_model *model, int32_t id)
{
    (void)model;
    return id < 128 ? "normal" : "byte";
}

int32_t snellen_token_bos(const snellen_model *model, bool *wanted)
{
    (void)model;
    *wanted = with_bos;
    return with_bos ? 2 : -1;
}

snellen_status snellen_tokenize(const snellen_model *model, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err)
{
    (void)model;
    (void)err;
    *ids = calloc(n_bytes + 1, sizeof **ids);
    *n_ids = 0;
    if (with_bos && flags & SNELLEN_BOS) (*ids)[(*n_ids)++] = 2;
    for (size_t i = 0; i < n_bytes; i++) (*ids)[(*n_ids)++] = (unsigned char)text[i];
    return SNELLEN_OK;
}

snellen_status snellen_chat_format(const snellen_model *model, const snellen_message *messages, size_t n_messages,
                                   bool answer, char **text, snellen_error *err)
{
    (void)model;
    (void)n_messages;
    (void)answer;
    struct strbuf b = {0};
    size_t n;
    strbuf_printf(&b, "%s<user>%s<end>", with_bos ? "\x02" : "", messages[0].content);
    return strbuf_take(&b, text, &n, err);
}

snellen_status snellen_session_new(const snellen_model *model, const snellen_session_options *options,
                                   snellen_session **session, snellen_error *err)
{
    (void)model;
    (void)err;
    last_options = *options;
    assert_true(options->n_context <= CAPACITY);
    *session = calloc(1, sizeof **session);
    return SNELLEN_OK;
}

void snellen_session_free(snellen_session *session)
{
    free(session);
}

snellen_status snellen_session_truncate(snellen_session *session, int64_t n_tokens, snellen_error *err)
{
    (void)err;
    session->n = n_tokens;
    return SNELLEN_OK;
}

/* Element i of the vector after `n` tokens at a layer: the mean of the tokens, the last one counted layer + 1 times. */
static float element(const int32_t *tokens, int64_t n, int64_t layer, int64_t i)
{
    double sum = 0;
    for (int64_t t = 0; t < n; t++) sum += tokens[t];
    double weight = (double)(layer + 1);
    sum += (weight - 1) * tokens[n - 1];
    return (float)(sum / (decay ? (double)n + weight - 1 : 1) * (double)(i + 1));
}

static void write_outputs(const int32_t *tokens, int64_t n, int64_t row, int64_t n_rows, const snellen_outputs *o)
{
    if (!o) return;
    if (o->hidden)
        for (int64_t layer = 0; layer < LAYERS + 2; layer++)
            for (int64_t i = 0; i < D; i++) o->hidden[(layer * n_rows + row) * D + i] = element(tokens, n, layer, i);
    for (size_t k = 0; o->logits && k < o->n_rows; k++)
        if (o->rows[k] == row)
            for (int64_t v = 0; v < VOCAB; v++)
                o->logits[(int64_t)k * VOCAB + v] = v == tokens[n - 1] ? element(tokens, n, 0, 0) : 0;
}

snellen_status snellen_session_feed(snellen_session *s, const int32_t *tokens, size_t n_tokens,
                                    const snellen_outputs *outputs, snellen_error *err)
{
    (void)err;
    for (size_t i = 0; i < n_tokens; i++) {
        s->tokens[s->n++] = tokens[i];
        write_outputs(s->tokens, s->n, (int64_t)i, (int64_t)n_tokens, outputs);
    }
    s->n_fed += (int64_t)n_tokens;
    return SNELLEN_OK;
}

snellen_status snellen_session_branches(snellen_session *s, const snellen_branch *branches, size_t n_branches,
                                        const snellen_outputs *outputs, snellen_error *err)
{
    (void)err;
    int64_t total = 0, row = 0;
    for (size_t b = 0; b < n_branches; b++) total += (int64_t)branches[b].n_tokens;
    for (size_t b = 0; b < n_branches; b++) {
        int32_t tokens[CAPACITY];
        assert_true(branches[b].keep <= s->n);
        memcpy(tokens, s->tokens, (size_t)branches[b].keep * sizeof *tokens);
        for (size_t i = 0; i < branches[b].n_tokens; i++, row++) {
            tokens[branches[b].keep + (int64_t)i] = branches[b].tokens[i];
            write_outputs(tokens, branches[b].keep + (int64_t)i + 1, row, total, outputs);
        }
    }
    return SNELLEN_OK;
}

/* ---- what a row must be, from the text alone ---------------------------------------------------------------------------------- */

static void expect_pair(const snellen_collapse_row *row, const char *v, const char *w)
{
    int32_t a[CAPACITY], b[CAPACITY];
    int64_t n_a = (int64_t)strlen(v), n_b = (int64_t)strlen(w);
    for (int64_t i = 0; i < n_a; i++) a[i] = (unsigned char)v[i];
    for (int64_t i = 0; i < n_b; i++) b[i] = (unsigned char)w[i];
    float x[D], y[D];
    for (int64_t i = 0; i < D; i++) {
        x[i] = element(a, n_a, row->layer, i);
        y[i] = element(b, n_b, row->layer, i);
    }
    snellen_collapse_row expected = {0};
    collapse_measure(x, y, D, 2, &expected);
    if (expected.l1 != row->l1 || expected.linf_mean != row->linf_mean || expected.bit_equal != row->bit_equal)
        fail_msg("n = %d, layer %d: l1 %.9g, expected %.9g", (int)row->n, (int)row->layer, row->l1, expected.l1);
}

/* The sequence's first n items as text, each item's character from `item`. */
static void sequence_text(char *out, const char *prefix, int64_t n, uint32_t comma, char (*item)(int64_t, int64_t))
{
    char *p = out + sprintf(out, "%s", prefix);
    for (int64_t i = 0; i < n; i++) {
        if (comma && i && i % comma == 0) *p++ = ',';
        *p++ = item(i, n);
    }
    *p = 0;
}

static char item_one(int64_t i, int64_t n)
{
    (void)i;
    (void)n;
    return '1';
}

static void check_repeated(const snellen_collapse_options *options, const char *prefix, uint32_t comma)
{
    snellen_collapse *c;
    MUST(snellen_probe_collapse(NULL, options, NULL, &c, err));
    assert_int_equal(c->n_rows, options->n_lengths * (LAYERS + 2));
    for (size_t i = 0; i < c->n_rows; i++) {
        char v[CAPACITY], w[CAPACITY];
        const snellen_collapse_row *row = &c->rows[i];
        assert_int_equal(row->n, options->lengths[i / (LAYERS + 2)]);
        assert_int_equal(row->layer, i % (LAYERS + 2));
        sequence_text(v, prefix, row->n, comma, item_one);
        sequence_text(w, prefix, row->n + 1, comma, item_one);
        expect_pair(row, v, w);
    }
    snellen_collapse_free(c);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------------ */

/* Lengths on both sides of the seams of pieces (512 tokens), neighbours and gaps. */
static const int64_t LENGTHS[] = {1, 2, 3, 4, 6, 7, 99, 376, 377, 378, 379, 380, 381, 382, 383, 384, 385, 500, 501,
                                  503, 504, 505, 506, 507, 508, 509, 510, 511, 512, 513, 700, 1021, 1022, 1023, 1024, 1025};

static void test_ones(void **state)
{
    (void)state;
    snellen_collapse_options o = snellen_collapse_options_default();
    o.lengths = LENGTHS;
    o.n_lengths = COUNT_OF(LENGTHS);
    o.prompt = "Q? ";
    check_repeated(&o, "Q? ", 0);
    o.comma = 3;
    check_repeated(&o, "Q? ", 3);
    o.comma = 1;
    check_repeated(&o, "Q? ", 1);
    o.comma = 0;
    o.sequence = "commas";
    o.prompt = NULL;
    check_repeated(&o, "Can you copy the following number? ", 3);
    o.chat = true;
    check_repeated(&o, "<user>Can you copy the following number? ", 3);
    assert_int_equal(last_options.cache, SNELLEN_F32);
    o.session.precision = SNELLEN_F16;
    check_repeated(&o, "<user>Can you copy the following number? ", 3);
    assert_int_equal(last_options.cache, SNELLEN_F16);
    o.session.round_parts = SNELLEN_ROUND_ACTIVATIONS; /* what is not rounded is kept whole */
    check_repeated(&o, "<user>Can you copy the following number? ", 3);
    assert_int_equal(last_options.cache, SNELLEN_F32);
    o.session.round_parts = SNELLEN_ROUND_CACHE | SNELLEN_ROUND_LOGITS;
    check_repeated(&o, "<user>Can you copy the following number? ", 3);
    assert_int_equal(last_options.cache, SNELLEN_F16);
    with_bos = true; /* the template spells it, the tokenizer adds it: one stays */
    check_repeated(&o, "\x02<user>Can you copy the following number? ", 3);
    with_bos = false;
}

static char item_turn(int64_t i, int64_t n)
{
    (void)n;
    return i % 2 ? '0' : '1';
}

static void test_alternate(void **state)
{
    (void)state;
    snellen_collapse_options o = snellen_collapse_options_default();
    o.lengths = LENGTHS;
    o.n_lengths = COUNT_OF(LENGTHS);
    o.sequence = "alternate";
    for (uint32_t comma = 0; comma <= 3; comma += 3) {
        snellen_collapse *c;
        o.comma = comma;
        MUST(snellen_probe_collapse(NULL, &o, NULL, &c, err));
        for (size_t i = 0; i < c->n_rows; i++) {
            char v[CAPACITY], w[CAPACITY];
            sequence_text(v, "How many ones are in the following sequences? ", c->rows[i].n, comma, item_turn);
            size_t n = strlen(v);
            memcpy(w, v, n);
            if (comma && c->rows[i].n % comma == 0) w[n++] = ',';
            w[n++] = v[strlen(v) - 1];
            w[n] = 0;
            expect_pair(&c->rows[i], v, w);
        }
        snellen_collapse_free(c);
    }
}

/* Digits: the last one is a 1, v* has a second 1; shown by the embedding's layer, which here is the plain mean. */
static void test_digits(void **state)
{
    (void)state;
    snellen_collapse_options o = snellen_collapse_options_default();
    const int64_t lengths[] = {1, 2, 40, 41};
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.sequence = "digits";
    o.n_prompts = 3;
    o.seed = 5;
    o.prompt = "";
    snellen_collapse *c, *again;
    MUST(snellen_probe_collapse(NULL, &o, NULL, &c, err));
    MUST(snellen_probe_collapse(NULL, &o, NULL, &again, err));
    assert_int_equal(c->n_rows, 3 * 4 * (LAYERS + 2));
    for (size_t i = 0; i < c->n_rows; i++) assert_true(c->rows[i].l1 == again->rows[i].l1);
    const size_t per_prompt = 4 * (LAYERS + 2), at_40 = 2 * (LAYERS + 2);
    assert_true(c->rows[0].l1 == 0); /* "1" and "11" have one mean */
    assert_true(c->rows[at_40].l1 > 0);
    assert_true(c->rows[at_40].l1 != c->rows[per_prompt + at_40].l1); /* other digits */
    /* y_n and y*_n themselves: 40 tokens and 41, means * (layer + 1 weights), n_layers + 1 = 3 */
    const float *y = c->vectors + 2 * 2 * D;
    double sum_v = (double)y[0] * (40 + 3) - 3 * '1', sum_w = (double)y[D] * (41 + 3) - 3 * '1';
    assert_true(fabs(sum_w - sum_v - '1') < 1e-2);
    double before = c->rows[at_40].l1;
    snellen_collapse_free(c);
    snellen_collapse_free(again);
    o.seed = 6;
    MUST(snellen_probe_collapse(NULL, &o, NULL, &c, err));
    assert_true(c->rows[at_40].l1 != before); /* the seed decides the digits */
    snellen_collapse_free(c);
}

/* glasses.md's exact case: equal tokens, nothing before them, no positions: y_n is one vector for every n. */
static void test_exact(void **state)
{
    (void)state;
    snellen_collapse_options o = snellen_collapse_options_default();
    o.prompt = "";
    snellen_collapse *c;
    MUST(snellen_probe_collapse(NULL, &o, NULL, &c, err));
    assert_int_equal(c->blind_at, 1);
    assert_int_equal(c->faint_at, 1);
    for (size_t i = 0; i < c->n_rows; i++) assert_true(c->rows[i].bit_equal && c->rows[i].same_logits);
    snellen_collapse_free(c);
    decay = false; /* sums instead of means: never equal */
    MUST(snellen_probe_collapse(NULL, &o, NULL, &c, err));
    assert_int_equal(c->blind_at, -1);
    assert_int_equal(c->faint_at, -1);
    snellen_collapse_free(c);
    decay = true;
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    assert_true(done <= total);
    return ++*(int *)user < 2;
}

static void test_refusals(void **state)
{
    (void)state;
    snellen_collapse *c = NULL;
    snellen_collapse_options o = snellen_collapse_options_default(), bad;
    const int64_t down[] = {5, 4}, zero[] = {0}, huge[] = {INT64_MAX}, long_one[] = {2000};
    bad = o, bad.sequence = "twos";
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.lengths = down, bad.n_lengths = 2;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.lengths = zero, bad.n_lengths = 1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.lengths = huge, bad.n_lengths = 1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.n_prompts = COLLAPSE_WORDINGS + 1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.n_prompts = 0;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.repeat = "two";
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    bad = o, bad.repeat = "2", bad.sequence = "digits";
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    info.positions = "learned";
    info.n_context = 1024;
    bad = o, bad.lengths = long_one, bad.n_lengths = 1;
    MUST_FAIL(SNELLEN_E_CONTEXT, snellen_probe_collapse(NULL, &bad, NULL, &c, err));
    info.positions = "rotary";
    info.n_context = CAPACITY;
    int calls = 0;
    const snellen_progress progress = {stop_at_once, &calls};
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_probe_collapse(NULL, &o, &progress, &c, err));
    assert_int_equal(calls, 2);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ones),  cmocka_unit_test(test_alternate), cmocka_unit_test(test_digits),
        cmocka_unit_test(test_exact), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("collapse", tests, NULL, NULL);
}
