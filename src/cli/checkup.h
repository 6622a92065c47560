/* Inside the verb `checkup`: the exam itself (checkup.c), and questions of the user's own (checkup_own.c). */
#ifndef CLI_CHECKUP_H
#define CLI_CHECKUP_H

#include "cli/cli.h"

struct own_args {
    const struct common_opts *common;
    const char *model, *file, *folder, *database, *cures;   /* cures NULL = all */
    struct int_list fillers;                                /* n 0 = the usual ones */
    bool bare;
};

/* Asks, prints, records and draws; returns the exit status. */
int checkup_own(const struct own_args *a);

#endif
