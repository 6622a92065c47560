/* Dice: contents by number. Two permutations of numbers, one that is the same for ever and divides training from
 * test, one by seed that puts the samples of a set into an order, make samples different and sets disjoint without a
 * list of what was drawn before. */
#include "tasks/symbols.h"

enum { TEST_SHARE = 8, NUMBER_BITS = 62 };
static const uint64_t split_key = 0x736e656c6c656e31u;  /* a new key would be new sets: results could not be compared */

/* The number in [0, n) of the content that sample `index` of a set has. */
static uint64_t number_of(struct dice *dice, uint64_t n)
{
    uint64_t n_test = MAX(n / TEST_SHARE, 1);
    uint64_t first = dice->train ? n_test : 0, size = dice->train ? n - n_test : n_test;
    dice->repeats = dice->index >= size;
    return order_at(n, first + order_at(size, dice->index, dice->key), split_key);
}

/* ---- what tasks draw --------------------------------------------------------------------------------------------- */

void dice_start(struct dice *dice, uint64_t seed, int64_t length, bool train, uint64_t index)
{
    *dice = (struct dice){.train = train, .index = index};
    rng_seed(&dice->rng, seed, 2 * (uint64_t)length + train);
    dice->key = rng_u64(&dice->rng);
    rng_seed(&dice->rng, dice->key, index);
}

void dice_values(struct dice *dice, const uint32_t *radices, size_t n, uint32_t *values)
{
    uint64_t size = 1;
    size_t head = 0;
    for (; head < n && radices[head] <= ((uint64_t)1 << NUMBER_BITS) / size; head++) size *= radices[head];
    dice->single = size < 2;
    uint64_t number = dice->single ? 0 : number_of(dice, size);
    for (size_t i = 0; i < head; i++) {
        values[i] = (uint32_t)(number % radices[i]);
        number /= radices[i];
    }
    for (size_t i = head; i < n; i++) values[i] = (uint32_t)rng_below(&dice->rng, radices[i]);
}

void word_radices(uint32_t pool, size_t n, uint32_t *radices)
{
    for (size_t i = 0; i < n; i++) radices[i] = pool - (uint32_t)i;
}

/* Fisher and Yates: value i says which of the words that are left comes next. */
void choose_words(uint32_t pool, const uint32_t *values, size_t n, int32_t *words)
{
    int32_t left[SYMBOL_MAX_POOL];
    for (uint32_t i = 0; i < pool; i++) left[i] = SYMBOL_WORD + (int32_t)i;
    for (size_t i = 0; i < n; i++) {
        words[i] = left[values[i]];
        left[values[i]] = left[pool - 1 - i];
    }
}

void dice_words(struct dice *dice, uint32_t pool, size_t n, int32_t *words)
{
    uint32_t radices[SYMBOL_MAX_POOL], values[SYMBOL_MAX_POOL];
    word_radices(pool, n, radices);
    for (size_t i = 0; i < n; i++) values[i] = (uint32_t)rng_below(&dice->rng, radices[i]);
    choose_words(pool, values, n, words);
}
