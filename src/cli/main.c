/* snellen: the program. Finds the verb, runs it, turns what it returns into the exit status:
 * 0 done, 1 the work failed, 2 the call was wrong. */
#include "cli/cli.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define BUILD_KIND "sanitised"
#elif !defined(__OPTIMIZE__)
#define BUILD_KIND "debug"
#else
#define BUILD_KIND "optimised"
#endif

static void list_verbs(FILE *out)
{
    const struct verb *verb;
    for (size_t i = 0; (verb = verb_at(i)); i++) fprintf(out, "  %-12s %s\n", verb->name, verb->summary);
}

static int print_help(void)
{
    printf("snellen: an eye exam for language models\n\n"
           "usage: snellen VERB [MODEL] [options]\n"
           "       snellen VERB --help\n\n"
           "MODEL is a GGUF file, a Hugging Face folder (config.json, *.safetensors, tokenizer.json), or a name "
           "that\n"
           "`snellen models` lists.\n\n"
           "verbs\n");
    list_verbs(stdout);
    printf("\nWhole numbers take the suffixes K, M and G (1024, 1024^2, 1024^3). Results go to standard output, "
           "progress\n"
           "and notes to standard error. Exit status: 0 done, 1 the work failed, 2 the call was wrong.\n\n"
           "examples\n"
           "  snellen models get smollm2\n"
           "  snellen run smollm2 --chat -p 'Name three rivers.'\n");
    return 0;
}

static int print_version(void)
{
    char libraries[512];
    printf("snellen %s\n"
           "build: %s, %s, C%ld\n"
           "libraries: %s\n"
           "instruction set in use: %s\n"
           "OpenMP: %s; threads unless told otherwise: %d\n",
           snellen_version(), cli_compiler(), BUILD_KIND, (long)(__STDC_VERSION__ / 100 % 100),
           cli_libraries(libraries, sizeof(libraries)), snellen_isa(), cli_openmp(), snellen_default_threads());
    return 0;
}

static int unknown_verb(const char *word)
{
    const char *names[64];
    size_t n = 0;
    const struct verb *verb;
    while (n < COUNT_OF(names) && (verb = verb_at(n))) names[n++] = verb->name;
    const char *near = text_nearest(word, names, n);
    if (near) return ui_wrong("unknown verb '%.100s'; did you mean %s? (snellen --help lists all)", word, near);
    return ui_wrong("unknown %s '%.100s' (snellen --help lists all)", word[0] == '-' ? "option" : "verb", word);
}

/* Threads of libgomp that wait for each other spin for milliseconds, which costs nothing on idle cores and a factor of
 * ten and more on cores that other programs use too: who spins keeps away the thread that is waited for. 500 turns
 * bridge the gaps between our parallel regions (decoding SmolLM2 on two idle cores: 147 tokens/s, 148 with the default
 * of 300,000, 60 without spinning; beside two busy programs: 57, 1 to 14, 85). */
static bool wants_patient_threads(void)
{
    return !getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY");
}

/* OpenBLAS knows processors by their model numbers and treats one that is newer than itself as one of 2004: training
 * on an Emerald Rapids ran at 66 tokens/s, with the kernels that the processor can run at 242. NULL: it knows this one. */
static const char *better_blas_core(void)
{
    const char *core = openblas_get_corename(), *isa = snellen_isa();
    if (getenv("OPENBLAS_CORETYPE") || (strcmp(core, "Prescott") && strcmp(core, "Generic"))) return NULL;
    return !strcmp(isa, "avx512") ? "SkylakeX" : !strcmp(isa, "avx2") ? "Haswell" : NULL;
}

/* Both libraries read their environment before main() runs, so the program starts itself once more; settings of the
 * user's own stand. */
static void restart_with_better_settings(char **argv)
{
    char path[4096];
    const char *core = better_blas_core();
    if (!core && !wants_patient_threads()) return;
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0 || (core && setenv("OPENBLAS_CORETYPE", core, 1))) return;
    if (wants_patient_threads() && setenv("GOMP_SPINCOUNT", "500", 1)) return;
    path[n] = 0;
    execv(path, argv);   /* where that fails: on without it */
}

int main(int argc, char **argv)
{
    const struct verb *wanted = argc > 1 ? verb_find(argv[1]) : NULL;
    if (wanted && wanted->works) restart_with_better_settings(argv);
    ui_start(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "usage: snellen VERB [MODEL] [options]\n\nverbs\n");
        list_verbs(stderr);
        fprintf(stderr, "\n`snellen --help` says more, `snellen VERB --help` all about one.\n");
        return ui_finish(2, false);
    }
    const char *word = argv[1];
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) return ui_finish(print_version(), false);
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) return ui_finish(print_help(), false);
    if (!strcmp(word, "help")) {   /* `snellen help run`, as git has it */
        if (argc == 2) return ui_finish(print_help(), false);
        char help[] = "--help";
        char *help_argv[] = { argv[2], help, NULL };
        const struct verb *verb = verb_find(argv[2]);
        return ui_finish(verb ? verb->run(2, help_argv) : unknown_verb(argv[2]), false);
    }
    if (!wanted) return ui_finish(unknown_verb(word), false);
    return ui_finish(wanted->run(argc - 1, argv + 1), wanted->works);
}
