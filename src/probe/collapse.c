/* Representational collapse: the vectors of a prompt's last token when its sequence has n items, and n with the last
 * item once more (arXiv 2406.04267, section 4).
 *
 * Equal items: one causal pass over the longest sequence holds every y_n; the pass is cut into pieces and only the
 * vectors at wanted positions are kept, two at a time, so memory does not grow with the length. Unlike items: one pass
 * over what all n share, then two tokens more for each n as branches. Items are single tokens put one after the other,
 * also where a tokenizer would merge a run of digits: n items are n tokens. */
#include "probe/probe.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 512, MAX_PROMPTS = 1000, MAX_BRANCHES = 64 };
static const uint64_t HIDDEN_BYTES = (uint64_t)256 << 20; /* bound of a buffer of vectors or logits */
static const int64_t MAX_LENGTH = (int64_t)1 << 24;

static const int64_t PAPER_LENGTHS[] = {1, 2, 6, 11, 51, 101, 501, 1001, 2001};

struct probing {
    const snellen_model *model;
    const snellen_model_info *info;
    snellen_collapse_options options;
    const struct collapse_kind *kind;
    const snellen_progress *progress;
    snellen_session *session;
    int64_t d, n_layers;             /* n_layers: vectors of a token, with embedding and final norm */
    uint32_t comma;
    int32_t item, zero, comma_token; /* token ids */
    int32_t *tokens;                 /* [n_prefix + sequence of the longest n and its last item once more] */
    size_t n_tokens, n_prefix;
    uint64_t n_read, n_to_read;
    snellen_collapse_row *next;      /* where the next row goes .. */
    float *next_vectors;             /* .. and the next y_n, y*_n */
};

/* ---- options and tokens ------------------------------------------------------------------------------------------------ */

snellen_collapse_options snellen_collapse_options_default(void)
{
    return (snellen_collapse_options){.sequence = "ones", .n_prompts = 1, .seed = 1,
                                      .session = snellen_session_options_default()};
}

static snellen_status check_options(struct probing *p, snellen_error *err)
{
    snellen_collapse_options *o = &p->options;
    const char *name = o->sequence ? o->sequence : "ones";
    p->kind = collapse_kind_find(name);
    FAIL_IF(!p->kind, SNELLEN_E_USAGE, "sequence '%s' is not known: ones, digits, copy, commas or alternate", name);
    p->comma = o->comma ? o->comma : p->kind->comma;
    if (!o->lengths) {
        o->lengths = PAPER_LENGTHS;
        o->n_lengths = COUNT_OF(PAPER_LENGTHS);
    }
    FAIL_IF(!o->n_lengths, SNELLEN_E_USAGE, "no lengths to measure at");
    for (size_t i = 0; i < o->n_lengths; i++) {
        FAIL_IF(o->lengths[i] < 1 || o->lengths[i] > MAX_LENGTH, SNELLEN_E_USAGE, "length %lld is not in 1..%lld",
                (long long)o->lengths[i], (long long)MAX_LENGTH);
        FAIL_IF(i && o->lengths[i] <= o->lengths[i - 1], SNELLEN_E_USAGE, "lengths must ascend: %lld follows %lld",
                (long long)o->lengths[i], (long long)o->lengths[i - 1]);
    }
    bool random = p->kind->items == ITEMS_DIGITS;
    bool one = o->prompt || o->prompt_tokens;
    uint32_t most = random ? MAX_PROMPTS : one ? 1 : COLLAPSE_WORDINGS;
    FAIL_IF(o->prompt_tokens && (o->prompt || o->chat), SNELLEN_E_USAGE,
            "a prompt of token ids goes without prompt text and chat template");
    FAIL_IF(o->n_prompts < 1 || o->n_prompts > most, SNELLEN_E_USAGE,
            "%u prompts: sequence %s has 1..%u different ones%s", o->n_prompts, name, most,
            one ? " after one prompt" : "");
    FAIL_IF(o->repeat && p->kind->items != ITEMS_REPEATED, SNELLEN_E_USAGE,
            "sequence %s has digits of its own: another item can be repeated with ones, copy or commas", name);
    /* The cache must hold what the precision leaves of a key, no less. */
    bool rounded = !o->session.round_parts || o->session.round_parts & SNELLEN_ROUND_CACHE;
    o->session.cache = o->session.precision == SNELLEN_F16 && rounded ? SNELLEN_F16 : SNELLEN_F32;
    o->session.exact = true; /* vectors are compared that differ by less than what rounding activations moves */
    return SNELLEN_OK;
}

/* The token whose bytes are exactly `text`. One that spells a single byte is only taken when there is no other. */
static snellen_status token_of(const struct probing *p, const char *text, int32_t *id, snellen_error *err)
{
    size_t n = strlen(text);
    *id = -1;
    for (int32_t i = 0; i < p->info->n_vocab; i++) {
        size_t n_bytes;
        const char *bytes = snellen_token_bytes(p->model, i, &n_bytes), *kind = snellen_token_kind(p->model, i);
        if (!bytes || n_bytes != n || memcmp(bytes, text, n) || !kind) continue;
        bool plain = !strcmp(kind, "normal") || !strcmp(kind, "user");
        if (plain || (*id < 0 && !strcmp(kind, "byte"))) *id = i;
        if (plain) break;
    }
    FAIL_IF(*id < 0, SNELLEN_E_UNSUPPORTED, "the model has no token for '%s', so a sequence of it cannot grow by one",
            text);
    return SNELLEN_OK;
}

/* The user's turn as the template opens it, up to where its content ends. */
static snellen_status open_turn(const struct probing *p, char **text, snellen_error *err)
{
    static const char mark[] = "\x01sequence\x01";
    struct strbuf content = {0};
    strbuf_puts(&content, *text);
    strbuf_puts(&content, mark);
    FAIL_IF(content.failed, SNELLEN_E_MEMORY, "prompt: memory ran out");
    const snellen_message message = {.role = "user", .content = content.text};
    char *formatted;
    snellen_status status = snellen_chat_format(p->model, &message, 1, false, &formatted, err);
    strbuf_free(&content);
    TRY(status);
    char *end = strstr(formatted, mark);
    if (!end) {
        snellen_free(formatted);
        FAIL(SNELLEN_E_UNSUPPORTED, "the chat template drops parts of a message");
    }
    *end = 0;
    snellen_free(*text);
    *text = formatted;
    return SNELLEN_OK;
}

static snellen_status prefix_tokens(const struct probing *p, uint32_t prompt, int32_t **ids, size_t *n,
                                    snellen_error *err)
{
    char *text;
    if (p->options.prompt_tokens) {
        size_t bytes = p->options.n_prompt_tokens * sizeof **ids;
        *n = p->options.n_prompt_tokens;
        *ids = malloc(bytes + 1);
        FAIL_IF(!*ids, SNELLEN_E_MEMORY, "prompt: memory ran out");
        memcpy(*ids, p->options.prompt_tokens, bytes);
        return SNELLEN_OK;
    }
    if (p->options.prompt) {
        struct strbuf b = {0};
        strbuf_puts(&b, p->options.prompt);
        size_t n_text;
        TRY(strbuf_take(&b, &text, &n_text, err));
    } else {
        TRY(collapse_wording(p->kind, prompt, &text, err));
    }
    snellen_status status = p->options.chat ? open_turn(p, &text, err) : SNELLEN_OK;
    if (!status) status = snellen_tokenize(p->model, text, strlen(text), SNELLEN_SPECIAL | SNELLEN_BOS, ids, n, err);
    snellen_free(text);
    TRY(status);
    /* A template or a user may spell the begin token, too: one is enough. */
    bool wanted;
    int32_t bos = snellen_token_bos(p->model, &wanted);
    if (*n >= 2 && (*ids)[0] == bos && (*ids)[1] == bos) {
        memmove(*ids, *ids + 1, (*n - 1) * sizeof **ids);
        --*n;
    }
    return SNELLEN_OK;
}

/* Item i of prompt's sequence. */
static snellen_status fill_items(struct probing *p, uint32_t prompt, int64_t n_items, snellen_error *err)
{
    int32_t digits[10];
    struct rng rng;
    rng_seed(&rng, p->options.seed, prompt);
    if (p->kind->items == ITEMS_DIGITS)
        for (int k = 0; k < 10; k++) {
            const char text[2] = {(char)('0' + k), 0};
            TRY(token_of(p, text, &digits[k], err));
        }
    int32_t *out = p->tokens + p->n_prefix;
    for (int64_t i = 0; i < n_items; i++) {
        if (p->comma && i && i % p->comma == 0) *out++ = p->comma_token;
        if (p->kind->items == ITEMS_DIGITS) *out++ = digits[rng_below(&rng, 10)];
        else *out++ = p->kind->items == ITEMS_ALTERNATE && i % 2 ? p->zero : p->item;
    }
    return SNELLEN_OK;
}

/* Prefix and the longest sequence with one item more. */
static snellen_status make_tokens(struct probing *p, uint32_t prompt, snellen_error *err)
{
    int32_t *prefix;
    size_t n_prefix;
    TRY(prefix_tokens(p, prompt, &prefix, &n_prefix, err));
    int64_t n_items = p->options.lengths[p->options.n_lengths - 1] + 1;
    mem_free(p->tokens);
    p->tokens = NULL;
    p->n_prefix = n_prefix;
    p->n_tokens = n_prefix + (size_t)collapse_tokens_before(n_items - 1, p->comma) + 1;
    snellen_status status = NEW_ARRAY(&p->tokens, p->n_tokens, "tokens", err);
    if (!status && n_prefix) memcpy(p->tokens, prefix, n_prefix * sizeof *prefix);
    snellen_free(prefix);
    TRY(status);
    return fill_items(p, prompt, n_items, err);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------- */

/* A vector of each layer at one position, `stride` elements from layer to layer, and the logits there. */
struct ending {
    const float *hidden;
    int64_t stride;
    const float *logits;
};

static void put_rows(struct probing *p, int64_t n, uint32_t prompt, struct ending v, struct ending w)
{
    snellen_collapse_row shared = {.n = n, .prompt = prompt};
    collapse_predictions(v.logits, w.logits, p->info->n_vocab, &shared);
    for (int64_t layer = 0; layer < p->n_layers; layer++) {
        shared.layer = layer;
        collapse_measure(v.hidden + layer * v.stride, w.hidden + layer * w.stride, p->d, p->info->n_heads, &shared);
        *p->next++ = shared;
    }
    size_t bytes = (size_t)p->d * sizeof(float);
    memcpy(p->next_vectors, v.hidden + (p->n_layers - 1) * v.stride, bytes);
    memcpy(p->next_vectors + p->d, w.hidden + (p->n_layers - 1) * w.stride, bytes);
    p->next_vectors += 2 * p->d;
}

static snellen_status step(struct probing *p, uint64_t n_tokens, snellen_error *err)
{
    p->n_read += n_tokens;
    const snellen_progress *progress = p->progress;
    FAIL_IF(progress && progress->step && !progress->step(progress->user, "tokens", p->n_read, p->n_to_read),
            SNELLEN_E_CANCELLED, "stopped after %llu of %llu tokens", (unsigned long long)p->n_read,
            (unsigned long long)p->n_to_read);
    return SNELLEN_OK;
}

/* ---- equal items: one pass ------------------------------------------------------------------------------------------------- */

/* Positions whose vectors are wanted, ascending: the last item of each n and of each n + 1. Given one after the other;
 * -1 at the end. */
struct wanted {
    size_t i;         /* index into lengths */
    bool second;      /* n + 1 of lengths[i] */
};

static int64_t wanted_length(const struct probing *p, const struct wanted *w)
{
    return w->i < p->options.n_lengths ? p->options.lengths[w->i] + w->second : -1;
}

static void wanted_advance(const struct probing *p, struct wanted *w)
{
    const snellen_collapse_options *o = &p->options;
    /* n + 1 may be the next n itself. */
    if (!w->second || (w->i + 1 < o->n_lengths && o->lengths[w->i + 1] == o->lengths[w->i] + 1)) {
        w->i += w->second;
        w->second = true;
    } else {
        w->i++;
        w->second = false;
    }
}

static int64_t position_of(const struct probing *p, int64_t length)
{
    return (int64_t)p->n_prefix + collapse_tokens_before(length - 1, p->comma);
}

/* Buffers of one pass. */
struct pass {
    int64_t piece;     /* tokens fed at a time */
    float *hidden;     /* [n_layers, piece, d] */
    float *logits;     /* [max_rows, n_vocab] */
    int64_t max_rows;
    int64_t *rows;     /* [piece] */
    int64_t *lengths;  /* [piece] the length that ends at each row */
    float *held;       /* [n_layers, d] the ending before, when a row needs it from the last piece .. */
    float *held_logits;/* [n_vocab] .. and its logits */
    int64_t held_length;
};

static void pass_free(struct pass *s)
{
    mem_free(s->hidden);
    mem_free(s->logits);
    mem_free(s->rows);
    mem_free(s->lengths);
    mem_free(s->held);
    mem_free(s->held_logits);
}

static snellen_status pass_new(const struct probing *p, struct pass *s, snellen_error *err)
{
    uint64_t token_bytes = (uint64_t)(p->n_layers * p->d) * sizeof(float);
    uint64_t row_bytes = (uint64_t)p->info->n_vocab * sizeof(float);
    s->piece = MAX(2, MIN(PIECE, (int64_t)(HIDDEN_BYTES / token_bytes)));
    s->piece = MIN(s->piece, (int64_t)MAX(2, HIDDEN_BYTES / row_bytes));
    /* Few positions are wanted as a rule: no more rows of logits than these. */
    s->max_rows = MIN(s->piece, (int64_t)p->options.n_lengths * 2);
    TRY(NEW_ARRAY(&s->hidden, p->n_layers * s->piece * p->d, "vectors of a piece", err));
    TRY(NEW_ARRAY(&s->logits, (uint64_t)s->max_rows * (uint64_t)p->info->n_vocab, "logits of a piece", err));
    TRY(NEW_ARRAY(&s->rows, s->piece, "rows of a piece", err));
    TRY(NEW_ARRAY(&s->lengths, s->piece, "rows of a piece", err));
    TRY(NEW_ARRAY(&s->held, p->n_layers * p->d, "vectors", err));
    return NEW_ARRAY(&s->held_logits, p->info->n_vocab, "logits", err);
}

/* Rows that end in this piece [n_tokens], then its last ending is held for the next one. */
static void pass_rows(struct probing *p, struct pass *s, uint32_t prompt, int64_t n_rows, int64_t n_tokens, size_t *i)
{
    struct ending before = {s->held, p->d, s->held_logits}, here = before;
    for (int64_t r = 0; r < n_rows; r++, before = here) {
        here = (struct ending){s->hidden + s->rows[r] * p->d, n_tokens * p->d, s->logits + r * p->info->n_vocab};
        if (*i < p->options.n_lengths && s->lengths[r] == p->options.lengths[*i] + 1) {
            put_rows(p, p->options.lengths[*i], prompt, before, here);
            ++*i;
        }
    }
    if (!n_rows) return;
    for (int64_t layer = 0; layer < p->n_layers; layer++)
        memcpy(s->held + layer * p->d, here.hidden + layer * here.stride, (size_t)p->d * sizeof(float));
    memcpy(s->held_logits, here.logits, (size_t)p->info->n_vocab * sizeof(float));
}

static snellen_status one_pass(struct probing *p, uint32_t prompt, struct pass *s, snellen_error *err)
{
    struct wanted next = {0};
    size_t done = 0;
    TRY(snellen_session_truncate(p->session, 0, err));
    for (int64_t start = 0; start < (int64_t)p->n_tokens; start += s->piece) {
        int64_t n = MIN(s->piece, (int64_t)p->n_tokens - start), n_rows = 0;
        for (int64_t length; (length = wanted_length(p, &next)) > 0; wanted_advance(p, &next)) {
            int64_t row = position_of(p, length) - start;
            if (row >= n) break;
            s->rows[n_rows] = row;
            s->lengths[n_rows++] = length;
        }
        const snellen_outputs outputs = {.logits = n_rows ? s->logits : NULL, .rows = s->rows, .n_rows = (size_t)n_rows,
                                         .hidden = n_rows ? s->hidden : NULL};
        TRY(snellen_session_feed(p->session, p->tokens + start, (size_t)n, &outputs, err));
        pass_rows(p, s, prompt, n_rows, n, &done);
        TRY(step(p, (uint64_t)n, err));
    }
    return SNELLEN_OK;
}

static snellen_status probe_repeated(struct probing *p, uint32_t prompt, snellen_error *err)
{
    struct pass s = {0};
    snellen_status status = pass_new(p, &s, err);
    if (!status) status = one_pass(p, prompt, &s, err);
    pass_free(&s);
    return status;
}

/* ---- unlike items: a shared pass, then branches ---------------------------------------------------------------------------- */

/* Branches for lengths first .. first + n: the last item, its comma if one follows, the last item again. `ids` [3 n]. */
static size_t fill_branches(const struct probing *p, size_t first, size_t n, snellen_branch *branches, int32_t *ids,
                            int64_t *rows)
{
    size_t at = 0;
    for (size_t k = 0; k < n; k++) {
        int64_t length = p->options.lengths[first + k];
        int64_t keep = position_of(p, length);
        /* Digits end in 1 (paper); alternating ones in what the turn brings. */
        int32_t last = p->kind->items == ITEMS_ALTERNATE ? p->tokens[keep] : p->item;
        size_t start = at;
        rows[2 * k] = (int64_t)at;
        ids[at++] = last;
        if (p->comma && length % p->comma == 0) ids[at++] = p->comma_token;
        rows[2 * k + 1] = (int64_t)at;
        ids[at++] = last;
        branches[k] = (snellen_branch){.keep = keep, .tokens = ids + start, .n_tokens = at - start};
    }
    return at;
}

static snellen_status branch_batch(struct probing *p, uint32_t prompt, size_t first, size_t n, float *hidden,
                                   float *logits, snellen_error *err)
{
    snellen_branch branches[MAX_BRANCHES] = {{0}};
    int32_t ids[3 * MAX_BRANCHES];
    int64_t rows[2 * MAX_BRANCHES];
    size_t n_tokens = fill_branches(p, first, n, branches, ids, rows);
    const snellen_outputs outputs = {.logits = logits, .rows = rows, .n_rows = 2 * n, .hidden = hidden};
    TRY(snellen_session_branches(p->session, branches, n, &outputs, err));
    for (size_t k = 0; k < n; k++) {
        struct ending e[2];
        for (size_t j = 0; j < 2; j++)
            e[j] = (struct ending){hidden + rows[2 * k + j] * p->d, (int64_t)n_tokens * p->d,
                                   logits + (int64_t)(2 * k + j) * p->info->n_vocab};
        put_rows(p, p->options.lengths[first + k], prompt, e[0], e[1]);
    }
    return step(p, n_tokens, err);
}

static snellen_status probe_branches(struct probing *p, uint32_t prompt, snellen_error *err)
{
    /* What the longest sequence shares with the others: all but its last item, once and twice. */
    size_t n_shared = (size_t)position_of(p, p->options.lengths[p->options.n_lengths - 1]);
    TRY(snellen_session_truncate(p->session, 0, err));
    for (size_t start = 0; start < n_shared; start += PIECE) {
        size_t n = MIN(PIECE, n_shared - start);
        TRY(snellen_session_feed(p->session, p->tokens + start, n, NULL, err));
        TRY(step(p, n, err));
    }
    uint64_t bytes = (uint64_t)(3 * p->n_layers * p->d + 2 * p->info->n_vocab) * sizeof(float); /* of one branch */
    size_t batch = (size_t)MAX(1, MIN(MAX_BRANCHES, HIDDEN_BYTES / bytes));
    float *hidden = NULL, *logits = NULL;
    snellen_status status = NEW_ARRAY(&hidden, 3 * batch * (uint64_t)(p->n_layers * p->d), "vectors of branches", err);
    if (!status) status = NEW_ARRAY(&logits, 2 * batch * (uint64_t)p->info->n_vocab, "logits of branches", err);
    for (size_t i = 0; i < p->options.n_lengths && !status; i += batch)
        status = branch_batch(p, prompt, i, MIN(batch, p->options.n_lengths - i), hidden, logits, err);
    mem_free(hidden);
    mem_free(logits);
    return status;
}

/* ---- the probe --------------------------------------------------------------------------------------------------------------- */

static snellen_status probe_all(struct probing *p, snellen_error *err)
{
    const snellen_collapse_options *o = &p->options;
    bool repeated = p->kind->items == ITEMS_REPEATED;
    TRY(token_of(p, o->repeat ? o->repeat : "1", &p->item, err));
    if (p->comma) TRY(token_of(p, ",", &p->comma_token, err));
    if (p->kind->items == ITEMS_ALTERNATE) TRY(token_of(p, "0", &p->zero, err));
    for (uint32_t prompt = 0; prompt < o->n_prompts; prompt++) {
        TRY(make_tokens(p, prompt, err));
        FAIL_IF(p->info->n_context > 0 && (int64_t)p->n_tokens > p->info->n_context &&
                    !strcmp(p->info->positions, "learned"),
                SNELLEN_E_CONTEXT, "length %lld makes a prompt of %zu tokens, the model can hold %lld: ask for shorter ones",
                (long long)o->lengths[o->n_lengths - 1], p->n_tokens, (long long)p->info->n_context);
        if (!p->session) {
            snellen_session_options session = o->session;
            /* Wordings differ by a few tokens. */
            int64_t room = (int64_t)p->n_tokens + (o->n_prompts > 1 ? 64 : 0);
            if (!strcmp(p->info->positions, "learned")) room = MIN(room, p->info->n_context);
            if (session.n_context == 0) session.n_context = room;
            TRY(snellen_session_new(p->model, &session, &p->session, err));
            uint64_t ends = repeated ? 0 : 2 * o->n_lengths;
            p->n_to_read = o->n_prompts * (p->n_tokens + ends);
        }
        TRY(repeated ? probe_repeated(p, prompt, err) : probe_branches(p, prompt, err));
    }
    return SNELLEN_OK;
}

snellen_status snellen_probe_collapse(const snellen_model *model, const snellen_collapse_options *options,
                                      const snellen_progress *progress, snellen_collapse **result, snellen_error *err)
{
    struct probing p = {.model = model, .info = snellen_model_get_info(model), .progress = progress,
                        .options = options ? *options : snellen_collapse_options_default()};
    p.d = p.info->d_model;
    p.n_layers = p.info->n_layers + 2;
    TRY(check_options(&p, err));
    snellen_collapse *c = calloc(1, sizeof *c);
    FAIL_IF(!c, SNELLEN_E_MEMORY, "collapse: memory ran out");
    c->n_rows = p.options.n_lengths * p.options.n_prompts * (size_t)p.n_layers;
    snellen_status status = NEW_ARRAY(&c->rows, c->n_rows, "rows of the collapse probe", err);
    p.next = c->rows;
    size_t n_vectors = p.options.n_lengths * p.options.n_prompts * 2;
    if (!status) status = NEW_ARRAY(&p.next_vectors, n_vectors * (uint64_t)p.d, "vectors of the collapse probe", err);
    c->vectors = p.next_vectors;
    if (!status) status = probe_all(&p, err);
    snellen_session_free(p.session);
    mem_free(p.tokens);
    if (status) {
        snellen_collapse_free(c);
        return status;
    }
    c->n_tokens = p.n_read;
    collapse_judge(c, p.n_layers - 1);
    *result = c;
    return SNELLEN_OK;
}

void snellen_collapse_free(snellen_collapse *result)
{
    if (!result) return;
    mem_free(result->rows);
    mem_free((void *)(uintptr_t)result->vectors);
    free(result);
}
