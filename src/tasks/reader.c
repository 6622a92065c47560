/* Readers: a sample of a task of long memory, made piece by piece; the registry of these tasks and their options.
 *
 * Invariant: `made` tokens of the sample have gone into pieces, and every thing of the plan that is not yet made has
 * its place at `made` or behind it. A piece ends behind a question, so that `distance` is that of the last one given. */
#include "tasks/long.h"
#include "tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 512 };             /* tokens of filler that are made at once */
enum { DEFAULT_POOL = 128, DEFAULT_PAIRS = 8, DEFAULT_EVERY = 10, DEFAULT_BACK = 20, MAX_PAIRS = 10000,
       MAX_LINES = 1000000, MAX_DIGITS = 9 };
static const double default_vary = 0.1;

/* A new task of long memory is one line here. */
static const struct long_task *const long_tasks[] = {&passkey_task, &associative_task, &stream_task};

const struct long_task *long_task_at(size_t i)
{
    return i < COUNT_OF(long_tasks) ? long_tasks[i] : NULL;
}

const struct long_task *long_task_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(long_tasks); i++)
        if (!strcmp(long_tasks[i]->info.name, name)) return long_tasks[i];
    return NULL;
}

/* ---- rows of tokens ---------------------------------------------------------------------------------------------- */

snellen_status row_put(struct token_row *row, int32_t id, unsigned marks, snellen_error *err)
{
    if (row->n == row->room) {
        size_t room = MAX(2 * row->room, (size_t)PIECE);
        int32_t *ids = realloc(row->ids, room * sizeof *ids);
        if (ids) row->ids = ids;
        uint8_t *all_marks = realloc(row->marks, room);
        if (all_marks) row->marks = all_marks;
        FAIL_IF(!ids || !all_marks, SNELLEN_E_MEMORY, "tokens: memory ran out");
        row->room = room;
    }
    row->ids[row->n] = id;
    row->marks[row->n++] = (uint8_t)marks;
    return SNELLEN_OK;
}

void row_free(struct token_row *row)
{
    free(row->ids);
    free(row->marks);
    *row = (struct token_row){0};
}

/* ---- what tasks put into things ---------------------------------------------------------------------------------- */

struct thing *reader_thing(struct snellen_reader *r, int64_t at, snellen_error *err)
{
    if (r->n_things == r->things_room) {
        size_t room = MAX(2 * r->things_room, (size_t)16);
        struct thing *things = realloc(r->things, room * sizeof *things);
        if (!things) {
            error_set(err, SNELLEN_E_MEMORY, "plan of a sample: memory ran out");
            return NULL;
        }
        r->things = things;
        r->things_room = room;
    }
    struct thing *t = &r->things[r->n_things++];
    *t = (struct thing){.at = at, .first = r->planned.n, .about = -1};
    return t;
}

static snellen_status put(struct snellen_reader *r, int32_t id, unsigned marks, snellen_error *err)
{
    TRY(row_put(&r->planned, id, marks, err));
    r->things[r->n_things - 1].n++;
    return SNELLEN_OK;
}

snellen_status reader_symbol(struct snellen_reader *r, int32_t symbol, unsigned marks, snellen_error *err)
{
    int32_t id;
    TRY(symbol_token(&r->tokens, symbol, &id, err));
    return put(r, id, marks, err);
}

snellen_status reader_tokenize(const struct snellen_reader *r, const char *text, size_t n, int32_t **ids, size_t *n_ids,
                               snellen_error *err)
{
    int32_t *made = NULL;
    *n_ids = n;
    if (r->model) TRY(snellen_tokenize(r->model, text, n, 0, &made, n_ids, err));
    snellen_status status = NEW_ARRAY(ids, *n_ids, "tokens", err);
    for (size_t i = 0; !status && i < *n_ids; i++) (*ids)[i] = made ? made[i] : (unsigned char)text[i];
    snellen_free(made);
    return status;
}

snellen_status reader_text(struct snellen_reader *r, const char *text, size_t n, unsigned marks, snellen_error *err)
{
    int32_t *ids;
    size_t n_ids;
    if (!n) return SNELLEN_OK;
    TRY(reader_tokenize(r, text, n, &ids, &n_ids, err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < n_ids && !status; i++) status = put(r, ids[i], marks, err);
    mem_free(ids);
    return status;
}

static bool has_digit(const struct snellen_reader *r, int32_t id)
{
    size_t n = 0;
    const char *bytes = r->model ? snellen_token_bytes(r->model, id, &n) : NULL;
    if (!r->model) return id >= '0' && id <= '9';
    for (size_t i = 0; bytes && i < n; i++)
        if (bytes[i] >= '0' && bytes[i] <= '9') return true;
    return false;
}

/* Where the space before a number is a token of its own, it is none of the digits. */
static snellen_status put_number_text(struct snellen_reader *r, const char *digits, unsigned marks, snellen_error *err)
{
    size_t first = r->planned.n;
    unsigned space = marks & SNELLEN_MARK_ANSWER ? SNELLEN_MARK_QUESTION : 0;
    TRY(reader_text(r, digits, strlen(digits), marks, err));
    for (size_t i = first; i < r->planned.n && !has_digit(r, r->planned.ids[i]); i++)
        r->planned.marks[i] = (uint8_t)space;
    return SNELLEN_OK;
}

snellen_status reader_number(struct snellen_reader *r, uint64_t value, int64_t n, unsigned marks, snellen_error *err)
{
    char digits[32];
    snprintf(digits, sizeof digits, " %0*llu", (int)n, (unsigned long long)value);
    if (r->words) return put_number_text(r, digits, marks, err);
    for (const char *d = digits + 1; *d; d++) TRY(reader_symbol(r, SYMBOL_NUMBER + (*d - '0'), marks, err));
    return SNELLEN_OK;
}

snellen_status reader_bos(struct snellen_reader *r, snellen_error *err)
{
    return r->bos >= 0 ? put(r, r->bos, 0, err) : SNELLEN_OK;
}

uint64_t reader_values(const struct snellen_reader *r)
{
    uint64_t n = 1;
    for (int64_t i = 0; i < r->options.digits; i++) n *= 10;
    return n;
}

snellen_status reader_too_short(const struct snellen_reader *r, int64_t needed, snellen_error *err)
{
    FAIL(SNELLEN_E_USAGE, "task %s: length is %lld, what is said and asked alone takes %lld tokens", r->task->info.name,
         (long long)r->length, (long long)needed);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

/* The next thing into the piece; what does not fit into the sample is cut. */
static snellen_status make_thing(struct snellen_reader *r, bool *question, snellen_error *err)
{
    const struct thing *t = &r->things[r->next_thing++];
    *question = t->about >= 0;
    bool asked = false;
    for (size_t i = t->first; i < t->first + t->n && r->made < r->length; i++, r->made++) {
        if (!asked && r->planned.marks[i] & SNELLEN_MARK_ANSWER) r->distance = r->made - t->about, asked = true;
        TRY(row_put(&r->piece, r->planned.ids[i], r->planned.marks[i], err));
    }
    return SNELLEN_OK;
}

static snellen_status make_filler(struct snellen_reader *r, snellen_error *err)
{
    int64_t end = r->next_thing < r->n_things ? r->things[r->next_thing].at : r->length, left = end - r->made;
    int64_t n = MIN(left, PIECE);
    TRY(filler_put(r, n, left, err));
    r->made += n;
    return SNELLEN_OK;
}

/* Fills the piece: up to PIECE tokens, or up to a question's end. */
static snellen_status make_piece(struct snellen_reader *r, snellen_error *err)
{
    bool question = false;
    r->piece.n = r->given = 0;
    while (r->made < r->length && r->piece.n < PIECE && !question) {
        if (r->next_thing == r->n_things) {
            r->n_things = r->next_thing = r->planned.n = 0;
            TRY(r->task->plan(r, err));
        }
        bool due = r->next_thing < r->n_things && r->things[r->next_thing].at <= r->made;
        TRY(due ? make_thing(r, &question, err) : make_filler(r, err));
    }
    return SNELLEN_OK;
}

snellen_status snellen_reader_start(struct snellen_reader *r, int64_t length, uint64_t index, snellen_error *err)
{
    FAIL_IF(length < SNELLEN_LONG_MIN || length > SNELLEN_LONG_MAX, SNELLEN_E_USAGE,
            "task %s: length is %lld, %d to %d tokens expected", r->task->info.name, (long long)length,
            SNELLEN_LONG_MIN, SNELLEN_LONG_MAX);
    r->length = length;
    r->made = 0;
    r->index = index;
    r->n_things = r->next_thing = r->planned.n = r->piece.n = r->given = 0;
    dice_start(&r->dice, r->options.seed, length, r->options.train, index);
    snellen_status status = r->task->begin(r, err);
    if (status) {
        r->length = 0;   /* nothing to read */
        return status;
    }
    filler_start(r);
    return SNELLEN_OK;
}

snellen_status snellen_reader_next(struct snellen_reader *r, int32_t *tokens, uint8_t *marks, size_t room, size_t *n,
                                   snellen_error *err)
{
    if (r->given == r->piece.n) TRY(make_piece(r, err));
    *n = MIN(room, r->piece.n - r->given);
    if (*n) memcpy(tokens, r->piece.ids + r->given, *n * sizeof *tokens);
    if (*n && marks) memcpy(marks, r->piece.marks + r->given, *n);
    r->given += *n;
    return SNELLEN_OK;
}

int64_t snellen_reader_distance(const struct snellen_reader *r)
{
    return r->distance;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void put_symbols(const struct snellen_reader *r, const int32_t *tokens, size_t n, struct strbuf *b)
{
    for (size_t i = 0; i < n; i++) {
        if (b->n) strbuf_puts(b, " ");
        if (r->model) symbol_token_text(&r->tokens, tokens[i], b);
        else strbuf_puts(b, tokens[i] >= 0 && tokens[i] < SYMBOL_COUNT ? symbol_names[tokens[i]] : "?");
    }
}

static void put_words(const struct snellen_reader *r, const int32_t *tokens, size_t n, struct strbuf *b)
{
    for (size_t i = 0; i < n; i++) {
        char byte = (char)tokens[i];
        size_t n_bytes = 1;
        const char *bytes = r->model ? snellen_token_bytes(r->model, tokens[i], &n_bytes) : &byte;
        if (bytes) strbuf_put(b, bytes, n_bytes);
    }
}

snellen_status snellen_reader_text(const struct snellen_reader *r, const int32_t *tokens, size_t n, char **text,
                                   snellen_error *err)
{
    struct strbuf b = {0};
    strbuf_puts(&b, "");
    if (r->words) put_words(r, tokens, n, &b);
    else put_symbols(r, tokens, n, &b);
    return strbuf_take(&b, text, NULL, err);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

snellen_long_options snellen_long_options_default(void)
{
    return (snellen_long_options){.depth = -1, .vary = default_vary, .seed = 1};
}

/* Options that this task, or this format, has no use for. */
static snellen_status check_use(const struct snellen_reader *r, snellen_error *err)
{
    const snellen_long_options *o = &r->options;
    const struct {
        const char *name;
        bool given, in_words, in_symbols;
    } all[] = {
        {"depth", o->depth >= 0, true, true},          {"within", o->within != 0, true, true},
        {"pairs", o->pairs != 0, true, true},          {"every", o->every != 0, true, true},
        {"back", o->back != 0, true, true},            {"needle", o->needle, true, false},
        {"question", o->question, true, false},        {"haystack", o->haystack, true, false},
        {"pool", o->pool != 0, false, true},           {"vary", o->vary != default_vary, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (!all[i].given) continue;
        FAIL_IF(word_index(r->task->options, all[i].name) < 0, SNELLEN_E_USAGE, "task %s has no option '%s'",
                r->task->info.name, all[i].name);
        FAIL_IF(r->words ? !all[i].in_words : !all[i].in_symbols, SNELLEN_E_USAGE,
                "task %s: the option '%s' is for formats of %s", r->task->info.name, all[i].name,
                r->words ? "symbols" : "words");
    }
    return SNELLEN_OK;
}

static snellen_status check_range(const char *task, const char *name, int64_t value, int64_t low, int64_t high,
                                  snellen_error *err)
{
    FAIL_IF(value < low || value > high, SNELLEN_E_USAGE, "task %s: %s is %lld, %lld to %lld expected", task, name,
            (long long)value, (long long)low, (long long)high);
    return SNELLEN_OK;
}

/* Defaults in the place of zeros, then ranges. */
static snellen_status complete(struct snellen_reader *r, snellen_error *err)
{
    snellen_long_options *o = &r->options;
    const char *task = r->task->info.name;
    TRY(check_use(r, err));
    if (!o->pool) o->pool = DEFAULT_POOL;
    if (!o->pairs) o->pairs = DEFAULT_PAIRS;
    if (!o->every) o->every = DEFAULT_EVERY;
    if (!o->back) o->back = DEFAULT_BACK;
    if (!o->digits) o->digits = r->task->digits;
    FAIL_IF(!(o->depth <= 1), SNELLEN_E_USAGE, "task %s: depth is %g, 0 to 1 expected", task, o->depth);
    FAIL_IF(!(o->vary >= 0 && o->vary <= 1), SNELLEN_E_USAGE, "task %s: vary is %g, 0 to 1 expected", task, o->vary);
    TRY(check_range(task, "within", o->within, 0, SNELLEN_LONG_MAX, err));
    TRY(check_range(task, "pairs", o->pairs, 1, MAX_PAIRS, err));
    TRY(check_range(task, "every", o->every, 1, MAX_LINES, err));
    TRY(check_range(task, "back", o->back, 1, MAX_LINES, err));
    TRY(check_range(task, "digits", o->digits, 1, MAX_DIGITS, err));
    return check_range(task, "pool", o->pool, FILLER_WORDS + 1, SYMBOL_MAX_POOL, err);
}

static snellen_status choose_format(struct snellen_reader *r, snellen_error *err)
{
    const char *format = r->options.format, *all = r->task->info.formats;
    r->format = format ? word_index(all, format) : 0;
    FAIL_IF(r->format < 0, SNELLEN_E_USAGE, "task %s has no format '%s'; it has: %s", r->task->info.name, format, all);
    r->words = format && word_index(r->task->word_formats, format) >= 0;
    return SNELLEN_OK;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static snellen_status choose_tokens(struct snellen_reader *r, snellen_error *err)
{
    bool wanted = false;
    r->bos = -1;
    for (int32_t i = 0; i < SYMBOL_COUNT; i++) r->tokens.ids[i] = i;
    if (!r->model) return SNELLEN_OK;
    if (!r->words) {
        TRY(symbol_tokens_set(&r->tokens, r->model, r->options.pool, err));
        r->bos = r->tokens.bos;
        return SNELLEN_OK;
    }
    const snellen_model_info *info = snellen_model_get_info(r->model);
    FAIL_IF(!info->has_tokenizer, SNELLEN_E_UNSUPPORTED, "task %s in words needs a tokenizer: %s", r->task->info.name,
            info->no_tokenizer ? info->no_tokenizer : "the model has none");
    int32_t bos = snellen_token_bos(r->model, &wanted);
    if (wanted) r->bos = bos;
    return SNELLEN_OK;
}

static snellen_status open_reader(struct snellen_reader *r, snellen_error *err)
{
    TRY(choose_format(r, err));
    TRY(complete(r, err));
    TRY(choose_tokens(r, err));
    TRY(mem_new(&r->state, 1, r->task->state_bytes, "state of a sample", err));
    return filler_open(r, err);
}

snellen_status snellen_reader_new(const snellen_model *model, const char *task, const snellen_long_options *options,
                                  snellen_reader **out, snellen_error *err)
{
    const struct long_task *t = long_task_find(task);
    snellen_task_info info;
    for (size_t i = 0; !t && snellen_task_list(i, &info); i++)
        FAIL_IF(!strcmp(info.name, task), SNELLEN_E_USAGE, "task '%s' is not one of long memory", task);
    if (!t) return task_unknown(task, err);
    struct snellen_reader *r;
    TRY(NEW_ARRAY(&r, 1, "reader", err));
    *r = (struct snellen_reader){.task = t, .options = *options, .model = model};
    snellen_status status = open_reader(r, err);
    if (status) snellen_reader_free(r);
    else *out = r;
    return status;
}

void snellen_reader_free(snellen_reader *r)
{
    if (!r) return;
    if (r->task->release && r->state) r->task->release(r);
    mem_free(r->state);
    filler_close(&r->filler);
    row_free(&r->planned);
    row_free(&r->piece);
    free(r->things);
    mem_free(r);
}
