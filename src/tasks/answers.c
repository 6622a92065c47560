/* Candidates: which numbers could be the answer, as a trie of tokens, and the exact search for the likeliest wrong
 * one.
 *
 * log p(candidate) is the sum over its tokens behind the frame; in a closed set plus log p(the token after it
 * begins with no digit), so that 1 does not get the probability of 12. Tokens that all candidates have in common (a
 * space) belong to the frame. */
#include "tasks/eval.h"

#include <math.h>
#include <string.h>

/* ---- the trie ---------------------------------------------------------------------------------------------------- */

/* The tokens of every candidate's whole text. */
struct spelling {
    int32_t *tokens;
    size_t n;
};

/* opening: the turn that the frame begins, NULL = no chat. */
static snellen_status spell(const struct answer_set *set, const snellen_model *model, const char *opening,
                            int64_t answer, struct arena *arena, struct spelling *out, snellen_error *err)
{
    char *text = arena_printf(arena, "%s%s%lld", opening ? opening : "How many?\n", set->frame, (long long)answer);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "candidates: memory ran out");
    int32_t *ids;
    TRY(snellen_tokenize(model, text, strlen(text), task_token_flags(opening), &ids, &out->n, err));
    out->tokens = arena_alloc(arena, out->n * sizeof *ids);
    if (out->tokens && out->n) memcpy(out->tokens, ids, out->n * sizeof *ids);
    snellen_free(ids);
    FAIL_IF(!out->tokens, SNELLEN_E_MEMORY, "candidates: memory ran out");
    return SNELLEN_OK;
}

/* The child of a node with this token, made if it is not there. */
static int32_t child_with(struct answer_set *set, int32_t parent, int32_t token)
{
    int32_t *link = &set->nodes[parent].first_child;
    while (*link >= 0 && set->nodes[*link].token != token) link = &set->nodes[*link].next;
    if (*link >= 0) return *link;
    int32_t node = set->n_nodes++;
    *link = node;
    set->nodes[node] = (struct answer_node){.token = token, .parent = parent, .first_child = -1, .next = -1,
                                            .depth = set->nodes[parent].depth + 1, .answer = -1, .least = INT64_MAX};
    set->depth = MAX(set->depth, set->nodes[node].depth);
    return node;
}

static snellen_status plant(struct answer_set *set, const struct spelling *s, size_t shared, int64_t answer,
                            snellen_error *err)
{
    int32_t node = 0;
    FAIL_IF(s->n <= shared || s->n - shared > ANSWER_MAX_DEPTH, SNELLEN_E_UNSUPPORTED,
            "the tokenizer spells the answer %lld with %zu tokens, 1 to %d expected", (long long)answer, s->n - shared,
            ANSWER_MAX_DEPTH);
    for (size_t i = shared; i < s->n; i++) {
        node = child_with(set, node, s->tokens[i]);
        set->nodes[node].least = MIN(set->nodes[node].least, answer);
    }
    FAIL_IF(set->nodes[node].answer >= 0, SNELLEN_E_UNSUPPORTED, "the tokenizer spells %lld and %lld alike",
            (long long)set->nodes[node].answer, (long long)answer);
    set->nodes[node].answer = answer;
    set->node_of[answer] = node;
    return SNELLEN_OK;
}

static snellen_status build_trie(struct answer_set *set, const struct spelling *all, snellen_error *err)
{
    size_t n = (size_t)set->max_answer + 1, shared = all[0].n, room = 1;
    for (size_t i = 1; i < n; i++)
        shared = MIN(shared, common_prefix(all[0].tokens, all[0].n, all[i].tokens, all[i].n));
    for (size_t i = 0; i < n; i++) room += all[i].n - shared;
    FAIL_IF(room > INT32_MAX, SNELLEN_E_MEMORY, "%zu candidates are too many", n);
    TRY(NEW_ARRAY(&set->nodes, room, "candidates", err));
    TRY(NEW_ARRAY(&set->node_of, n, "candidates", err));
    set->nodes[0] = (struct answer_node){.token = -1, .parent = -1, .first_child = -1, .next = -1, .answer = -1};
    set->n_nodes = 1;
    for (size_t i = 0; i < n; i++) TRY(plant(set, &all[i], shared, (int64_t)i, err));
    return SNELLEN_OK;
}

static snellen_status mark_digits(struct answer_set *set, const snellen_model *model, snellen_error *err)
{
    TRY(NEW_ARRAY(&set->digit_first, set->n_vocab, "digits", err));
    for (int64_t i = 0; i < set->n_vocab; i++) {
        size_t n;
        const char *bytes = snellen_token_bytes(model, (int32_t)i, &n);
        set->digit_first[i] = bytes && n && bytes[0] >= '0' && bytes[0] <= '9';
    }
    return SNELLEN_OK;
}

snellen_status answer_set_build(struct answer_set *set, const snellen_model *model, bool chat, snellen_error *err)
{
    set->n_vocab = snellen_model_get_info(model)->n_vocab;
    char *opening = NULL;
    if (chat) {
        const snellen_message question = {.role = "user", .content = "How many?"};
        TRY(snellen_chat_format(model, &question, 1, true, &opening, err));
    }
    struct arena arena = {0};
    struct spelling *all = NULL;
    snellen_status status;
    TRY_GOTO(NEW_ARRAY(&all, set->max_answer + 1, "candidates", err), done);
    for (int64_t i = 0; i <= set->max_answer; i++)
        TRY_GOTO(spell(set, model, opening, i, &arena, &all[i], err), done);
    TRY_GOTO(build_trie(set, all, err), done);
    if (set->closed) status = mark_digits(set, model, err);
done:
    snellen_free(opening);
    mem_free(all);
    arena_free(&arena);
    return status;
}

void answer_set_free(struct answer_set *set)
{
    mem_free(set->nodes);
    mem_free(set->node_of);
    mem_free(set->digit_first);
}

int32_t answer_set_path(const struct answer_set *set, int32_t node, int32_t tokens[ANSWER_MAX_DEPTH])
{
    int32_t n = set->nodes[node].depth;
    for (int32_t i = n; i-- > 0; node = set->nodes[node].parent) tokens[i] = set->nodes[node].token;
    return n;
}

bool answer_set_single(const struct answer_set *set)
{
    return set->depth == 1 && !set->closed;
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

snellen_status answer_search_new(struct answer_search *search, const struct answer_set *set, snellen_error *err)
{
    search->set = set;
    TRY(NEW_ARRAY(&search->prefix, set->n_nodes, "candidates", err));
    TRY(NEW_ARRAY(&search->complete, set->n_nodes, "candidates", err));
    return NEW_ARRAY(&search->expanded, set->n_nodes, "candidates", err);
}

void answer_search_free(struct answer_search *search)
{
    mem_free(search->prefix);
    mem_free(search->complete);
    mem_free(search->expanded);
}

void answer_search_start(struct answer_search *search, int64_t right, int64_t limit)
{
    search->right = right;
    search->limit = MIN(limit, search->set->max_answer);
    for (int32_t i = 0; i < search->set->n_nodes; i++) {
        search->prefix[i] = search->complete[i] = (double)NAN;
        search->expanded[i] = false;
    }
    search->prefix[0] = 0;
}

/* Log of the sum of exp over all tokens, and over those that begin with no digit; NaN logits count as -inf. */
static double log_sum(const float *logits, int64_t n, const uint8_t *digit_first, double *no_digit)
{
    float top = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (logits[i] > top) top = logits[i];
    double all = 0, digits = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(logits[i] > -INFINITY)) continue;
        double p = (double)expf(logits[i] - top);
        if (digit_first && digit_first[i])
            digits += p;
        else
            all += p;
    }
    *no_digit = (double)top + log(all);
    return (double)top + log(all + digits);
}

void answer_search_see(struct answer_search *search, int32_t node, const float *logits)
{
    const struct answer_set *set = search->set;
    double no_digit, total = log_sum(logits, set->n_vocab, set->digit_first, &no_digit), here = search->prefix[node];
    search->expanded[node] = true;
    if (set->closed && set->nodes[node].answer >= 0) search->complete[node] = here + no_digit - total;
    for (int32_t i = set->nodes[node].first_child; i >= 0; i = set->nodes[i].next) {
        double logp = here + (double)logits[set->nodes[i].token] - total;
        if (isnan(logp)) logp = -HUGE_VAL;
        search->prefix[i] = logp;
        if (!set->closed && set->nodes[i].answer >= 0) search->complete[i] = logp;
    }
}

/* Candidates within the limit lie behind this node, or it is one whose end is not weighed yet. */
static bool is_open(const struct answer_search *search, int32_t node)
{
    const struct answer_set *set = search->set;
    const struct answer_node *n = &set->nodes[node];
    if (search->expanded[node] || isnan(search->prefix[node]) || n->least > search->limit) return false;
    if (set->closed && n->answer >= 0 && n->answer <= search->limit) return true;
    for (int32_t i = n->first_child; i >= 0; i = set->nodes[i].next)
        if (set->nodes[i].least <= search->limit) return true;
    return false;
}

/* The likeliest complete wrong candidate within the limit; -1 = none yet. */
static int32_t best_wrong_node(const struct answer_search *search)
{
    const struct answer_set *set = search->set;
    int32_t best = -1;
    for (int64_t a = 0; a <= search->limit; a++) {
        int32_t node = set->node_of[a];
        if (a == search->right || isnan(search->complete[node])) continue;
        if (best < 0 || search->complete[node] > search->complete[best]) best = node;
    }
    return best;
}

/* Lies on the way to the right answer. */
static bool leads_to(const struct answer_set *set, int32_t node, int32_t target)
{
    while (set->nodes[target].depth > set->nodes[node].depth) target = set->nodes[target].parent;
    return node == target;
}

int32_t answer_search_wants(const struct answer_search *search, int32_t *nodes, int32_t max_nodes)
{
    const struct answer_set *set = search->set;
    int32_t right = set->node_of[search->right], best = best_wrong_node(search), n = 0;
    bool right_open = isnan(search->complete[right]);
    double bar = best < 0 ? -HUGE_VAL : search->complete[best];
    for (int32_t i = 0; i < set->n_nodes; i++) {
        if (!is_open(search, i)) continue;
        bool needed = right_open && leads_to(set, i, right);
        if (!needed && best >= 0 && search->prefix[i] <= bar) continue;
        /* Insertion into the short list: what the right answer needs first, then by probability. */
        double key = needed ? HUGE_VAL : search->prefix[i];
        int32_t at = n < max_nodes ? n++ : max_nodes;
        for (; at > 0; at--) {
            int32_t other = nodes[at - 1];
            double other_key = right_open && leads_to(set, other, right) ? HUGE_VAL : search->prefix[other];
            if (other_key >= key) break;
            if (at < max_nodes) nodes[at] = other;
        }
        if (at < max_nodes) nodes[at] = i;
    }
    return n;
}

float answer_search_margin(const struct answer_search *search, int64_t *best_wrong)
{
    const struct answer_set *set = search->set;
    int32_t wrong = best_wrong_node(search);
    *best_wrong = wrong < 0 ? -1 : set->nodes[wrong].answer;
    double right = search->complete[set->node_of[search->right]];
    return wrong < 0 ? NAN : (float)(right - search->complete[wrong]);
}
