/* cli: the program around the library: verbs, the options they share, progress, messages, the end of a run.
 *
 * A verb is one file: src/cli/NAME.c defines `const struct verb verb_NAME` (see opts.h), one line of CLI_VERBS below
 * registers it. Verbs hold no arithmetic: they read options, call snellen.h, and print. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/opts.h"

#include <jansson.h>
#include <signal.h>

/* ---- verbs ------------------------------------------------------------------------------------------------------- */

/* Registers a verb, in the order in which `snellen --help` lists them. */
#define CLI_VERBS(VERB)                                                                                                \
    VERB(models)                                                                                                       \
    VERB(info)                                                                                                         \
    VERB(tokenize)                                                                                                     \
    VERB(run)                                                                                                          \
    VERB(logits)                                                                                                       \
    VERB(perplexity)                                                                                                   \
    VERB(rewrite)                                                                                                      \
    VERB(checkup)                                                                                                      \
    VERB(probe)                                                                                                        \
    VERB(train)                                                                                                        \
    VERB(task)                                                                                                         \
    VERB(study)                                                                                                        \
    VERB(export)                                                                                                       \
    VERB(bench)                                                                                                        \
    VERB(runs)

#define CLI_DECLARE_VERB(name) extern const struct verb verb_##name;
CLI_VERBS(CLI_DECLARE_VERB)
#undef CLI_DECLARE_VERB

/* Verb i, NULL past the last one (verbs.c). */
const struct verb *verb_at(size_t i);
/* The verb of this name, or NULL. */
const struct verb *verb_find(const char *name);

/* ---- options that mean the same in every verb (common.c) --------------------------------------------------------- */

struct common_opts {
    const char *memory, *precision, *cache;   /* names, as typed */
    const char *fam_positions, *fam_prompt;   /* NULL = the model's own */
    const char *lora;                         /* NULL = none */
    int64_t window, sinks, context, chunk, threads, attn_log;   /* 0 = as snellen_session_options says */
    int64_t block, segments, fam, fam_blocks;                   /* segments: -1 */
    double attn_temp;
    uint64_t seed;
};

struct common_opts common_opts_default(void);
/* To the options of a session; fails (SNELLEN_E_USAGE) where two of them contradict each other. */
snellen_status common_session(const struct common_opts *c, snellen_session_options *options, snellen_error *err);
/* After it: a model that was trained with a memory of its own has that where --memory was not given. */
void common_own_memory(struct common_opts *c, const snellen_model *model, snellen_session_options *options);
/* cli_load() with the factors, memory prompt and positions of the options. */
snellen_model *common_load(const char *path, const struct common_opts *c, int *status);

enum { CLI_MAX_TOKENS = 1 << 30 };

/* What stands beside the model's weights. */
#define OPTS_LORA(c)                                                                                                   \
    OPT_GROUP("factors"),                                                                                              \
    OPT_TEXT(0, "lora", "PATH", &(c)->lora, "low-rank factors of a training run beside the weights, and the memory "   \
             "that they were trained with: its folder, or lora.safetensors", .shown = "none")

/* Which tokens a row may see. */
#define OPTS_MEMORY(c)                                                                                                 \
    OPT_GROUP("memory"),                                                                                               \
    OPT_CHOICE(0, "memory", "KIND", &(c)->memory, "full swa sink bswa xl fam rmt",                                         \
               "full: every token sees all before it, the context is an end. The others read without end in fixed "    \
               "space. swa: each layer sees the last --window tokens. sink: the same and the first --sinks tokens, "   \
               "which keeps models fluent that lean on the start. bswa: blocks of --block tokens, a token sees its "   \
               "own and the --segments before. xl: of these the last --window tokens. fam: bswa, and a feedback "      \
               "memory of --fam rows that each block is compressed into. rmt: own block, and --fam rows that are "    \
               "read before it and written behind it",                                                                 \
               .shown = "the model's own, or full"),                                                                   \
    OPT_INT(0, "window", "N", &(c)->window, 1, CLI_MAX_TOKENS, "swa, sink, xl: tokens that are seen; smaller is "      \
            "faster", .shown = "the model's own window, or 1024 for sink, a block for xl"),                            \
    OPT_INT(0, "sinks", "N", &(c)->sinks, 0, 65536, "sink: first tokens that stay"),                                   \
    OPT_INT(0, "block", "B", &(c)->block, 1, 1 << 24, "bswa, xl, fam, rmt: tokens of a block",                          \
            .shown = "the model's own, or 1024"),                                                                      \
    OPT_INT(0, "segments", "M", &(c)->segments, 0, 65536, "bswa, xl, fam: blocks before its own that a token sees",    \
            .shown = "the model's own, or 3"),                                                                         \
    OPT_INT(0, "fam", "F", &(c)->fam, 1, 65536, "fam, rmt: rows of the memory", .shown = "the model's own, or 64"),         \
    OPT_INT(0, "fam-blocks", "K", &(c)->fam_blocks, 1, 8, "fam: memories of so many blocks are seen",                  \
            .shown = "the model's own, or 1"),                                                                         \
    OPT_CHOICE(0, "fam-positions", "WHERE", &(c)->fam_positions, "last float zero",                                    \
               "fam: its rows stand on the last places of their block, between it and the next, or at 0",              \
               .shown = "the model's own, or last"),                                                                   \
    OPT_TEXT(0, "fam-prompt", "FILE", &(c)->fam_prompt, "fam, rmt: safetensors file whose fam.prompt the memory "    \
             "begins with", .shown = "the model's own")
#define OPTS_CONTEXT(c)                                                                                                \
    OPT_INT(0, "context", "N", &(c)->context, 1, CLI_MAX_TOKENS,                                                       \
            "full: most tokens the session can hold; their keys and values are taken from memory at the start",       \
            .shown = "what the model was made for")
/* How numbers are held and how many tokens go through the layers at once. */
#define OPTS_NUMBERS(c)                                                                                                \
    OPT_GROUP("numbers"),                                                                                              \
    OPT_CHOICE(0, "precision", "TYPE", &(c)->precision, "f32 bf16 f16",                                                \
               "rounds every activation and every cached key and value: bf16 and f16 show what such a model sees"),    \
    OPT_CHOICE(0, "cache", "TYPE", &(c)->cache, "f32 f16 q8_0",                                                        \
               "how keys and values are stored; f16 takes half the memory, and less time far into a text; q8_0 a bit " \
               "more than a quarter, with errors of 0.4 % of the largest of 32 numbers"),                              \
    OPT_INT(0, "chunk", "N", &(c)->chunk, 1, 8192, "tokens processed at a time; 1 = token by token, slow",            \
            .shown = "512")
/* What was read, in a file. */
struct state_opts {
    const char *in, *out;       /* NULL = none */
};
#define OPTS_STATE(s)                                                                                                  \
    OPT_GROUP("state"),                                                                                                \
    OPT_TEXT(0, "state-in", "FILE", &(s)->in, "goes on from this state, of the same model and options, as if it had "  \
             "never stopped", .shown = "an empty memory"),                                                             \
    OPT_TEXT(0, "state-out", "FILE", &(s)->out, "at the end, and when SIGTERM or Ctrl-C ends it earlier, writes what " \
             "was read: a state that --state-in takes", .shown = "none")
/* Notes what a state was written after. */
void state_note(const struct state_opts *s, int64_t n_tokens);

/* How sharply tokens are looked at. */
#define OPTS_ATTENTION(c)                                                                                              \
    OPT_GROUP("attention"),                                                                                            \
    OPT_REAL(0, "attn-temp", "T", &(c)->attn_temp, 0.001, 1000,                                                        \
             "temperature of attention: its scores are divided by this before the softmax; below 1 looks more sharply"), \
    OPT_INT(0, "attn-log", "N", &(c)->attn_log, 2, CLI_MAX_TOKENS,                                                     \
            "a token at place t > N looks log(t) / log(N) times as sharply, for lengths above those that the "         \
            "model was trained on", .shown = "not")
/* All of a session's options. */
#define OPTS_SESSION(c) OPTS_MEMORY(c), OPTS_CONTEXT(c), OPTS_ATTENTION(c), OPTS_NUMBERS(c)
#define OPTS_THREADS(c)                                                                                                \
    OPT_INT(0, "threads", "N", &(c)->threads, 1, 1024, "threads; the results do not depend on it",                     \
            .shown = "the cores this process may use")
#define OPTS_SEED(c) OPT_SEED(0, "seed", "N", &(c)->seed, "same seed, same random numbers, same bytes")
/* --json and -q, which set ui.json and ui.quiet. */
#define OPTS_OUTPUT()                                                                                                  \
    OPT_GROUP("output"),                                                                                               \
    OPT_FLAG(0, "json", &ui.json, "one JSON object on standard output and nothing else there"),                        \
    OPT_FLAG('q', "quiet", &ui.quiet, "no progress and no notes on standard error, errors only")

/* ---- what the user sees beside the results (ui.c) ---------------------------------------------------------------- */

/* The state of this run's conversation with the user: one, since there is one terminal. */
struct ui {
    bool quiet, json;
    volatile sig_atomic_t interrupted;   /* SIGINT or SIGTERM came: finish cleanly */
};
extern struct ui ui;

/* Catches SIGINT and SIGTERM (a second one, later, ends the process at once), ignores SIGPIPE, starts the clock, keeps the
 * command line. Once, at the start of main. */
void ui_start(int argc, char **argv);
/* To hand to the library: draws a bar on standard error when that is a terminal and the work takes longer than two
 * seconds; says stop after an interruption. */
const snellen_progress *ui_progress(void);
/* The same without a bar: for work whose progress the verb shows itself through ui_step(). */
const snellen_progress *ui_interruptible(void);
/* Shows progress of the verb's own; false after an interruption. */
bool ui_step(const char *what, uint64_t done, uint64_t total);
/* Takes the bar away, before anything else is printed. The functions below do it themselves. */
void ui_clear(void);
/* A line on standard error, unless -q. */
void ui_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "snellen: message" on standard error; returns the exit status that belongs to it: 2 for SNELLEN_E_USAGE, else 1.
 * After an interruption it says so. */
int ui_fail(const snellen_error *err);
/* The same with a message of the verb's own: the call was wrong, returns 2. */
int ui_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Pushes what was printed to standard output; false when that failed (full disk, closed pipe): stop the work and
 * return 1, the end of main says why. */
bool ui_flush(void);
/* Prints a JSON object and a line end to standard output and releases it; false as ui_flush(), or out of memory. */
bool ui_json(json_t *object);
/* Says that this run computes, so that it ends with the closing line; cli_load() does it. */
void ui_begin_work(void);
/* The end of a run: checks standard output, prints the closing line (where `works`, work was begun and all went well);
 * returns the exit status. */
int ui_finish(int status, bool works);
/* The command line as it can be typed again, for reports and the database. */
const char *ui_command(void);
/* Seconds since an unspecified start. */
double ui_seconds(void);
/* Peak resident memory of this process in bytes. */
uint64_t ui_peak_memory(void);
/* "1.2 GB", "98 MB", "512 bytes"; powers of ten. */
const char *ui_bytes(uint64_t n, char buffer[32]);
/* Standard error is a terminal that may be coloured (no NO_COLOR, TERM is not dumb). */
bool ui_colour(void);

/* ---- helpers of several verbs (common.c, input.c, stream.c, text.c, machine.c) ----------------------------------- */

/* snellen_model_load with the message printed; NULL after a failure and then *status is the exit status. */
snellen_model *cli_load(const char *path, int *status);
/* Token ids from "1,2,3" or from a file of ids separated by commas or white space: an argument that names an existing
 * file is a file. Every id must lie in [0, n_vocab). *ids by mem_free(). */
snellen_status cli_token_ids(const char *text_or_path, int64_t n_vocab, int32_t **ids, size_t *n, snellen_error *err);
/* A whole file's bytes, "-" = standard input, at most 1 GiB. *text is NUL ended, by mem_free(). */
snellen_status cli_read_text(const char *path, char **text, size_t *n, snellen_error *err);
/* To ask before long work: can a file be made at `path`? Results are written beside it and renamed, so what stands
 * there must be a regular file or nothing (a device would be replaced by it), in a folder that can be written. */
snellen_status cli_check_output(const char *path, snellen_error *err);
/* Text to ids with the begin token first if the model wants one and the text does not spell it already. *ids by
 * snellen_free(). */
snellen_status cli_tokenize_prompt(const snellen_model *model, const char *text, size_t n_bytes, int32_t **ids,
                                   size_t *n, snellen_error *err);

/* "0,0.25,1": numbers from 0 to 1, at most `room` of them. */
snellen_status cli_depths(const char *text, double *depths, size_t room, size_t *n, snellen_error *err);

/* Bytes of text that end with a whole character: n less the bytes of one that is still to be finished. */
size_t cli_whole_utf8(const char *text, size_t n);
/* A JSON string of any bytes: what is no valid UTF-8 becomes U+FFFD. */
json_t *cli_json_text(const char *bytes, size_t n);
/* A JSON number; null for what JSON has no number for (NaN, infinity). */
json_t *cli_json_number(double x);
/* Any bytes as one printable ASCII word group: \n, \t, \\, \xNN; UTF-8 letters stay. For tables. */
void cli_put_escaped(FILE *out, const char *bytes, size_t n);

/* A text of any length as tokens, in memory that does not depend on it: read in pieces, cut where the tokenizer cuts
 * too. The tokens depend on the text alone, not on how its bytes arrive. */
struct token_stream;
/* path "-" is standard input. flags as in snellen_tokenize(); SNELLEN_BOS counts for the first piece. */
snellen_status token_stream_open(const char *path, const snellen_model *model, unsigned flags,
                                 struct token_stream **out, snellen_error *err);
/* The next tokens, n = 0 at the end; valid until the next call. SNELLEN_E_CANCELLED after an interruption. */
snellen_status token_stream_next(struct token_stream *s, const int32_t **ids, size_t *n, snellen_error *err);
uint64_t token_stream_bytes(const struct token_stream *s);   /* read so far */
uint64_t token_stream_size(const struct token_stream *s);    /* of the file; 0 = unknown */
void token_stream_close(struct token_stream *s);

/* The machine as store_machine() has it, with its memory and our compiler. NULL when memory runs out. */
json_t *cli_machine(int64_t n_threads);
/* For --version: "gcc 12.2.0"; "Jansson 2.14, .."; "201511". */
const char *cli_compiler(void);
const char *cli_libraries(char *buffer, size_t size);
const char *cli_openmp(void);

#endif
