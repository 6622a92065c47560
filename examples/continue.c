/* Continues a text, greedily, with the public API alone:
 *
 *     cc continue.c $(pkg-config --cflags --libs snellen) -o continue
 *     ./continue smollm2 "The capital of France is"
 */
#include <snellen.h>
#include <stdio.h>

static int fail(const snellen_error *err)
{
    fprintf(stderr, "continue: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    snellen_error err;
    snellen_model *model;
    snellen_session *session;
    snellen_sampler *sampler;
    snellen_sampling greedy = {.temp = 0, .top_p = 1};
    const char *prompt = argc > 2 ? argv[2] : "The capital of France is";
    int32_t *tokens;
    size_t n_tokens, n_prompt = 0;

    if (snellen_model_load(argc > 1 ? argv[1] : "smollm2", &model, &err)) return fail(&err);
    if (snellen_session_new(model, NULL, &session, &err)) return fail(&err);
    if (snellen_sampler_new(&greedy, snellen_model_get_info(model)->n_vocab, &sampler, &err)) return fail(&err);
    while (prompt[n_prompt]) n_prompt++;
    if (snellen_tokenize(model, prompt, n_prompt, SNELLEN_BOS, &tokens, &n_tokens, &err)) return fail(&err);
    if (snellen_session_feed(session, tokens, n_tokens, NULL, &err)) return fail(&err);
    for (int i = 0; i < 24; i++) {
        int32_t token = snellen_sample(sampler, snellen_session_logits(session));
        if (snellen_token_ends(model, token)) break;
        size_t n;
        const char *bytes = snellen_token_bytes(model, token, &n);
        fwrite(bytes, 1, n, stdout);
        if (snellen_session_feed(session, &token, 1, NULL, &err)) return fail(&err);
    }
    printf("\n");
    snellen_free(tokens);
    snellen_sampler_free(sampler);
    snellen_session_free(session);
    snellen_model_free(model);
    return 0;
}
