/* Chat templates: which of the known forms a template's text has, and that form put into practice.
 *
 * Templates are programs (Jinja). They are not run: what varies between the templates of one form is read off their
 * text, above all off their string literals, which hold the default system message and the opening of an answer. A
 * template that is neither ChatML nor Gemma's, or that does what these do not, is CHAT_OTHER. */
#include "tokenize/vocab.h"

#include <string.h>

/* Real templates have some thousands of bytes and a handful of literals. */
enum { LONGEST_TEMPLATE = 256 << 10, MOST_LITERALS = 64 };

/* ---- reading a template ------------------------------------------------------------------------------------------ */

static const char *find_from(const char *text, size_t n, size_t from, const char *what)
{
    return from <= n ? memmem(text + from, n - from, what, strlen(what)) : NULL;
}

static bool contains(const char *text, size_t n, const char *what)
{
    return find_from(text, n, 0, what) != NULL;
}

/* The value of the string literal whose first characters, after its quote, stand at `at`. NULL when that is no literal.
 * */
static char *literal_at(const char *text, size_t n, size_t at, struct arena *arena)
{
    char quote = at > 0 ? text[at - 1] : 0;
    if (quote != '\'' && quote != '"') return NULL;
    size_t end = at;
    while (end < n && text[end] != quote) end += text[end] == '\\' && end + 1 < n ? 2 : 1;
    if (end >= n) return NULL;
    char *value = arena_alloc(arena, end - at + 1), *p = value;
    for (size_t i = at; value && i < end; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < end) {
            c = text[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        *p++ = c;
    }
    return value;
}

/* The first literal at or after `from` that begins with `start` and has something between that and `end`, which it ends
 * with; NULL when there is none. */
static char *literal_like(const char *text, size_t n, size_t from, const char *begin, const char *start,
                          const char *end, struct arena *arena)
{
    const char *p = text + from;
    for (int i = 0; i < MOST_LITERALS && (p = find_from(text, n, (size_t)(p - text), begin)); i++, p++) {
        char *value = literal_at(text, n, (size_t)(p - text), arena);
        size_t n_value = value ? strlen(value) : 0, n_start = strlen(start), n_end = strlen(end);
        if (n_value < n_start + n_end || strncmp(value, start, n_start)) continue;
        if (!strcmp(value + n_value - n_end, end)) return value;
    }
    return NULL;
}

/* {{ bos_token }} in any spacing. */
static bool writes_bos(const char *text, size_t n)
{
    for (const char *p = text; (p = find_from(text, n, (size_t)(p - text), "bos_token")); p++) {
        const char *before = p;
        while (before > text && (before[-1] == ' ' || before[-1] == '-')) before--;
        if (before - text >= 2 && before[-1] == '{' && before[-2] == '{') return true;
    }
    return false;
}

/* ['content'] | trim or .content|trim */
static bool trims_content(const char *text, size_t n)
{
    for (const char *p = text; (p = find_from(text, n, (size_t)(p - text), "content")); p++) {
        const char *q = p + strlen("content"), *stop = text + n;
        while (q < stop && strchr("'\"] ", *q) && *q) q++;
        if (q == stop || *q++ != '|') continue;
        while (q < stop && *q == ' ') q++;
        if (stop - q >= 4 && !memcmp(q, "trim", 4)) return true;
    }
    return false;
}

/* ---- recognising ------------------------------------------------------------------------------------------------- */

static const char im_start[] = "<|im_start|>", im_end[] = "<|im_end|>\n";

/* Qwen3's way with the thoughts of the model's earlier answers, word for word; any other way is not known here. */
static bool has_qwen3_thoughts(const char *text, size_t n)
{
    return contains(text, n, "ns.last_query_index") &&
           contains(text, n, "content.split('</think>')[-1].lstrip('\\n')") &&
           contains(text, n, "loop.last or (not loop.last and reasoning_content)") &&
           contains(text, n, "'\\n<think>\\n' + reasoning_content.strip('\\n') + "
                             "'\\n</think>\\n\\n' + content.lstrip('\\n')");
}

static size_t skip_back(const char *text, size_t at, const char *set)
{
    while (at > 0 && text[at - 1] && strchr(set, text[at - 1])) at--;
    return at;
}

/* A system turn that is opened on its own, to be filled by statements that are not read here. Only where the template
 * does so for tools, which are never given, it does not matter. */
static bool opens_system(const char *text, size_t n)
{
    static const char turn[] = "<|im_start|>system", tools[] = "if tools";
    for (const char *p = text; (p = find_from(text, n, (size_t)(p - text), turn)); p++) {
        const char *q = p + strlen(turn);
        q += *q == '\\' && q[1] == 'n' ? 2 : *q == '\n';
        if (*q != '\'' && *q != '"') continue;
        q += 1 + strspn(q + 1, " -");
        if (q[0] != '}' || q[1] != '}') continue;
        size_t before = skip_back(text, skip_back(text, (size_t)(p - text), "'\"{- \t\r\n"), "%}- ");
        if (before < strlen(tools) || memcmp(text + before - strlen(tools), tools, strlen(tools))) return true;
    }
    return false;
}

static void recognise_chatml(struct chat *chat, const char *text, size_t n, struct arena *arena)
{
    const char *ask = find_from(text, n, 0, "add_generation_prompt");
    size_t from = ask ? (size_t)(ask - text) : 0;
    chat->opening = literal_like(text, n, from, "<|im_start|>assistant", "<|im_start|>assistant\n", "", arena);
    chat->keeps_thoughts = !contains(text, n, "think");
    /* Separators of its own, today's date, ways with thoughts or white space that differ from role to role: other
     * forms. */
    bool other = !chat->opening || contains(text, n, "<|im_sep|>") || contains(text, n, "strftime_now") ||
                 (!chat->keeps_thoughts && !has_qwen3_thoughts(text, n)) || opens_system(text, n) ||
                 (chat->trim && contains(text, n, "elif"));
    chat->kind = other ? CHAT_OTHER : CHAT_CHATML;
    char *system = literal_like(text, n, 0, "<|im_start|>system", "<|im_start|>system\n", im_end, arena);
    if (system && strlen(system) > strlen("<|im_start|>system\n") + strlen(im_end)) {
        system[strlen(system) - strlen(im_end)] = 0;
        chat->system = system + strlen("<|im_start|>system\n");
    }
}

static void recognise_gemma(struct chat *chat, const char *text, size_t n)
{
    bool known = contains(text, n, "<start_of_turn>model") && !contains(text, n, "function");
    chat->kind = known ? CHAT_GEMMA : CHAT_OTHER;
    chat->opening = "<start_of_turn>model\n";
    chat->refuses_system = contains(text, n, "System role not supported");
}

snellen_status chat_recognise(struct chat *chat, const char *text, size_t n, struct arena *arena, snellen_error *err)
{
    *chat = (struct chat){.kind = n ? CHAT_OTHER : CHAT_NONE};
    if (n > LONGEST_TEMPLATE) return SNELLEN_OK;
    char *copy = arena_text(arena, text, n);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "chat template: memory ran out");
    chat->bos = writes_bos(copy, n);
    chat->trim = trims_content(copy, n);
    if (contains(copy, n, "<start_of_turn>") && contains(copy, n, "<end_of_turn>"))
        recognise_gemma(chat, copy, n);
    else if (contains(copy, n, im_start) && contains(copy, n, "<|im_end|>"))
        recognise_chatml(chat, copy, n, arena);
    return SNELLEN_OK;
}

const char *tokenizer_chat(const struct tokenizer *t)
{
    static const char *const names[] = {[CHAT_NONE] = "", [CHAT_CHATML] = "chatml", [CHAT_GEMMA] = "gemma",
                                        [CHAT_OTHER] = "other"};
    return names[t->chat.kind];
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool is_role(const snellen_message *m, const char *role)
{
    return !strcmp(m->role, role);
}

static bool is_blank(int32_t code)
{
    return utf8_is_space(code) || (code >= 0x1c && code <= 0x1f);  /* what Python's strip() takes */
}

static void put_content(struct strbuf *b, const struct chat *chat, const char *text)
{
    size_t n = strlen(text), size;
    int32_t code;
    while (chat->trim && (size = utf8_next(text, n, &code)) && is_blank(code)) text += size, n -= size;
    while (chat->trim && (size = utf8_last(text, n, &code)) && is_blank(code)) n -= size;
    strbuf_put(b, text, n);
}

/* An answer of the model that holds, or may hold, its thoughts, as Qwen3's template treats it: what stands before the
 * last </think> goes; in the turn that is not finished yet it is written anew. */
static void put_answer(struct strbuf *b, const char *text, bool last_turn, bool last)
{
    static const char open[] = "<think>", close[] = "</think>";
    const char *first = strstr(text, close), *rest = text;
    for (const char *p = first; p; p = strstr(rest, close)) rest = p + strlen(close);
    while (first && *rest == '\n') rest++;
    if (last_turn) {
        const char *thoughts = text;
        for (const char *p; first && (p = strstr(thoughts, open)) && p < first;) thoughts = p + strlen(open);
        const char *from = thoughts, *to = first ? first : thoughts;
        while (from < to && *from == '\n') from++;
        while (from < to && to[-1] == '\n') to--;
        if (last || from < to) {
            strbuf_puts(b, "<think>\n");
            strbuf_put(b, from, (size_t)(to - from));
            strbuf_puts(b, "\n</think>\n\n");
            while (*rest == '\n') rest++;
        }
    }
    strbuf_puts(b, rest);
}

/* The template's last_query_index: the last message of the user that is not a tool's answer; the last of all when there
 * is none. */
static size_t last_question(const snellen_message *messages, size_t n)
{
    static const char open[] = "<tool_response>", close[] = "</tool_response>";
    for (size_t i = n; i-- > 0;) {
        const char *text = messages[i].content;
        size_t size = strlen(text);
        bool tool = !strncmp(text, open, strlen(open)) && size >= strlen(close) &&
                    !strcmp(text + size - strlen(close), close);
        if (is_role(&messages[i], "user") && !tool) return i;
    }
    return n ? n - 1 : 0;
}

static void write_chatml(struct strbuf *b, const struct chat *chat, const snellen_message *messages, size_t n)
{
    size_t question = last_question(messages, n);
    if (chat->system && n && !is_role(&messages[0], "system"))
        strbuf_printf(b, "%ssystem\n%s%s", im_start, chat->system, im_end);
    for (size_t i = 0; i < n; i++) {
        strbuf_printf(b, "%s%s\n", im_start, messages[i].role);
        if (!chat->keeps_thoughts && is_role(&messages[i], "assistant"))
            put_answer(b, messages[i].content, i > question, i + 1 == n);
        else
            put_content(b, chat, messages[i].content);
        strbuf_puts(b, im_end);
    }
}

static snellen_status write_gemma(struct strbuf *b, const struct chat *chat, const snellen_message *messages, size_t n,
                                  snellen_error *err)
{
    bool system = n && is_role(&messages[0], "system");
    FAIL_IF(system && chat->refuses_system, SNELLEN_E_UNSUPPORTED,
            "chat: this model's template knows no system message; put it into the first question");
    for (size_t i = system; i < n; i++) {
        bool user = is_role(&messages[i], "user");
        FAIL_IF(user != ((i - system) % 2 == 0), SNELLEN_E_USAGE,
                "chat: message %zu is the %s's; this model's template wants user and assistant in turn", i + 1,
                messages[i].role);
        strbuf_printf(b, "<start_of_turn>%s\n", is_role(&messages[i], "assistant") ? "model" : messages[i].role);
        if (system && i == 1) strbuf_printf(b, "%s\n\n", messages[0].content);
        put_content(b, chat, messages[i].content);
        strbuf_puts(b, "<end_of_turn>\n");
    }
    return SNELLEN_OK;
}

snellen_status tokenizer_chat_format(const struct tokenizer *t, const snellen_message *messages, size_t n, bool answer,
                                     char **text, snellen_error *err)
{
    const struct chat *chat = &t->chat;
    FAIL_IF(chat->kind == CHAT_NONE, SNELLEN_E_UNSUPPORTED,
            "chat: this model has no chat template (a base model completes text, it does not answer)");
    FAIL_IF(chat->kind == CHAT_OTHER, SNELLEN_E_UNSUPPORTED,
            "chat: this model's chat template is neither ChatML nor Gemma's turns, the two that are supported");
    for (size_t i = 0; i < n; i++) {
        FAIL_IF(!messages[i].role || !messages[i].content, SNELLEN_E_USAGE, "chat: message %zu has no %s", i + 1,
                messages[i].role ? "content" : "role");
        bool known = is_role(&messages[i], "system") || is_role(&messages[i], "user") ||
                     is_role(&messages[i], "assistant");
        FAIL_IF(!known, SNELLEN_E_USAGE, "chat: role '%.40s': system, user or assistant expected", messages[i].role);
    }
    struct strbuf b = {0};
    if (chat->bos && t->bos >= 0) strbuf_put(&b, t->tokens[t->bos].bytes, t->tokens[t->bos].n);
    snellen_status status = SNELLEN_OK;
    if (chat->kind == CHAT_GEMMA)
        status = write_gemma(&b, chat, messages, n, err);
    else
        write_chatml(&b, chat, messages, n);
    if (!status && answer) strbuf_puts(&b, chat->opening);
    if (!status) return strbuf_take(&b, text, NULL, err);
    strbuf_free(&b);
    return status;
}

snellen_status chat_keep(struct tokenizer *t, const char *text, size_t n, snellen_error *err)
{
    t->template = arena_text(&t->arena, text, n);
    t->n_template = n;
    FAIL_IF(!t->template, SNELLEN_E_MEMORY, "chat template: memory ran out");
    return chat_recognise(&t->chat, text, n, &t->arena, err);
}
