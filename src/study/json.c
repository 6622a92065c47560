/* results.json: every finding, cell and answer of a checkup in one object, for other programs. */
#include "study/checkup.h"
#include "study/retrieval.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* JSON has no NaN: null. */
static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *length_or_null(int64_t n)
{
    return n >= 0 ? json_integer(n) : json_null();
}

static json_t *reach_json(const struct reach *r)
{
    return json_pack("{s:I, s:o, s:I, s:b}", "up_to", (json_int_t)r->up_to, "fails_at", length_or_null(r->fails_at),
                     "longest_tried", (json_int_t)r->longest, "again", r->again);
}

static json_t *gain_json(const struct cure_finding *f)
{
    return json_pack("{s:o, s:o, s:o, s:I}", "margin", real(f->gain), "low", real(f->low), "high", real(f->high), "n",
                     (json_int_t)f->n);
}

/* ---- collapse -------------------------------------------------------------------------------------------------------------- */

static json_t *collapse_points(const struct checkup *c, const struct checkup_collapse *k)
{
    const struct checkup_collapse *f32 = checkup_find_collapse(&c->plan, k->sequence, SNELLEN_F32);
    json_t *points = json_array();
    for (size_t i = 0; i < k->n_lengths; i++) {
        double mean, low, high;
        checkup_collapse_at(k, c->info->n_layers + 1, i, &mean, &low, &high);
        const snellen_collapse_row *row = checkup_collapse_row(k, 0, i, c->info->n_layers + 1);
        json_array_append_new(points, json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o}",
            "n", (json_int_t)k->lengths[i], "linf_mean", real(mean), "linf_min", real(low), "linf_max", real(high),
            "l1", real(row->l1), "relative", real(row->relative), "mean_abs", real(row->mean_abs),
            "shift", real(row->shift), "bit_equal", row->bit_equal, "same_logits", row->same_logits,
            "same_top", row->same_top, "rounding",
            k->precision == SNELLEN_F32 ? json_null() : real(checkup_rounding_at(k, f32, i, c->info)), "loss",
            k->precision == SNELLEN_F32 ? json_null() : real(checkup_loss_at(k, f32, i, c->info))));
    }
    return points;
}

static json_t *collapse_json(const struct checkup *c)
{
    json_t *all = json_array();
    for (size_t i = 0; i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        if (!k->result) continue;
        struct collapse_finding f = checkup_judge_part(&c->plan, k, c->info);
        json_array_append_new(all, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
            "sequence", k->sequence, "precision", checkup_precision_name(k->precision),
            "n_prompts", (json_int_t)k->n_prompts, "tells", reach_json(&f.tells), "above_line", reach_json(&f.line),
            "above_rounding", f.has_noise ? reach_json(&f.noise) : json_null(), "kept",
            f.has_noise ? reach_json(&f.kept) : json_null(), "bits_differ", reach_json(&f.bits),
            "logits_differ", reach_json(&f.logits),
            "blind_at", length_or_null(k->result->blind_at), "faint_at", length_or_null(k->result->faint_at),
            "points", collapse_points(c, k)));
    }
    return all;
}

/* ---- tasks -------------------------------------------------------------------------------------------------------------------- */

static json_t *cells_json(const struct checkup_task *t)
{
    json_t *cells = json_array();
    for (size_t i = 0; i < t->score.n_cells; i++) {
        const snellen_cell *x = &t->score.cells[i];
        json_array_append_new(cells, json_pack("{s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:o}",
            "length", (json_int_t)x->length, "n", (json_int_t)x->n, "margin", real(x->margin),
            "margin_low", real(x->margin_low), "margin_high", real(x->margin_high),
            "n_positive", (json_int_t)x->n_positive, "n_generated", (json_int_t)x->n_generated,
            "n_right", (json_int_t)x->n_right, "abs_error", real(x->abs_error)));
    }
    return cells;
}

static json_t *answers_json(const struct checkup_task *t)
{
    json_t *answers = json_array();
    for (size_t i = 0; i < t->n_answers; i++) {
        const snellen_answer *a = &t->answers[i];
        json_t *o = json_pack("{s:I, s:I, s:I, s:o, s:I}", "length", (json_int_t)a->length, "prompt", (json_int_t)a->prompt,
                              "expected", (json_int_t)a->expected, "margin", real((double)a->margin), "best_wrong",
                              (json_int_t)a->best_wrong);
        if (o && a->generated) {
            json_object_set_new(o, "got", a->parsed ? json_integer(a->got) : json_null());
            /* What a model writes need not be UTF-8. */
            json_t *text = a->text ? json_string(a->text) : NULL;
            json_object_set_new(o, "text", text ? text : json_null());
        }
        json_array_append_new(answers, o);
    }
    return answers;
}

static json_t *tasks_json(const struct checkup *c)
{
    json_t *all = json_array();
    for (size_t i = 0; i < c->plan.n_tasks; i++) {
        const struct checkup_task *t = &c->plan.tasks[i];
        if (!t->n_answers) continue;
        struct task_finding f = checkup_judge_task(t);
        json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "task", t->task, "style", t->style,
            "cure", t->cure, "sees", reach_json(&f.sees), "blind_at", length_or_null(f.blind_at), "mean_margin",
            real(f.mean_margin), "n_generated", (json_int_t)f.n_generated, "n_right", (json_int_t)f.n_right, "cells",
            cells_json(t), "answers", answers_json(t));
        struct cure_finding cure = {0};
        if (t->cure[0] || strcmp(t->style, "plain"))
            cure = checkup_judge_cure(t, checkup_find_task(&c->plan, t->task, "plain", ""));
        if (o && cure.known)
            json_object_set_new(o, "gain", gain_json(&cure));
        json_array_append_new(all, o);
    }
    return all;
}

/* ---- retrieval ------------------------------------------------------------------------------------------------------------------ */

/* The probe's object, its tasks with what the exam finds in them; null where it was not asked. */
static json_t *found_json(const struct checkup *c)
{
    const snellen_retrieval_result *r = c->plan.retrieval.result;
    if (!r) return json_null();
    json_t *o = retrieval_json(r), *tasks = json_object_get(o, "tasks");
    for (size_t i = 0; i < r->n_tasks && tasks; i++) {
        struct retrieval_finding f = checkup_judge_retrieval(r, r->tasks[i].task);
        if (!f.known) continue;
        json_t *task = json_array_get(tasks, i);
        json_object_set_new(task, "finds", reach_json(&f.finds));
        json_object_set_new(task, "guesses", json_boolean(f.guesses));
        json_object_set_new(task, "margin_at_ends", real(f.ends));
        json_object_set_new(task, "margin_between", real(f.middle));
    }
    struct cure_finding by_name = checkup_judge_by_name(r);
    if (o && by_name.known) json_object_set_new(o, "gain_by_name", gain_json(&by_name));
    return o;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

snellen_status checkup_json(struct checkup *c, bool complete, const char *summary, char **json, snellen_error *err)
{
    json_t *lines = json_array();
    for (const char *p = summary; *p;) {
        size_t n = strcspn(p, "\n");
        json_array_append_new(lines, json_stringn(p, n));
        p += n + (p[n] == '\n');
    }
    json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:s, s:I, s:b, s:b, s:f, s:I, s:o, s:o, s:o, s:o}",
        "version", snellen_version(), "command", c->options.command, "model",
        json_pack("{s:s, s:s, s:s, s:s, s:I}", "name", c->options.model_name, "path", c->info->path, "hash",
                  c->model_hash, "arch", c->info->arch, "n_layers", (json_int_t)c->info->n_layers),
        "isa", snellen_isa(), "mode", c->options.full ? "full" : "quick", "seed", (json_int_t)c->options.seed,
        "chat", c->chat, "complete", complete, "seconds", c->seconds, "planned_tokens", (json_int_t)c->plan.work,
        "summary", lines, "collapse", collapse_json(c), "tasks", tasks_json(c),
        "retrieval", found_json(c));
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "results.json: memory ran out, or a name in it is no UTF-8");
    *json = text;
    return SNELLEN_OK;
}
