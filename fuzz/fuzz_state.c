/* States of sessions: after success the session is as long as it says and reads on; after a refusal it is empty and reads
 * on. The first byte says which memory; head and checksum are put right, so that the parts are reached. */
#include "fuzz.h"

#include "model/state.h"

#include <string.h>
#include <xxhash.h>

enum { HEAD = 16, N_KINDS = 7, MOST = 1 << 22 };

static snellen_model *small_model(void)
{
    static float prompt[2 * 8];
    snellen_model_design design = snellen_model_design_default();
    const snellen_model_memory memory = {.fam = 2, .prompt = prompt, .prompt_rows = 2};
    snellen_model *model;
    design.n_layers = 1;
    design.d_model = 8;
    design.n_heads = 2;
    design.n_vocab = 11;
    design.n_context = 32;
    CHECK(!snellen_model_new(&design, &model, NULL) && !snellen_model_set_memory(model, &memory, NULL));
    return model;
}

static snellen_session *session_of(const snellen_model *model, int kind)
{
    snellen_session_options o = snellen_session_options_default();
    snellen_session *session;
    o.memory = (snellen_memory_kind)kind;
    o.window = kind == SNELLEN_MEMORY_SWA || kind == SNELLEN_MEMORY_SINK || kind == SNELLEN_MEMORY_XL ? 5 : 0;
    o.block = 4;
    o.segments = 1;
    o.chunk = 4;
    o.n_threads = 1;
    CHECK(!snellen_session_new(model, &o, &session, NULL));
    return session;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static snellen_model *model;
    static const uint8_t head[HEAD] = "SNELSTAT\1";
    const int32_t tokens[] = {1, 2, 3, 4, 5, 6};
    if (!model) model = small_model();
    if (n < 1 || n > MOST) return 0;
    uint8_t *file = malloc(HEAD + n - 1 + 8);
    char path[FUZZ_PATH];
    CHECK(file);
    memcpy(file, head, HEAD);
    memcpy(file + HEAD, bytes + 1, n - 1);
    XXH64_hash_t sum = XXH3_64bits(file, HEAD + n - 1);
    memcpy(file + HEAD + n - 1, &sum, 8);
    int fd = fuzz_file(file, HEAD + n - 1 + 8, path);
    free(file);
    snellen_session *session = session_of(model, bytes[0] % N_KINDS);
    snellen_error err;
    if (snellen_session_restore(session, NULL, path, &err)) {
        CHECK(err.message[0] && snellen_session_length(session) == 0 && !snellen_session_logits(session));
    }
    int64_t length = snellen_session_length(session);
    CHECK(length >= 0 && length <= snellen_session_capacity(session));
    snellen_status status = snellen_session_feed(session, tokens, 6, NULL, &err);
    CHECK(status == SNELLEN_OK || status == SNELLEN_E_CONTEXT || status == SNELLEN_E_FORMAT);
    CHECK(status || snellen_session_length(session) == length + 6);
    snellen_session_free(session);
    close(fd);
    return 0;
}
