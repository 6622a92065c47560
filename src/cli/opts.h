/* opts: one table of options for each verb, from which the parser and the help both follow.
 *
 * A verb fills a struct with its defaults, lists the options that change them, and calls opts_parse():
 *
 *     int64_t n = 128;
 *     const char *text = NULL;
 *     const struct opt table[] = {
 *         OPT_GROUP("what to do"),
 *         OPT_TEXT('p', "prompt", "TEXT", &text, "text to continue"),
 *         OPT_INT('n', "predict", "N", &n, 1, 1 << 20, "tokens to make; stops earlier at an end token"),
 *         OPTS_SESSION(&common),                          (from cli.h: what all verbs share)
 *         OPTS_OUTPUT(),
 *     };
 *     const char *args[1];
 *     int status = opts_parse(&verb_run, table, COUNT_OF(table), argc, argv, args);
 *     if (status >= 0) return status;                     (help was asked for: 0; the call was wrong: 2)
 *
 * The help shows the value that a variable has before parsing as its default, so a default is written once.
 * Accepted: --name VALUE, --name=VALUE, -x VALUE, options before or after other arguments, "--" to end them.
 * Integers take K, M, G (1024, 1024^2, 1024^3). Every error names the option and its range. */
#ifndef CLI_OPTS_H
#define CLI_OPTS_H

#include "base/base.h"

enum opt_kind { OPT_KIND_GROUP, OPT_KIND_FLAG, OPT_KIND_TEXT, OPT_KIND_INT, OPT_KIND_SEED, OPT_KIND_REAL,
                OPT_KIND_CHOICE, OPT_KIND_INTS };

/* A list of integers; `v` is allocated by the parser when the option is given, see int_list_free(). */
struct int_list {
    int64_t *v;
    size_t n;
};

struct opt {
    enum opt_kind kind;
    char letter;          /* short form, 0 = none */
    const char *name;     /* long form without the dashes; for a group its heading */
    const char *arg;      /* what the value is called in the help */
    union {
        bool *flag;
        const char **text;   /* points into argv */
        int64_t *integer;
        uint64_t *seed;
        double *real;
        struct int_list *ints;
    } to;
    int64_t low, high;       /* integers and each number of a list; inclusive */
    double real_low, real_high;
    const char *choices;     /* names separated by spaces */
    const char *help;        /* what it does and what follows from it */
    const char *shown;       /* the default as the help says it; NULL = the variable's value; "" = nothing */
};

/* The last argument may be followed by further fields: OPT_INT(.., "help", .shown = "the model's own"). */
#define OPT_GROUP(heading) { .kind = OPT_KIND_GROUP, .name = (heading) }
#define OPT_FLAG(letter_, name_, to_, ...)                                                                             \
    { .kind = OPT_KIND_FLAG, .letter = (letter_), .name = (name_), .to.flag = (to_), .help = __VA_ARGS__ }
#define OPT_TEXT(letter_, name_, arg_, to_, ...)                                                                       \
    { .kind = OPT_KIND_TEXT, .letter = (letter_), .name = (name_), .arg = (arg_), .to.text = (to_),                    \
      .help = __VA_ARGS__ }
#define OPT_INT(letter_, name_, arg_, to_, low_, high_, ...)                                                           \
    { .kind = OPT_KIND_INT, .letter = (letter_), .name = (name_), .arg = (arg_), .to.integer = (to_), .low = (low_),   \
      .high = (high_), .help = __VA_ARGS__ }
#define OPT_SEED(letter_, name_, arg_, to_, ...)                                                                       \
    { .kind = OPT_KIND_SEED, .letter = (letter_), .name = (name_), .arg = (arg_), .to.seed = (to_), .low = 0,          \
      .high = INT64_MAX, .help = __VA_ARGS__ }
#define OPT_REAL(letter_, name_, arg_, to_, low_, high_, ...)                                                          \
    { .kind = OPT_KIND_REAL, .letter = (letter_), .name = (name_), .arg = (arg_), .to.real = (to_),                    \
      .real_low = (low_), .real_high = (high_), .help = __VA_ARGS__ }
#define OPT_CHOICE(letter_, name_, arg_, to_, choices_, ...)                                                           \
    { .kind = OPT_KIND_CHOICE, .letter = (letter_), .name = (name_), .arg = (arg_), .to.text = (to_),                  \
      .choices = (choices_), .help = __VA_ARGS__ }
/* Numbers separated by commas; FIRST..LAST:STEP stands for a row of them. */
#define OPT_INTS(letter_, name_, arg_, to_, low_, high_, ...)                                                          \
    { .kind = OPT_KIND_INTS, .letter = (letter_), .name = (name_), .arg = (arg_), .to.ints = (to_), .low = (low_),     \
      .high = (high_), .help = __VA_ARGS__ }

enum { OPTS_MAX_ARGS = 64, OPTS_MAX_LIST = 65536 };

/* One verb: how it is called and what its help says. `works`: the run ends with a line of version, command, times and
 * peak memory on standard error (verbs that compute; not those that list). */
struct verb {
    const char *name;
    const char *summary;     /* one line, no full stop */
    int (*run)(int argc, char **argv);  /* argv[0] is the verb's name; returns the exit status */
    bool works;
    const char *usage;       /* after "snellen NAME": "MODEL (-p TEXT | -f FILE) [options]" */
    const char *about;       /* paragraphs for the help; lines may be long, they are wrapped; NULL = none */
    const char *args;        /* names of the arguments that are no options, separated by spaces: "MODEL" */
    int min_args, max_args;  /* how many of them must and may stand; max_args <= OPTS_MAX_ARGS */
    const char *examples[2]; /* "snellen run smollm2 -p 'Once upon a time'" */
};

/* Reads argv[1..]. args [verb->max_args] gets the arguments that are no options, NULL where there is none.
 * Returns -1 to go on, else the exit status: 0 after --help on standard output, 2 after a message on standard error. */
int opts_parse(const struct verb *verb, const struct opt *table, size_t n, int argc, char **argv, const char **args);
/* The same with the message as a value: SNELLEN_E_USAGE. *help is set when --help or -h stands anywhere before "--";
 * then nothing else was read (a value that is spelled so: --prompt=-h). Prints nothing. */
snellen_status opts_read(const struct verb *verb, const struct opt *table, size_t n, int argc, char **argv,
                         const char **args, bool *help, snellen_error *err);
/* The help of a verb, for `width` columns. */
void opts_help(const struct verb *verb, const struct opt *table, size_t n, int width, struct strbuf *out);

/* An integer with an optional suffix K, M or G, nothing after it; false when it is none or does not fit. */
bool opts_integer(const char *text, int64_t *value);
void int_list_free(struct int_list *list);

#endif
