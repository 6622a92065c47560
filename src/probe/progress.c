/* Progress over several readings of a text, or parts of a work. */
#include "probe/probe.h"

static bool step_of_reading(void *user, const char *what, uint64_t done, uint64_t total)
{
    const struct reading_progress *p = user;
    (void)total;
    return !p->all || !p->all->step || p->all->step(p->all->user, what, p->done + done, p->total);
}

snellen_progress reading_step(struct reading_progress *p)
{
    return (snellen_progress){.step = step_of_reading, .user = p};
}

static bool step_of_part(void *user, const char *what, uint64_t done, uint64_t total)
{
    const struct part_progress *p = user;
    return p->all->step(p->all->user, what, p->part * total + done, p->n_parts * total);
}

snellen_progress part_step(struct part_progress *p)
{
    return (snellen_progress){.step = p->all && p->all->step ? step_of_part : NULL, .user = p};
}
