/* Study files: found by name, taken apart into what the study adds and the training file that is left. */
#include "study/study.h"
#include "train/yaml.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SNELLEN_DATA_DIR
#define SNELLEN_DATA_DIR "/usr/local/share/snellen"
#endif

enum { FILE_BYTES = 1 << 20, MOST_PLACES = 4, MOST_STUDIES = 256 };

/* ---- where studies lie ------------------------------------------------------------------------------------------------- */

/* Folders in the order in which they are looked through. */
static size_t places(struct arena *arena, const char *folders[MOST_PLACES])
{
    size_t n = 0;
    char program[4096];
    const char *own = getenv("SNELLEN_STUDIES");
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (own && *own) folders[n++] = own;
    folders[n++] = "studies";
    if (length > 0) {
        program[length] = 0;
        char *slash = strrchr(program, '/');
        if (slash) *slash = 0;
        const char *beside = arena_printf(arena, "%s/../studies", program);
        if (beside) folders[n++] = beside;
    }
    folders[n++] = SNELLEN_DATA_DIR "/studies";
    return n;
}

static bool is_path(const char *study)
{
    size_t n = strlen(study);
    return strchr(study, '/') || (n > 5 && !strcmp(study + n - 5, ".yaml"));
}

static snellen_status unknown_study(const char *study, snellen_error *err)
{
    snellen_study_info *list;
    const char *names[MOST_STUDIES];
    size_t n;
    TRY(snellen_studies_list(&list, &n, err));
    for (size_t i = 0; i < n; i++) names[i] = list[i].name;
    const char *near = text_nearest(study, names, n);
    snellen_status status = error_set(err, SNELLEN_E_USAGE, "study '%s' is not known%s%s%s `snellen study list` tells those "
                                      "that are, a path ends in .yaml", study, near ? "; did you mean " : ";",
                                      near ? near : "", near ? "?" : "");
    snellen_free(list);
    return status;
}

static snellen_status find_study(const char *study, struct arena *arena, const char **path, snellen_error *err)
{
    const char *folders[MOST_PLACES];
    *path = study;
    if (is_path(study)) return SNELLEN_OK;
    size_t n = places(arena, folders);
    for (size_t i = 0; i < n; i++) {
        *path = arena_printf(arena, "%s/%s.yaml", folders[i], study);
        FAIL_IF(!*path, SNELLEN_E_MEMORY, "study: memory ran out");
        if (file_exists(*path)) return SNELLEN_OK;
    }
    return unknown_study(study, err);
}

/* ---- nodes to keys ------------------------------------------------------------------------------------------------------- */

/* {train: {lr: 1e-3}} and {train.lr: 1e-3} become "train.lr=1e-3". */
static snellen_status flatten(struct study_variant *v, struct arena *arena, const char *prefix, struct fy_node *node,
                              snellen_error *err)
{
    void *at = NULL;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(node, &at));) {
        size_t n;
        const char *name = fy_node_get_scalar(fy_node_pair_key(pair), &n);
        struct fy_node *value = fy_node_pair_value(pair);
        FAIL_IF(!name, SNELLEN_E_USAGE, "variant %s: a key is no text", v->name);
        const char *key = arena_printf(arena, "%s%s%.*s", prefix, *prefix ? "." : "", (int)n, name);
        FAIL_IF(!key, SNELLEN_E_MEMORY, "study: memory ran out");
        if (value && fy_node_is_mapping(value)) {
            TRY(flatten(v, arena, key, value, err));
            continue;
        }
        char *text = value ? fy_emit_node_to_string(value, FYECF_MODE_FLOW_ONELINE | FYECF_WIDTH_INF) : NULL;
        FAIL_IF(v->n_keys == STUDY_MAX_KEYS, SNELLEN_E_USAGE, "variant %s: more than %d keys", v->name, STUDY_MAX_KEYS);
        v->keys[v->n_keys++] = arena_printf(arena, "%s=%.*s", key, text ? (int)strcspn(text, "\n") : 0, text ? text : "");
        free(text);
        FAIL_IF(!v->keys[v->n_keys - 1], SNELLEN_E_MEMORY, "study: memory ran out");
    }
    return SNELLEN_OK;
}

/* Takes a key out of the root; NULL when it is not there. The caller frees the node. */
static struct fy_node *take(struct fy_node *root, const char *key)
{
    struct fy_node *found = fy_node_mapping_lookup_by_string(root, key, FY_NT);
    return found ? fy_node_mapping_remove_by_key(root, fy_node_create_scalar_copy(fy_node_document(root), key, FY_NT)) : NULL;
}

static snellen_status take_text(struct study_file *f, struct fy_node *root, const char *key, const char *fallback,
                                const char **out, snellen_error *err)
{
    struct fy_node *node = take(root, key);
    size_t n = 0;
    const char *text = node ? fy_node_get_scalar(node, &n) : NULL;
    *out = text ? arena_text(&f->arena, text, n) : fallback;
    snellen_status status = node && !text ? error_set(err, SNELLEN_E_USAGE, "%s: %s: a text expected", f->path, key)
                            : !*out      ? error_set(err, SNELLEN_E_MEMORY, "study: memory ran out")
                                         : SNELLEN_OK;
    fy_node_free(node);
    return status;
}

/* `after` is no key of training: it names a variant above. */
static snellen_status read_after(struct study_file *f, struct study_variant *v, struct fy_node *keys, snellen_error *err)
{
    TRY(take_text(f, keys, "after", "", &v->after, err));
    size_t i = 0;
    while (f->variants + i != v && strcmp(f->variants[i].name, v->after)) i++;
    FAIL_IF(*v->after && f->variants + i == v, SNELLEN_E_USAGE, "%s: variants: %s: after: there is no variant '%s' before it",
            f->path, v->name, v->after);
    return SNELLEN_OK;
}

static snellen_status read_variants(struct study_file *f, struct fy_node *node, snellen_error *err)
{
    void *at = NULL;
    FAIL_IF(!fy_node_is_mapping(node), SNELLEN_E_USAGE, "%s: variants: names with their keys expected", f->path);
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(node, &at));) {
        size_t n;
        const char *name = fy_node_get_scalar(fy_node_pair_key(pair), &n);
        struct fy_node *keys = fy_node_pair_value(pair);
        FAIL_IF(!name || !n || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") < n,
                SNELLEN_E_USAGE, "%s: variants: '%.*s' is no name of letters, digits, - and _", f->path, (int)n,
                name ? name : "");
        FAIL_IF(f->n_variants == STUDY_MAX_VARIANTS, SNELLEN_E_USAGE, "%s: more than %d variants", f->path,
                STUDY_MAX_VARIANTS);
        struct study_variant *v = &f->variants[f->n_variants++];
        v->name = arena_text(&f->arena, name, n);
        v->after = "";
        FAIL_IF(!v->name, SNELLEN_E_MEMORY, "study: memory ran out");
        FAIL_IF(keys && !fy_node_is_mapping(keys) && !fy_node_is_null(keys), SNELLEN_E_USAGE,
                "%s: variants: %s: keys with values expected", f->path, v->name);
        if (!keys || !fy_node_is_mapping(keys)) continue;
        TRY(read_after(f, v, keys, err));
        TRY(flatten(v, &f->arena, "", keys, err));
    }
    return SNELLEN_OK;
}

/* ---- the file -------------------------------------------------------------------------------------------------------------- */

static snellen_status read_root(struct study_file *f, struct fy_node *root, snellen_error *err)
{
    const char *attribution;
    FAIL_IF(!root || !fy_node_is_mapping(root), SNELLEN_E_USAGE, "%s: keys with values expected", f->path);
    TRY(take_text(f, root, "title", f->name, &f->title, err));
    TRY(take_text(f, root, "about", "", &f->about, err));
    TRY(take_text(f, root, "attribution", "0", &attribution, err));
    char *end;
    f->attribution = strtoll(attribution, &end, 10);
    FAIL_IF(*end || f->attribution < 0 || f->attribution > 1000, SNELLEN_E_USAGE,
            "%s: attribution: '%s' found, a length from 0 to 1000 expected", f->path, attribution);
    struct fy_node *full = take(root, "full"), *variants = take(root, "variants"), *exam = take(root, "exam");
    f->full.name = "full";
    f->exam.name = "exam";
    f->full.after = f->exam.after = "";
    snellen_status status = exam && (variants || !fy_node_is_mapping(exam) || !fy_node_mapping_is_empty(root))
                                ? error_set(err, SNELLEN_E_USAGE, "%s: exam: keys with values expected, and beside them only title, "
                                            "about and full", f->path) : SNELLEN_OK;
    if (exam && !status) status = flatten(&f->exam, &f->arena, "", exam, err);
    if (full && !fy_node_is_mapping(full))
        status = error_set(err, SNELLEN_E_USAGE, "%s: full: keys with values expected", f->path);
    if (full && !status) status = flatten(&f->full, &f->arena, "", full, err);
    if (variants && !status) status = read_variants(f, variants, err);
    fy_node_free(full);
    fy_node_free(exam);
    fy_node_free(variants);
    if (!f->n_variants) f->variants[f->n_variants++] = (struct study_variant){.name = f->name, .after = ""};
    return status;
}

static snellen_status read_file(struct study_file *f, snellen_error *err)
{
    char *text;
    size_t n;
    TRY(file_read(f->path, FILE_BYTES, &text, &n, err));
    struct fy_document *document = NULL;
    snellen_status status = yaml_parse(f->path, true, text, n, &document, err);
    if (!status) status = read_root(f, fy_document_root(document), err);
    char *base = status ? NULL : fy_emit_document_to_string(document, FYECF_DEFAULT);
    f->base = base ? arena_text(&f->arena, base, strlen(base)) : NULL;
    if (!status && !f->base) status = error_set(err, SNELLEN_E_MEMORY, "study: memory ran out");
    free(base);
    fy_document_destroy(document);
    mem_free(text);
    return status;
}

snellen_status study_file_open(const char *study, struct study_file *f, snellen_error *err)
{
    *f = (struct study_file){0};
    snellen_status status = find_study(study, &f->arena, &f->path, err);
    if (!status) {
        const char *slash = strrchr(f->path, '/'), *base = slash ? slash + 1 : f->path, *dot = strrchr(base, '.');
        f->name = arena_text(&f->arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
        status = f->name ? read_file(f, err) : error_set(err, SNELLEN_E_MEMORY, "study: memory ran out");
    }
    if (status) study_file_free(f);
    return status;
}

void study_file_free(struct study_file *f)
{
    arena_free(&f->arena);
    *f = (struct study_file){0};
}

/* ---- the list -------------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const snellen_study_info *)a)->name, ((const snellen_study_info *)b)->name);
}

/* Adds the studies of one folder; a name that is there already came from a folder before. */
static snellen_status list_folder(const char *folder, struct arena *arena, snellen_study_info *list, size_t *n,
                                  snellen_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir) return SNELLEN_OK;
    snellen_status status = SNELLEN_OK;
    for (const struct dirent *e; !status && *n < MOST_STUDIES && (e = readdir(dir));) {
        size_t length = strlen(e->d_name), i = 0;
        if (length < 6 || strcmp(e->d_name + length - 5, ".yaml")) continue;
        struct study_file f;
        const char *path = arena_printf(arena, "%s/%s", folder, e->d_name);
        if (!path || study_file_open(path, &f, NULL)) continue;
        while (i < *n && strcmp(list[i].name, f.name)) i++;
        if (i == *n) {
            snellen_study_info *s = &list[(*n)++];
            *s = (snellen_study_info){arena_text(arena, f.name, strlen(f.name)), path,
                                      arena_text(arena, f.title, strlen(f.title)),
                                      arena_text(arena, f.about, strlen(f.about))};
            if (!s->name || !s->title || !s->about) status = error_set(err, SNELLEN_E_MEMORY, "studies: memory ran out");
        }
        study_file_free(&f);
    }
    closedir(dir);
    return status;
}

/* One piece of memory: the list, then its texts. */
static snellen_status pack(const snellen_study_info *list, size_t n, snellen_study_info **out, snellen_error *err)
{
    size_t bytes = n * sizeof *list + 1;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(list[i].name) + strlen(list[i].path) + strlen(list[i].title) + strlen(list[i].about) + 4;
    *out = malloc(bytes);
    FAIL_IF(!*out, SNELLEN_E_MEMORY, "studies: memory ran out");
    char *text = (char *)(*out + n);
    for (size_t i = 0; i < n; i++) {
        const char *from[] = {list[i].name, list[i].path, list[i].title, list[i].about};
        const char **to[] = {&(*out)[i].name, &(*out)[i].path, &(*out)[i].title, &(*out)[i].about};
        for (size_t k = 0; k < COUNT_OF(from); k++) {
            *to[k] = strcpy(text, from[k]);
            text += strlen(from[k]) + 1;
        }
    }
    return SNELLEN_OK;
}

snellen_status snellen_studies_list(snellen_study_info **out, size_t *n, snellen_error *err)
{
    struct arena arena = {0};
    const char *folders[MOST_PLACES];
    size_t n_folders = places(&arena, folders);
    snellen_study_info *list = arena_alloc(&arena, MOST_STUDIES * sizeof *list);
    snellen_status status = list ? SNELLEN_OK : error_set(err, SNELLEN_E_MEMORY, "studies: memory ran out");
    *n = 0;
    for (size_t i = 0; i < n_folders && !status; i++) status = list_folder(folders[i], &arena, list, n, err);
    if (!status) {
        qsort(list, *n, sizeof *list, by_name);
        status = pack(list, *n, out, err);
    }
    arena_free(&arena);
    return status;
}
