/* Lines of symbols: the registry of their tasks, options to a checked description, one line from it. */
#include "tasks/symbols.h"

#include "tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

/* A new task of symbols is one line here. */
static const struct symbol_task *const symbol_tasks[] = {
    &parity_task, &addition_task, &copy_task, &reverse_task, &remember_task, &rewrite_task,
};

const struct symbol_task *symbol_task_at(size_t i)
{
    return i < COUNT_OF(symbol_tasks) ? symbol_tasks[i] : NULL;
}

const struct symbol_task *symbol_task_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(symbol_tasks); i++)
        if (!strcmp(symbol_tasks[i]->info.name, name)) return symbol_tasks[i];
    return NULL;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

enum { DEFAULT_POOL = 128, DEFAULT_CYCLE = 8, MAX_SPACING = 1000 };

static const char *format_name(const struct line_spec *spec, char buffer[32])
{
    const char *p = spec->task->info.formats;
    for (int i = 0; i < spec->format; i++) p += strcspn(p, " ") + 1;
    snprintf(buffer, 32, "%.*s", (int)strcspn(p, " "), p);
    return buffer;
}

snellen_status line_spec_set(struct line_spec *spec, const char *task, const snellen_line_options *options,
                             snellen_error *err)
{
    const struct symbol_task *t = symbol_task_find(task);
    snellen_task_info info;
    for (size_t i = 0; !t && snellen_task_list(i, &info); i++)
        FAIL_IF(!strcmp(info.name, task), SNELLEN_E_USAGE, "task '%s' %s, not lines of symbols", task,
                info.kind == SNELLEN_TASK_LONG ? "is one of long memory" : "has prompts in words");
    if (!t) return task_unknown(task, err);
    const char *format = options->format;
    char name[32];
    *spec = (struct line_spec){.task = t, .format = format ? word_index(t->info.formats, format) : 0,
                               .pool = options->pool, .spacing = options->spacing, .cycle = options->cycle};
    FAIL_IF(spec->format < 0, SNELLEN_E_USAGE, "task %s has no format '%s'; it has: %s", task, format, t->info.formats);
    format = format_name(spec, name);
    FAIL_IF(spec->pool > SYMBOL_MAX_POOL, SNELLEN_E_USAGE, "pool is %u words, 1 to %d expected", spec->pool,
            SYMBOL_MAX_POOL);
    FAIL_IF(spec->spacing > MAX_SPACING, SNELLEN_E_USAGE, "spacing is %u, 1 to %d expected", spec->spacing,
            MAX_SPACING);
    FAIL_IF(spec->spacing > 1 && word_index(t->spacing_formats, format) < 0, SNELLEN_E_USAGE,
            "task %s, format %s: spacing is for formats with anchors%s%s", task, format,
            *t->spacing_formats ? ": " : ", which this task does not have", t->spacing_formats);
    FAIL_IF(spec->cycle && word_index(t->cycle_formats, format) < 0, SNELLEN_E_USAGE,
            "task %s, format %s: cycle is for parity in the format cyclic", task, format);
    if (!spec->pool) spec->pool = DEFAULT_POOL;
    if (!spec->spacing) spec->spacing = 1;
    if (!spec->cycle) spec->cycle = DEFAULT_CYCLE;
    return SNELLEN_OK;
}

snellen_status line_check(const struct line_spec *spec, int64_t length, snellen_error *err)
{
    const char *task = spec->task->info.name;
    char format[32];
    format_name(spec, format);
    FAIL_IF(length < 1 || length > LINE_MAX_LENGTH, SNELLEN_E_USAGE, "task %s: length is %lld, 1 to %d expected", task,
            (long long)length, LINE_MAX_LENGTH);
    int64_t most = spec->task->max_length(spec), words = spec->task->words_needed(spec, length);
    FAIL_IF(length > most, SNELLEN_E_USAGE, "task %s, format %s: length is %lld, at most %lld expected", task, format,
            (long long)length, (long long)most);
    FAIL_IF(words > spec->pool, SNELLEN_E_USAGE,
            "task %s, format %s: length %lld needs %lld different words, the pool has %u (--pool N, at most %d)", task,
            format, (long long)length, (long long)words, spec->pool, SYMBOL_MAX_POOL);
    return SNELLEN_OK;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

void line_put(struct line *line, int32_t symbol, unsigned marks)
{
    if (line->n == line->room) return;
    line->symbols[line->n] = symbol;
    line->marks[line->n++] = (uint8_t)marks;
    line->n_prompt += !marks;
}

float line_weight(const struct line *line, size_t i)
{
    return line->marks[i] & MARK_OUTPUT && !(line->marks[i] & MARK_GIVEN) ? 1 : 0;
}

void line_free(struct line *line)
{
    mem_free(line->symbols);
    mem_free(line->marks);
    *line = (struct line){0};
}

static snellen_status line_reserve(struct line *line, size_t room, snellen_error *err)
{
    line->n = line->n_prompt = 0;
    if (line->room >= room) return SNELLEN_OK;
    line_free(line);
    TRY(NEW_ARRAY(&line->symbols, room, "symbols", err));
    TRY(NEW_ARRAY(&line->marks, room, "symbols", err));
    line->room = room;
    return SNELLEN_OK;
}

snellen_status line_make(const struct line_spec *spec, int64_t length, bool train, uint64_t seed, uint64_t index,
                         struct line *line, snellen_error *err)
{
    struct content content = {.length = length};
    struct dice dice;
    TRY(line_check(spec, length, err));
    TRY(line_reserve(line, LINE_ROOM(length), err));
    TRY(NEW_ARRAY(&content.values, CONTENT_VALUES(length), "contents", err));
    snellen_status status = NEW_ARRAY(&content.anchors, CONTENT_ANCHORS(length), "anchors", err);
    if (!status) {
        dice_start(&dice, seed, length, train, index);
        spec->task->draw(spec, &dice, &content);
        spec->task->write(spec, &content, line);
        line->repeats = dice.repeats;
    }
    mem_free(content.anchors);
    mem_free(content.values);
    if (status) return status;
    FAIL_IF(dice.single, SNELLEN_E_USAGE, "task %s: there is only one line of length %lld with a pool of %u, so that "
            "training and test cannot differ", spec->task->info.name, (long long)length, spec->pool);
    return SNELLEN_OK;
}

/* ---- snellen.h --------------------------------------------------------------------------------------------------- */

const char *snellen_symbol_name(size_t i)
{
    return i < SYMBOL_COUNT ? symbol_names[i] : NULL;
}

snellen_line_options snellen_line_options_default(void)
{
    return (snellen_line_options){.seed = 1};
}

static snellen_status line_copy(const struct line *line, snellen_line **out, snellen_error *err)
{
    snellen_line *copy = calloc(1, sizeof *copy + line->n * sizeof *copy->symbols);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "memory ran out");
    *copy = (snellen_line){.symbols = (snellen_symbol *)(copy + 1), .n = line->n, .n_prompt = line->n_prompt,
                           .repeats = line->repeats};
    for (size_t i = 0; i < line->n; i++) {
        unsigned marks = line->marks[i];
        copy->symbols[i] = (snellen_symbol){
            .name = symbol_names[line->symbols[i]], .id = line->symbols[i], .weight = line_weight(line, i),
            .output = marks & MARK_OUTPUT, .given = marks & MARK_GIVEN, .anchor = marks & MARK_ANCHOR,
            .answer = marks & MARK_ANSWER};
    }
    *out = copy;
    return SNELLEN_OK;
}

snellen_status snellen_line_make(const char *task, const snellen_line_options *options, int64_t length, uint64_t index,
                                 snellen_line **out, snellen_error *err)
{
    struct line_spec spec;
    struct line line = {0};
    TRY(line_spec_set(&spec, task, options, err));
    snellen_status status = line_make(&spec, length, options->train, options->seed, index, &line, err);
    if (!status) status = line_copy(&line, out, err);
    line_free(&line);
    return status;
}
