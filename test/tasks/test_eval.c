/* Asking: with a model whose probabilities can be computed by definition, every margin must be exactly the one over all
 * candidates, whatever prefixes, branches and searches made it cheap. */
#include "test/test.h"

#include "tasks/tasks.h"
#include "test/tasks/fake_model.h"

/* Margin of one answer from its text, candidate by candidate. */
static double margin_by_definition(const snellen_model *model, const snellen_task_options *o, 
                                   const snellen_task_info *info, const snellen_answer *answer, int64_t *best_wrong)
{
    bool closed = strstr(info->name, "count");
    int64_t expected, last = closed ? MAX(200, 2 * answer->length) : 9;
    char *prompt, *opened, text[16384];
    MUST(snellen_task_show(info->name, o, answer->length, answer->prompt, &prompt, &expected, err));
    const snellen_message message = {.role = "user", .content = prompt};
    MUST(snellen_chat_format(model, &message, 1, true, &opened, err));
    double right = 0, wrong = -HUGE_VAL;
    for (int64_t c = 0; c <= last; c++) {
        int32_t *ids;
        size_t n;
        snprintf(text, sizeof text, "%s%s", o->chat ? opened : prompt, o->chat ? "" : "\n");
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s", info->frame);
        size_t before = strlen(text);
        snprintf(text + before, sizeof text - before, "%lld", (long long)c);
        MUST(snellen_tokenize(model, text, strlen(text), 0, &ids, &n, err));
        size_t path = model->pairs ? (strlen(text + before) + 1) / 2 : strlen(text + before);
        double logp = fake_log_p(model, ids, n - path, path, closed);
        if (c == expected)
            right = logp;
        else if (logp > wrong) {
            wrong = logp;
            *best_wrong = c;
        }
        free(ids);
    }
    snellen_free(prompt);
    snellen_free(opened);
    return right - wrong;
}

static void check_answers(const snellen_model *model, const snellen_task_options *o, const snellen_task_info *info,
                          const snellen_task_result *r)
{
    for (size_t i = 0; i < r->n_answers; i++) {
        int64_t best_wrong = -1;
        double margin = margin_by_definition(model, o, info, &r->answers[i], &best_wrong);
        assert_true(fabs(margin - (double)r->answers[i].margin) < 1e-4);
        assert_int_equal(best_wrong, r->answers[i].best_wrong);
    }
}

static const int64_t lengths[] = {5, 12, 40};

static snellen_task_options options_of(const snellen_model *model)
{
    snellen_task_options o = snellen_task_options_default(model);
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_prompts = 2;
    return o;
}

static void check_task(struct snellen_model *model, const snellen_task_options *o, const snellen_task_info *info)
{
    snellen_task_result *r;
    MUST(snellen_task_eval(model, info->name, o, NULL, &r, err));
    assert_int_equal(r->n_answers, COUNT_OF(lengths) * o->n_prompts);
    assert_int_equal(r->n_cells, COUNT_OF(lengths));
    for (size_t i = 0; i < r->n_answers; i++) {
        assert_int_equal(r->answers[i].length, lengths[i / o->n_prompts]);
        assert_int_equal(r->answers[i].prompt, i % o->n_prompts);
    }
    check_answers(model, o, info, r);
    snellen_task_result_free(r);
    assert_int_equal(model->n_sessions, 0);
}

static void test_margins_are_exact(void **state)
{
    (void)state;
    snellen_task_info info;
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++)
        for (int pairs = 0; pairs < 2; pairs++) {
            struct snellen_model model = fake_model();
            model.pairs = pairs;
            snellen_task_options o = options_of(&model);
            assert_true(o.chat);
            check_task(&model, &o, &info);
            o.chat = false;
            o.cure = "commas";
            check_task(&model, &o, &info);
        }
}

static void test_small_chunks_and_tight_contexts(void **state)
{
    (void)state;
    static const char *const names[] = {"copy-last", "count-ones"};
    struct snellen_model model = fake_model();
    snellen_task_options o = options_of(&model);
    snellen_task_info info;
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++)
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            if (strcmp(info.name, names[i])) continue;
            o.session.chunk = 1;
            o.session.n_context = 0;
            check_task(&model, &o, &info);
            snellen_task_result *r;
            MUST(snellen_task_eval(&model, info.name, &o, NULL, &r, err));
            int64_t longest = r->answers[r->n_answers - 1].n_tokens;
            snellen_task_result_free(r);
            for (o.session.chunk = 1; o.session.chunk <= 512; o.session.chunk *= 512) {
                o.session.n_context = longest + 6;
                check_task(&model, &o, &info);
                o.session.n_context = longest;
                MUST_FAIL(SNELLEN_E_CONTEXT, snellen_task_eval(&model, info.name, &o, NULL, &r, err));
                assert_null(r);
            }
        }
}

static void test_memories_that_cannot_go_back(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_task_options o = options_of(&model);
    snellen_task_info info;
    o.session.memory = SNELLEN_MEMORY_SWA;
    o.session.window = 64;
    for (size_t t = 0; snellen_task_list(t, &info) && !*info.formats; t++)
        if (!strcmp(info.name, "copy-last") || !strcmp(info.name, "count-sum")) check_task(&model, &o, &info);
    assert_true(model.n_refused > 0);
}

/* Several items in one session give what each gives alone, for less; the plan knows the price. */
static void test_items_share_prefixes(void **state)
{
    (void)state;
    static const struct task_item items[] = {
        {.task = "copy-last", .lengths = lengths, .n_lengths = 3, .n_prompts = 3},
        {.task = "copy-last", .cure = "hint", .lengths = lengths, .n_lengths = 3, .n_prompts = 3},
        {.task = "copy-alternating", .lengths = lengths, .n_lengths = 3, .n_prompts = 1},
        {.task = "count-ones", .lengths = lengths, .n_lengths = 3, .n_prompts = 3},
        {.task = "count-ones", .style = "step", .lengths = lengths, .n_lengths = 3, .n_prompts = 3},
        {.task = "count-sum", .cure = "commas:4", .lengths = lengths, .n_lengths = 3, .n_prompts = 2},
    };
    enum { N = COUNT_OF(items) };
    struct snellen_model model = fake_model();
    struct task_setting setting = {.chat = true, .seed = 1, .session = snellen_session_options_default()};
    snellen_task_result *together[N], *alone;
    struct task_cost cost, plan, single;
    MUST(tasks_plan(&model, items, N, &setting, &plan, err));
    assert_int_equal(model.tokens_read, 0);
    MUST(tasks_eval(&model, items, N, &setting, NULL, together, &cost, err));
    assert_int_equal(model.tokens_read, cost.prompt_tokens + cost.search_tokens);
    assert_int_equal(cost.n_questions, plan.n_questions);
    /* The plan leaves out the right answers' digits and reads the frame's end again. */
    assert_true(plan.prompt_tokens <= cost.prompt_tokens);
    assert_true(cost.prompt_tokens <= plan.prompt_tokens + 4 * cost.n_questions);
    uint64_t apart = 0, whole = 0;
    for (size_t i = 0; i < N; i++) {
        MUST(tasks_eval(&model, &items[i], 1, &setting, NULL, &alone, &single, err));
        apart += single.prompt_tokens;
        assert_int_equal(alone->n_answers, together[i]->n_answers);
        for (size_t j = 0; j < alone->n_answers; j++) {
            whole += alone->answers[j].n_tokens;
            assert_true(fabsf(alone->answers[j].margin - together[i]->answers[j].margin) < 1e-5f);
            assert_int_equal(alone->answers[j].best_wrong, together[i]->answers[j].best_wrong);
        }
        snellen_task_result_free(alone);
        snellen_task_result_free(together[i]);
    }
    assert_true(cost.prompt_tokens < apart);
    assert_true(apart < whole);
}

static void test_generated_answers(void **state)
{
    (void)state;
    static const struct { const char *says; bool parsed; int64_t got; const char *text; } cases[] = {
        {"The final answer to your maths question is: 12", true, 12, NULL},
        {"The final answer to your maths question is: 12. I counted them twice", true, 12,
         "The final answer to your maths question is: 12."},
        {"There are 7", true, 7, NULL},
        {"Many.", false, 0, NULL},
        {"", false, 0, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct snellen_model model = fake_model();
        model.says = cases[i].says;
        snellen_task_options o = options_of(&model);
        o.n_generate = 1;
        o.max_new = 100;
        snellen_task_result *r;
        MUST(snellen_task_eval(&model, "count-ones", &o, NULL, &r, err));
        for (size_t j = 0; j < r->n_answers; j++) {
            const snellen_answer *a = &r->answers[j];
            assert_int_equal(a->generated, a->prompt == 0);
            if (!a->generated) continue;
            assert_int_equal(a->parsed, cases[i].parsed);
            if (a->parsed) assert_int_equal(a->got, cases[i].got);
            assert_string_equal(a->text, cases[i].text ? cases[i].text : cases[i].says);
        }
        for (size_t j = 0; j < r->n_cells; j++) {
            assert_int_equal(r->cells[j].n_generated, 1);
            assert_int_equal(r->cells[j].n_right, cases[i].parsed && cases[i].got == r->cells[j].length);
        }
        snellen_task_result_free(r);
    }
}

static void test_answers_in_words_leave_margins_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"copy-last", "count-ones"};
    for (size_t t = 0; t < COUNT_OF(names); t++) {
        struct snellen_model model = fake_model();
        snellen_task_options o = options_of(&model);
        snellen_task_result *plain, *worded;
        MUST(snellen_task_eval(&model, names[t], &o, NULL, &plain, err));
        o.n_generate = 2;
        o.max_new = 7;
        MUST(snellen_task_eval(&model, names[t], &o, NULL, &worded, err));
        for (size_t i = 0; i < plain->n_answers; i++) {
            assert_true(plain->answers[i].margin == worded->answers[i].margin);
            assert_true(worded->answers[i].generated && !plain->answers[i].generated);
        }
        snellen_task_result_free(plain);
        snellen_task_result_free(worded);
    }
}

struct stop {
    int steps;
    uint64_t last, total;
};

static bool stop_after(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct stop *s = user;
    assert_string_equal(what, "tokens");
    assert_true(done >= s->last && done <= total);
    s->last = done;
    s->total = total;
    return s->steps-- > 0;
}

static void test_cancelling_keeps_what_is_finished(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_task_options o = options_of(&model);
    snellen_task_result *whole, *part;
    struct stop never = {.steps = 1 << 20};
    const snellen_progress progress = {.step = stop_after, .user = &never};
    MUST(snellen_task_eval(&model, "count-ones", &o, &progress, &whole, err));
    assert_int_equal(never.last, never.total);
    size_t most = 0;
    for (int steps = 0; steps < 30; steps += 3) {
        struct stop soon = {.steps = steps};
        const snellen_progress stopping = {.step = stop_after, .user = &soon};
        snellen_status status = snellen_task_eval(&model, "count-ones", &o, &stopping, &part, NULL);
        assert_true(status == SNELLEN_E_CANCELLED || status == SNELLEN_OK);
        assert_non_null(part);
        assert_true(part->n_answers >= most);
        assert_true(steps || !part->n_answers);
        most = part->n_answers;
        for (size_t i = 0; i < part->n_answers; i++)
            for (size_t j = 0; j < whole->n_answers; j++)
                if (part->answers[i].length == whole->answers[j].length &&
                    part->answers[i].prompt == whole->answers[j].prompt)
                    assert_true(part->answers[i].margin == whole->answers[j].margin);
        snellen_task_result_free(part);
        assert_int_equal(model.n_sessions, 0);
    }
    assert_true(most > 0);
    snellen_task_result_free(whole);
}

static void test_grid_is_cut_to_the_context(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_task_options o = snellen_task_options_default(&model);
    snellen_task_result *r;
    o.n_prompts = 1;
    o.session.n_context = 700;
    MUST(snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
    int64_t longest = r->cells[r->n_cells - 1].length;
    assert_true(longest == 400 || longest == 450 || longest == 500);
    snellen_task_result_free(r);
    o.session.n_context = 50;
    MUST_FAIL(SNELLEN_E_CONTEXT, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_task_options o = options_of(&model);
    snellen_task_result *r;
    static const int64_t zero[] = {5, 0};
    o.n_prompts = 0;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
    o.n_prompts = 91;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
    o.n_prompts = 2;
    o.n_generate = 3;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
    o.n_generate = 0;
    o.lengths = zero;
    o.n_lengths = 2;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
    o.n_lengths = 0;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_task_eval(&model, "copy-last", &o, NULL, &r, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_margins_are_exact),
        cmocka_unit_test(test_small_chunks_and_tight_contexts),
        cmocka_unit_test(test_memories_that_cannot_go_back),
        cmocka_unit_test(test_items_share_prefixes),
        cmocka_unit_test(test_generated_answers),
        cmocka_unit_test(test_answers_in_words_leave_margins_alone),
        cmocka_unit_test(test_cancelling_keeps_what_is_finished),
        cmocka_unit_test(test_grid_is_cut_to_the_context),
        cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
