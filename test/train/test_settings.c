/* Study files: values, places of errors, near names, contradictions, overrides, and that what is written reads back. */
#include "test/test.h"

#include "train/settings.h"

#define BASE "model: {from: m}\ndata: {text: t}\n"

static snellen_status parse(const char *text, const char *override, struct settings *s, snellen_error *err)
{
    return settings_parse(text, strlen(text), "s.yaml", &override, override ? 1 : 0, s, err);
}

static void test_values(void **state)
{
    (void)state;
    struct settings s;
    MUST(parse("# a comment\nmodel: {arch: gpt2, layers: 6, positions: none, vocab: \"t.json\"}\n"
               "data:\n  jsonl: 'it''s.jsonl'\n  cut: true\n  length: 2K\n"
               "train: {lr: 3e-4, steps: 50, betas: [0.8, 0.95]}\nseeds: [3, 1, 2]\neval:\n",
               "train.steps=70", &s, err));
    assert_string_equal(s.model.arch, "gpt2");
    assert_string_equal(s.model.positions, "none");
    assert_string_equal(s.data.jsonl, "it's.jsonl");
    assert_true(s.model.layers == 6 && s.model.width == 128 && s.data.cut && s.data.shuffle && s.data.length == 2048);
    assert_true(s.train.lr == 3e-4 && s.train.steps == 70 && s.train.betas[0] == 0.8 && s.train.betas[1] == 0.95);
    assert_true(s.seeds.n == 3 && s.seeds.v[0] == 3 && s.seeds.v[2] == 2);
    assert_true(s.train.eps == 1e-8 && s.train.weight_decay == 0.01 && s.train.clip == 1 && s.train.lora.rank == 0);
    settings_free(&s);
    MUST(parse(BASE, "train.lora={rank: 8, targets: attn_q}", &s, err));
    assert_true(s.train.lora.rank == 8 && !strcmp(s.train.lora.targets, "attn_q"));
    settings_free(&s);
    static const char *const without_rank[] = {"train.lora={}", "train.lora.alpha=3", "train.lora={targets: attn_q}"};
    for (size_t i = 0; i < COUNT_OF(without_rank); i++) {
        MUST(parse(BASE, without_rank[i], &s, err));
        assert_int_equal(s.train.lora.rank, 64);
        settings_free(&s);
    }
    MUST(parse(BASE "train: {lora: {}}\n", NULL, &s, err));
    assert_int_equal(s.train.lora.rank, 64);
    settings_free(&s);
    MUST(parse(BASE "train: {lora: {rank: 0}}\n", NULL, &s, err));
    assert_int_equal(s.train.lora.rank, 0);
    settings_free(&s);
    MUST(parse("model: {from: m}\ndata: {jsonl: t, end: x}", "data.end=", &s, err));
    assert_string_equal(s.data.end, "");
    settings_free(&s);
    MUST(parse(BASE "seeds: 5", NULL, &s, err));
    assert_true(s.seeds.n == 1 && s.seeds.v[0] == 5);
    settings_free(&s);
}

static void test_errors_name_the_place(void **state)
{
    (void)state;
    static const struct { const char *text, *override, *message;
    } cases[] = {
        {BASE "train: {stesp: 3}", NULL,
         "s.yaml:3:9: train.stesp: there is no key 'train.stesp'; did you mean train.steps?"},
        {BASE "lr: 3", NULL, "did you mean train.lr?"},
        {BASE "trian:\n  lr: 3", NULL, "did you mean train?"},
        {BASE "qqqqqq: 3", NULL, "s.yaml:3:1: qqqqqq: there is no key 'qqqqqq' (snellen train --keys lists all)"},
        {BASE "qqqqqq: {}", NULL, "there is no key 'qqqqqq'"},
        {BASE, "train.lrr=3", "train.lrr=3: there is no key 'train.lrr'; did you mean train.lr?"},
        {BASE, "train.lr=abc", "train.lr=abc: 'abc' found, a number from 0 to 1000 expected"},
        {BASE, "train.lr", "'train.lr' found, key=value expected"},
        {BASE, "train.lr=[1", "train.lr=[1: no YAML"},
        {BASE "train:\n  lr: fast\n", NULL, "s.yaml:4:7: train.lr: 'fast' found"},
        {BASE "train: {lr: nan}", NULL, "'nan' found"},
        {BASE "train: {lr: 0x10}", NULL, "'0x10' found"},
        {BASE "train: {steps: 2.5}", NULL, "'2.5' found, a whole number from 1 to 1000000000 expected"},
        {BASE "train: {steps: 0}", NULL, "'0' found"},
        {BASE "train: {steps: [1, 2]}", NULL, "a list or mapping found"},
        {BASE "train: 5", NULL, "a value found, keys below it expected"},
        {BASE "train: {betas: [1]}", NULL, "1 entries found, two expected"},
        {BASE "train: {optimizer: adam}", NULL, "'adam' found, one of adamw adafactor sgd expected"},
        {BASE "train: {recompute: yes}", NULL, "'yes' found, true or false expected"},
        {BASE "seeds: []", NULL, "0 entries found"},
        {BASE "seeds: [1, [2]]", NULL, "entry 2 is no number"},
        {BASE "train: {lr: 1, lr: 2}", NULL, "no YAML"},
        {"model: {from: m\n", NULL, "no YAML"},
        {"- 1\n- 2\n", NULL, "keys and values expected"},
        {"model: {from: &x m}\ndata: {text: *x}\n", NULL, "alias"},
        {"data: {text: t}", NULL, "one of model.from and model.arch expected, none found"},
        {BASE "model: {arch: gpt2}", NULL, "no YAML"},
        {BASE, "model.arch=gpt2", "one of model.from and model.arch expected, both found"},
        {BASE, "data.jsonl=x", "one of data.jsonl, data.text and data.task expected, 2 of them found"},
        {BASE, "train.momentum=0.9", "train.momentum means nothing here: it goes with train.optimizer=sgd"},
        {BASE "train: {optimizer: sgd, betas: [0.9, 0.9]}", NULL, "train.betas means nothing here"},
        {BASE, "model.layers=3", "model.layers means nothing here: it goes with model.arch"},
        {BASE, "eval.every=3", "eval.every means nothing here"},
        {BASE, "train.lora={rank: 0, alpha: 3}", "train.lora.alpha means nothing here: it goes with train.lora.rank"},
        {BASE, "train.warmup=2000", "train.warmup is 2000, train.steps only 1000"},
        {BASE, "train.micro_batch=3", "train.batch 16 is no multiple of train.micro_batch 3"},
        {BASE, "data.format=x", "data.format means nothing here: it goes with data.task"},
        {"model: {arch: gpt2}\ndata: {task: parity, lengths: 4}", NULL,
         "data.lengths are the shortest and the longest"},
        {"model: {arch: gpt2}\ndata: {task: parity, raise_below: 4}", NULL, "data.raise_below means nothing here"},
        {"model: {arch: gpt2}\ndata: {task: parity}\neval: {exact: true, text: x}", NULL, "several found"},
        {BASE, "seeds=[4, 5, 4]", "seeds has 4 twice"},
        {BASE, "memory.kind=bswa", "needs memory.block"},
        {BASE, "memory.block=64", "memory.block means nothing here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        snellen_error error = {0};
        assert_int_equal(parse(cases[i].text, cases[i].override, &s, &error), SNELLEN_E_USAGE);
        if (!strstr(error.message, cases[i].message)) fail_msg("'%s' is not in '%s'", cases[i].message, error.message);
    }
}

static void check_round_trip(const char *text)
{
    struct settings a, b;
    struct strbuf first = {0}, second = {0};
    MUST(parse(text, NULL, &a, err));
    settings_write(&a, &first);
    MUST(parse(first.text, NULL, &b, err));
    settings_write(&b, &second);
    assert_string_equal(first.text, second.text);
    MUST(settings_same_run(&a, &b, err));
    settings_free(&a);
    settings_free(&b);
    strbuf_free(&first);
    strbuf_free(&second);
}

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    check_round_trip(BASE);
    check_round_trip("model: {arch: bloom}\ndata: {jsonl: \"a: 'b' \\n\\\\ \\\" #\", end: ' x '}\nseeds: [4, 5]\n"
                     "train: {optimizer: sgd, momentum: 0.3333333333333333, lr: 1.7e-5}\n"
                     "memory: {kind: xl, block: 16, window: 20}\neval: {text: '# no', patience: 3}");
    check_round_trip("model: {arch: gpt2}\ndata: {task: parity, format: direct, curriculum: 3}\neval: {patience: }\n");
    check_round_trip(
        "model: {arch: gpt2}\ndata: {task: parity, lengths: [1, 7]}\neval: {lengths: [4, 5], exact: true}\n");
    check_round_trip(BASE "train: {lora: {rank: 4, alpha: 0.1}}\n");
}

static void test_same_run(void **state)
{
    (void)state;
    struct settings a, b, c;
    snellen_error error;
    MUST(parse(BASE, NULL, &a, err));
    MUST(parse(BASE, "train.steps=5000", &b, err));
    MUST(parse(BASE, "train.lr=2e-3", &c, err));
    MUST(settings_same_run(&b, &a, err));
    assert_int_equal(settings_same_run(&c, &a, &error), SNELLEN_E_USAGE);
    assert_non_null(strstr(error.message, "train.lr is 0.002"));
    settings_free(&a);
    settings_free(&b);
    settings_free(&c);
}

/* docs/training.md holds the table as it is made here. argv[1] = that file. */
static const char *page;
static void test_manual_is_up_to_date(void **state)
{
    (void)state;
    char *text;
    size_t n;
    struct strbuf table = {0};
    settings_manual(&table);
    MUST(file_read(page, 1 << 20, &text, &n, err));
    if (!strstr(text, table.text)) fail_msg("the table of keys in %s differs from `snellen train --keys`", page);
    mem_free(text);
    strbuf_free(&table);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    page = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_same_run), cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_manual_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
