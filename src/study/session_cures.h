/* Cures that change how a text is read and leave its words alone: options of the session that asks. A new one is a row in
 * session_cures.c; the exam asks with it, ranks and draws it as it does cures of the prompt. */
#ifndef STUDY_SESSION_CURES_H
#define STUDY_SESSION_CURES_H

#include "base/base.h"

struct session_cure {
    const char *name;            /* as the database has it: "sharper" */
    const char *words;           /* "sharper attention (temperature 0.8)" */
    const char *how;             /* a sentence: what does it outside of the exam */
    bool short_texts;            /* of use for texts of a few hundred tokens as well: counting is asked, too */
    /* Sets the options; false where the model cannot do it. */
    bool (*apply)(const snellen_model *model, snellen_session_options *options);
};

/* The i-th; NULL behind the last. */
const struct session_cure *session_cure_at(size_t i);
/* NULL = the name is of no such cure. */
const struct session_cure *session_cure_find(const char *name);

#endif
