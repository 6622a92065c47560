/* HTTP GET with time limits, retries and cancelling (libcurl). */
#ifndef FORMAT_DOWNLOAD_H
#define FORMAT_DOWNLOAD_H

#include "base/base.h"

/* Called with every piece that arrives; false = it cannot be kept, errno says why. */
struct download_sink {
    bool (*put)(void *user, const void *bytes, size_t n);
    void (*restart)(void *user);  /* what came so far is void: the transfer begins again */
    void *user;
};

/* Is asked now and then how far the transfer is; false cancels. May be NULL. */
struct download_watch {
    bool (*at)(void *user, uint64_t done);
    void *user;
};

/* url as it may stand in a message: without user and password. Lives in the arena; never NULL. */
const char *download_shown(struct arena *arena, const char *url);

/* The body of url into the sink; `accept` is the Accept header or NULL. Tries three times when the network or the
 * server fails in a way that may pass. Redirects are followed to https only. */
snellen_status download(const char *url, const char *accept, const struct download_sink *sink,
                        const struct download_watch *watch, snellen_error *err);

#endif
