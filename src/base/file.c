/* Files: mapped reads, atomic writes, the user's folders. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

snellen_status file_map_open(struct file_map *map, const char *path, snellen_error *err)
{
    map->data = NULL;
    map->size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FAIL_IF(fd < 0, SNELLEN_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    snellen_status status = SNELLEN_OK;
    if (fstat(fd, &st)) {
        status = error_set(err, SNELLEN_E_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = error_set(err, SNELLEN_E_IO, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = error_set(err, SNELLEN_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
        } else {
            map->data = data;
            map->size = (uint64_t)st.st_size;
        }
    }
    close(fd);
    return status;
}

void file_map_close(struct file_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    map->data = NULL;
    map->size = 0;
}

snellen_status file_read_stream(int fd, const char *name, uint64_t max_bytes, char **text, size_t *n, snellen_error *err)
{
    struct strbuf b = {0};
    char block[1 << 16];
    ssize_t got;
    while ((got = read(fd, block, sizeof block)) > 0 && b.n + (size_t)got <= max_bytes && !b.failed)
        strbuf_put(&b, block, (size_t)got);
    snellen_status status = SNELLEN_OK;
    if (got < 0 && errno == EINTR)
        status = error_set(err, SNELLEN_E_CANCELLED, "%s: interrupted", name);
    else if (got < 0)
        status = error_set(err, SNELLEN_E_IO, "%s: %s", name, strerror(errno));
    else if (b.failed)
        status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    else if (got > 0)
        status = error_set(err, SNELLEN_E_FORMAT, "%s: longer than the %llu bytes that are expected at most", name,
                           (unsigned long long)max_bytes);
    if (!status) status = mem_new(text, b.n + 1, 1, name, err);
    if (!status && b.n) memcpy(*text, b.text, b.n);
    *n = b.n;
    strbuf_free(&b);
    return status;
}

snellen_status file_read(const char *path, uint64_t max_bytes, char **text, size_t *n, snellen_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FAIL_IF(fd < 0, SNELLEN_E_IO, "%s: %s", path, strerror(errno));
    snellen_status status = file_read_stream(fd, path, max_bytes, text, n, err);
    close(fd);
    return status;
}

/* ---- atomic writes ------------------------------------------------------------------------------------------------ */

snellen_status atomic_file_open(struct atomic_file *f, const char *path, snellen_error *err)
{
    memset(f, 0, sizeof *f);
    struct strbuf name = {0};
    strbuf_printf(&name, "%s.%ld.part", path, (long)getpid());
    f->path = strdup(path);
    if (!f->path || name.failed) {
        strbuf_free(&name);
        free(f->path);
        f->path = NULL;
        FAIL(SNELLEN_E_MEMORY, "%s: memory ran out", path);
    }
    f->temporary = name.text;
    /* A rename would put a file in the place of a device or a pipe. */
    struct stat st;
    bool other = !stat(f->path, &st) && !S_ISREG(st.st_mode);
    f->stream = other ? NULL : fopen(f->temporary, "w+be");
    if (!f->stream) {
        snellen_status status = error_set(err, SNELLEN_E_IO, "%s: cannot be written: %s", f->path,
                                          other ? "it is not a regular file" : strerror(errno));
        free(f->path);
        free(f->temporary);
        memset(f, 0, sizeof *f);
        return status;
    }
    return SNELLEN_OK;
}

void atomic_file_abort(struct atomic_file *f)
{
    if (f->stream) fclose(f->stream);
    if (f->temporary) unlink(f->temporary);
    free(f->path);
    free(f->temporary);
    memset(f, 0, sizeof *f);
}

snellen_status atomic_file_commit(struct atomic_file *f, snellen_error *err)
{
    bool good = !fflush(f->stream) && !ferror(f->stream) && !fsync(fileno(f->stream));
    good = !fclose(f->stream) && good;
    f->stream = NULL;
    if (good) good = !rename(f->temporary, f->path);
    snellen_status status = SNELLEN_OK;
    if (!good) status = error_set(err, SNELLEN_E_IO, "%s: cannot be written: %s", f->path, strerror(errno));
    if (good) {
        free(f->temporary);
        f->temporary = NULL;
    }
    atomic_file_abort(f);
    return status;
}

static snellen_status write_failed(const struct atomic_file *f, snellen_error *err)
{
    FAIL(SNELLEN_E_IO, "%s: cannot be written: %s", f->path, strerror(errno));
}

snellen_status atomic_file_put(struct atomic_file *f, const void *bytes, uint64_t n, uint64_t at, snellen_error *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t wrote = pwrite(fileno(f->stream), p, MIN(n, (uint64_t)1 << 30), (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            if (wrote == 0) errno = ENOSPC;
            return write_failed(f, err);
        }
        p += wrote;
        at += (uint64_t)wrote;
        n -= (uint64_t)wrote;
    }
    return SNELLEN_OK;
}

/* File systems that cannot reserve say so by another error, and find out at the write. */
snellen_status atomic_file_reserve(struct atomic_file *f, uint64_t at, uint64_t n, snellen_error *err)
{
    bool full = n && fallocate(fileno(f->stream), 0, (off_t)at, (off_t)n) &&
                (errno == ENOSPC || errno == EFBIG || errno == EDQUOT);
    return full ? write_failed(f, err) : SNELLEN_OK;
}

snellen_status file_write_atomic(const char *path, const void *bytes, size_t n, snellen_error *err)
{
    struct atomic_file f;
    TRY(atomic_file_open(&f, path, err));
    if (n && fwrite(bytes, 1, n, f.stream) != n) {
        snellen_status status = error_set(err, SNELLEN_E_IO, "%s: cannot be written: %s", path, strerror(errno));
        atomic_file_abort(&f);
        return status;
    }
    return atomic_file_commit(&f, err);
}

/* ---- folders ------------------------------------------------------------------------------------------------------- */

bool file_is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool file_exists(const char *path)
{
    return !access(path, F_OK);
}

snellen_status folder_make(const char *path, snellen_error *err)
{
    char *copy = strdup(path);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    for (char *p = copy + 1; *copy; p++) {
        if (*p != '/' && *p) continue;
        char end = *p;
        *p = 0;
        if (mkdir(copy, 0777) && errno != EEXIST) {
            int why = errno;
            free(copy);
            FAIL(SNELLEN_E_IO, "%s: folder cannot be made: %s", path, strerror(why));
        }
        *p = end;
        if (!end) break;
    }
    free(copy);
    FAIL_IF(!file_is_folder(path), SNELLEN_E_IO, "%s: is not a folder", path);
    return SNELLEN_OK;
}

snellen_status folder_lock(const char *path, const char *doing, int *lock, snellen_error *err)
{
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FAIL_IF(*lock < 0, SNELLEN_E_IO, "%s: %s", path, strerror(errno));
    if (!flock(*lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return SNELLEN_OK;
    close(*lock);
    FAIL(SNELLEN_E_IO, "%s: another process is %s", path, doing);
}

void folder_unlock(int lock)
{
    close(lock);
}

static char *folder_of_user(struct arena *a, const char *variable, const char *below_home)
{
    const char *base = getenv(variable);
    if (base && base[0] == '/') return arena_printf(a, "%s/snellen", base);
    const char *home = getenv("HOME");
    return home && home[0] ? arena_printf(a, "%s/%s/snellen", home, below_home) : NULL;
}

char *folder_cache(struct arena *a)
{
    return folder_of_user(a, "XDG_CACHE_HOME", ".cache");
}

char *folder_data(struct arena *a)
{
    return folder_of_user(a, "XDG_DATA_HOME", ".local/share");
}
