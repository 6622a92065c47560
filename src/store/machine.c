/* The machine a run was done on, as a JSON object: enough to tell why two runs differ in speed. */
#include "store/store.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* "model name" of the first processor in /proc/cpuinfo; "" where there is none. */
static void cpu_name(char *out, size_t n)
{
    out[0] = 0;
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f) return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10)) continue;
        snprintf(out, n, "%s", colon + 1 + strspn(colon + 1, " \t"));
        out[strcspn(out, "\n")] = 0;
        break;
    }
    fclose(f);
}

snellen_status store_machine(int n_threads, char **json, snellen_error *err)
{
    char cpu[512];
    struct utsname system;
    cpu_name(cpu, sizeof cpu);
    if (uname(&system)) memset(&system, 0, sizeof system);
    json_t *o = json_pack("{s:s, s:I, s:i, s:s, s:s+++}", "cpu", cpu, "cores",
                          (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads",
                          n_threads > 0 ? n_threads : snellen_default_threads(), "isa", snellen_isa(), "system",
                          system.sysname, " ", system.release, "");
    *json = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(o);
    FAIL_IF(!*json, SNELLEN_E_MEMORY, "description of the machine: memory ran out");
    return SNELLEN_OK;
}
