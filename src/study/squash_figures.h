/* squash_figures: how much of each token reaches the last one, drawn. */
#ifndef STUDY_SQUASH_FIGURES_H
#define STUDY_SQUASH_FIGURES_H

#include "base/base.h"

/* As PNG, SVG and CSV into the folder, which is there:
 *
 *   squash           sensitivity over the place in the text, its 95 % interval, and the paths of all layers scaled to meet it at the
 *                    last token
 *   squash-products  the paths of the layers 0..l, and of all layers several times over
 *
 * The second one, and the paths of the first, where there are any. */
snellen_status squash_draw(const snellen_squash *s, const char *folder, const char *command, snellen_error *err);

#endif
