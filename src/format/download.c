/* HTTP GET by libcurl: what comes is handed on piece by piece. The proxy variables of the environment count as curl
 * reads them; CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR name certificates as they do for the curl program. */
#include "format/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TRIES = 3,
    CONNECT_SECONDS = 30,
    SLOW_SECONDS = 60,         /* a transfer below SLOW_BYTES a second for this long has died */
    SLOW_BYTES = 100,
    MOST_REDIRECTS = 8,
};

const char *download_shown(struct arena *arena, const char *url)
{
    CURLU *u = curl_url();
    char *shown = NULL;
    const char *copy = NULL;
    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_set(u, CURLUPART_USER, NULL, 0) &&
        !curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) && !curl_url_get(u, CURLUPART_URL, &shown, 0))
        copy = arena_text(arena, shown, strlen(shown));
    curl_free(shown);
    curl_url_cleanup(u);
    return copy ? copy : "(address)";
}

struct transfer {
    const struct download_sink *sink;
    const struct download_watch *watch;
    CURL *curl;
    bool refused, cancelled;   /* by the sink, by the watch */
    int why;                   /* errno of the sink */
    uint64_t done;
};

/* ---- callbacks --------------------------------------------------------------------------------------------------- */

static size_t take_bytes(char *bytes, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    (void)size;  /* always 1 */
    long code = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 300) return n;  /* the page of an error */
    if (!t->sink->put(t->sink->user, bytes, n)) {
        t->why = errno;
        t->refused = true;
        return 0;
    }
    t->done += n;
    return n;
}

static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
    struct transfer *t = user;
    (void)total, (void)now, (void)up_total, (void)up_now;
    if (t->watch && !t->watch->at(t->watch->user, t->done)) t->cancelled = true;
    return t->cancelled;
}

/* ---- one try ----------------------------------------------------------------------------------------------------- */

static void certificates_from_environment(CURL *curl)
{
    const char *file = getenv("CURL_CA_BUNDLE"), *folder = getenv("SSL_CERT_DIR");
    if (!file || !file[0]) file = getenv("SSL_CERT_FILE");
    if (file && file[0]) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    if (folder && folder[0]) curl_easy_setopt(curl, CURLOPT_CAPATH, folder);
}

static void set_options(CURL *curl, const char *url, struct transfer *t, char *message, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "snellen/" SNELLEN_VERSION);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)MOST_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    certificates_from_environment(curl);
}

static bool may_pass(CURLcode code, long http)
{
    switch (code) {
    case CURLE_OK: return http == 408 || http == 429 || http >= 500;
    case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: case CURLE_PARTIAL_FILE: case CURLE_GOT_NOTHING: case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR: case CURLE_HTTP2: case CURLE_HTTP2_STREAM: case CURLE_SSL_CONNECT_ERROR: return true;
    default: return false;
    }
}

/* *again is set when another try makes sense. */
static snellen_status try_once(const char *url, const char *shown, const char *accept, struct transfer *t, bool *again,
                               snellen_error *err)
{
    char message[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    FAIL_IF(!curl, SNELLEN_E_MEMORY, "%s: memory ran out", shown);
    struct curl_slist *headers = NULL;
    char line[256];
    if (accept) {
        snprintf(line, sizeof line, "Accept: %s", accept);
        headers = curl_slist_append(NULL, line);
    }
    t->curl = curl;
    t->done = 0;
    set_options(curl, url, t, message, headers);
    CURLcode code = curl_easy_perform(curl);
    long http = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    *again = false;
    FAIL_IF(t->cancelled, SNELLEN_E_CANCELLED, "%s: cancelled", shown);
    FAIL_IF(t->refused, SNELLEN_E_IO, "%s: what was fetched cannot be written: %s", shown, strerror(t->why));
    *again = may_pass(code, http);
    FAIL_IF(code != CURLE_OK, SNELLEN_E_IO, "%s: %s", shown, message[0] ? message : curl_easy_strerror(code));
    FAIL_IF(http < 200 || http >= 300, SNELLEN_E_IO, "%s: the server answered %ld", shown, http);
    return SNELLEN_OK;
}

/* ---- all tries --------------------------------------------------------------------------------------------------- */

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Waits between tries, still open to being cancelled. */
static bool wait_for_retry(const struct download_watch *watch, int seconds)
{
    for (int i = 0; i < 10 * seconds; i++) {
        if (watch && !watch->at(watch->user, 0)) return false;
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    }
    return true;
}

snellen_status download(const char *url, const char *accept, const struct download_sink *sink,
                        const struct download_watch *watch, snellen_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct transfer t = {.sink = sink, .watch = watch};
    struct arena arena = {0};
    const char *shown = download_shown(&arena, url);
    bool again = true;
    snellen_status status = SNELLEN_OK;
    for (int i = 1; again; i++) {
        status = try_once(url, shown, accept, &t, &again, err);
        if (!status || !again) break;
        if (i == TRIES) {
            status = error_prefix(err, status, "%d tries failed", TRIES);
            break;
        }
        sink->restart(sink->user);
        if (!wait_for_retry(watch, i)) {
            status = error_set(err, SNELLEN_E_CANCELLED, "%s: cancelled", shown);
            break;
        }
    }
    arena_free(&arena);
    return status;
}
