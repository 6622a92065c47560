/* What the tests share: cmocka's includes, failing with the library's own message, golden files. */
#ifndef TEST_TEST_H
#define TEST_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "snellen.h"

/* A call that must succeed. */
#define MUST(expr)                                                                                                     \
    do {                                                                                                               \
        snellen_error err_ = {0};                                                                                      \
        snellen_error *err = &err_;                                                                                    \
        if (expr) fail_msg("%s", err_.message);                                                                        \
    } while (0)

/* A call that must fail in this way. */
#define MUST_FAIL(status_, expr)                                                                                       \
    do {                                                                                                               \
        snellen_error err_ = {0};                                                                                      \
        snellen_error *err = &err_;                                                                                    \
        assert_int_equal(expr, status_);                                                                               \
        assert_true(err_.message[0]);                                                                                  \
    } while (0)

/* The model `name` in a folder of models. */
static inline snellen_model *load_model(const char *folder, const char *name)
{
    char path[4096];
    snellen_model *model;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    MUST(snellen_model_load(path, &model, err));
    return model;
}

/* Largest |a - b|; infinite when one of them is NaN. */
static inline double worst_difference(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= worst)) worst = isnan(difference) ? (double)INFINITY : difference;
    }
    return worst;
}

#endif
