/* dispatch: which instruction set the kernels use. Chosen once, before main() runs, from what the processor and the
 * operating system have; SNELLEN_ISA in the environment names another one that is available. Afterwards the choice
 * only changes through kernels_choose(), which is for tests. */
#include "kernels/table.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static bool has_avx2(void)
{
    unsigned a, b, c = 0, d;
    /* clang's __builtin_cpu_supports() does not know f16c: bit 29 of leaf 1. */
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29)) && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

/* Processors with AVX-512 but without VNNI (2017..2018) use AVX2: there is little to gain on them. */
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

static bool has_scalar(void) { return true; }

/* Best first. */
static const struct choice {
    struct kernel_table table;
    bool (*available)(void);
} choices[] = {
#if defined(__x86_64__)
    { { "avx512", &dot_kernels_avx512, &row_kernels_avx512, &igemm_kernels_avx512, NULL }, has_avx512 },
    { { "avx2", &dot_kernels_avx2, &row_kernels_avx2, &igemm_kernels_avx2, gemm_avx2 }, has_avx2 },
#endif
    { { "scalar", &dot_kernels_scalar, &row_kernels_scalar, NULL, NULL }, has_scalar },
};
#define N_CHOICES (sizeof(choices) / sizeof(choices[0]))

static const struct kernel_table *chosen = &choices[N_CHOICES - 1].table;

bool kernels_choose(const char *isa)
{
    for (size_t i = 0; i < N_CHOICES; i++)
        if (!strcmp(choices[i].table.isa, isa) && choices[i].available()) {
            chosen = &choices[i].table;
            return true;
        }
    return false;
}

__attribute__((constructor)) static void choose_at_start(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    const char *wish = getenv("SNELLEN_ISA");
    if (wish && kernels_choose(wish)) return;
    for (size_t i = 0; i < N_CHOICES; i++)
        if (kernels_choose(choices[i].table.isa)) return;
}

const struct kernel_table *kernels(void) { return chosen; }

const char *kernels_isa(void) { return chosen->isa; }
