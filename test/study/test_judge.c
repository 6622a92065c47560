/* Findings and sentences of the checkup from invented numbers whose truth is known. */
#include "test/test.h"

#include "study/senses.h"

enum { D = 4, LAST = 2 };  /* one layer: 0 embedding, 1, 2 = y_n */

static const snellen_model_info INFO = {.n_layers = 1, .d_model = D, .n_heads = 2, .n_context = 4096};

/* ---- invented results ------------------------------------------------------------------------------------------------------- */

struct invented {
    snellen_collapse collapse;
    snellen_collapse_row rows[3 * CHECKUP_MAX_GRID];
    float vectors[CHECKUP_MAX_GRID * 2 * D];
};

/* linf [n] at y_n; y_n itself lies `off` away from zero in every element. */
static void add_collapse(struct checkup_plan *plan, struct invented *to, const char *sequence, snellen_precision precision,
                         const int64_t *lengths, const double *linf, const bool *equal, float off, size_t n)
{
    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < n; i++)
        for (int64_t layer = 0; layer <= LAST; layer++) {
            bool last = layer == LAST;
            to->rows[3 * i + (size_t)layer] = (snellen_collapse_row){
                .n = lengths[i], .layer = layer, .linf_mean = last ? linf[i] : 99, .linf_min = last ? linf[i] / 2 : 9,
                .linf_max = last ? linf[i] * 2 : 999, .bit_equal = last && equal && equal[i]};
        }
    for (size_t i = 0; i < n * 2 * D; i++) to->vectors[i] = off;
    to->collapse = (snellen_collapse){.rows = to->rows, .n_rows = 3 * n, .vectors = to->vectors};
    plan->collapses[plan->n_collapses++] = (struct checkup_collapse){
        .sequence = sequence, .precision = precision, .lengths = lengths, .n_lengths = n, .n_prompts = 1,
        .result = &to->collapse};
}

/* Margins [n_lengths, n_prompts]. */
static void add_task(struct checkup_plan *plan, const char *task, const char *cure, const int64_t *lengths,
                     size_t n_lengths, uint32_t n_prompts, const float *margins)
{
    struct checkup_task *t = &plan->tasks[plan->n_tasks++];
    *t = (struct checkup_task){.task = task, .style = "plain", .cure = cure};
    snellen_answer answers[64];
    snellen_task_result result = {.answers = answers};
    for (size_t i = 0; i < n_lengths; i++)
        for (uint32_t p = 0; p < n_prompts; p++)
            answers[result.n_answers++] = (snellen_answer){.length = lengths[i], .prompt = p,
                                                           .margin = margins[i * n_prompts + p]};
    struct arena arena = {0};
    MUST(checkup_merge(t, &arena, &result, err));
    arena_free(&arena);
}

static void free_tasks(struct checkup_plan *plan)
{
    plan->n_collapses = 0; /* their results are not ours to free */
    checkup_plan_free(plan);
}

static void expect_summary(const struct checkup *c, bool complete, const char *line, bool there)
{
    struct checkup_words words = {.n_lines = 0};
    checkup_summary(c, complete, &words);
    strbuf_put(&words.text, "", 0);
    if ((strstr(words.text.text, line) != NULL) != there)
        fail_msg("'%s' %s in:\n%s", line, there ? "expected" : "not expected", words.text.text);
    /* The lines are the text, cut at its line ends. */
    size_t at = 0;
    for (size_t i = 0; i < words.n_lines; i++) {
        assert_int_equal(words.lines[i].start, at);
        at += words.lines[i].length;
        assert_int_equal(words.text.text[at++], '\n');
    }
    assert_int_equal(at, words.text.n);
    strbuf_free(&words.text);
}

/* ---- tests -------------------------------------------------------------------------------------------------------------------- */

static void test_reach(void **state)
{
    (void)state;
    const int64_t lengths[] = {5, 10, 1500};
    static const struct {
        bool holds[3];
        const char *words;
    } cases[] = {
        {{true, true, true}, "up to 1,500, the longest tried"},
        {{true, true, false}, "up to 10"},
        {{true, false, true}, "up to 5 (and again at some longer ones)"},
        {{false, false, false}, "not even at 5"},
        {{false, false, true}, "not even at 5 (and again at some longer ones)"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct strbuf b = {0};
        struct reach r = checkup_reach(lengths, cases[i].holds, 3);
        checkup_put_reach(&b, &r);
        assert_string_equal(b.text, cases[i].words);
        strbuf_free(&b);
    }
    assert_int_equal(checkup_reach(lengths, cases[0].holds, 3).last, 1500);
    assert_int_equal(checkup_reach(lengths, cases[1].holds, 3).last, 10);
    assert_int_equal(checkup_reach(lengths, cases[3].holds, 3).last, 0);
    struct reach none = checkup_reach(lengths, cases[0].holds, 0);
    assert_false(none.any);
    struct strbuf b = {0};
    checkup_put_count(&b, -1234567);
    assert_string_equal(b.text, "-1,234,567");
    strbuf_free(&b);
}

static const int64_t LENGTHS[] = {1, 64, 512, 1024};

static void test_collapse_findings(void **state)
{
    (void)state;
    static struct invented f32, bf16;
    struct checkup_plan plan = {0};
    /* f32 stays above the line; bf16 does too, but y_n lies 0.25 away from f32's, more than one item's difference from
     * 512 on; its vectors are bit-equal at the last length. */
    add_collapse(&plan, &f32, "ones", SNELLEN_F32, LENGTHS, (double[]){2, 0.5, 0.1, 0.05}, NULL, 1, 4);
    add_collapse(&plan, &bf16, "ones", SNELLEN_BF16, LENGTHS, (double[]){2, 0.5, 0.1, 0.05},
                 (bool[]){false, false, false, true}, 1.25f, 4);
    struct collapse_finding f = checkup_judge_collapse(&plan, "ones", SNELLEN_F32, &INFO);
    assert_true(f.known && !f.has_noise && f.tells.fails_at == -1 && f.tells.up_to == 1024 && f.bits.fails_at == -1);
    assert_true(f.first == 2 && f.last == 0.05);
    f = checkup_judge_collapse(&plan, "ones", SNELLEN_BF16, &INFO);
    assert_true(f.has_noise && f.line.fails_at == -1);
    assert_true(fabs(checkup_rounding_at(&plan.collapses[1], &plan.collapses[0], 0, &INFO) - 0.25) < 1e-12);
    assert_int_equal(f.noise.up_to, 64);
    assert_int_equal(f.tells.up_to, 64);
    assert_int_equal(f.tells.fails_at, 512);
    assert_int_equal(f.bits.fails_at, 1024);
    /* Both vectors are moved alike: nothing of the difference is lost. */
    assert_true(fabs(checkup_loss_at(&plan.collapses[1], &plan.collapses[0], 0, &INFO)) < 1e-12);
    assert_true(f.kept.any && f.kept.fails_at == -1);
    f = checkup_judge_collapse(&plan, "ones", SNELLEN_F16, &INFO);
    assert_false(f.known);

    struct checkup c = {.info = &INFO, .plan = plan};
    expect_summary(&c, true, "Tells n from n+1 ones up to 1,024, the longest tried in f32; up to 64 in bf16.\n", true);
    expect_summary(&c, true, "become equal bit for bit: bf16 from 1,024.", true);
    expect_summary(&c, true, "further than rounding to bf16 does up to 64; from there on", true);
    expect_summary(&c, true, "INCOMPLETE", false);
    expect_summary(&c, false, "INCOMPLETE", true);
    expect_summary(&c, true, "Copying", false); /* nothing is known of it */
}

/* A part of a precision is a collapse of its own, which no finding about the whole precision takes for that. */
static void test_parts(void **state)
{
    (void)state;
    static struct invented f32, cache, bf16;
    struct checkup_plan plan = {0};
    const double linf[] = {2, 0.5, 0.1, 0.05};
    add_collapse(&plan, &f32, "ones", SNELLEN_F32, LENGTHS, linf, NULL, 1, 4);
    add_collapse(&plan, &cache, "ones", SNELLEN_BF16, LENGTHS, linf, NULL, 1, 4);
    plan.collapses[1].part = SNELLEN_ROUND_CACHE;
    for (size_t i = 0; i < 4; i++) cache.vectors[(2 * i + 1) * D] = 1.5f; /* y*_n alone, in one of two heads */
    assert_null(checkup_find_collapse(&plan, "ones", SNELLEN_BF16));
    assert_null(checkup_find_part(&plan, "ones", SNELLEN_BF16, SNELLEN_ROUND_LOGITS));
    const struct checkup_collapse *k = checkup_find_part(&plan, "ones", SNELLEN_BF16, SNELLEN_ROUND_CACHE);
    assert_ptr_equal(k, &plan.collapses[1]);
    assert_string_equal(checkup_type_name(k), "bf16-cache");
    assert_string_equal(checkup_type_name(&plan.collapses[0]), "f32");
    struct collapse_finding f = checkup_judge_part(&plan, k, &INFO);
    assert_true(f.known && f.has_noise && f.noise.fails_at == -1);
    assert_true(fabs(checkup_loss_at(k, &plan.collapses[0], 0, &INFO) - 0.25) < 1e-12);
    assert_int_equal(f.kept.up_to, 64);
    assert_false(checkup_judge_part(&plan, NULL, &INFO).known);
    struct checkup c = {.info = &INFO, .plan = plan};
    expect_summary(&c, true, "Tells n from n+1 ones up to 1,024, the longest tried in f32.\n", true);
    add_collapse(&c.plan, &bf16, "ones", SNELLEN_Q8_0, LENGTHS, linf, NULL, 1.25f, 4);
    expect_summary(&c, true, "in f32; up to 64 with a cache in q8_0.\n", true);
    expect_summary(&c, true, "further than rounding the cache to q8_0 does up to 64; from", true);
}

static void test_line(void **state)
{
    (void)state;
    static struct invented copy, commas;
    struct checkup_plan plan = {0};
    add_collapse(&plan, &copy, "copy", SNELLEN_F32, LENGTHS, (double[]){1, 0.1, 1.0 / 128, 0.004}, NULL, 1, 4);
    add_collapse(&plan, &commas, "commas", SNELLEN_F32, LENGTHS, (double[]){1, 0.9, 0.8, 0.8}, NULL, 1, 4);
    struct collapse_finding f = checkup_judge_collapse(&plan, "copy", SNELLEN_F32, &INFO);
    assert_int_equal(f.tells.up_to, 512); /* the line itself still counts */
    struct checkup c = {.info = &INFO, .plan = plan};
    expect_summary(&c, true, "A comma every 3 digits: at 1,024 digits one more moves the vector by 0.80 instead of 0.004, "
                             "200 times; it tells n from n+1 up to 1,024, the longest tried (without: up to 512).\n", true);
}

static void test_tasks(void **state)
{
    (void)state;
    struct checkup_plan plan = {0};
    const int64_t lengths[] = {100, 200, 300};
    /* One prompt of two is not more than half. */
    add_task(&plan, "copy-last", "", lengths, 3, 2, (float[]){2, 1, 1, -1, -2, -3});
    add_task(&plan, "copy-last", "hint", lengths, 3, 2, (float[]){4, 3.5f, 3, 1, 0.5f, -1});
    add_task(&plan, "copy-first", "", lengths, 3, 1, (float[]){-1, -1, -1});
    add_task(&plan, "count-sum", "", lengths, 3, 1, (float[]){1, -1, 1});
    struct task_finding f = checkup_judge_task(&plan.tasks[0]);
    assert_int_equal(f.sees.up_to, 100);
    assert_int_equal(f.blind_at, 200);
    struct cure_finding cure = checkup_judge_cure(&plan.tasks[1], &plan.tasks[0]);
    assert_int_equal(cure.n, 6);
    assert_true(fabs(cure.gain - (2 + 2.5 + 2 + 2 + 2.5 + 2) / 6) < 1e-6);
    assert_true(cure.low > 1.8 && cure.high < 2.6 && cure.low < cure.gain && cure.high > cure.gain);
    assert_int_equal(cure.right_with, 5);
    assert_int_equal(cure.right_without, 3);
    struct checkup c = {.info = &INFO, .plan = plan};
    expect_summary(&c, true, "Copying, last digit: right up to 100 digits; blind from 200 on.\n", true);
    expect_summary(&c, true, "Copying, first digit: fails from the start (100 digits and all longer ones).\n", true);
    expect_summary(&c, true, "a sum of ones: right up to 100 (and again at some longer ones) summands.\n", true);
    expect_summary(&c, true, "the hint helps: margin +2.17", true);
    expect_summary(&c, true, "right margins 5 instead of 3 of 6.", true);
    free_tasks(&plan);
}

/* Questions that only one of the two was asked do not count. */
static void test_pairs(void **state)
{
    (void)state;
    struct checkup_plan plan = {0};
    add_task(&plan, "copy-last", "", (int64_t[]){100, 200}, 2, 2, (float[]){1, 2, 3, 4});
    add_task(&plan, "copy-last", "hint", (int64_t[]){200, 300}, 2, 1, (float[]){10, 20});
    struct cure_finding f = checkup_judge_cure(&plan.tasks[1], &plan.tasks[0]);
    assert_int_equal(f.n, 1);
    assert_true(f.gain == 7);
    f = checkup_judge_cure(&plan.tasks[1], NULL);
    assert_false(f.known);
    free_tasks(&plan);
}

static void test_merge(void **state)
{
    (void)state;
    struct checkup_task t = {.task = "count-ones", .style = "plain", .cure = ""};
    struct arena arena = {0};
    snellen_answer first[] = {{.length = 5, .prompt = 0, .margin = 1, .expected = 5, .text = ""},
                              {.length = 9, .prompt = 0, .margin = -1, .expected = 9, .text = ""}};
    snellen_answer second[] = {
        {.length = 5, .prompt = 0, .margin = 1, .expected = 5, .generated = true, .parsed = true, .got = 5, .text = "5"},
        {.length = 5, .prompt = 1, .margin = 3, .expected = 5, .generated = true, .parsed = true, .got = 7, .text = "7"},
        {.length = 5, .prompt = 2, .margin = 3, .expected = 5, .generated = true, .parsed = true, .got = 7, .text = "7"},
        {.length = 7, .prompt = 0, .margin = 2, .expected = 7, .generated = true, .parsed = false, .text = "?"}};
    snellen_task_result a = {.answers = first, .n_answers = 2}, b = {.answers = second, .n_answers = 4};
    MUST(checkup_merge(&t, &arena, &a, err));
    MUST(checkup_merge(&t, &arena, &b, err));
    assert_int_equal(t.n_answers, 5);
    assert_int_equal(t.score.n_cells, 3);
    assert_int_equal(t.score.cells[0].n, 3);
    assert_int_equal(t.score.cells[1].length, 7);
    assert_true(t.answers[0].generated); /* the written answer took the place of the bare margin */
    assert_string_equal(t.answers[1].text, "7");
    struct task_finding f = checkup_judge_task(&t);
    assert_int_equal(f.n_generated, 4);
    assert_int_equal(f.n_parsed, 3);
    assert_int_equal(f.n_right, 1);
    assert_int_equal(f.favourite, 7);
    assert_int_equal(f.favourite_count, 2);
    MUST(checkup_merge(&t, &arena, &a, err)); /* bare margins take nothing away */
    assert_true(t.answers[0].generated);
    assert_int_equal(t.n_answers, 5);
    free(t.answers);
    mem_free(t.score.cells);
    arena_free(&arena);
}

/* ---- retrieval --------------------------------------------------------------------------------------------------------- */

/* Six questions a length: n_right of each task at 256, 512 and 1,024 tokens; margins +1 and -1, the right ones first. */
struct found {
    snellen_retrieval_answer answers[36];
    snellen_retrieval_cell lengths[6];
    snellen_retrieval_result result;
};

static void add_found(struct found *f, const char *task, const uint32_t n_right[3])
{
    static const int64_t lengths[] = {256, 512, 1024};
    static const double depths[] = {0, 1, 0.5};
    for (size_t i = 0; i < 3; i++) {
        snellen_retrieval_cell *c = &f->lengths[f->result.n_lengths++];
        *c = (snellen_retrieval_cell){.task = task, .length = lengths[i], .depth = -1, .n = 6, .n_right = n_right[i]};
        wilson_interval(c->n_right, c->n, &c->right_low, &c->right_high);
        for (uint32_t q = 0; q < 6; q++)
            f->answers[f->result.n_answers++] = (snellen_retrieval_answer){
                .task = task, .length = lengths[i], .depth = depths[q / 2], .prompt = q % 2, .margin = q < n_right[i] ? 1 : -1};
    }
    f->result.answers = f->answers;
    f->result.lengths = f->lengths;
}

static void test_retrieval(void **state)
{
    (void)state;
    struct found f = {.result = {.n_answers = 0}};
    struct checkup c = {.info = &INFO};
    add_found(&f, "list-index", (uint32_t[]){1, 2, 6});      /* 1 of 6: no better than one of ten */
    add_found(&f, "list-content", (uint32_t[]){6, 5, 6});    /* 5/6 is less than 85 % */
    c.plan.retrieval.result = &f.result;

    struct retrieval_finding index = checkup_judge_retrieval(&f.result, "list-index");
    struct retrieval_finding content = checkup_judge_retrieval(&f.result, "list-content");
    assert_false(checkup_judge_retrieval(&f.result, "needle").known);
    assert_false(checkup_judge_retrieval(NULL, "needle").known);
    assert_true(index.known && index.guesses);
    assert_int_equal(index.finds.up_to, 0);
    assert_true(content.known && !content.guesses);
    assert_int_equal(content.finds.up_to, 256);
    assert_int_equal(content.finds.fails_at, 512);
    assert_true(content.finds.again);
    assert_int_equal(content.shortest->length, 256);
    assert_int_equal(content.longest->length, 1024);
    assert_true(fabs(content.ends - 1) < 1e-12);             /* the one wrong answer lies in the middle */
    assert_true(fabs(content.middle - 2.0 / 3) < 1e-12);

    /* By name: 5, 3 and 0 of 6 more are right, each by 2. */
    struct cure_finding by_name = checkup_judge_by_name(&f.result);
    assert_int_equal(by_name.n, 18);
    assert_int_equal(by_name.right_with, 17);
    assert_int_equal(by_name.right_without, 9);
    assert_true(fabs(by_name.gain - 16.0 / 18) < 1e-12);
    assert_false(checkup_judge_by_name(NULL).known);

    expect_summary(&c, true, "Finding the 7th item of a list: 1 of 6 right at 256 tokens, 6 of 6 right at 1,024; that is no better "
                             "than guessing one of ten, and has no effective length", true);
    expect_summary(&c, true, "by its name: 6 of 6 right at 256 tokens, 6 of 6 right at 1,024; effective length up to 256 (and again at "
                             "some longer ones); margin 1.00 at start and end, 0.67 between.", true);
    expect_summary(&c, true, "An item by its name instead of its index helps: margin +0.89", true);
    expect_summary(&c, true, "Finding a fact", false);
    c.plan.retrieval = (struct checkup_retrieval){.refused = "length is 256 tokens, the shortest question about a list has 300"};
    expect_summary(&c, true, "Finding was not asked: length is 256 tokens, the shortest question about a list has 300.", true);
}

static const struct sense_finding *sense_called(const struct sense_finding *senses, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(senses[i].name, name)) return &senses[i];
    fail_msg("no sense is called %s", name);
    return NULL;
}

/* Cards and cures: what fails first, which cure helps most, what was not asked. */
static void test_senses(void **state)
{
    (void)state;
    struct checkup_plan plan = {0};
    struct sense_finding senses[SENSES_MAX];
    struct found f = {.result = {.n_answers = 0}};
    const int64_t lengths[] = {100, 200, 300};
    add_task(&plan, "copy-last", "", lengths, 3, 2, (float[]){2, 1, 1, -1, -2, -3});
    add_task(&plan, "copy-last", "hint", lengths, 3, 2, (float[]){2.1f, 1.1f, 1.1f, -0.9f, -1.9f, -2.9f});
    add_task(&plan, "copy-last", "alternate", lengths, 3, 2, (float[]){4, 3.5f, 3, 1, 0.5f, 1});
    add_task(&plan, "copy-last", "reverse", lengths, 3, 2, (float[]){1, 0.5f, 0.1f, -3, -4, -5});
    add_task(&plan, "copy-last", "sharper", lengths, 3, 2, (float[]){2, 1.1f, 1.2f, 0.5f, -1, -2});
    add_task(&plan, "copy-first", "", lengths, 3, 2, (float[]){1, 1, 1, 1, -1, -1});
    add_found(&f, "list-index", (uint32_t[]){1, 2, 6});
    add_found(&f, "list-content", (uint32_t[]){6, 5, 6});
    struct checkup c = {.info = &INFO, .plan = plan};
    c.plan.retrieval.result = &f.result;
    size_t n = senses_find(&c, senses), line;

    const struct sense_finding *copies = sense_called(senses, n, "Copies");
    assert_int_equal(copies->n_lines, 2);
    assert_string_equal(copies->lines[copies->weakest].task, "copy-last");   /* fails at 200, the other one at 300 */
    assert_int_equal(copies->lines[copies->weakest].reach.fails_at, 200);
    struct cure_rank ranks[SENSES_MAX_CURES], best;
    assert_int_equal(senses_rank(&plan, "copy-last", ranks), 4);
    assert_string_equal(ranks[0].with->cure, "alternate");
    assert_string_equal(ranks[1].with->cure, "sharper");
    assert_string_equal(senses_cure_name(ranks[1].with), "sharper attention (temperature 0.8)");
    assert_string_equal(ranks[2].with->cure, "hint");
    assert_string_equal(ranks[3].with->cure, "reverse");
    assert_true(senses_helps(&ranks[0].gain) && senses_helps(&ranks[2].gain) && senses_hurts(&ranks[3].gain));
    assert_false(senses_hurts(&ranks[0].gain) || senses_helps(&ranks[3].gain));
    assert_true(senses_best_cure(&c, copies, &best, &line));
    assert_string_equal(senses_cure_name(best.with), "alternating digits");
    assert_int_equal(line, copies->weakest);

    const struct sense_finding *finds = sense_called(senses, n, "Finds");
    assert_int_equal(finds->n_lines, 2);
    assert_int_equal(finds->weakest, 0);                         /* guessed at the shortest length */
    assert_int_equal(finds->lines[0].reach.fails_at, 256);
    assert_int_equal(finds->lines[1].reach.fails_at, 512);
    assert_false(senses_best_cure(&c, finds, &best, &line));
    assert_int_equal(sense_called(senses, n, "Counts")->n_lines, 0);
    assert_int_equal(sense_called(senses, n, "Remembers")->n_lines, 0);
    free_tasks(&plan);
}

static void test_grid_and_budget(void **state)
{
    (void)state;
    int64_t grid[CHECKUP_MAX_GRID];
    static const int64_t needed[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 32, 51, 64, 101, 501, 512, 1001, 1024, 2001};
    size_t n = checkup_grid(2001, grid), found = 0;
    assert_true(n > 40 && n < CHECKUP_MAX_GRID);
    for (size_t i = 1; i < n; i++) {
        assert_true(grid[i] > grid[i - 1]);
        assert_true(grid[i] <= 8 || (double)grid[i] <= 1.26 * (double)grid[i - 1]);
    }
    for (size_t i = 0; i < COUNT_OF(needed); i++)
        for (size_t j = 0; j < n; j++) found += grid[j] == needed[i];
    assert_int_equal(found, COUNT_OF(needed));
    n = checkup_grid(50, grid);
    assert_true(grid[n - 1] <= 50 && grid[n - 1] >= 40);
    assert_int_equal(checkup_grid(0, grid), 0);

    assert_int_equal(checkup_prompts_for(100, 40, 20, 20), 4);
    assert_int_equal(checkup_prompts_for(100, 40, 1, 20), 20);
    assert_int_equal(checkup_prompts_for(100, 101, 1, 20), 1);
    assert_int_equal(checkup_prompts_for(100, 100, 1, 20), 1);
    assert_int_equal(checkup_prompts_for(UINT64_MAX, 0, 1, 20), 20);
    assert_int_equal(checkup_prompts_for(100, 40, 0, 20), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reach), cmocka_unit_test(test_collapse_findings), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_tasks), cmocka_unit_test(test_pairs),             cmocka_unit_test(test_merge),
        cmocka_unit_test(test_retrieval), cmocka_unit_test(test_senses),       cmocka_unit_test(test_grid_and_budget),
    };
    return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
