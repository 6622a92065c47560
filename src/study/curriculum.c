/* See curriculum.h. */
#include "study/curriculum.h"

#include <math.h>

static const double loss_memory = 0.95;   /* share of the running mean that is kept at each step */
enum { PATIENCE = 10 };                   /* least steps between two raises */

snellen_status curriculum_start(struct curriculum *c, int64_t first, snellen_error *err)
{
    FAIL_IF(first && (first < c->shortest || first > c->longest), SNELLEN_E_USAGE,
            "a curriculum from length %lld: %lld to %lld expected", (long long)first, (long long)c->shortest,
            (long long)c->longest);
    c->top = first ? first : c->longest;
    c->mean_loss = (double)NAN;
    c->steps_at_top = 0;
    return SNELLEN_OK;
}

void curriculum_learned(struct curriculum *c, double loss)
{
    c->mean_loss = isnan(c->mean_loss) ? loss : loss_memory * c->mean_loss + (1 - loss_memory) * loss;
    if (c->top == c->longest || ++c->steps_at_top < PATIENCE || c->mean_loss >= c->raise_below) return;
    int64_t steps = (int64_t)((double)c->top * c->share / (double)c->step);
    c->top = MIN(c->top + MAX(steps, 1) * c->step, c->longest);
    c->steps_at_top = 0;
}

int64_t curriculum_draw(const struct curriculum *c, struct rng *rng)
{
    uint64_t n = (uint64_t)((c->top - c->shortest) / c->step) + 1;
    if (c->by_log) {
        double low = (double)c->shortest, high = (double)(c->shortest + (int64_t)n * c->step);
        int64_t steps = (int64_t)((low * pow(high / low, rng_uniform(rng)) - low) / (double)c->step);
        return c->shortest + c->step * MIN(steps, (int64_t)n - 1);
    }
    return c->shortest + c->step * (int64_t)rng_below(rng, n);
}

void curriculum_put(const struct curriculum *c, json_t *object)
{
    json_object_set_new(object, "top", json_integer((json_int_t)c->top));
    json_object_set_new(object, "mean_loss", isnan(c->mean_loss) ? json_null() : json_real(c->mean_loss));
    json_object_set_new(object, "steps_at_top", json_integer((json_int_t)c->steps_at_top));
}

snellen_status curriculum_take(struct curriculum *c, const json_t *object, snellen_error *err)
{
    json_int_t top, steps;
    json_t *mean;
    int failed = json_unpack_ex((json_t *)(uintptr_t)object, NULL, 0, "{s:I, s:o, s:I}", "top", &top, "mean_loss",
                                &mean, "steps_at_top", &steps);
    FAIL_IF(failed || top < c->shortest || top > c->longest || steps < 0, SNELLEN_E_FORMAT,
            "the place in the curriculum does not fit the lengths");
    c->top = top;
    c->steps_at_top = steps;
    c->mean_loss = json_is_real(mean) ? json_real_value(mean) : (double)NAN;
    return SNELLEN_OK;
}
