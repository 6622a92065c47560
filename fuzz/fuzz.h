/* What the fuzz targets share: a check that ends the program, so that the fuzzer keeps the input. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Holds for every input, or the program under test has a bug. */
#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Reads one byte so that a sanitizer can object. */
static inline void touch(const void *p)
{
    (void)*(const volatile uint8_t *)p;
}

/* The bytes as a file in memory, for readers that open a path; close() the result. */
enum { FUZZ_PATH = 64 };
static inline int fuzz_file(const uint8_t *bytes, size_t n, char path[FUZZ_PATH])
{
    int fd = memfd_create("fuzz", 0);
    CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, FUZZ_PATH, "/proc/self/fd/%d", fd);
    return fd;
}

/* The entry point of each target; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#endif
