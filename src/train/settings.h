/* settings: what a study file says. One table of keys (keys.c) gives the parser, the resolved file that a run keeps,
 * and the page of the manual.
 *
 * A study file is YAML: `train: {lr: 1e-3}` sets the key train.lr, as does `train.lr=1e-3` on the command line, which
 * wins. Every key has a default. A key that is not in the table, one that has no meaning beside the others, and a value
 * out of range are errors that name the place. */
#ifndef TRAIN_SETTINGS_H
#define TRAIN_SETTINGS_H

#include "base/base.h"

struct int_row {
    const int64_t *v;
    size_t n;
};

/* All texts and lists live as long as the settings. Texts that are not given are "", numbers 0. */
struct settings {
    struct {
        const char *from, *arch, *start, *positions, *vocab;
        int64_t layers, width, heads, kv_heads, ff, context, window;
        double init_std;
    } model;
    struct {
        const char *kind;
        const char *positions, *start;
        int64_t window, block, segments, fam, fam_blocks;
        bool stop_gradient;
    } memory;
    struct {
        const char *jsonl, *text, *task, *format, *end, *repeat_prompt;
        int64_t length, repeat, pool, spacing, cycle, curriculum, step, within, pairs, every, back, digits;
        struct int_row lengths;
        double raise_below, raise_by, depth, vary, again, repeat_weight;
        const char *haystack;
        bool log_lengths, cut, shuffle, skip_bad_lines;
        struct {
            const char *task, *format;
            struct int_row lengths;
            double share;
        } mix;
    } data;
    struct {
        const char *optimizer, *schedule;
        int64_t steps, batch, micro_batch, hardest, warmup, save_every;
        double state_passing, memory_noise;
        int64_t passing_after;
        bool position_offset;
        int64_t position_jumps;
        double jumps_below, lr, prompt_lr, lr_end, eps, weight_decay, momentum, clip, stop_loss;
        double betas[2];
        bool relative_step, recompute;
        struct {
            int64_t rank;
            double alpha;
            const char *targets;
        } lora;
    } train;
    struct {
        const char *jsonl, *text, *memory;
        int64_t every, samples, patience, lines, window, sinks, block, segments, attn_log;
        double attn_temp;
        bool exact;
        struct int_row lengths;
    } eval;
    struct int_row seeds;
    struct arena arena;
};

/* Reads a file and then the n overrides "key=value". SNELLEN_E_USAGE where the settings are wrong, with file, line and
 * column. */
snellen_status settings_read(const char *path, const char *const *overrides, size_t n, struct settings *out,
                             snellen_error *err);
/* The same of n_text bytes; `name` stands in messages. */
snellen_status settings_parse(const char *text, size_t n_text, const char *name, const char *const *overrides, size_t n,
                              struct settings *out, snellen_error *err);
void settings_free(struct settings *s);

/* All keys with their values as YAML that reads back to the same settings. */
void settings_write(const struct settings *s, struct strbuf *out);
/* How a study asks the trained model, "key=value" of each key that decides it, in one line. */
void settings_write_asking(const struct settings *s, struct strbuf *out);
/* Fails where the two differ in a key that must stay the same while a run goes on. */
snellen_status settings_same_run(const struct settings *now, const struct settings *before, snellen_error *err);
/* The keys as a table in Markdown: name, values, default, meaning. */
void settings_manual(struct strbuf *out);

#endif
