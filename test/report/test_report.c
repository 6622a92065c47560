/* Figures and the page: every kind draws, the bytes are the same each time, hostile texts and numbers do no harm, and what
 * is written can be read. argv[1] = folder to write to. */
#include "test/test.h"

#include "base/base.h"
#include "report/html.h"

#include <unistd.h>

static const char *folder;
enum { N = 9 };
static const double x[N] = {1, 2, 6, 11, 51, 101, 501, 1001, 2001};
static const double y[N] = {0.94, 0.4, 0.1, 0.055, 0.037, 0.02, 0.008, 0, 0};
static const double low[N] = {0.8, 0.3, 0.08, 0.04, 0.03, 0.01, 0.005, 0, 0};
static const double high[N] = {1.1, 0.5, 0.12, 0.07, 0.05, 0.03, 0.01, 0, 0};
static const double margin[N] = {12, 4, 0.5, -0.2, -3, NAN, -8, -20, -35};

static struct plot_series curves[] = {
    {.name = "f32", .n = N, .x = x, .y = y, .low = low, .high = high},
    {.name = "with a comma after every 3rd", .n = N, .x = x, .y = high, .dashed = true},
    {.name = "paper, Gemma 7B", .n = N, .x = x, .y = low, .aside = true},
};
static struct plot_rule rules[] = {{.at = 0x1p-7, .label = "2^-7, the bf16 spacing at 1"}, {.vertical = true, .at = 64, .label = "blind"}};

static struct plot_figure line_figure(void)
{
    return (struct plot_figure){.id = "collapse", .title = "Representational collapse: the last token's vector stops changing",
        .caption = "The difference between n and n + 1 ones.", .command = "snellen probe collapse smollm2",
        .x = {.label = "n", .scale = PLOT_LOG}, .y = {.label = "L-infinity difference", .scale = PLOT_LOG}, .series = curves,
        .n_series = 3, .rules = rules, .n_rules = 2};
}

static struct plot_series margins[] = {{.name = "count-ones", .n = N, .x = x, .y = margin},
                                       {.name = "answers", .n = N, .x = x, .y = margin, .style = PLOT_POINTS}};
static struct plot_rule zero[] = {{.at = 0, .label = "right and best wrong answer equally likely"}};

static struct plot_figure margin_figure(void)
{
    return (struct plot_figure){.id = "margin", .title = "Margins", .caption = "", .command = "snellen task eval",
        .x = {.label = "length"}, .y = {.label = "margin (nats)", .scale = PLOT_SYMLOG}, .series = margins, .n_series = 2,
        .rules = zero, .n_rules = 1};
}

static const double counts[5] = {1, 4, 22, 3, 0}, answers[5] = {10, 50, 100, 150, 200};
static struct plot_series histogram[] = {{.name = "answers", .style = PLOT_BARS, .n = 5, .x = answers, .y = counts}};

static struct plot_figure bar_figure(void)
{
    return (struct plot_figure){.id = "histogram", .title = "Answers", .caption = "22 of 30 say 100.", .command = "",
        .x = {.label = "answer"}, .y = {.label = "times"}, .series = histogram, .n_series = 1};
}

static const double cells[12] = {1, 0.1, 0.01, 0.001, 0.5, 0.05, NAN, 0.0005, 0.2, 0.02, 0.002, 0};
static const char *const columns[] = {"1", "10", "100", "1,000"}, *const rows_[] = {"layer 0", "layer 15", "layer 30"};
static const struct plot_heat heat = {.nx = 4, .ny = 3, .values = cells, .x_labels = columns, .y_labels = rows_, .log = true,
                                      .label = "mean |difference|"};

static struct plot_figure heat_figure(void)
{
    return (struct plot_figure){.id = "layers", .title = "Layer by layer", .caption = "Where it is lost.", .command = "x",
                                .x = {.label = "n"}, .y = {.label = "layer"}, .heat = &heat};
}

static char *path_of(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Not inlined: gcc 12 then takes the text for a pointer into this function. */
__attribute__((noinline)) static char *read_back(const char *name, size_t *n)
{
    char *text = NULL;
    MUST(file_read(path_of(name), 64 << 20, &text, n, err));
    return text;
}

static void check_files(const struct plot_figure *f)
{
    char name[256], *text, *again;
    size_t n, n_again;
    snprintf(name, sizeof name, "%s.png", f->id);
    MUST(plot_write_png(f, path_of(name), err));
    text = read_back(name, &n);
    static const unsigned char signature[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
    assert_true(n > 5000);
    assert_memory_equal(text, signature, sizeof signature);
    assert_int_equal((unsigned char)text[18] << 8 | (unsigned char)text[19], 2 * PLOT_WIDTH);
    MUST(plot_write_png(f, path_of(name), err));
    again = read_back(name, &n_again);
    assert_int_equal(n, n_again);
    assert_memory_equal(text, again, n);
    mem_free(text);
    mem_free(again);
    snprintf(name, sizeof name, "%s.svg", f->id);
    MUST(plot_write_svg(f, path_of(name), err));
    text = read_back(name, &n);
    assert_non_null(strstr(text, "<svg"));
    assert_non_null(strstr(text, "</svg>"));
    mem_free(text);
    snprintf(name, sizeof name, "%s.csv", f->id);
    MUST(plot_write_csv(f, path_of(name), err));
    mem_free(read_back(name, &n));
}

static void test_every_kind_draws(void **state)
{
    (void)state;
    struct plot_figure figures[] = {line_figure(), margin_figure(), bar_figure(), heat_figure()};
    for (size_t i = 0; i < 4; i++) check_files(&figures[i]);
}

static void test_csv_holds_the_points(void **state)
{
    (void)state;
    struct plot_figure f = line_figure();
    struct plot_series hostile = {.name = "a \"quoted\", name", .n = 2, .x = x, .y = margin};
    f.series = &hostile;
    f.n_series = 1;
    size_t n;
    MUST(plot_write_csv(&f, path_of("hostile.csv"), err));
    char *text = read_back("hostile.csv", &n);
    assert_string_equal(text, "series,x,y,low,high\r\n\"a \"\"quoted\"\", name\",1,12,,\r\n\"a \"\"quoted\"\", name\",2,4,,\r\n");
    mem_free(text);
}

static void test_odd_numbers_and_texts_draw(void **state)
{
    (void)state;
    static const double odd[5] = {NAN, INFINITY, -INFINITY, 1e308, -1e308}, same[5] = {3, 3, 3, 3, 3}, none[5] = {0};
    const double *const values[] = {odd, same, none};
    char longest[4000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    static const char *const texts[] = {"<script>alert('1')</script> & \"", "\xff\xfe\xed\xa0\x80 bad \xc3", "", "\t\n\x01"};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int scale = PLOT_LINEAR; scale <= PLOT_SYMLOG; scale++)
                for (int style = PLOT_LINE; style <= PLOT_BARS; style++) {
                    struct plot_series s = {.name = i ? texts[i] : longest, .style = (enum plot_style)style,
                                            .n = j == 2 ? 1 : 5, .x = values[i], .y = values[j], .low = values[j],
                                            .high = values[i]};
                    struct plot_figure f = {.id = "odd", .title = j ? texts[j] : longest, .caption = texts[0], .command = "",
                                            .x = {.label = longest, .scale = (enum plot_scale)scale},
                                            .y = {.label = texts[1], .scale = (enum plot_scale)scale}, .series = &s,
                                            .n_series = (size_t)(i != j)};
                    struct strbuf svg = {0};
                    MUST(plot_svg_text(&f, &svg, err));
                    assert_null(strstr(svg.text, "<script"));
                    strbuf_free(&svg);
                }
    struct plot_figure f = heat_figure();
    struct plot_heat empty = {0};
    f.heat = &empty;
    struct strbuf svg = {0};
    MUST(plot_svg_text(&f, &svg, err));
    strbuf_free(&svg);
}

/* Letters that a figure draws. */
static size_t count_glyphs(const char *svg)
{
    size_t n = 0;
    while ((svg = strstr(svg, "<use "))) svg++, n++;
    return n;
}

/* Words stand in cells where all of them fits and the cell has a value: cell 6 is NaN. */
static void test_words_stand_in_cells(void **state)
{
    (void)state;
    static const char wide[] = "a word that is wider than any cell of this map, however small it is written, and by far, "
                               "and then some, and then still more of it, so that nothing of it is drawn";
    static const char *const texts[][12] = {{NULL}, {[3] = wide}, {[6] = "no value"}, {[3] = "word"}};
    size_t n[4];
    for (size_t i = 0; i < 4; i++) {
        struct strbuf svg = {0};
        struct plot_heat h = heat;
        struct plot_figure f = heat_figure();
        h.cells = i ? texts[i] : NULL;
        f.heat = &h;
        MUST(plot_svg_text(&f, &svg, err));
        n[i] = count_glyphs(svg.text);
        strbuf_free(&svg);
    }
    assert_true(n[0] > 0);
    assert_int_equal(n[1], n[0]);
    assert_int_equal(n[2], n[0]);
    assert_int_equal(n[3], n[0] + strlen("word"));
}

static void test_unwritable_is_an_error(void **state)
{
    (void)state;
    struct plot_figure f = line_figure();
    MUST_FAIL(SNELLEN_E_IO, plot_write_png(&f, "/nonexistent/folder/a.png", err));
    MUST_FAIL(SNELLEN_E_IO, plot_write_csv(&f, "/nonexistent/folder/a.csv", err));
}

/* ---- the page ----------------------------------------------------------------------------------------------------------- */

/* The end of style and script, whose text is none of HTML's. */
static const char *behind(const char *name, size_t n, const char *end)
{
    if (n == 5 && !strncmp(name, "style", n)) return strstr(end, "</style>");
    if (n == 6 && !strncmp(name, "script", n)) return strstr(end, "</script>");
    return end;
}

/* Every opened element is closed, in order. */
static void check_balanced(const char *p)
{
    static const char *const empty[] = {"meta", "!DOCTYPE", "br", "?xml"};
    char stack[64][24];
    int depth = 0;
    while ((p = strchr(p, '<'))) {
        size_t n = strcspn(p + 1, " />\n");
        bool closing = p[1] == '/';
        const char *name = p + 1 + closing;
        n = strcspn(name, " />\n");
        const char *end = strchr(p, '>');
        assert_non_null(end);
        assert_true(n > 0 && n < 24);
        bool single = end[-1] == '/';
        for (size_t i = 0; i < 4; i++) single = single || (strlen(empty[i]) == n && !strncmp(name, empty[i], n));
        if (closing) {
            assert_true(depth > 0);
            depth--;
            assert_true(strlen(stack[depth]) == n && !strncmp(stack[depth], name, n));
        } else if (!single) {
            assert_true(depth < 64);
            snprintf(stack[depth++], sizeof stack[0], "%.*s", (int)n, name);
        }
        p = closing ? end : behind(name, n, end);
        assert_non_null(p);
    }
    assert_int_equal(depth, 0);
}

static void test_page(void **state)
{
    (void)state;
    struct plot_figure a = line_figure(), b = margin_figure(), c = bar_figure(), d = heat_figure();
    const struct plot_figure *one[] = {&a, &d}, *two[] = {&b, &c};
    static const char *const header[] = {"task", "blind at"}, *const table_cells[] = {"copy-last", "500", "<b>count</b>", "45"};
    struct report_table table = {.caption = "Where it goes blind", .header = header, .cells = table_cells, .n_columns = 2, .n_rows = 2};
    struct report_section sections[] = {
        {.heading = "Seeing", .lead = "How many ones can it tell apart?", .figures = one, .n_figures = 2},
        {.heading = "Counting", .lead = "", .figures = two, .n_figures = 2, .tables = &table, .n_tables = 1}};
    struct report_finding findings[] = {
        {REPORT_GOOD, "Tells n from n + 1 ones up to 64 in f32.", "collapse"},
        {REPORT_WARN, "In bf16 only up to 32.", "collapse"},
        {REPORT_BAD, "Miscounts from 15 on <script>.", NULL}};
    struct report_fact facts[] = {{"model", "smollm2 & co"}, {"layers", "30"}}, reach[] = {{"last digit", "up to 100"}};
    struct report_card cards[] = {
        {.level = REPORT_WARN, .name = "Copies", .headline = "Fails at 200 digits", .definition = "More than half of <prompts>.",
         .lines = reach, .n_lines = 1, .cure = "a hint: +35 % right answers, 95 % 20 .. 48.", .more = "cures-copy-last", .more_text = "All cures"},
        {.level = REPORT_GOOD, .name = "Tells apart", .headline = "Holds up to 2,001 ones", .definition = "They differ.",
         .lines = reach, .n_lines = 1, .more = "collapse", .more_text = "Figure"},
        {.level = REPORT_PLAIN, .name = "Finds", .headline = "Not asked", .definition = "Found.", .ask = "snellen probe retrieval smollm2"}};
    struct report_cure cures[] = {
        {.level = REPORT_GOOD, .name = "a hint", .verdict = "helps", .right = "11 instead of 4 of 20: +35 % (9 .. 56 %)",
         .margin = "+1.25 (0.80 .. 1.70)", .gain = {1.25, 0.8, 1.7}, .reach = "up to 450", .prompt = "Copy 11,1 <b>", .note = "By hand."},
        {.level = REPORT_PLAIN, .name = "commas", .verdict = "no clear difference", .right = "4 instead of 4 of 20", .margin = "-0.1",
         .gain = {-0.1, NAN, NAN}, .reach = "not even at 100"}};
    struct report_ranking rankings[] = {{"cures-copy-last", "Copies: last digit. Fails at 200 digits", cures, 2},
                                        {"cures-none", "Counts: ones", NULL, 0}};
    struct report_page page = {.title = "An eye exam for smollm2", .subtitle = "quick exam", .warning = "The exam was stopped.",
        .cards = cards, .n_cards = 3, .rankings = rankings, .n_rankings = 2, .rankings_lead = "What a gain is.",
        .findings = findings, .n_findings = 3, .facts = facts, .n_facts = 2, .sections = sections, .n_sections = 2,
        .footer = facts, .n_footer = 2};
    size_t n;
    MUST(report_write_html(&page, path_of("index.html"), err));
    char *text = read_back("index.html", &n);
    check_balanced(text);
    assert_null(strstr(strstr(text, "<script") + 1, "<script"));   /* ours alone */
    assert_non_null(strstr(text, "default-src 'none'"));
    assert_null(strstr(text, "<b>count"));
    assert_non_null(strstr(text, "smollm2 &amp; co"));
    assert_null(strstr(text, "<prompts>"));
    assert_null(strstr(text, "11,1 <b>"));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "The exam was stopped."));
    assert_null(strstr(text, "src="));
    /* No two elements share an id. */
    char *ids[4096];
    size_t n_ids = 0;
    for (char *p = text; (p = strstr(p, " id=\"")); p++)
        if (n_ids < 4096) ids[n_ids++] = p + 5;
    assert_true(n_ids > 4 && n_ids < 4096);
    for (size_t i = 0; i < n_ids; i++)
        for (size_t j = 0; j < i; j++) {
            size_t length = strcspn(ids[i], "\"") + 1;
            assert_false(!strncmp(ids[i], ids[j], length));
        }
    mem_free(text);
    MUST_FAIL(SNELLEN_E_IO, report_write_html(&page, "/nonexistent/index.html", err));
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    folder = argv[1];
    snellen_error err;
    if (folder_make(folder, &err)) return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_draws),     cmocka_unit_test(test_csv_holds_the_points),
        cmocka_unit_test(test_odd_numbers_and_texts_draw), cmocka_unit_test(test_unwritable_is_an_error),
        cmocka_unit_test(test_words_stand_in_cells), cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
