/* What the collapse probe puts before a model: the paper's prompts, further wordings of them, kinds of sequences. */
#include "probe/probe.h"

#include <string.h>

static const struct collapse_kind KINDS[] = {
    {{"ones", "how many ones: 1 repeated", "arXiv 2406.04267, Fig 5"},
     "How many ones are in the following sequences? ", 0, ITEMS_REPEATED, false},
    {{"digits", "how many ones: uniform digits that end in 1, against 11", "arXiv 2406.04267, Fig 5"},
     "How many ones are in the following sequences? ", 0, ITEMS_DIGITS, false},
    {{"copy", "copy the number: 1 repeated", "arXiv 2406.04267, Fig 5"},
     "Can you copy the following number? ", 0, ITEMS_REPEATED, true},
    {{"commas", "copy the number: 1 repeated, a comma after every 3rd (a cure)", "arXiv 2406.04267, Fig 5"},
     "Can you copy the following number? ", 3, ITEMS_REPEATED, true},
    {{"alternate", "how many ones: 1 and 0 by turns, the last one twice (a cure)", "ours"},
     "How many ones are in the following sequences? ", 0, ITEMS_ALTERNATE, false},
};

bool snellen_collapse_list(size_t i, snellen_collapse_sequence *out)
{
    if (i >= COUNT_OF(KINDS)) return false;
    *out = KINDS[i].public;
    return true;
}

const struct collapse_kind *collapse_kind_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(KINDS); i++)
        if (!strcmp(KINDS[i].public.name, name)) return &KINDS[i];
    return NULL;
}

snellen_status collapse_wording(const struct collapse_kind *kind, uint32_t prompt, char **text, snellen_error *err)
{
    static const char *const count[] = {
        "How many ones are in the following %s? ", "Count the ones in the following %s: ",
        "Please tell me how many ones there are in this %s: ", "What is the number of ones in the %s below? ",
    };
    static const char *const copy[] = {
        "Can you copy the following %s? ", "Copy the following %s: ", "Please repeat this %s exactly: ",
        "Write the %s below once more: ",
    };
    static const char *const things[] = {"number", "sequence", "string of digits", "line", "row of digits"};
    _Static_assert(COUNT_OF(count) == COUNT_OF(copy) && COUNT_OF(count) * COUNT_OF(things) == COLLAPSE_WORDINGS,
                   "one wording for each pair");
    struct strbuf b = {0};
    uint32_t frame = prompt % COUNT_OF(count), thing = prompt / COUNT_OF(count) % COUNT_OF(things);
    const char *form = kind->copy ? copy[frame] : count[frame], *place = strstr(form, "%s");
    if (prompt == 0) {
        strbuf_puts(&b, kind->prompt);
    } else {
        strbuf_put(&b, form, (size_t)(place - form));
        strbuf_puts(&b, things[thing]);
        strbuf_puts(&b, place + 2);
    }
    size_t n;
    return strbuf_take(&b, text, &n, err);
}

int64_t collapse_tokens_before(int64_t i, uint32_t comma)
{
    return i + (comma ? i / comma : 0);
}
