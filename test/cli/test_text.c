/* Bytes that should be text: whole characters, JSON strings of any bytes, escapes for tables. */
#include "cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_whole_characters(void **unused)
{
    (void)unused;
    static const struct { const char *text; size_t whole; } cases[] = {
        { "", 0 }, { "a", 1 }, { "a\xc3", 1 }, { "a\xc3\xa4", 3 }, { "\xe2\x82", 0 }, { "\xe2\x82\xac", 3 },
        { "\xf0\x9f\x98", 0 }, { "x\xf0", 1 }, { "\xf0\x9f\x98\x80", 4 },
        { "a\xff", 2 },                  /* never the beginning of a character: nothing to wait for */
        { "\x80\x80\x80\x80", 4 }, { "\xc3\xa4\xa4", 3 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(cli_whole_utf8(cases[i].text, strlen(cases[i].text)), cases[i].whole);
}

static void expect_json(const char *bytes, size_t n, const char *expected)
{
    json_t *s = cli_json_text(bytes, n);
    assert_non_null(s);
    assert_string_equal(json_string_value(s), expected);
    json_decref(s);
}

static void test_json(void **unused)
{
    (void)unused;
    expect_json("", 0, "");
    expect_json("a\xc3\xa4\xf0\x9f\x98\x80", 7, "a\xc3\xa4\xf0\x9f\x98\x80");
    expect_json("a\xff" "b", 3, "a\xef\xbf\xbd" "b");
    expect_json("\xc0\x80", 2, "\xef\xbf\xbd\xef\xbf\xbd");          /* overlong */
    expect_json("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  /* a surrogate */
    expect_json("\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd");          /* cut */
    expect_json("\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    json_t *zero = cli_json_text("a\0b", 3);
    assert_int_equal(json_string_length(zero), 3);
    json_decref(zero);
}

static void test_escapes(void **unused)
{
    (void)unused;
    static const char bytes[] = "a\n\t\\\x1b[31m\xff\xc3\xa4\xc2\x9b\x7f";
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    cli_put_escaped(f, bytes, sizeof(bytes) - 1);
    fclose(f);
    assert_string_equal(text, "a\\n\\t\\\\\\x1b[31m\\xff\xc3\xa4\\xc2\\x9b\\x7f");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_characters),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
