/* Random numbers: xoshiro256** (Blackman and Vigna 2018) seeded through splitmix64; the same on every machine. */
#include "base/base.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = stream;
    x = seed ^ splitmix64(&x);
    for (int i = 0; i < 4; i++) r->state[i] = splitmix64(&x);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    /* Values in the incomplete last run of n would favour small results: draw again. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do x = rng_u64(r);
    while (x >= limit);
    return x % n;
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *r)
{
    /* Box and Muller; 1 - u lies in (0, 1]. */
    double radius = sqrt(-2.0 * log(1.0 - rng_uniform(r)));
    return radius * cos(2.0 * 3.14159265358979323846 * rng_uniform(r));
}

/* ---- orders ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t order_at(uint64_t n, uint64_t i, uint64_t seed)
{
    enum { ROUNDS = 8, LEAST_HALF = 4 };
    struct rng r;
    uint64_t keys[ROUNDS], x = i % n;
    int half = LEAST_HALF;
    while (half < 32 && n > (uint64_t)1 << 2 * half) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    rng_seed(&r, seed, i / n);
    for (int k = 0; k < ROUNDS; k++) keys[k] = rng_u64(&r);
    do {
        uint64_t left = x >> half, right = x & mask;
        for (int k = 0; k < ROUNDS; k++) {
            uint64_t next = left ^ (mix(right + keys[k]) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= n);
    return x;
}
