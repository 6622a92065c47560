/* The registry of task families, and what needs no model: lists, prompts, names of styles and cures. */
#include "tasks/long.h"
#include "tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

/* A new family is one line here. */
static const struct task_family *const families[] = {
    &copy_family,
    &count_family,
};

static const struct task *task_at(size_t i)
{
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        if (i < families[f]->n) return &families[f]->tasks[i];
        i -= families[f]->n;
    }
    return NULL;
}

/* Tasks in words, of symbols, of long memory. */
bool snellen_task_list(size_t i, snellen_task_info *info)
{
    size_t n_words = 0, n_symbols = 0;
    while (task_at(n_words)) n_words++;
    while (symbol_task_at(n_symbols)) n_symbols++;
    if (i < n_words) {
        *info = task_at(i)->info;
        info->formats = "";
        return true;
    }
    i -= n_words;
    const struct long_task *task = i < n_symbols ? NULL : long_task_at(i - n_symbols);
    if (i >= n_symbols && !task) return false;
    *info = task ? task->info : symbol_task_at(i)->info;
    return true;
}

snellen_status task_unknown(const char *name, snellen_error *err)
{
    struct strbuf known = {0};
    snellen_task_info info;
    for (size_t i = 0; snellen_task_list(i, &info); i++) strbuf_printf(&known, "%s%s", i ? ", " : "", info.name);
    snellen_status status = error_set(err, SNELLEN_E_USAGE, "task '%s' is not known; there are: %s", name,
                                      known.text ? known.text : "");
    strbuf_free(&known);
    return status;
}

snellen_status task_find(const char *name, const struct task **task, snellen_error *err)
{
    for (size_t i = 0; task_at(i); i++)
        if (!strcmp(task_at(i)->info.name, name)) {
            *task = task_at(i);
            return SNELLEN_OK;
        }
    FAIL_IF(symbol_task_find(name), SNELLEN_E_USAGE, "task '%s' has lines of symbols, not prompts in words", name);
    FAIL_IF(long_task_find(name), SNELLEN_E_USAGE, "task '%s' is one of long memory, not one in words", name);
    return task_unknown(name, err);
}

/* ---- styles and cures -------------------------------------------------------------------------------------------- */

enum { DEFAULT_COMMA = 3, DEFAULT_PROMPTS = 20, MAX_COMMA = 1000 };
static const char commas_k[] = "commas:";

static const char *const style_names[] = {[TASK_PLAIN] = "plain", [TASK_STEP] = "step", [TASK_EXAMPLES] = "examples"};

int word_index(const char *list, const char *word)
{
    size_t n = strlen(word);
    int index = 0;
    for (const char *p = list; n && *p; index++) {
        size_t length = strcspn(p, " ");
        if (length == n && !memcmp(p, word, n)) return index;
        p += length;
        p += *p == ' ';
    }
    return -1;
}

static snellen_status form_set_cure(const struct task *task, const char *cure, struct task_form *form,
                                    snellen_error *err)
{
    if (!cure || !*cure) return SNELLEN_OK;
    if (!strncmp(cure, commas_k, sizeof commas_k - 1) && word_index(task->info.cures, "commas") >= 0) {
        const char *k = cure + sizeof commas_k - 1;
        char *end;
        unsigned long value = strtoul(k, &end, 10);
        FAIL_IF(*k < '0' || *k > '9' || *end || value < 1 || value > MAX_COMMA, SNELLEN_E_USAGE,
                "cure '%s': commas:K with K from 1 to %d expected", cure, MAX_COMMA);
        form->comma = (uint32_t)value;
        return SNELLEN_OK;
    }
    FAIL_IF(word_index(task->info.cures, cure) < 0, SNELLEN_E_USAGE, "task %s has no cure '%s'; it has: %s",
            task->info.name, cure, task->info.cures);
    form->hint = !strcmp(cure, "hint");
    form->alternate = !strcmp(cure, "alternate");
    form->reverse = !strcmp(cure, "reverse");
    form->anchors = !strcmp(cure, "anchors");
    form->fives = !strcmp(cure, "fives");
    if (!strcmp(cure, "commas")) form->comma = DEFAULT_COMMA;
    return SNELLEN_OK;
}

snellen_status task_form_set(const struct task *task, const char *style, const char *cure, struct task_form *form,
                             snellen_error *err)
{
    if (!style) style = style_names[TASK_PLAIN];
    FAIL_IF(word_index(task->info.styles, style) < 0, SNELLEN_E_USAGE, "task %s has no style '%s'; it has: %s",
            task->info.name, style, task->info.styles);
    *form = (struct task_form){.length = form->length, .prompt = form->prompt, .seed = form->seed};
    for (size_t i = 0; i < COUNT_OF(style_names); i++)
        if (!strcmp(style, style_names[i])) form->style = (enum task_style)i;
    return form_set_cure(task, cure, form, err);
}

uint32_t task_max_new(enum task_style style)
{
    static const uint32_t tokens[] = {[TASK_PLAIN] = 32, [TASK_STEP] = 384, [TASK_EXAMPLES] = 192};
    return tokens[style];
}

/* ---- helpers of the families ------------------------------------------------------------------------------------- */

uint32_t task_variant(uint64_t seed, uint32_t prompt, uint32_t n)
{
    uint8_t order[TASK_MAX_VARIANTS];
    struct rng rng;
    rng_seed(&rng, seed, 0);
    n = MIN(n, TASK_MAX_VARIANTS);
    for (uint32_t i = 0; i < n; i++) order[i] = (uint8_t)i;
    for (uint32_t i = n - 1; i > 1; i--) {  /* Fisher and Yates on 1 .. n - 1 */
        uint32_t j = 1 + (uint32_t)rng_below(&rng, i);
        uint8_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    return order[prompt % n];
}

bool task_comma_due(const struct task_form *form, int64_t i)
{
    return form->comma && i && i % form->comma == 0;
}

/* ---- snellen.h --------------------------------------------------------------------------------------------------- */

snellen_task_options snellen_task_options_default(const snellen_model *model)
{
    const char *chat = model ? snellen_model_get_info(model)->chat : "";
    return (snellen_task_options){
        .n_prompts = DEFAULT_PROMPTS,
        .style = style_names[TASK_PLAIN],
        .cure = "",
        .chat = *chat && strcmp(chat, "other"),
        .seed = 1,
        .session = snellen_session_options_default(),
    };
}

snellen_status snellen_task_show(const char *name, const snellen_task_options *options, int64_t length, uint32_t prompt,
                                 char **text, int64_t *expected, snellen_error *err)
{
    const struct task *task;
    struct task_form form = {.length = length, .prompt = prompt, .seed = options->seed};
    TRY(task_find(name, &task, err));
    TRY(task_form_set(task, options->style, options->cure, &form, err));
    FAIL_IF(length < 1 || length > TASK_MAX_LENGTH, SNELLEN_E_USAGE, "length is %lld, 1 to %d expected",
            (long long)length, TASK_MAX_LENGTH);
    FAIL_IF(prompt >= task->info.n_prompts, SNELLEN_E_USAGE, "task %s: prompt %u, 0 to %u expected", name, prompt,
            task->info.n_prompts - 1);
    struct strbuf b = {0};
    int64_t answer = task->write(task, &form, &b);
    TRY(strbuf_take(&b, text, NULL, err));
    *expected = answer;
    return SNELLEN_OK;
}

snellen_status snellen_task_eval(const snellen_model *model, const char *task, const snellen_task_options *options,
                                 const snellen_progress *progress, snellen_task_result **result, snellen_error *err)
{
    struct task_item item = {.task = task, .style = options->style, .cure = options->cure, .lengths = options->lengths,
                             .n_lengths = options->n_lengths, .n_prompts = options->n_prompts,
                             .n_generate = options->n_generate, .max_new = options->max_new};
    struct task_setting setting = {.chat = options->chat, .seed = options->seed, .session = options->session};
    return tasks_eval(model, &item, 1, &setting, progress, result, NULL, err);
}
