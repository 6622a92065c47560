/* Retrieval by depth and length: what the texts say, by reading them; margins against their definition, token by token. */
#include "test/test.h"

#include "tasks/retrieval.h"
#include "test/tasks/fake_model.h"

static const double depths[] = {0, 0.25, 0.5, 0.75, 1};
static const bool all_tasks[RETRIEVAL_TASKS] = {true, true, true, true};

static struct snellen_model text_model(void)
{
    struct snellen_model model = fake_model();
    model.info.has_tokenizer = true;
    return model;
}

static struct retrieval_maker maker_of(const struct snellen_model *model, bool chat)
{
    return (struct retrieval_maker){.model = model, .chat = chat, .written = true, .seed = 7};
}

/* A scene that fits `length`, and the question about it. */
static void make(struct retrieval_maker *maker, enum retrieval_task task, int64_t length, double depth, uint32_t prompt,
                 struct retrieval_scene *scene, struct retrieval_question *q)
{
    retrieval_draw(scene, retrieval_kind_of(task), maker->seed, prompt);
    MUST(retrieval_fit(maker, scene, length, all_tasks, depths, COUNT_OF(depths), err));
    MUST(retrieval_make(maker, scene, task, depth, q, err));
}

/* The fake model's tokens are bytes. */
static char *text_of(const int32_t *tokens, size_t n)
{
    char *text = malloc(n + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) text[i] = (char)tokens[i];
    text[n] = 0;
    return text;
}

static int count_of(const char *text, const char *part)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++) n++;
    return n;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* ---- effective length -------------------------------------------------------------------------------------------- */

static void test_reach(void **state)
{
    (void)state;
    const int64_t lengths[] = {256, 512, 1024, 2048};
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){1, 1, 0.9, 0.85}, 4), 2048);
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){1, 1, 0.84, 1}, 4), 512);     /* a gap ends it */
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){0.5, 0.43, 0.42, 0}, 4), 512); /* 0.85 * 0.5 = 0.425 */
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){0.5, 0.42, 0.5, 0.5}, 4), 256);
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){0.2, 0.9, 0.9, 0.9}, 4), 2048);
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){0, 1, 1, 1}, 4), -1);
    assert_int_equal(snellen_retrieval_reach(lengths, (double[]){1}, 1), 256);
    assert_int_equal(snellen_retrieval_reach(lengths, NULL, 0), -1);
}

/* ---- what the texts say ------------------------------------------------------------------------------------------ */

/* The sentence, or line, that holds the answer. */
static void check_fact(enum retrieval_task task, const struct retrieval_question *q, const char *text)
{
    char said[128] = "";
    const char *right = q->answers.text[0], *at = text + q->at;
    if (task == RETRIEVAL_PASSKEY) {
        snprintf(said, sizeof said, " The pass key is %s. Remember it. %s is the pass key.", right, right);
        assert_int_equal(strlen(right), 5);
        assert_int_equal(count_of(text, right), 2);
    } else if (task == RETRIEVAL_NEEDLE) {
        assert_int_equal(count_of(text, right), 1);
        snprintf(said, sizeof said, " %s.", right);
        assert_true(strstr(at, said) == at + strcspn(at, ".") - strlen(right) - 1);
        return;
    } else {
        snprintf(said, sizeof said, ": %s", right);
        at += strcspn(at, ":");
    }
    assert_memory_equal(at, said, strlen(said));
}

static void check_question(struct retrieval_maker *maker, enum retrieval_task task, int64_t length, double depth)
{
    struct retrieval_scene scene;
    struct retrieval_question q, first, last;
    make(maker, task, length, depth, 2, &scene, &q);
    make(maker, task, length, 0, 2, &scene, &first);
    make(maker, task, length, 1, 2, &scene, &last);
    char *text = text_of(q.tokens, q.n_tokens), *asked = text_of(q.asked, q.n_asked);
    assert_true((int64_t)q.n_tokens <= length && (int64_t)q.n_tokens > length - 60);   /* a sentence, or line, more is too long */
    check_fact(task, &q, text);
    double place = (double)(q.at - first.at) / (double)(last.at - first.at), tolerance = 60.0 / (double)(last.at - first.at);
    assert_true(fabs(place - depth) <= tolerance);   /* a sentence, or line, more or less */
    assert_true(first.at < 250 && last.at > length - 250);
    assert_memory_equal(text, asked, q.n_asked);
    assert_true(ends_with(text, " is ") || task == RETRIEVAL_NEEDLE);
    assert_true(maker->chat ? ends_with(asked, "<a>") : ends_with(asked, " is") || task == RETRIEVAL_NEEDLE);
    free(text);
    free(asked);
    retrieval_question_free(&q);
    retrieval_question_free(&first);
    retrieval_question_free(&last);
}

static void test_questions(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    for (int chat = 0; chat < 2; chat++) {
        struct retrieval_maker maker = maker_of(&model, chat);
        for (int task = 0; task < RETRIEVAL_TASKS; task++)
            for (size_t d = 0; d < COUNT_OF(depths); d++) {
                check_question(&maker, (enum retrieval_task)task, 1200, depths[d]);
                check_question(&maker, (enum retrieval_task)task, 4001, depths[d]);
            }
    }
}

/* All items of a list as they are read from its text. */
struct item {
    char name[40];
    int number;
};

static size_t read_list(const char *text, struct item *items, size_t room)
{
    size_t n = 0;
    for (const char *line = strstr(text, "\n\n") + 2; *line != '\n'; line = strchr(line, '\n') + 1) {
        assert_true(n < room);
        assert_int_equal(sscanf(line, "%39[^:]: %d\n", items[n].name, &items[n].number), 2);
        n++;
    }
    return n;
}

/* Both questions about a list have the answer that stands in it, and the numbers beside it among the wrong ones. */
static void check_list(struct retrieval_maker *maker, int64_t length, double depth, uint32_t prompt)
{
    struct retrieval_scene scene;
    struct retrieval_question index, content;
    struct item items[1200];
    make(maker, RETRIEVAL_INDEX, length, depth, prompt, &scene, &index);
    make(maker, RETRIEVAL_CONTENT, length, depth, prompt, &scene, &content);
    char *by_index = text_of(index.tokens, index.n_tokens), *by_name = text_of(content.tokens, content.n_tokens), ending[4], name[64];
    long long place;
    size_t n = read_list(by_index, items, COUNT_OF(items));
    assert_int_equal(sscanf(strstr(by_index, "What is the number of the"), "What is the number of the %lld%2s item in the list?",
                            &place, ending), 2);
    assert_int_equal(place, 1 + llround(depth * (double)(n - 1)));
    assert_string_equal(ending, place % 100 / 10 == 1 ? "th" : place % 10 == 1 ? "st" : place % 10 == 2 ? "nd" : place % 10 == 3 ? "rd"
                                                                                                                         : "th");
    const struct item *item = &items[place - 1];
    snprintf(name, sizeof name, "of the %s in", item->name);
    assert_non_null(strstr(by_name, name));
    assert_int_equal(atoi(index.answers.text[0]), item->number);
    assert_int_equal(atoi(index.answers.text[2]), items[((size_t)place + n - 2) % n].number);
    assert_int_equal(atoi(index.answers.text[3]), items[(size_t)place % n].number);
    assert_memory_equal(&index.answers, &content.answers, sizeof index.answers);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) assert_string_not_equal(items[i].name, items[j].name);
    for (int i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(index.answers.text[i], index.answers.text[j]);
    free(by_index);
    free(by_name);
    retrieval_question_free(&index);
    retrieval_question_free(&content);
}

static void test_lists(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    struct retrieval_maker maker = maker_of(&model, false);
    for (uint32_t prompt = 0; prompt < 3; prompt++)
        for (size_t d = 0; d < COUNT_OF(depths); d++) check_list(&maker, 600, depths[d], prompt);
    check_list(&maker, 6000, 0.31, 0);
    check_list(&maker, 16000, 0.99, 1);   /* more than 900 items: numbers come again */
}

/* The first of the answers that is said, as a word of its own. */
static void test_says(void **state)
{
    (void)state;
    static const struct retrieval_answers a = {{"12", "may", "red", "4", "5", "6", "7", "8", "9", "10"}};
    assert_true(retrieval_says("It is 12.", &a));
    assert_true(retrieval_says("712, no: 12, or May", &a));
    assert_true(retrieval_says("mayor 12", &a));
    assert_false(retrieval_says("In May. 12", &a));
    assert_false(retrieval_says("RED, 12", &a));
    assert_false(retrieval_says("112 and 123", &a));
    assert_false(retrieval_says("", &a));
}

/* Facts: the text of all answers differs, and none begins another. */
static void test_answers(void **state)
{
    (void)state;
    struct retrieval_scene scene;
    struct retrieval_answers a;
    for (uint32_t prompt = 0; prompt < 200; prompt++)
        for (int kind = 0; kind < RETRIEVAL_KINDS; kind++) {
            retrieval_draw(&scene, (enum retrieval_kind)kind, 1, prompt);
            retrieval_answers(&scene, 0.5, &a);
            for (int i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++)
                for (int j = 0; j < SNELLEN_RETRIEVAL_ANSWERS; j++)
                    assert_true(i == j || strncmp(a.text[i], a.text[j], strlen(a.text[i])));
        }
}

static bool same_question(const struct retrieval_question *a, const struct retrieval_question *b)
{
    return a->n_tokens == b->n_tokens && !memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
}

/* Seed and prompt decide; the same again is the same again. */
static void test_seeds(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    for (int task = 0; task < RETRIEVAL_TASKS; task++) {
        struct retrieval_maker maker = maker_of(&model, false), other = maker_of(&model, false);
        struct retrieval_scene scene;
        struct retrieval_question q, again, prompt, seed;
        other.seed = 8;
        make(&maker, (enum retrieval_task)task, 1500, 0.5, 0, &scene, &q);
        make(&maker, (enum retrieval_task)task, 1500, 0.5, 0, &scene, &again);
        make(&maker, (enum retrieval_task)task, 1500, 0.5, 1, &scene, &prompt);
        make(&other, (enum retrieval_task)task, 1500, 0.5, 0, &scene, &seed);
        assert_true(same_question(&q, &again));
        assert_false(same_question(&q, &prompt));
        assert_false(same_question(&q, &seed));
        retrieval_question_free(&q);
        retrieval_question_free(&again);
        retrieval_question_free(&prompt);
        retrieval_question_free(&seed);
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static const int64_t run_lengths[] = {700, 900};
static const double run_depths[] = {0, 1};

static snellen_retrieval_options run_options(const struct snellen_model *model)
{
    snellen_retrieval_options o = snellen_retrieval_options_default(model);
    o.lengths = run_lengths;
    o.n_lengths = COUNT_OF(run_lengths);
    o.depths = run_depths;
    o.n_depths = COUNT_OF(run_depths);
    o.n_prompts = 2;
    o.chat = false;
    o.seed = 7;
    return o;
}

/* The margin of an answer, from the whole text and the model's definition. */
static double margin_of(struct snellen_model *model, const snellen_retrieval_answer *a)
{
    struct retrieval_maker maker = maker_of(model, false);
    struct retrieval_scene scene;
    struct retrieval_question q;
    double best = -INFINITY, right = 0;
    int task = 0;
    while (strcmp(retrieval_names[task], a->task)) task++;
    retrieval_draw(&scene, retrieval_kind_of((enum retrieval_task)task), 7, a->prompt);
    MUST(retrieval_fit(&maker, &scene, a->length, all_tasks, run_depths, COUNT_OF(run_depths), err));
    MUST(retrieval_make(&maker, &scene, (enum retrieval_task)task, a->depth, &q, err));
    assert_int_equal(a->n_tokens, q.n_tokens);
    assert_int_equal(a->at, q.at);
    assert_string_equal(a->right, q.answers.text[0]);
    for (int i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        int32_t all[1024];
        size_t n = strlen(q.answers.text[i]);
        memcpy(all, q.tokens, q.n_tokens * sizeof *all);
        while (all[q.n_tokens - 1] != ' ') q.n_tokens--;   /* what all answers begin with */
        for (size_t j = 0; j < n; j++) all[q.n_tokens + j] = q.answers.text[i][j];
        double log_p = fake_log_p(model, all, q.n_tokens, n, false);
        if (!i) right = log_p;
        else best = fmax(best, log_p);
    }
    retrieval_question_free(&q);
    return right - best;
}

static void check_cell(const snellen_retrieval_result *r, const snellen_retrieval_cell *c)
{
    double sum = 0;
    uint32_t n = 0, n_right = 0;
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_retrieval_answer *a = &r->answers[i];
        if (a->task != c->task || a->length != c->length || (c->depth >= 0 && a->depth < c->depth) ||
            (c->depth >= 0 && a->depth > c->depth))
            continue;
        sum += (double)a->margin;
        n++;
        n_right += a->margin > 0;
    }
    assert_int_equal(c->n, n);
    assert_int_equal(c->n_right, n_right);
    assert_true(fabs(c->margin - sum / n) < 1e-9);
    assert_true(c->margin_low <= c->margin && c->margin <= c->margin_high);
}

static void test_run(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    snellen_retrieval_options o = run_options(&model);
    snellen_retrieval_result *r;
    MUST(snellen_retrieval_run(&model, &o, NULL, &r, err));
    assert_int_equal(r->n_answers, 4 * 2 * 2 * 2);
    assert_int_equal(r->n_cells, 4 * 2 * 2);
    assert_int_equal(r->n_lengths, 4 * 2);
    assert_int_equal(r->n_tasks, 4);
    assert_int_equal(model.n_sessions, 0);
    for (size_t i = 0; i < r->n_answers; i++) {
        assert_true(fabs((double)r->answers[i].margin - margin_of(&model, &r->answers[i])) < 1e-3);
        assert_null(r->answers[i].text);
    }
    for (size_t i = 0; i < r->n_cells; i++) check_cell(r, &r->cells[i]);
    for (size_t i = 0; i < r->n_lengths; i++) check_cell(r, &r->lengths[i]);
    /* A list is read once for its four questions; what they do not share is their end. */
    assert_int_equal(model.tokens_read, r->n_tokens);
    assert_true(r->n_tokens < (700 + 900) * 2 * (2 * 2 + 1 + 1));
    struct task_cost cost;
    MUST(retrieval_plan(&model, &o, &cost, err));
    assert_int_equal(cost.generated_tokens, 0);
    assert_true((double)cost.prompt_tokens > 0.8 * (double)r->n_tokens && (double)cost.prompt_tokens < 1.3 * (double)r->n_tokens);
    snellen_retrieval_free(r);
}

/* The key of prompt 0 is what the model writes after its turn is opened. */
static void test_written(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    snellen_retrieval_options o = run_options(&model);
    struct retrieval_scene scene;
    struct retrieval_answers answers;
    snellen_retrieval_result *r;
    char says[64];
    retrieval_draw(&scene, RETRIEVAL_KEY, 7, 0);
    retrieval_answers(&scene, 0, &answers);
    snprintf(says, sizeof says, "The pass key is %s", answers.text[0]);
    model.says = says;
    o.tasks = "passkey,passkey";
    o.written = o.chat = true;
    MUST(snellen_retrieval_run(&model, &o, NULL, &r, err));
    assert_int_equal(r->n_tasks, 1);
    assert_int_equal(r->n_answers, 8);
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_retrieval_answer *a = &r->answers[i];
        bool right = a->prompt == 0;
        assert_string_equal(a->text, says);
        assert_int_equal(a->written_right, right);
        assert_true(!right || a->margin > 0);
    }
    assert_int_equal(r->lengths[0].n_written_right, 2);
    assert_int_equal(r->lengths[1].n_written_right, 2);
    assert_int_equal(r->tasks[0].reach_written, 900);
    snellen_retrieval_free(r);
}

static bool stop_late(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    return done * 4 < total * *(const uint64_t *)user;
}

/* What was asked until then is there, and no more; sums only of lengths that are whole. */
static void test_cancelled(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    snellen_retrieval_options o = run_options(&model);
    static const size_t n_whole[] = {0, 1, 4, 4};   /* prompts are asked one after the other, the key's question first */
    snellen_retrieval_result *whole, *r;
    MUST(snellen_retrieval_run(&model, &o, NULL, &whole, err));
    for (uint64_t quarters = 0; quarters < 4; quarters++) {
        const snellen_progress progress = {.step = stop_late, .user = &quarters};
        MUST_FAIL(SNELLEN_E_CANCELLED, snellen_retrieval_run(&model, &o, &progress, &r, err));
        assert_non_null(r);
        assert_true(r->n_answers < whole->n_answers && (r->n_answers > 0) == (quarters > 0));
        assert_int_equal(r->n_lengths, n_whole[quarters]);
        for (size_t i = 0, j = 0; i < r->n_answers; i++) {
            const snellen_retrieval_answer *a = &r->answers[i];
            while (whole->answers[j].task != a->task || whole->answers[j].length != a->length ||
                   fabs(whole->answers[j].depth - a->depth) > 0 || whole->answers[j].prompt != a->prompt)
                assert_true(++j < whole->n_answers);
            assert_memory_equal(&a->margin, &whole->answers[j].margin, sizeof a->margin);
        }
        for (size_t i = 0; i < r->n_cells; i++) check_cell(r, &r->cells[i]);
        snellen_retrieval_free(r);
    }
    snellen_retrieval_free(whole);
}

static void test_refused(void **state)
{
    (void)state;
    struct snellen_model model = text_model();
    snellen_retrieval_result *r;
    const snellen_retrieval_options good = run_options(&model);
    snellen_retrieval_options o = good;
#define REFUSED(status, field, value)                                                                                              \
    do {                                                                                                                           \
        o = good;                                                                                                                  \
        o.field = value;                                                                                                           \
        MUST_FAIL(status, snellen_retrieval_run(&model, &o, NULL, &r, err));                                                       \
        assert_null(r);                                                                                                            \
    } while (0)
    REFUSED(SNELLEN_E_USAGE, tasks, "passkey,other");
    REFUSED(SNELLEN_E_USAGE, tasks, "");
    REFUSED(SNELLEN_E_USAGE, lengths, ((int64_t[]){900, 700}));
    REFUSED(SNELLEN_E_USAGE, lengths, ((int64_t[]){100, 700}));            /* too short for what is asked */
    REFUSED(SNELLEN_E_USAGE, depths, ((double[]){0.5, 0.5}));
    REFUSED(SNELLEN_E_USAGE, depths, ((double[]){0, 1.5}));
    REFUSED(SNELLEN_E_USAGE, n_prompts, 0);
    REFUSED(SNELLEN_E_CONTEXT, session.n_context, 901);
    REFUSED(SNELLEN_E_USAGE, session.memory, SNELLEN_MEMORY_SWA);
    struct task_cost cost;
    MUST_FAIL(SNELLEN_E_USAGE, retrieval_plan(&model, &o, &cost, err));
#undef REFUSED
    /* 4096 items of names, and no more: 18 bytes each at most. */
    o = good;
    o.tasks = "list-index";
    o.lengths = (int64_t[]){100000};
    o.n_lengths = 1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_retrieval_run(&model, &o, NULL, &r, err));
    assert_int_equal(model.n_sessions, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reach), cmocka_unit_test(test_questions), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_says),  cmocka_unit_test(test_answers),   cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_run),   cmocka_unit_test(test_written),   cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("tasks/retrieval", tests, NULL, NULL);
}
