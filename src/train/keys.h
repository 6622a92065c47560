/* keys: the table of all keys of a study file. */
#ifndef TRAIN_KEYS_H
#define TRAIN_KEYS_H

#include "train/settings.h"

enum key_kind { KEY_TEXT, KEY_CHOICE, KEY_BOOL, KEY_INT, KEY_REAL, KEY_PAIR, KEY_INTS };

struct key {
    const char *name;       /* "train.lora.rank" */
    enum key_kind kind;
    size_t offset;          /* in struct settings; KEY_PAIR: double[2], KEY_INTS: struct int_row */
    const char *fallback;   /* the default as it would be written */
    double low, high;       /* numbers, inclusive */
    const char *choices;    /* KEY_CHOICE: separated by spaces */
    const char *when;       /* the key means something only where one of these holds, "key" (given) or "key=value",
                               separated by spaces; NULL = always */
    bool may_change;        /* when a run is resumed */
    bool asks;              /* decides how a study asks the trained model, and with eval.exact which weights are the best */
    const char *help;
};

extern const struct key keys[];
extern const size_t n_keys;

#endif
