/* What the user sees beside the results: progress, notes, errors, the closing line; and signals.
 * Invariant: nothing here writes to standard output but results, and nothing decorates a standard error that is no
 * terminal. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct ui ui;

static struct {
    double start;            /* ui_seconds() at the start of the run */
    char *command;
    int output_error;        /* errno of the first failed write to standard output, 0 = none */
    bool worked;             /* ui_begin_work() was called */
    bool bar_shown;
    char what[64];           /* the work that the bar is about */
    double work_start, last_drawn;
    uint64_t work_first, work_done;   /* units done when the bar's clock started; at the last call */
} state;

double ui_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

/* The first signal asks for a clean end. One that comes a second later ends the process at once; sooner ones are echoes
 * of the first (timeout(1) sends it to the process and to its group). */
static void on_signal(int number)
{
    static volatile sig_atomic_t first;   /* seconds */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!ui.interrupted) {
        first = (sig_atomic_t)now.tv_sec;
        ui.interrupted = 1;
    } else if (now.tv_sec > first + 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

/* ---- the command line, as a shell would take it ------------------------------------------------------------------ */

static bool plain_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
    return *word && word[strspn(word, plain)] == 0;
}

static char *quote_command(int argc, char **argv)
{
    struct strbuf b = { 0 };
    strbuf_puts(&b, "snellen");
    for (int i = 1; i < argc; i++) {
        strbuf_puts(&b, " ");
        if (plain_word(argv[i])) {
            strbuf_puts(&b, argv[i]);
            continue;
        }
        strbuf_puts(&b, "'");
        for (const char *c = argv[i]; *c; c++) {
            if (*c == '\'') strbuf_puts(&b, "'\\''");
            else strbuf_put(&b, c, 1);
        }
        strbuf_puts(&b, "'");
    }
    char *text = NULL;
    size_t n;
    return strbuf_take(&b, &text, &n, NULL) ? NULL : text;
}

void ui_start(int argc, char **argv)
{
    state.start = ui_seconds();
    state.command = quote_command(argc, argv);
    struct sigaction action = { .sa_handler = on_signal };   /* no SA_RESTART: a read comes back at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void ui_begin_work(void)
{
    state.worked = true;
}

const char *ui_command(void)
{
    return state.command ? state.command : "snellen";
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

bool ui_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(2) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

void ui_clear(void)
{
    if (!state.bar_shown) return;
    fputs("\r\033[K", stderr);
    state.bar_shown = false;
}

static void put_time(char *out, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600) snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

/* "128 of 512 tokens, 300/s, 0:01 left" */
static void progress_text(char *out, size_t size, const char *what, uint64_t done, uint64_t total, double rate)
{
    char a[32], b[32], c[32], left[32];
    bool bytes = !strcmp(what, "bytes");
    if (bytes) {
        ui_bytes(done, a);
        ui_bytes(total, b);
        ui_bytes((uint64_t)rate, c);
    } else {
        snprintf(a, sizeof(a), "%llu", (unsigned long long)done);
        snprintf(b, sizeof(b), "%llu", (unsigned long long)total);
        snprintf(c, sizeof(c), rate >= 10 ? "%.0f" : "%.1f", rate);
    }
    int n = snprintf(out, size, "%s%s%s%s%.40s, %s/s", a, total ? " of " : "", total ? b : "", bytes ? "" : " ",
                     bytes ? "" : what, c);
    if (!total || rate <= 0 || n < 0 || (size_t)n >= size) return;
    put_time(left, sizeof(left), (double)(total - MIN(done, total)) / rate);
    snprintf(out + n, size - (size_t)n, ", %s left", left);
}

static void draw(const char *what, uint64_t done, uint64_t total, double now)
{
    enum { WIDTH = 24 };
    char text[256], bar[WIDTH + 2] = "";
    struct winsize size;
    int columns = !ioctl(2, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : 80;
    double passed = now - state.work_start, rate = passed > 0 ? (double)(done - state.work_first) / passed : 0;
    progress_text(text, sizeof(text), what, done, total, rate);
    int room = columns - 2 - (int)strlen(text),
        width = total ? MIN(WIDTH, MAX(room, 0)) : 0; /* one line, never two */
    int full = total ? (int)((double)width * (double)MIN(done, total) / (double)total) : 0;
    for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '.';
    const char *on = ui_colour() ? "\033[36m" : "", *off = ui_colour() ? "\033[0m" : "";
    fprintf(stderr, "\r\033[K%s%s%s%s%.*s", on, bar, off, width ? " " : "", MAX(columns - 1, 10), text);
    fflush(stderr);
    state.bar_shown = true;
}

static bool step(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    if (ui.interrupted) return false;
    if (ui.quiet || !isatty(2)) return true;
    const char *term = getenv("TERM");
    if (term && !strcmp(term, "dumb")) return true;
    double now = ui_seconds();
    /* What stands behind a comma ("steps, loss 2.31") may change while the work is the same. */
    int name = (int)strcspn(what, ",");
    if (strncmp(what, state.what, (size_t)name) || state.what[name] || done < state.work_done) {   /* another work begins */
        snprintf(state.what, sizeof(state.what), "%.*s", MIN(name, (int)sizeof(state.what) - 1), what);
        state.work_start = now;
        state.work_first = done;
        state.last_drawn = now;
    }
    state.work_done = done;
    bool end = total && done >= total;
    if (end) ui_clear();
    else if (now - state.work_start > 2 && now - state.last_drawn > 0.1) {
        draw(what, done, total, now);
        state.last_drawn = now;
    }
    return true;
}

const snellen_progress *ui_progress(void)
{
    static const snellen_progress progress = { .step = step };
    return &progress;
}

static bool step_unseen(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)what, (void)done, (void)total;
    return !ui.interrupted;
}

const snellen_progress *ui_interruptible(void)
{
    static const snellen_progress progress = { .step = step_unseen };
    return &progress;
}

bool ui_step(const char *what, uint64_t done, uint64_t total)
{
    return step(NULL, what, done, total);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void ui_note(const char *fmt, ...)
{
    if (ui.quiet) return;
    ui_clear();
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

int ui_fail(const snellen_error *err)
{
    ui_clear();
    if (err->status == SNELLEN_E_CANCELLED && ui.interrupted) fprintf(stderr, "snellen: interrupted\n");
    else fprintf(stderr, "snellen: %s\n", err->message);
    return err->status == SNELLEN_E_USAGE ? 2 : 1;
}

int ui_wrong(const char *fmt, ...)
{
    ui_clear();
    fputs("snellen: ", stderr);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return 2;
}

const char *ui_bytes(uint64_t n, char buffer[32])
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
    if (n < 1000) {
        snprintf(buffer, 32, "%llu bytes", (unsigned long long)n);
        return buffer;
    }
    double v = (double)n / 1000;
    size_t unit = 0;
    while (v >= 999.5 && unit + 1 < COUNT_OF(units)) v /= 1000, unit++;
    snprintf(buffer, 32, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return buffer;
}

/* ---- standard output and the end --------------------------------------------------------------------------------- */

bool ui_flush(void)
{
    if (fflush(stdout) && !state.output_error) state.output_error = errno;
    if (ferror(stdout) && !state.output_error) {
        /* An earlier write failed and its errno is gone: a pipe without a reader can still be told apart. */
        struct pollfd p = { .fd = 1, .events = POLLOUT };
        state.output_error = poll(&p, 1, 0) == 1 && (p.revents & POLLERR) ? EPIPE : EIO;
    }
    return !state.output_error;
}

bool ui_json(json_t *object)
{
    if (!object) {
        if (!state.output_error) state.output_error = ENOMEM;
        return false;
    }
    int failed = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    putchar('\n');
    return ui_flush() && !failed;
}

uint64_t ui_peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

static void closing_line(void)
{
    struct rusage usage;
    char memory[32];
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    fprintf(stderr, "snellen %s: %s: %.2f s wall, %.2f s CPU, %s peak memory\n", snellen_version(), ui_command(),
            ui_seconds() - state.start, cpu, ui_bytes(ui_peak_memory(), memory));
}

int ui_finish(int status, bool works)
{
    ui_clear();
    ui_flush();
    if (!state.output_error && close(1)) state.output_error = errno;   /* some systems tell of a full disk only now */
    if (state.output_error) {
        if (state.output_error != EPIPE)
            fprintf(stderr, "snellen: standard output: %s; the result is incomplete\n", strerror(state.output_error));
        if (!status) status = 1;
    }
    if (works && state.worked && !status && !ui.quiet && !ui.json) closing_line();   /* an error stands last and alone */
    snellen_free(state.command);
    state.command = NULL;
    return status;
}
