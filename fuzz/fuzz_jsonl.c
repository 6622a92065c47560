/* jsonl of training data, read through the words "a", "b" and "c": a sample that comes out has tokens of the vocabulary
 * and something to learn, going back to a place gives the samples after it again, and with bad lines skipped as many are
 * drawn as there are good ones. */
#include "fuzz.h"

#include "train/data.h"

#include <string.h>

enum { N_VOCAB = 8, LONGEST = 12, DRAWN = 8 };

static struct tokenizer *words(void)
{
    static const char *const list[] = {"a", "b", "c"};
    const struct vocabulary v = {.words = list, .n_words = 3, .unknown = "<unk>", .bos = "<s>", .eos = "</s>"};
    struct tokenizer *t = NULL;
    char *json, *config;
    CHECK(!vocabulary_make(&v, &json, &config, NULL));
    CHECK(!tokenizer_from_json(json, strlen(json), config, strlen(config), "words", &t, NULL) && t);
    free(json);
    free(config);
    return t;
}

static void check_sample(const struct sample *s, bool cut)
{
    double weight = 0;
    CHECK(s->n <= LONGEST);
    for (size_t i = 0; i < s->n; i++) {
        CHECK(s->tokens[i] >= 0 && s->tokens[i] < N_VOCAB && s->weights[i] >= 0);
        if (i) weight += (double)s->weights[i];
    }
    CHECK(cut || weight > 0);
}

static bool same_sample(const struct sample *a, const struct sample *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) same = a->tokens[i] == b->tokens[i] && a->weights[i] == b->weights[i];
    return same;
}

/* Some samples; then the last of them again, from where the source stood before it. */
static void draw(struct source *source, bool cut)
{
    struct sample s = {0}, again = {0};
    json_t *place = NULL;
    bool failed = false;
    snellen_error err;
    for (int i = 0; i < DRAWN && !failed; i++) {
        json_decref(place);
        place = source->position(source);
        CHECK(place);
        failed = source->next(source, &s, &err);
        if (failed) CHECK(strstr(err.message, "/proc/self/fd/"));
        else check_sample(&s, cut);
    }
    CHECK(!source->seek(source, place, &err));
    CHECK(failed == (source->next(source, &again, &err) != SNELLEN_OK));
    CHECK(failed || same_sample(&s, &again));
    json_decref(place);
    sample_free(&s);
    sample_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct tokenizer *tokenizer;
    if (!tokenizer) tokenizer = words();
    char path[FUZZ_PATH];
    int fd = fuzz_file(bytes, n, path);
    for (unsigned how = 0; how < 8; how++) {
        const struct data_options options = {
            .jsonl = path, .length = LONGEST, .cut = how & 1, .shuffle = how & 2, .skip_bad_lines = how & 4, .end = "</s>",
            .seed = 1, .tokenizer = tokenizer, .n_vocab = N_VOCAB, .n_context = LONGEST,
        };
        struct source *source;
        snellen_error err;
        if (jsonl_open(&options, &source, &err)) {
            CHECK(strstr(err.message, path));
            continue;
        }
        draw(source, options.cut);
        source_free(source);
    }
    close(fd);
    return 0;
}
