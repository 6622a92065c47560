/* Asking a real model: margins from shared prefixes, branches and the search against whole prompts that are fed one by
 * one. argv: model name. Exit 77 = the model is not there. */
#include "test/test.h"

#include "tasks/retrieval.h"
#include "tasks/symbols.h"
#include "tasks/tasks.h"

static snellen_model *model;

/* log p of the last n tokens (closed: and that no digit follows), everything fed anew. */
static double log_p_alone(const int32_t *tokens, size_t n_all, size_t n, bool closed)
{
    enum { MAX_ROWS = 8 };
    int64_t vocab = snellen_model_get_info(model)->n_vocab, rows[MAX_ROWS];
    snellen_session_options options = snellen_session_options_default();
    options.n_context = 1024;
    snellen_session *session;
    float *logits = malloc((n + 1) * (size_t)vocab * sizeof *logits);
    snellen_outputs out = {.logits = logits, .rows = rows, .n_rows = n + 1};
    assert_true(n < MAX_ROWS);
    for (size_t i = 0; i <= n; i++) rows[i] = (int64_t)(n_all - n - 1 + i);
    MUST(snellen_session_new(model, &options, &session, err));
    MUST(snellen_session_feed(session, tokens, n_all, &out, err));
    double sum = 0;
    for (size_t i = 0; i < n + closed; i++) {
        const float *row = logits + i * (size_t)vocab;
        double all = 0, no_digit = 0;
        for (int64_t t = 0; t < vocab; t++) {
            size_t n_bytes;
            const char *bytes = snellen_token_bytes(model, (int32_t)t, &n_bytes);
            double p = exp((double)row[t] - (double)row[0]);
            all += p;
            if (!bytes || !n_bytes || bytes[0] < '0' || bytes[0] > '9') no_digit += p;
        }
        sum += i < n ? (double)row[tokens[n_all - n + i]] - (double)row[0] - log(all) : log(no_digit / all);
    }
    free(logits);
    snellen_session_free(session);
    return sum;
}

/* log p(candidate), from the whole text. */
static double log_p_of(const char *task, const snellen_task_options *o, const snellen_answer *a, int64_t candidate,
                       bool closed)
{
    snellen_task_info info;
    for (size_t i = 0; snellen_task_list(i, &info) && strcmp(info.name, task);) i++;
    char *prompt, *opened = NULL, text[8192], number[32];
    int64_t expected;
    int32_t *ids, *bare;
    size_t n, n_bare;
    MUST(snellen_task_show(task, o, a->length, a->prompt, &prompt, &expected, err));
    const snellen_message message = {.role = "user", .content = prompt};
    if (o->chat) MUST(snellen_chat_format(model, &message, 1, true, &opened, err));
    snprintf(number, sizeof number, "%lld", (long long)candidate);
    snprintf(text, sizeof text, "%s%s%s%s", o->chat ? opened : prompt, o->chat ? "" : "\n", info.frame, number);
    MUST(snellen_tokenize(model, text, strlen(text), o->chat ? SNELLEN_SPECIAL : SNELLEN_BOS, &ids, &n, err));
    bool wants_bos;
    int32_t bos = snellen_token_bos(model, &wants_bos);
    assert_true(!wants_bos || (ids[0] == bos && ids[1] != bos));
    /* Both models write digit by digit, behind a space that all candidates share. */
    MUST(snellen_tokenize(model, number, strlen(number), 0, &bare, &n_bare, err));
    assert_int_equal(n_bare, strlen(number));
    assert_int_equal(n - n_bare, a->n_tokens);
    double logp = log_p_alone(ids, n, n_bare, closed);
    snellen_free(ids);
    snellen_free(bare);
    snellen_free(prompt);
    snellen_free(opened);
    return logp;
}

/* The margin is the one of the two answers that it names, and no candidate of a sample beats the first
 * answer's best wrong one. */
static void check_margins(const char *task, const snellen_task_options *o, const int64_t *sample, size_t n_sample)
{
    snellen_task_result *r;
    bool closed = strstr(task, "count");
    MUST(snellen_task_eval(model, task, o, NULL, &r, err));
    assert_int_equal(r->n_answers, o->n_lengths * o->n_prompts);
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_answer *a = &r->answers[i];
        double right = log_p_of(task, o, a, a->expected, closed), wrong = log_p_of(task, o, a, a->best_wrong, closed);
        print_message("%s %d/%d: margin %.4f, alone %.4f, best wrong %d\n", task, (int)a->length, (int)a->prompt,
                      (double)a->margin, right - wrong, (int)a->best_wrong);
        assert_true(fabs(right - wrong - (double)a->margin) < 1e-3);
        for (size_t s = 0; s < n_sample && !i; s++)
            if (sample[s] != a->expected) assert_true(log_p_of(task, o, a, sample[s], closed) <= wrong + 1e-3);
    }
    snellen_task_result_free(r);
}

static void test_copying(void **state)
{
    (void)state;
    static const int64_t lengths[] = {3, 60}, digits[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    snellen_task_options o = snellen_task_options_default(model);
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_prompts = 1;
    check_margins("copy-last", &o, digits, COUNT_OF(digits));
    o.n_prompts = 2;
    o.cure = "hint";
    check_margins("copy-last-end-b", &o, NULL, 0);
}

static void test_counting(void **state)
{
    (void)state;
    static const int64_t lengths[] = {7, 31}, sample[] = {1, 5, 10, 12, 15, 20, 100};
    snellen_task_options o = snellen_task_options_default(model);
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_prompts = 1;
    check_margins("count-sum", &o, sample, COUNT_OF(sample));
    o.n_prompts = 2;
    o.chat = false;
    o.cure = "commas";
    check_margins("count-bernoulli", &o, NULL, 0);
}

/* Windows have no branches and cannot go back: the margins are those of the same window in one pass. */
static void test_sliding_window(void **state)
{
    (void)state;
    static const int64_t lengths[] = {7};
    snellen_task_options o = snellen_task_options_default(model);
    snellen_task_result *full, *wide, *narrow;
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_prompts = 1;
    MUST(snellen_task_eval(model, "count-car", &o, NULL, &full, err));
    o.session.memory = SNELLEN_MEMORY_SWA;
    o.session.window = 2048;
    MUST(snellen_task_eval(model, "count-car", &o, NULL, &wide, err));
    o.session.window = 32;
    MUST(snellen_task_eval(model, "count-car", &o, NULL, &narrow, err));
    for (size_t i = 0; i < full->n_answers; i++) {
        assert_true(fabsf(full->answers[i].margin - wide->answers[i].margin) < 1e-3f);
        assert_true(isfinite(narrow->answers[i].margin));
        assert_true(fabsf(full->answers[i].margin - narrow->answers[i].margin) > 1e-3f);
    }
    snellen_task_result_free(full);
    snellen_task_result_free(wide);
    snellen_task_result_free(narrow);
}

static void test_lengths_share_what_they_have_in_common(void **state)
{
    (void)state;
    static const int64_t lengths[] = {20, 40, 60, 80, 100, 120};
    static const struct task_item items[] = {
        {.task = "copy-last", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = 1},
        {.task = "copy-last", .cure = "hint", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = 1},
        {.task = "count-ones", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = 1, .n_generate = 1,
         .max_new = 4},
    };
    struct task_setting setting = {.chat = snellen_task_options_default(model).chat, .seed = 1,
                                   .session = snellen_session_options_default()};
    snellen_task_result *r[COUNT_OF(items)];
    struct task_cost cost, plan;
    uint64_t whole = 0;
    MUST(tasks_plan(model, items, COUNT_OF(items), &setting, &plan, err));
    MUST(tasks_eval(model, items, COUNT_OF(items), &setting, NULL, r, &cost, err));
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        for (size_t j = 0; j < r[i]->n_answers; j++) {
            whole += r[i]->answers[j].n_tokens;
            assert_int_equal(r[i]->answers[j].generated, items[i].n_generate);
        }
        snellen_task_result_free(r[i]);
    }
    print_message("%d questions of %d tokens: %d planned, %d read in %.2f s, %d for the search in %.2f s, %d written "
                  "in %.2f s\n", (int)cost.n_questions, (int)whole, (int)plan.prompt_tokens, (int)cost.prompt_tokens,
                  cost.prompt_seconds, (int)cost.search_tokens, cost.search_seconds, (int)cost.generated_tokens,
                  cost.generate_seconds);
    assert_true(2 * cost.prompt_tokens < whole);
    assert_true(plan.prompt_tokens <= cost.prompt_tokens);
    assert_true(cost.prompt_tokens <= plan.prompt_tokens + 20 * cost.n_questions);
    assert_true(cost.generated_tokens > 0 && cost.generated_tokens <= plan.generated_tokens);
}

/* ---- retrieval --------------------------------------------------------------------------------------------------- */

/* log p of an answer behind its question, all fed anew. */
static double log_p_behind(const struct retrieval_question *q, int answer)
{
    int32_t all[1024];
    assert_true(q->n_tokens + q->n_tails[answer] <= COUNT_OF(all));
    memcpy(all, q->tokens, q->n_tokens * sizeof *all);
    memcpy(all + q->n_tokens, q->tails[answer], q->n_tails[answer] * sizeof *all);
    return log_p_alone(all, q->n_tokens + q->n_tails[answer], q->n_tails[answer], false);
}

/* Answers' branches off a prompt that was read piece by piece against whole texts; and a key that is said is found. */
static void test_retrieval(void **state)
{
    (void)state;
    static const int64_t lengths[] = {384};
    static const double places[] = {0, 0.5};
    static const bool all_tasks[RETRIEVAL_TASKS] = {true, true, true, true};
    snellen_retrieval_options o = snellen_retrieval_options_default(model);
    snellen_retrieval_result *r;
    o.lengths = lengths;
    o.n_lengths = 1;
    o.depths = places;
    o.n_depths = 2;
    o.n_prompts = 1;
    MUST(snellen_retrieval_run(model, &o, NULL, &r, err));
    assert_int_equal(r->n_answers, 2 * RETRIEVAL_TASKS);
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_retrieval_answer *a = &r->answers[i];
        enum retrieval_task task = (enum retrieval_task)(i / 2);
        struct retrieval_maker maker = {.model = model, .chat = o.chat, .seed = o.seed};
        struct retrieval_scene scene;
        struct retrieval_question q;
        double best = -INFINITY;
        retrieval_draw(&scene, retrieval_kind_of(task), o.seed, 0);
        MUST(retrieval_fit(&maker, &scene, a->length, all_tasks, places, 2, err));
        MUST(retrieval_make(&maker, &scene, task, a->depth, &q, err));
        assert_true(q.n_tokens <= 384 && q.n_tokens > 384 - 20);   /* a sentence, or item, more is too long */
        for (int k = 1; k < SNELLEN_RETRIEVAL_ANSWERS; k++) best = fmax(best, log_p_behind(&q, k));
        assert_true(fabs((double)a->margin - (log_p_behind(&q, 0) - best)) < 1e-3);
        assert_true(task != RETRIEVAL_PASSKEY || a->margin > 0);
        retrieval_question_free(&q);
    }
    snellen_retrieval_free(r);
}

/* ---- tasks of symbols -------------------------------------------------------------------------------------------- */

/* Every word of the largest pool and every mark is a token of its own, which reads as the symbol does. */
static void test_symbols_are_tokens(void **state)
{
    (void)state;
    struct symbol_tokens tokens;
    MUST(symbol_tokens_set(&tokens, model, SYMBOL_MAX_POOL, err));
    for (int32_t i = 0; i < SYMBOL_COUNT; i++) {
        bool number = i >= SYMBOL_NUMBER + 10 && i < SYMBOL_WORD;   /* digits apart in both models */
        struct strbuf text = {0};
        assert_int_equal(tokens.ids[i] < 0, number);
        if (number) continue;
        symbol_token_text(&tokens, tokens.ids[i], &text);
        assert_string_equal(text.text, symbol_names[i]);
        strbuf_free(&text);
        for (int32_t j = 0; j < i; j++) assert_true(tokens.ids[j] < 0 || tokens.ids[j] != tokens.ids[i]);
    }
    bool wanted;
    int32_t bos = snellen_token_bos(model, &wanted);
    assert_int_equal(tokens.bos, wanted ? bos : -1);
}

/* Likeliest token, and how far the next one is behind. */
static int32_t top_of(const float *logits, float *lead)
{
    int64_t n = snellen_model_get_info(model)->n_vocab;
    int32_t best = likeliest(logits, n);
    *lead = INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (i != best && logits[best] - logits[i] < *lead) *lead = logits[best] - logits[i];
    return best;
}

/* What stands in the written text at word i. */
static void assert_word(const char *text, size_t i, const char *want)
{
    for (; i > 0; i--) text = strchr(text, ' ') + 1;
    assert_true(!strncmp(text, want, strlen(want)));
}

/* A line that lanes wrote, once more in a session, until two tokens are too close to call. */
static void check_written(const snellen_lines_options *o, const snellen_written *w, size_t *n_checked)
{
    struct symbol_tokens tokens;
    snellen_line *line;
    snellen_session *session;
    MUST(symbol_tokens_set(&tokens, model, 128, err));
    MUST(snellen_line_make("parity", &o->line, w->length, w->index, &line, err));
    MUST(snellen_session_new(model, &o->session, &session, err));
    if (tokens.bos >= 0) MUST(snellen_session_feed(session, &tokens.bos, 1, NULL, err));
    for (size_t i = 0; i < line->n; i++) {
        const snellen_symbol *s = &line->symbols[i];
        int32_t token = tokens.ids[s->id];
        if (s->weight > 0 && !(s->anchor && o->forced)) {
            struct strbuf text = {0};
            float lead;
            token = top_of(snellen_session_logits(session), &lead);
            if (lead < 1e-2f) break;
            symbol_token_text(&tokens, token, &text);
            assert_word(w->text, i - line->n_prompt, text.text ? text.text : "");
            bool spaces = text.text && strchr(text.text, ' ');
            strbuf_free(&text);
            if (spaces) break;
            ++*n_checked;
        }
        MUST(snellen_session_feed(session, &token, 1, NULL, err));
    }
    snellen_session_free(session);
    snellen_free(line);
}

static void test_lines_are_written_as_sessions_would(void **state)
{
    (void)state;
    static const int64_t lengths[] = {6, 7};
    snellen_lines_options o = snellen_lines_options_default();
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_samples = 4;
    o.line.format = "mnemonic";
    o.session.n_context = 64;
    for (int forced = 0; forced < 2; forced++) {
        snellen_lines_result *r;
        size_t n_checked = 0;
        o.forced = forced;
        MUST(snellen_lines_eval(model, "parity", &o, NULL, &r, err));
        assert_int_equal(r->n_written, 8);
        for (size_t i = 0; i < r->n_written; i++) check_written(&o, &r->written[i], &n_checked);
        assert_true(n_checked > 20);
        snellen_lines_result_free(r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copying),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_sliding_window),
        cmocka_unit_test(test_lengths_share_what_they_have_in_common),
        cmocka_unit_test(test_retrieval),
        cmocka_unit_test(test_symbols_are_tokens),
        cmocka_unit_test(test_lines_are_written_as_sessions_would),
    };
    snellen_named_model named;
    size_t i = 0;
    if (argc != 2) return 2;
    while (snellen_models_list(i, &named) && strcmp(named.name, argv[1])) i++;
    if (!snellen_models_list(i, &named)) return 2;
    if (!named.present) {
        fprintf(stderr, "SKIPPED: %s is not there: snellen models get %s\n", named.path, named.name);
        return 77;
    }
    MUST(snellen_model_load(named.path, &model, err));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snellen_model_free(model);
    return failed;
}
