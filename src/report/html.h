/* html: the report as one page that carries everything it needs: figures inline, style and script in it (page.css, page.js),
 * nothing from the network, which its policy forbids. */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "report/plot.h"

enum report_level { REPORT_GOOD, REPORT_WARN, REPORT_BAD, REPORT_PLAIN };

/* A finding in plain words, with the figure that shows it. */
struct report_finding {
    enum report_level level;
    const char *text;
    const char *figure;     /* id, NULL = none */
};

struct report_fact {
    const char *name, *value;
};

/* One thing to know at a glance. */
struct report_card {
    enum report_level level;    /* REPORT_PLAIN: not asked */
    const char *name;           /* "Copies" */
    const char *headline;       /* "Fails at 100 digits" */
    const char *definition;     /* what the headline means; told under the pointer, and in words below the cards */
    const struct report_fact *lines; /* what it is made of */
    size_t n_lines;
    const char *cure;           /* the best one in words; NULL = nothing to cure */
    const char *more, *more_text;    /* id of what says more, NULL = none */
    const char *ask;            /* the command that asks it; NULL = it was asked */
};

/* A number with its 95 % interval. */
struct report_interval {
    double value, low, high;
};

/* A cure that was tried on something that fails. */
struct report_cure {
    enum report_level level;    /* helps, makes no clear difference (REPORT_PLAIN), hurts */
    const char *name, *verdict;
    const char *right, *margin; /* gains in words */
    struct report_interval gain;/* of the margin, drawn */
    const char *reach;          /* how far it is right with the cure */
    const char *prompt;         /* as a person would paste it */
    const char *note;           /* what the prompt is and what makes it */
};
struct report_ranking {
    const char *id, *heading;
    const struct report_cure *cures; /* best first */
    size_t n_cures;
};

struct report_table {
    const char *caption;
    const char *const *header;  /* [n_columns] */
    const char *const *cells;   /* [n_rows][n_columns] */
    size_t n_columns, n_rows;
};

struct report_section {
    const char *heading, *lead; /* lead: a paragraph; "" = none */
    const struct plot_figure *const *figures;
    size_t n_figures;
    const struct report_table *tables;
    size_t n_tables;
};

struct report_page {
    const char *title, *subtitle;
    const char *warning;        /* such as: the exam was stopped; NULL = none */
    const struct report_card *cards;    /* before all else */
    size_t n_cards;
    const struct report_ranking *rankings;
    size_t n_rankings;
    const char *rankings_lead;  /* what gains and intervals are */
    const struct report_finding *findings;
    size_t n_findings;
    const struct report_fact *facts;    /* what the page is about, under the title */
    size_t n_facts;
    const struct report_section *sections;
    size_t n_sections;
    const struct report_fact *footer;   /* version, command, machine .. */
    size_t n_footer;
};

/* All texts are UTF-8 and written as text, never as markup. Each figure links to ID.png, ID.svg and ID.csv beside the
 * page and has its points in a table behind it. */
snellen_status report_write_html(const struct report_page *page, const char *path, snellen_error *err);

#endif
