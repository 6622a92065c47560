/* From numbers to findings. Pure functions: nothing here reads a model, a file or a clock. */
#include "study/checkup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double paper_line = 1.0 / 128; /* 2^-7, the spacing of bf16 at 1 */

struct reach checkup_reach(const int64_t *lengths, const bool *holds, size_t n)
{
    struct reach r = {.any = n > 0, .fails_at = -1, .longest = n ? lengths[n - 1] : 0};
    for (size_t i = 0; i < n; i++) {
        if (r.fails_at >= 0) r.again |= holds[i];
        else if (holds[i]) r.up_to = lengths[i];
        else r.fails_at = lengths[i];
        if (holds[i]) r.last = lengths[i];
    }
    return r;
}

/* ---- collapse ------------------------------------------------------------------------------------------------------------ */

const struct checkup_collapse *checkup_find_part(const struct checkup_plan *plan, const char *sequence,
                                                 snellen_precision precision, unsigned part)
{
    for (size_t i = 0; i < plan->n_collapses; i++) {
        const struct checkup_collapse *k = &plan->collapses[i];
        if (k->result && k->precision == precision && k->part == part && !strcmp(k->sequence, sequence)) return k;
    }
    return NULL;
}

const struct checkup_collapse *checkup_find_collapse(const struct checkup_plan *plan, const char *sequence,
                                                     snellen_precision precision)
{
    return checkup_find_part(plan, sequence, precision, 0);
}

const snellen_collapse_row *checkup_collapse_row(const struct checkup_collapse *k, uint32_t prompt, size_t i,
                                                 int64_t layer)
{
    /* Rows are stored by prompt, n, layer. */
    size_t n_layers = k->result->n_rows / (k->n_lengths * k->n_prompts);
    return &k->result->rows[(prompt * k->n_lengths + i) * n_layers + (size_t)layer];
}

void checkup_collapse_at(const struct checkup_collapse *k, int64_t layer, size_t i, double *mean, double *low, double *high)
{
    *mean = *low = *high = 0;
    for (uint32_t p = 0; p < k->n_prompts; p++) {
        const snellen_collapse_row *row = checkup_collapse_row(k, p, i, layer);
        *mean += row->linf_mean / k->n_prompts;
        *low += row->linf_min / k->n_prompts;
        *high += row->linf_max / k->n_prompts;
    }
}

/* Of y_n, or of y*_n - y_n. */
static double moved_at(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                       const snellen_model_info *info, bool difference)
{
    if (!f32 || i >= f32->n_lengths || f32->lengths[i] != k->lengths[i]) return (double)NAN;
    int64_t d = info->d_model, heads = info->n_heads;
    uint32_t n_prompts = MIN(k->n_prompts, f32->n_prompts);
    double sum = 0;
    for (uint32_t p = 0; p < n_prompts; p++) {
        const float *a = k->result->vectors + (int64_t)(p * k->n_lengths + i) * 2 * d;
        const float *b = f32->result->vectors + (int64_t)(p * f32->n_lengths + i) * 2 * d;
        for (int64_t h = 0; h < heads; h++) {
            double linf = 0;
            for (int64_t e = h * d / heads; e < (h + 1) * d / heads; e++)
                linf = fmax(linf, fabs(difference ? (double)a[d + e] - (double)a[e] - ((double)b[d + e] - (double)b[e])
                                                  : (double)a[e] - (double)b[e]));
            sum += linf;
        }
    }
    return sum / ((double)heads * n_prompts);
}

double checkup_rounding_at(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                           const snellen_model_info *info)
{
    return moved_at(k, f32, i, info, false);
}

double checkup_loss_at(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                       const snellen_model_info *info)
{
    return moved_at(k, f32, i, info, true);
}

struct collapse_finding checkup_judge_collapse(const struct checkup_plan *plan, const char *sequence,
                                               snellen_precision precision, const snellen_model_info *info)
{
    return checkup_judge_part(plan, checkup_find_collapse(plan, sequence, precision), info);
}

struct collapse_finding checkup_judge_part(const struct checkup_plan *plan, const struct checkup_collapse *k,
                                           const snellen_model_info *info)
{
    struct collapse_finding f = {0};
    if (!k || !k->result || !k->n_lengths) return f;
    const struct checkup_collapse *f32 = checkup_find_collapse(plan, k->sequence, SNELLEN_F32);
    bool bits[CHECKUP_MAX_GRID], line[CHECKUP_MAX_GRID], top[CHECKUP_MAX_GRID], noise[CHECKUP_MAX_GRID];
    bool tells[CHECKUP_MAX_GRID], kept[CHECKUP_MAX_GRID], logits[CHECKUP_MAX_GRID];
    f.known = true;
    f.has_noise = k->precision != SNELLEN_F32 && f32;
    size_t n_noise = 0;
    for (size_t i = 0; i < k->n_lengths; i++) {
        double mean, low, high;
        checkup_collapse_at(k, info->n_layers + 1, i, &mean, &low, &high);
        bits[i] = logits[i] = top[i] = true;
        for (uint32_t p = 0; p < k->n_prompts; p++) {
            const snellen_collapse_row *row = checkup_collapse_row(k, p, i, info->n_layers + 1);
            bits[i] = bits[i] && !row->bit_equal;
            logits[i] = logits[i] && !row->same_logits;
            top[i] = top[i] && !row->same_top;
        }
        line[i] = mean >= paper_line;
        double rounding = f.has_noise ? checkup_rounding_at(k, f32, i, info) : (double)NAN;
        /* What one more item does is read in f32: in the format itself it would hold the rounding, too. */
        double exact = (double)NAN, exact_low, exact_high;
        if (!isnan(rounding)) checkup_collapse_at(f32, info->n_layers + 1, i, &exact, &exact_low, &exact_high);
        noise[i] = exact > rounding;
        kept[i] = f.has_noise && exact > checkup_loss_at(k, f32, i, info);
        if (!isnan(rounding)) n_noise = i + 1;
        tells[i] = line[i] && (isnan(rounding) || noise[i]);
        if (i == 0) f.first = mean;
        f.last = mean;
    }
    f.has_noise = n_noise > 0;
    f.bits = checkup_reach(k->lengths, bits, k->n_lengths);
    f.line = checkup_reach(k->lengths, line, k->n_lengths);
    f.logits = checkup_reach(k->lengths, logits, k->n_lengths);
    f.top = checkup_reach(k->lengths, top, k->n_lengths);
    f.noise = checkup_reach(k->lengths, noise, n_noise);
    f.kept = checkup_reach(k->lengths, kept, n_noise);
    f.tells = checkup_reach(k->lengths, tells, k->n_lengths);
    return f;
}

/* ---- tasks --------------------------------------------------------------------------------------------------------------------- */

const struct checkup_task *checkup_find_task(const struct checkup_plan *plan, const char *task, const char *style,
                                             const char *cure)
{
    for (size_t i = 0; i < plan->n_tasks; i++) {
        const struct checkup_task *t = &plan->tasks[i];
        if (t->n_answers && !strcmp(t->task, task) && !strcmp(t->style, style) && !strcmp(t->cure, cure)) return t;
    }
    return NULL;
}

/* The number named most often among parsed answers; the smaller one of two. */
static void find_favourite(const struct checkup_task *task, struct task_finding *f)
{
    for (size_t i = 0; i < task->n_answers; i++) {
        const snellen_answer *a = &task->answers[i];
        if (!a->generated || !a->parsed) continue;
        uint32_t count = 0;
        for (size_t j = 0; j < task->n_answers; j++) {
            const snellen_answer *b = &task->answers[j];
            count += b->generated && b->parsed && b->got == a->got;
        }
        if (count > f->favourite_count || (count == f->favourite_count && a->got < f->favourite)) {
            f->favourite = a->got;
            f->favourite_count = count;
        }
    }
}

struct task_finding checkup_judge_task(const struct checkup_task *task)
{
    struct task_finding f = {.blind_at = -1};
    if (!task || !task->n_answers) return f;
    f.known = true;
    f.blind_at = task->score.blind_at;
    int64_t lengths[256];
    bool sees[256];
    size_t n = MIN(task->score.n_cells, COUNT_OF(lengths));
    for (size_t i = 0; i < n; i++) {
        const snellen_cell *cell = &task->score.cells[i];
        lengths[i] = cell->length;
        sees[i] = cell->n_positive * 2 > cell->n;
    }
    f.sees = checkup_reach(lengths, sees, n);
    for (size_t i = 0; i < task->n_answers; i++) {
        const snellen_answer *a = &task->answers[i];
        f.mean_margin += (double)a->margin / (double)task->n_answers;
        f.n_generated += a->generated;
        f.n_parsed += a->generated && a->parsed;
        f.n_right += a->generated && a->parsed && a->got == a->expected;
    }
    find_favourite(task, &f);
    return f;
}

/* ---- retrieval ------------------------------------------------------------------------------------------------------------------ */

/* Mean margin over the depths that lie at an end, or between; NAN without one. */
static double margin_at(const snellen_retrieval_result *r, const char *task, bool ends)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->n_answers; i++) {
        const snellen_retrieval_answer *a = &r->answers[i];
        if (strcmp(a->task, task) || (a->depth > 0 && a->depth < 1) == ends) continue;
        sum += (double)a->margin;
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

struct retrieval_finding checkup_judge_retrieval(const snellen_retrieval_result *r, const char *task)
{
    enum { MOST_LENGTHS = 64 };
    struct retrieval_finding f = {.ends = (double)NAN, .middle = (double)NAN};
    int64_t lengths[MOST_LENGTHS];
    double shares[MOST_LENGTHS];
    bool finds[MOST_LENGTHS];
    size_t n = 0;
    for (size_t i = 0; r && i < r->n_lengths && n < MOST_LENGTHS; i++) {
        const snellen_retrieval_cell *c = &r->lengths[i];
        if (strcmp(c->task, task)) continue;
        if (!n) f.shortest = c;
        f.longest = c;
        lengths[n] = c->length;
        shares[n++] = (double)c->n_right / c->n;
    }
    if (!n) return f;
    f.known = true;
    f.guesses = f.shortest->right_low <= 1.0 / SNELLEN_RETRIEVAL_ANSWERS;
    for (size_t i = 0; i < n; i++) finds[i] = !f.guesses && shares[i] >= 0.85 * shares[0];
    f.finds = checkup_reach(lengths, finds, n);
    f.ends = margin_at(r, task, true);
    f.middle = margin_at(r, task, false);
    return f;
}

struct cure_finding checkup_judge_by_name(const snellen_retrieval_result *r)
{
    struct cure_finding f = {0};
    double *gains = r ? calloc(MAX(r->n_answers, 1), sizeof *gains) : NULL;
    for (size_t i = 0; gains && i < r->n_answers; i++) {
        const snellen_retrieval_answer *name = &r->answers[i];
        if (strcmp(name->task, "list-content")) continue;
        for (size_t j = 0; j < r->n_answers; j++) {
            const snellen_retrieval_answer *index = &r->answers[j];
            if (strcmp(index->task, "list-index") || index->length != name->length || index->prompt != name->prompt ||
                index->depth > name->depth || index->depth < name->depth)
                continue;
            gains[f.n++] = (double)name->margin - (double)index->margin;
            f.right_with += name->margin > 0;
            f.right_without += index->margin > 0;
        }
    }
    if (f.n) mean_interval(gains, f.n, &f.gain, &f.low, &f.high);
    f.known = f.n > 0;
    free(gains);
    return f;
}

/* ---- cures ---------------------------------------------------------------------------------------------------------------------- */

struct cure_finding checkup_judge_cure(const struct checkup_task *with, const struct checkup_task *without)
{
    struct cure_finding f = {0};
    if (!with || !without) return f;
    uint32_t gained = 0, lost = 0;
    double *gains = calloc(MAX(with->n_answers, 1), sizeof *gains);
    if (!gains) return f;
    /* Both are sorted by length, then prompt. */
    for (size_t i = 0, j = 0; i < with->n_answers && j < without->n_answers;) {
        const snellen_answer *a = &with->answers[i], *b = &without->answers[j];
        if (a->length != b->length || a->prompt != b->prompt) {
            bool behind = a->length < b->length || (a->length == b->length && a->prompt < b->prompt);
            i += behind;
            j += !behind;
            continue;
        }
        gains[f.n++] = (double)a->margin - (double)b->margin;
        f.right_with += a->margin > 0;
        f.right_without += b->margin > 0;
        gained += a->margin > 0 && !(b->margin > 0);
        lost += b->margin > 0 && !(a->margin > 0);
        i++;
        j++;
    }
    if (f.n) {
        mean_interval(gains, f.n, &f.gain, &f.low, &f.high);
        f.share = ((double)gained - (double)lost) / f.n;
        paired_interval(gained, lost, f.n, &f.share_low, &f.share_high);
        f.known = true;
    }
    free(gains);
    return f;
}
