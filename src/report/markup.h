/* markup: text into HTML and SVG, always as text and never as markup. */
#ifndef REPORT_MARKUP_H
#define REPORT_MARKUP_H

#include "base/base.h"

/* The whole text, however long; invalid UTF-8 and control characters become U+FFFD. NULL = nothing. */
void markup_text(struct strbuf *out, const char *text);
/* <tag ..>text</tag>; the closing tag is the opening one's first word. */
void markup_element(struct strbuf *out, const char *tag, const char *text);

#endif
