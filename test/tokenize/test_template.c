/* Chat templates: the forms that are known, written as real templates write them, and those that must not be taken for
 * one. */
#include "test/test.h"

#include "tokenize/tokenize.h"

#include <jansson.h>

static struct tokenizer *with_template(const char *template)
{
    static const char json[] = "{\"added_tokens\": [{\"id\": 0, \"content\": \"<bos>\", \"special\": true}], "
                               "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1}, \"merges\": []}}";
    json_t *config = json_pack("{s:s, s:s}", "chat_template", template, "bos_token", "<bos>");
    char *text = json_dumps(config, 0);
    struct tokenizer *t;
    MUST(tokenizer_from_json(json, strlen(json), text, strlen(text), "t", &t, err));
    free(text);
    json_decref(config);
    return t;
}

static void check(const char *template, const char *kind, const snellen_message *messages, size_t n, bool answer,
                  const char *want)
{
    struct tokenizer *t = with_template(template);
    char *text;
    assert_string_equal(tokenizer_chat(t), kind);
    MUST(tokenizer_chat_format(t, messages, n, answer, &text, err));
    assert_string_equal(text, want);
    snellen_free(text);
    tokenizer_free(t);
}

static const snellen_message hi = {"user", " hi "};
static const snellen_message talk[] = {{"system", "Be brief."}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}};

#define LOOP                                                                                                           \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"             \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static void test_chatml(void **state)
{
    (void)state;
    static const char plain[] = "{% for message in messages %}" LOOP;
    check(plain, "chatml", &hi, 1, true, "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n");
    check(plain, "chatml", talk, 4, false,
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
          "<|im_start|>user\nc<|im_end|>\n");
    check(plain, "chatml", NULL, 0, true, "<|im_start|>assistant\n");
    /* a default for the system message, newlines as bytes or escaped, either quote */
    check("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|im_start|>system\nIt\\'s me.<|im_end|>\n' }}{% endif %}" LOOP,
          "chatml", &hi, 1, false, "<|im_start|>system\nIt's me.<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n");
    check("{% if messages[0].role != 'system' %}{{- \"<|im_start|>system\\nDefault<|im_end|>\\n\" }}{% endif %}" LOOP,
          "chatml", talk, 1, true, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>assistant\n");
    check("{{- bos_token -}}{% for message in messages %}" LOOP, "chatml", &hi, 1, false,
          "<bos><|im_start|>user\n hi <|im_end|>\n");
}

/* A template that opens a system turn for tools only, and rewrites thoughts as Qwen3's does. */
static void test_thoughts(void **state)
{
    (void)state;
    static const char qwen3[] =
        "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n{%- endif %}{{ ns.last_query_index }}"
        "{% set content = message.content.split('</think>')[-1].lstrip('\\n') %}"
        "{%- if loop.last or (not loop.last and reasoning_content) %}"
        "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + "
        "content.lstrip('\\n') }}{{ '<|im_end|>' }}{% if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}";
    const snellen_message before[] = {{"user", "a"}, {"assistant", "<think>\nhm\n</think>\n\nb"}, {"user", "c"}};
    check(qwen3, "chatml", before, 3, true,
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
          "<|im_start|>assistant\n");
    check(qwen3, "chatml", before, 2, false,
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nb<|im_end|>\n");
    const snellen_message plain[] = {{"user", "a"}, {"assistant", "b"}};
    check(qwen3, "chatml", plain, 2, false,
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nb<|im_end|>\n");
}

#define GEMMA                                                                                                          \
    "{{'<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"                            \
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"

static void test_gemma(void **state)
{
    (void)state;
    static const char merged[] = "{{ bos_token }}{% set first_user_prefix = messages[0]['content'] + '\n\n' %}" GEMMA;
    check(merged, "gemma", &hi, 1, true, "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n");
    check(merged, "gemma", talk, 4, false,
          "<bos><start_of_turn>user\nBe brief.\n\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"
          "<start_of_turn>user\nc<end_of_turn>\n");
    struct tokenizer *t = with_template(merged);
    char *text;
    const snellen_message wrong[] = {{"user", "a"}, {"user", "b"}};
    MUST_FAIL(SNELLEN_E_USAGE, tokenizer_chat_format(t, wrong, 2, true, &text, err));
    tokenizer_free(t);
    t = with_template("{{ raise_exception('System role not supported') }}" GEMMA);
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, tokenizer_chat_format(t, talk, 4, true, &text, err));
    MUST(tokenizer_chat_format(t, &hi, 1, false, &text, err));
    assert_string_equal(text, "<start_of_turn>user\nhi<end_of_turn>\n");
    snellen_free(text);
    tokenizer_free(t);
}

static void test_others_are_refused(void **state)
{
    (void)state;
    static const char *const others[] = {
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}",
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}",
        "{{ '<|im_start|>' + role + '<|im_sep|>' + content + '<|im_end|>' }}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}",
        "{{ strftime_now('%d') }}" LOOP,
        "{{ '<|im_start|>system\n' }}{{ anything }}{{ '<|im_end|>\n' }}" LOOP,
        "{% if enable_thinking %}{{ '<think>' }}{% endif %}" LOOP,
        "{{ '<|im_start|>' + message['role'] + '<|im_end|>' }}",
        "<start_of_turn><end_of_turn>",
        "'<|im_start|>assistant",
    };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct tokenizer *t = with_template(others[i]);
        char *text;
        assert_string_equal(tokenizer_chat(t), "other");
        MUST_FAIL(SNELLEN_E_UNSUPPORTED, tokenizer_chat_format(t, &hi, 1, true, &text, err));
        tokenizer_free(t);
    }
}

static void test_wrong_messages(void **state)
{
    (void)state;
    struct tokenizer *t = with_template("{% for message in messages %}" LOOP);
    char *text;
    const snellen_message robot = {"robot", "x"}, nobody = {NULL, "x"}, silent = {"user", NULL};
    MUST_FAIL(SNELLEN_E_USAGE, tokenizer_chat_format(t, &robot, 1, true, &text, err));
    MUST_FAIL(SNELLEN_E_USAGE, tokenizer_chat_format(t, &nobody, 1, true, &text, err));
    MUST_FAIL(SNELLEN_E_USAGE, tokenizer_chat_format(t, &silent, 1, true, &text, err));
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chatml),
        cmocka_unit_test(test_thoughts),
        cmocka_unit_test(test_gemma),
        cmocka_unit_test(test_others_are_refused),
        cmocka_unit_test(test_wrong_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
