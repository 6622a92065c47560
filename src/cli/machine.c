/* What the program was built with and what it runs on. */
#include "cli/cli.h"

#include "store/store.h"

#include <cairo.h>
#include <cblas.h>
#include <curl/curl.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zip.h>

#define TEXT_OF(x) TEXT_OF_(x)
#define TEXT_OF_(x) #x

const char *cli_compiler(void)
{
#if defined(__clang__)
    return "clang " TEXT_OF(__clang_major__) "." TEXT_OF(__clang_minor__);
#else
    return "gcc " TEXT_OF(__GNUC__) "." TEXT_OF(__GNUC_MINOR__);
#endif
}

const char *cli_openmp(void)
{
#ifdef _OPENMP
    return TEXT_OF(_OPENMP);
#else
    return "none";
#endif
}

const char *cli_libraries(char *buffer, size_t size)
{
    unsigned xxh = XXH_versionNumber();
    char pcre[64];
    pcre2_config_8(PCRE2_CONFIG_VERSION, pcre);
    snprintf(buffer, size,
             "%s; PCRE2 %s; utf8proc %s; Jansson %s; SQLite %s; Cairo %s; curl %s; libzip %s; %s; xxHash %u.%u.%u",
             openblas_get_config(), pcre, utf8proc_version(), jansson_version_str(), sqlite3_libversion(),
             cairo_version_string(), curl_version_info(CURLVERSION_NOW)->version, zip_libzip_version(),
             OpenSSL_version(OPENSSL_VERSION), xxh / 10000, xxh / 100 % 100, xxh % 100);
    return buffer;
}

json_t *cli_machine(int64_t n_threads)
{
    char *text;
    if (store_machine((int)n_threads, &text, NULL)) return NULL;
    json_t *machine = json_loads(text, 0, NULL);
    snellen_free(text);
    if (!machine) return NULL;
    json_t *memory = json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    if (json_object_set_new(machine, "memory_bytes", memory) ||
        json_object_set_new(machine, "compiler", json_string(cli_compiler()))) {
        json_decref(machine);
        return NULL;
    }
    return machine;
}
