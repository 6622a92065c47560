/* packed: a text of any size as sequences of equal length. The mapped file is cut into pieces; a few lanes read a piece
 * each, token by token, and take turns, so that neighbours in a batch come from different places. A lane whose piece is
 * used up goes on with the next piece that no lane has had. What is held is the tokens of the lanes' pieces. */
#include "train/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 32 << 10, SEARCH_BYTES = 4 << 10, MOST_LANES = 16 };

struct lane {
    uint64_t piece;             /* the how manyeth piece that was drawn */
    uint64_t at;                /* tokens of it that have been used */
    int32_t *tokens;            /* [n_tokens] */
    size_t n_tokens;
};

struct packed {
    struct source source;       /* first: the two share their address */
    struct data_options options;
    char *path;
    int32_t bos;                /* -1 = none */
    struct file_map map;
    uint64_t n_pieces;
    uint64_t drawn;             /* pieces that lanes have had */
    struct lane lanes[MOST_LANES];
    uint64_t n_lanes, turn;     /* turn: samples given so far */
};

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static bool starts_character(uint8_t byte)
{
    return (byte & 0xc0) != 0x80;
}

/* Where piece k begins: after the next line end; without one nearby before a space; else before a character. */
static uint64_t piece_start(const struct packed *p, uint64_t k)
{
    if (k == 0) return 0;
    if (k >= p->n_pieces) return p->map.size;
    uint64_t at = k * PIECE_BYTES, n = MIN(p->map.size - at, (uint64_t)SEARCH_BYTES);
    const uint8_t *text = p->map.data + at, *found = memchr(text, '\n', n);
    if (found) return at + (uint64_t)(found - text) + 1;
    found = memchr(text, ' ', n);
    if (found) return at + (uint64_t)(found - text);
    while (at < p->map.size && !starts_character(p->map.data[at])) at++;
    return at;
}

static snellen_status lane_read(struct packed *p, struct lane *lane, snellen_error *err)
{
    uint64_t seed = p->options.seed, i = lane->piece;
    uint64_t k = p->options.shuffle ? order_at(p->n_pieces, i, seed) : i % p->n_pieces;
    uint64_t from = piece_start(p, k), to = piece_start(p, k + 1);
    snellen_free(lane->tokens);
    lane->tokens = NULL;
    snellen_status status = tokenizer_encode(p->options.tokenizer, (const char *)p->map.data + from, to - from,
                                             SNELLEN_SPECIAL, &lane->tokens, &lane->n_tokens, err);
    return status ? error_prefix(err, status, "%s: bytes %" PRIu64 " to %" PRIu64, p->path, from, to) : status;
}

/* A piece may be without tokens (the last one, where it is only a line end); all of them may not. */
static snellen_status lane_next_piece(struct packed *p, struct lane *lane, snellen_error *err)
{
    lane->at = 0;
    for (uint64_t tried = 0; tried <= p->n_pieces; tried++) {
        lane->piece = p->drawn++;
        TRY(lane_read(p, lane, err));
        if (lane->n_tokens) return SNELLEN_OK;
    }
    FAIL(SNELLEN_E_FORMAT, "%s: the model's tokenizer makes no tokens of it", p->path);
}

/* ---- the source -------------------------------------------------------------------------------------------------- */

static snellen_status packed_next(struct source *source, struct sample *s, snellen_error *err)
{
    struct packed *p = (struct packed *)source;
    struct lane *lane = &p->lanes[p->turn++ % p->n_lanes];
    size_t length = (size_t)p->options.length;
    s->n = 0;
    if (p->bos >= 0) TRY(sample_add(s, &p->bos, 1, 0, err));
    while (s->n < length) {
        size_t n = MIN(length - s->n, lane->n_tokens - lane->at);
        TRY(sample_add(s, lane->tokens + lane->at, n, 1, err));
        lane->at += n;
        if (lane->at == lane->n_tokens) TRY(lane_next_piece(p, lane, err));
    }
    return SNELLEN_OK;
}

static json_t *packed_position(const struct source *source)
{
    const struct packed *p = (const struct packed *)source;
    json_t *lanes = json_array();
    for (uint64_t i = 0; i < p->n_lanes; i++)
        if (json_array_append_new(lanes, json_pack("[I, I]", (json_int_t)p->lanes[i].piece,
                                                   (json_int_t)p->lanes[i].at))) {
            json_decref(lanes);
            return NULL;
        }
    return json_pack("{s:I, s:I, s:o, s:I}", "pieces", (json_int_t)p->drawn, "samples", (json_int_t)p->turn, "lanes",
                     lanes, "bytes", (json_int_t)p->map.size);
}

static snellen_status packed_seek(struct source *source, const json_t *position, snellen_error *err)
{
    struct packed *p = (struct packed *)source;
    json_int_t pieces, samples, bytes;
    const json_t *lanes;
    FAIL_IF(json_unpack((json_t *)(uintptr_t)position, "{s:I, s:I, s:o, s:I}", "pieces", &pieces, "samples", &samples,
                        "lanes", &lanes, "bytes", &bytes) || json_array_size(lanes) != p->n_lanes,
            SNELLEN_E_FORMAT, "%s: the checkpoint's place in the data is of another kind", p->path);
    FAIL_IF((uint64_t)bytes != p->map.size, SNELLEN_E_FORMAT,
            "%s: has %" PRIu64 " bytes, it had %lld when the checkpoint was written", p->path, p->map.size,
            (long long)bytes);
    for (uint64_t i = 0; i < p->n_lanes; i++) {
        struct lane *lane = &p->lanes[i];
        lane->piece = (uint64_t)json_integer_value(json_array_get(json_array_get(lanes, i), 0));
        lane->at = (uint64_t)json_integer_value(json_array_get(json_array_get(lanes, i), 1));
        TRY(lane_read(p, lane, err));
        FAIL_IF(lane->at >= lane->n_tokens, SNELLEN_E_FORMAT,
                "%s: the checkpoint's place in the data lies outside of it", p->path);
    }
    p->drawn = (uint64_t)pieces;
    p->turn = (uint64_t)samples;
    return SNELLEN_OK;
}

static void packed_free(struct source *source)
{
    struct packed *p = (struct packed *)source;
    for (size_t i = 0; i < MOST_LANES; i++) snellen_free(p->lanes[i].tokens);
    file_map_close(&p->map);
    free(p->path);
    free(p);
}

static snellen_status packed_start(struct packed *p, snellen_error *err)
{
    FAIL_IF(!p->options.tokenizer, SNELLEN_E_UNSUPPORTED, "%s; jsonl of {\"tokens\": [..]} expected",
            p->options.no_tokenizer);
    TRY(file_map_open(&p->map, p->path, err));
    bool wanted;
    p->bos = tokenizer_bos(p->options.tokenizer, &wanted);
    if (!wanted) p->bos = -1;
    p->n_pieces = (p->map.size + PIECE_BYTES - 1) / PIECE_BYTES;
    p->n_lanes = p->options.shuffle ? MIN(p->n_pieces, (uint64_t)MOST_LANES) : 1;
    FAIL_IF(!p->map.size, SNELLEN_E_FORMAT, "%s: is empty, text expected", p->path);
    for (uint64_t i = 0; i < p->n_lanes; i++) TRY(lane_next_piece(p, &p->lanes[i], err));
    return SNELLEN_OK;
}

snellen_status packed_open(const struct data_options *options, struct source **out, snellen_error *err)
{
    struct packed *p = calloc(1, sizeof *p);
    FAIL_IF(!p, SNELLEN_E_MEMORY, "%s: memory ran out", options->text);
    p->source = (struct source){packed_next, packed_position, packed_seek, packed_free, options->length, 0, 0, NULL};
    p->options = *options;
    p->path = strdup(options->text);
    snellen_status status =
        p->path ? packed_start(p, err) : error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", options->text);
    if (status) packed_free(&p->source);
    else *out = &p->source;
    return status;
}
