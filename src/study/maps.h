/* maps: what tokens have to do with tokens (attention, attribution), drawn with the tokens as labels. */
#ifndef STUDY_MAPS_H
#define STUDY_MAPS_H

#include "report/plot.h"

/* values [n_rows, n_columns], row 0 on top. Of more than MAP_MOST rows or columns several share a cell: their largest. */
struct token_map {
    const char *id, *title, *caption, *command;   /* as in struct plot_figure */
    const char *x_label, *y_label, *value_label;
    size_t n_rows, n_columns;
    const float *values;
    const int32_t *row_tokens, *column_tokens;
    bool log;                                     /* colours by the logarithm */
};
enum { MAP_MOST = 600 };

/* Draws it into folder/id.png, .svg and .csv. */
snellen_status token_map_write(const snellen_model *model, const struct token_map *map, const char *folder,
                               snellen_error *err);
/* A token as a label: its text with spaces and line ends visible, or its id where the model has no text for it. */
void token_label(const snellen_model *model, int32_t token, struct strbuf *out);

#endif
