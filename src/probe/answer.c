/* What the probes of a memory share: a session with one, and how likely an answer is. */
#include "probe/probe.h"

#include "model/session.h"
#include "tasks/tasks.h"

#include <math.h>
#include <string.h>

/* log softmax of one logit, in double */
static double log_softmax(const float *logits, int64_t n, int32_t token)
{
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, (double)logits[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - top);
    return (double)logits[token] - top - log(sum);
}

snellen_status answer_token(snellen_session *s, int32_t token, struct answer_score *score, snellen_error *err)
{
    const float *logits = snellen_session_logits(s);
    int64_t n_vocab = s->model->desc.n_vocab;
    FAIL_IF(!logits, SNELLEN_E_USAGE, "an answer needs a token before it");
    TRY(session_check_tokens(s->model, &token, 1, err));
    score->log_p += log_softmax(logits, n_vocab, token);
    score->n_right += likeliest(logits, n_vocab) == token;
    score->n++;
    return snellen_session_feed(s, &token, 1, NULL, err);
}

snellen_status memory_session(const snellen_model *model, const snellen_session_options *options, bool rows,
                              snellen_session **session, snellen_error *err)
{
    snellen_session_options o = *options;
    if (o.memory == SNELLEN_MEMORY_FULL) o.memory = snellen_model_get_memory(model)->kind;
    const struct memory_ops *ops = memory_find(o.memory);
    FAIL_IF(!ops, SNELLEN_E_USAGE, "memory kind %d is not known", (int)o.memory);
    FAIL_IF(rows ? !ops->replace : !ops->room, SNELLEN_E_USAGE,
            "memory %s carries no %s; a model with a memory of its own, or %s expected", ops->name,
            rows ? "rows from block to block" : "blocks",
            rows ? "--memory fam or rmt" : "--memory bswa, xl, fam or rmt");
    return snellen_session_new(model, &o, session, err);
}
