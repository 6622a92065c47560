/* Where the numbers of probes go: the database of results, and safetensors files. */
#include "cli/probe.h"

#include <inttypes.h>

snellen_status probe_recorded(const snellen_model *model, const char *name, const struct common_opts *common,
                              const char *database, probe_measure *measure, void *work, snellen_error *err)
{
    const snellen_run_start start = {.verb = "probe", .command = ui_command(), .model_name = name, .seed = common->seed,
                                     .n_threads = (int)common->threads};
    snellen_recorder *recorder = NULL;
    snellen_error finish;
    if (database && !*database) return measure(work, NULL, err);
    if (snellen_record_begin(database, model, &start, &recorder, err))
        return error_prefix(err, err->status, "results database (--db '' does without)");
    int64_t id = snellen_record_id(recorder);
    snellen_status status = measure(work, recorder, err);
    const char *how = !status ? "done" : status == SNELLEN_E_CANCELLED ? "incomplete" : "failed";
    if (snellen_record_finish(recorder, how, &finish) && !status) {
        *err = finish;
        return finish.status;
    }
    if (!status) ui_note("kept as run %" PRId64 ": snellen runs show %" PRId64, id, id);
    return status;
}

snellen_status probe_write_tensors(const char *path, const struct probe_tensor *tensors, size_t n, snellen_error *err)
{
    enum { MOST_TENSORS = 16 };
    struct safetensors_spec specs[MOST_TENSORS] = {0};
    struct safetensors_writer *writer;
    FAIL_IF(n > MOST_TENSORS, SNELLEN_E_USAGE, "%zu tensors, at most %d expected", n, MOST_TENSORS);
    for (size_t i = 0; i < n; i++) specs[i] = tensors[i].spec;
    TRY(safetensors_writer_new(path, specs, n, &writer, err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = safetensors_writer_put(writer, i, 0, tensors[i].data, tensors[i].n_bytes, err);
    if (!status) return safetensors_writer_commit(writer, err);
    safetensors_writer_abort(writer);
    return status;
}
