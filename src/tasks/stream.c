/* stream: line after line, each with a name and a value, and after every few lines a question for the value of a line
 * some lines back, as long as the sample lasts (StreamEval of StreamingLLM, arXiv 2309.17453, section 4.4).
 *
 *     symbols    + A B 4 2 7 1 9    === A B 4 2 7 1 9
 *     words      "\nThe value of door-glass is 42719."    "\nWhat is the value of door-glass? It is 42719."
 *
 * Line i follows from seed, sample and i alone: its name is the i-th of a random order of all pairs of words, so that
 * no name comes twice before all have come, and nothing has to be kept for the questions but places. */
#include "tasks/long.h"

#include <stdlib.h>
#include <string.h>

enum stream_format { SYMBOLS, WORDS };

struct stream {
    uint64_t key;
    int64_t next;                 /* line that is planned next */
    int64_t *places;              /* [back + 1] of the last lines: line i at i % (back + 1) */
};

struct stream_line {
    int32_t first, second;        /* symbols: the words of its name */
    uint64_t value;
};

static struct stream_line line_of(const struct snellen_reader *r, int64_t i)
{
    const struct stream *s = r->state;
    uint64_t words = r->options.pool - FILLER_WORDS, names = words * words;
    uint64_t name = order_at(names, (uint64_t)i % names, s->key);
    struct rng rng;
    rng_seed(&rng, s->key, (uint64_t)i);
    return (struct stream_line){.first = SYMBOL_WORD + FILLER_WORDS + (int32_t)(name / words),
                                .second = SYMBOL_WORD + FILLER_WORDS + (int32_t)(name % words),
                                .value = rng_below(&rng, reader_values(r))};
}

static void release(struct snellen_reader *r)
{
    mem_free(((struct stream *)r->state)->places);
}

/* ---- lines and questions ----------------------------------------------------------------------------------------- */

static snellen_status put_symbols(struct snellen_reader *r, const struct stream_line *line, bool question,
                                  snellen_error *err)
{
    unsigned marks = question ? SNELLEN_MARK_QUESTION : 0;
    TRY(reader_symbol(r, question ? SYMBOL_EQUALS : SYMBOL_PLUS, marks, err));
    TRY(reader_symbol(r, line->first, marks, err));
    TRY(reader_symbol(r, line->second, marks, err));
    return reader_number(r, line->value, r->options.digits, question ? SNELLEN_MARK_ANSWER : SNELLEN_MARK_SAID, err);
}

static snellen_status put_words(struct snellen_reader *r, const struct stream_line *line, bool question,
                                snellen_error *err)
{
    char text[128];
    int n = snprintf(text, sizeof text, question ? "\nWhat is the value of %s-%s? It is" : "\nThe value of %s-%s is",
                     symbol_names[line->first], symbol_names[line->second]);
    TRY(reader_text(r, text, (size_t)n, question ? SNELLEN_MARK_QUESTION : 0, err));
    TRY(reader_number(r, line->value, r->options.digits, question ? SNELLEN_MARK_ANSWER : SNELLEN_MARK_SAID, err));
    return reader_text(r, ".", 1, 0, err);
}

/* Line i, or (about >= 0) the question for it, at a place, up to *end; not planned when the sample ends before it. */
static snellen_status put_line(struct snellen_reader *r, int64_t i, int64_t at, int64_t about, int64_t *end,
                               snellen_error *err)
{
    const struct stream_line line = line_of(r, i);
    struct thing *t = reader_thing(r, at, err);
    if (!t) return SNELLEN_E_MEMORY;
    t->about = about;
    bool question = about >= 0;
    TRY(r->words ? put_words(r, &line, question, err) : put_symbols(r, &line, question, err));
    t = &r->things[r->n_things - 1];
    *end = at + (int64_t)t->n;
    if (*end > r->length) r->n_things--;   /* the rest of the sample is filler */
    return SNELLEN_OK;
}

/* ---- the task ---------------------------------------------------------------------------------------------------- */

static snellen_status begin(struct snellen_reader *r, snellen_error *err)
{
    struct stream *s = r->state;
    s->key = rng_u64(&r->dice.rng);
    s->next = 0;
    if (!s->places) TRY(NEW_ARRAY(&s->places, r->options.back + 1, "places of lines", err));
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    return reader_bos(r, err);
}

/* One line, and the question that is due after it. */
static snellen_status plan(struct snellen_reader *r, snellen_error *err)
{
    struct stream *s = r->state;
    int64_t i = s->next++, ring = r->options.back + 1, end, asked = i - r->options.back;
    s->places[i % ring] = r->made;
    TRY(put_line(r, i, r->made, -1, &end, err));
    bool due = (i + 1) % r->options.every == 0 && asked >= 0 && end <= r->length;
    return due ? put_line(r, asked, end, s->places[asked % ring], &end, err) : SNELLEN_OK;
}

static const int64_t lengths[] = {1024, 4096, 16384, 65536};

const struct long_task stream_task = {
    .info = {.kind = SNELLEN_TASK_LONG, .name = "stream",
             .summary = "again and again, the value of a line some lines back",
             .source = "StreamEval, arXiv 2309.17453; wording and symbols: ours", .formats = "symbols words",
             .cures = "", .styles = "", .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX},
    .word_formats = "words", .options = "every back pool", .digits = 5, .state_bytes = sizeof(struct stream),
    .begin = begin, .plan = plan, .release = release,
};
