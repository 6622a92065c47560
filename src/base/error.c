/* Error values: one message, set where the fault is seen, handed up unchanged or with a prefix. */
#include "base/base.h"

#include <string.h>

static snellen_status __attribute__((format(printf, 4, 0)))
error_write(snellen_error *err, snellen_status status, uint64_t offset, const char *fmt, va_list args)
{
    if (err) {
        err->status = status;
        err->offset = offset;
        vsnprintf(err->message, sizeof err->message, fmt, args);
    }
    return status;
}

snellen_status error_set(snellen_error *err, snellen_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_write(err, status, 0, fmt, args);
    va_end(args);
    return status;
}

snellen_status error_at(snellen_error *err, snellen_status status, uint64_t offset, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_write(err, status, offset, fmt, args);
    va_end(args);
    return status;
}

snellen_status error_prefix(snellen_error *err, snellen_status status, const char *fmt, ...)
{
    if (!err) return status;
    char prefixed[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(prefixed, sizeof prefixed, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof prefixed)
        snprintf(prefixed + n, sizeof prefixed - (size_t)n, ": %.900s", err->message);
    memcpy(err->message, prefixed, sizeof prefixed);
    return status;
}

const char *snellen_version(void)
{
    return SNELLEN_VERSION;
}
