/* passkey: a key of digits is said once within filler and asked for at the end (arXiv 2305.16300, section 4.2).
 *
 *     symbols    >>> 4 2 7 1 9 ### 4 2 7 1 9  filler  === 4 2 7 1 9      the key is said twice, as in the paper's text
 *     once       >>> 4 2 7 1 9  filler  === 4 2 7 1 9
 *     words      the paper's text; or a needle, a question and a haystack of the user's
 *
 * The key of a sample is a content in the sense of symbols.h: those of the test set are never trained on. */
#include "tasks/long.h"

#include <math.h>
#include <string.h>

enum passkey_format { SYMBOLS, ONCE, WORDS };

static const char intro[] = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
                            "it. I will quiz you about the important information there.";
static const char paper_needle[] = "The pass key is {key}. Remember it. {key} is the pass key.";
static const char paper_question[] = "What is the pass key? The pass key is";
static const char place_of_key[] = "{key}";

/* ---- what is said and asked -------------------------------------------------------------------------------------- */

/* A sentence of its own, so with a space before it. */
static snellen_status put_sentence(struct snellen_reader *r, const char *text, size_t n, unsigned marks,
                                   snellen_error *err)
{
    if (n && *text != ' ' && *text != '\n') TRY(reader_text(r, " ", 1, marks, err));
    return reader_text(r, text, n, marks, err);
}

/* The needle with the key in its places; the space before the key is the key's. */
static snellen_status put_needle(struct snellen_reader *r, uint32_t key, snellen_error *err)
{
    const char *needle = r->options.needle ? r->options.needle : paper_needle, *p = needle, *place;
    FAIL_IF(!strstr(p, place_of_key), SNELLEN_E_USAGE, "needle '%.100s': {key} expected where the digits are to stand",
            p);
    for (; (place = strstr(p, place_of_key)); p = place + strlen(place_of_key)) {
        bool first = p == needle;
        size_t n = (size_t)(place - p);
        while (n && p[n - 1] == ' ') n--;
        TRY(first ? put_sentence(r, p, n, 0, err) : reader_text(r, p, n, 0, err));
        TRY(reader_number(r, key, r->options.digits, first ? SNELLEN_MARK_SAID : SNELLEN_MARK_AGAIN, err));
    }
    return reader_text(r, p, strlen(p), 0, err);
}

static snellen_status put_said(struct snellen_reader *r, uint32_t key, snellen_error *err)
{
    int64_t digits = r->options.digits;
    if (r->words) return put_needle(r, key, err);
    TRY(reader_symbol(r, SYMBOL_START, 0, err));
    TRY(reader_number(r, key, digits, SNELLEN_MARK_SAID, err));
    if (r->format == ONCE) return SNELLEN_OK;
    TRY(reader_symbol(r, SYMBOL_AGAIN, 0, err));
    return reader_number(r, key, digits, SNELLEN_MARK_AGAIN, err);
}

static snellen_status put_asked(struct snellen_reader *r, uint32_t key, snellen_error *err)
{
    const char *question = r->options.question ? r->options.question : paper_question;
    if (r->words) TRY(put_sentence(r, question, strlen(question), SNELLEN_MARK_QUESTION, err));
    else TRY(reader_symbol(r, SYMBOL_EQUALS, SNELLEN_MARK_QUESTION, err));
    return reader_number(r, key, r->options.digits, SNELLEN_MARK_ANSWER, err);
}

/* ---- where ------------------------------------------------------------------------------------------------------- */

/* Tokens of filler before the key; `free_tokens` there are in all, `before` tokens come first. */
static int64_t place(struct snellen_reader *r, int64_t before, int64_t said, int64_t free_tokens)
{
    int64_t within = r->options.within, room = free_tokens;
    if (within) room = MIN(room, MAX(within - before - said, 0));
    if (r->options.depth < 0) return (int64_t)rng_below(&r->dice.rng, (uint64_t)room + 1);
    return llround(r->options.depth * (double)room);
}

/* The whole sample: opening, key, question. */
static snellen_status begin(struct snellen_reader *r, snellen_error *err)
{
    uint32_t n_keys = (uint32_t)reader_values(r), key;
    dice_values(&r->dice, &n_keys, 1, &key);
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    TRY(reader_bos(r, err));
    if (r->words && !r->options.needle) TRY(reader_text(r, intro, strlen(intro), 0, err));
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    TRY(put_said(r, key, err));
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    TRY(put_asked(r, key, err));
    struct thing *head = r->things, *said = head + 1, *asked = head + 2;
    int64_t fixed = (int64_t)(head->n + said->n + asked->n);
    if (fixed > r->length) return reader_too_short(r, fixed, err);
    said->at = (int64_t)head->n + place(r, (int64_t)head->n, (int64_t)said->n, r->length - fixed);
    asked->at = r->length - (int64_t)asked->n;
    asked->about = said->at;
    return SNELLEN_OK;
}

static snellen_status nothing_more(struct snellen_reader *r, snellen_error *err)
{
    (void)r, (void)err;
    return SNELLEN_OK;
}

static const int64_t lengths[] = {256, 1024, 4096, 16384, 65536, 262144};

const struct long_task passkey_task = {
    .info = {.kind = SNELLEN_TASK_LONG, .name = "passkey", .summary = "a key that was said long ago",
             .source = "arXiv 2305.16300; in symbols: ours", .formats = "symbols once words", .cures = "", .styles = "",
             .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX},
    .word_formats = "words", .options = "depth within needle question haystack pool vary", .digits = 5,
    .begin = begin, .plan = nothing_more,
};
