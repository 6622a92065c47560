/* Chat templates. Templates are programs; two families of them are recognised by what they contain and written out here:
 * ChatML turns (SmolLM, Qwen) and Gemma turns. Any other is told to be unsupported. */
#include "tokenize/vocab.h"

#include <string.h>

const char *tokenizer_chat(const struct tokenizer *t)
{
    const char *text = t->chat_template;
    if (!text) return "";
    if (strstr(text, "<|im_start|>")) return "chatml";
    if (strstr(text, "<start_of_turn>")) return "gemma";
    return "other";
}

/* ---- ChatML ----------------------------------------------------------------------------------------------------------------- */

/* Templates that put a system message of their own first spell it out as a turn: the text between "system\n" and the end of
 * the turn, unless an expression stands there. */
static void put_default_system(const char *template, struct strbuf *out)
{
    static const char *const openings[] = {"<|im_start|>system\\n", "<|im_start|>system\n"};
    for (size_t i = 0; i < COUNT_OF(openings); i++)
        for (const char *at = strstr(template, openings[i]); at; at = strstr(at + 1, openings[i])) {
            const char *text = at + strlen(openings[i]), *end = strstr(text, "<|im_end|>");
            size_t n = end ? (size_t)(end - text) : 0;
            if (!n || n > 2000 || memchr(text, '{', n) || memchr(text, '\'', n)) continue;
            strbuf_printf(out, "<|im_start|>system\n%.*s<|im_end|>\n", (int)n, text);
            return;
        }
}

static void put_chatml(const struct tokenizer *t, const snellen_message *messages, size_t n, bool answer,
                       struct strbuf *out)
{
    if (n && strcmp(messages[0].role, "system")) put_default_system(t->chat_template, out);
    for (size_t i = 0; i < n; i++)
        strbuf_printf(out, "<|im_start|>%s\n%s<|im_end|>\n", messages[i].role, messages[i].content);
    if (answer) strbuf_puts(out, "<|im_start|>assistant\n");
}

/* ---- Gemma ------------------------------------------------------------------------------------------------------------------- */

/* White space around a message goes, as the template's trim does. */
static void put_trimmed(struct strbuf *out, const char *text)
{
    static const char blank[] = " \t\r\n\f\v";
    text += strspn(text, blank);
    size_t n = strlen(text);
    while (n && strchr(blank, text[n - 1])) n--;
    strbuf_put(out, text, n);
}

/* The system message has no turn of its own: it stands before the first one's text. */
static void put_gemma(const struct tokenizer *t, const snellen_message *messages, size_t n, bool answer,
                      struct strbuf *out)
{
    const char *system = n && !strcmp(messages[0].role, "system") ? messages[0].content : NULL;
    if (t->bos >= 0) strbuf_put(out, t->pieces[t->bos].bytes, t->pieces[t->bos].n);
    for (size_t i = system ? 1 : 0; i < n; i++) {
        bool model = !strcmp(messages[i].role, "assistant");
        strbuf_printf(out, "<start_of_turn>%s\n", model ? "model" : messages[i].role);
        if (system) strbuf_printf(out, "%s\n\n", system);
        system = NULL;
        put_trimmed(out, messages[i].content);
        strbuf_puts(out, "<end_of_turn>\n");
    }
    if (answer) strbuf_puts(out, "<start_of_turn>model\n");
}

snellen_status tokenizer_chat_format(const struct tokenizer *t, const snellen_message *messages, size_t n, bool answer,
                                     char **text, snellen_error *err)
{
    const char *kind = tokenizer_chat(t);
    FAIL_IF(!kind[0], SNELLEN_E_UNSUPPORTED, "%s: the model has no chat template; it continues texts, it was not made to "
            "answer", t->name);
    FAIL_IF(!strcmp(kind, "other"), SNELLEN_E_UNSUPPORTED, "%s: its chat template is neither ChatML nor Gemma turns; give "
            "the whole text of the turns as the prompt instead", t->name);
    for (size_t i = 0; i < n; i++)
        FAIL_IF(!messages[i].role || !messages[i].content, SNELLEN_E_USAGE, "message %zu has no role or no text", i);
    struct strbuf out = {0};
    if (!strcmp(kind, "chatml"))
        put_chatml(t, messages, n, answer, &out);
    else
        put_gemma(t, messages, n, answer, &out);
    return strbuf_take(&out, text, NULL, err);
}
