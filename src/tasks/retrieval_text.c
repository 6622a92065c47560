/* Texts of the probe of retrieval: what is drawn for a prompt, and how it reads. Pure functions of their arguments; no model
 * and no tokens in sight. */
#include "tasks/retrieval.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

const char *const retrieval_names[RETRIEVAL_TASKS] = {"passkey", "needle", "list-index", "list-content"};

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* arXiv 2305.16300, section 4.2. */
static const char *const key_filler[] = {"The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.",
                                         "There and back again."};
static const char key_intro[] = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I "
                                "will quiz you about the important information there.";

static const char *const fact_filler[] = {
    "Most people here get up before sunrise.", "Rain fell for the better part of the week.",
    "The road turns left behind the mill.", "Two boys were throwing pebbles into the pond.",
    "Nobody could say how old the oak really was.", "In the evening the wind came up again.",
    "Bread was cheap that year.", "A letter took four days to reach the village.",
    "The children had been told to wait outside.", "Someone had left the gate open overnight.",
    "It was warmer than anyone had expected.", "The river rose a little every spring.",
    "Soup was served at noon, as always.", "They talked for a long time about the harvest.",
    "On the hill the snow stayed until late.", "The old man counted his steps.",
    "Her uncle never spoke about the war.", "A dog barked somewhere down the lane.",
    "The windows had not been cleaned in years.", "His coat was too thin for the weather.",
    "The mayor gave a short speech.", "After dinner they played cards.",
    "The fields lay quiet in the heat.", "Nothing much changed after that.",
};

/* A fact is said as "FRAME ANSWER.", and the answer to the question begins in the same words. */
struct fact {
    const char *frame, *question, *answers[SNELLEN_RETRIEVAL_ANSWERS];
};
static const struct fact facts[] = {
    {"The spare key is hidden under the", "Where is the spare key hidden?",
     {"carpet", "bucket", "stone", "sofa", "table", "bench", "ladder", "piano", "mirror", "basket"}},
    {"Anna's favorite animal is the", "What is Anna's favorite animal?",
     {"horse", "rabbit", "tiger", "dolphin", "eagle", "turtle", "monkey", "camel", "wolf", "penguin"}},
    {"The captain of the ship comes from", "Which country does the captain of the ship come from?",
     {"Norway", "Brazil", "Japan", "Egypt", "Canada", "Greece", "India", "Poland", "Chile", "Kenya"}},
    {"The new bridge opens in", "In which month does the new bridge open?",
     {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October"}},
    {"The jacket of the winner is", "Which color is the jacket of the winner?",
     {"red", "blue", "green", "yellow", "black", "white", "orange", "purple", "brown", "pink"}},
    {"The young doctor plays the", "Which instrument does the young doctor play?",
     {"violin", "piano", "guitar", "flute", "drums", "trumpet", "harp", "cello", "organ", "banjo"}},
    {"The shop around the corner sells only", "What does the shop around the corner sell?",
     {"cheese", "books", "shoes", "flowers", "hats", "candles", "tea", "clocks", "toys", "honey"}},
    {"The package was left at the", "Where was the package left?",
     {"library", "museum", "station", "bakery", "church", "theater", "hotel", "school", "bank", "airport"}},
};

static const char *const adjectives[] = {
    "red", "blue", "green", "white", "black", "brown", "yellow", "pink", "old", "new", "big", "small", "heavy", "light", "round",
    "flat", "long", "short", "cheap", "rare", "clean", "dirty", "soft", "hard", "dry", "wet", "warm", "cold", "fine", "plain",
    "thin", "thick",
};
static const char *const nouns[] = {
    "apple", "ball", "bag", "bell", "belt", "bike", "bird", "boat", "bone", "book", "boot", "bottle", "bowl", "box", "brick",
    "brush", "button", "cake", "camera", "candle", "cap", "car", "card", "carpet", "chain", "chair", "cheese", "clock", "cloth",
    "coat", "coin", "cookie", "cup", "curtain", "desk", "dish", "doll", "door", "dress", "drum", "egg", "engine", "fan", "feather",
    "fence", "flag", "flower", "flute", "fork", "frame", "gate", "glass", "glove", "guitar", "hammer", "hat", "helmet", "hook",
    "horn", "jacket", "jar", "kettle", "key", "kite", "knife", "ladder", "lamp", "leaf", "lemon", "letter", "lock", "map", "mask",
    "melon", "mirror", "mug", "nail", "needle", "net", "onion", "paper", "pen", "pencil", "phone", "piano", "pillow", "pin", "pipe",
    "plate", "pot", "radio", "ribbon", "ring", "robe", "rope", "ruler", "saddle", "scarf", "shell", "shelf", "shirt", "shoe",
    "sign", "sock", "sofa", "spoon", "stamp", "stick", "stone", "stool", "stove", "string", "suit", "sword", "table", "tent",
    "ticket", "tie", "tire", "tool", "towel", "toy", "tray", "truck", "tube", "vase", "watch", "wheel",
};
_Static_assert(COUNT_OF(adjectives) * COUNT_OF(nouns) == RETRIEVAL_MOST_ITEMS, "as many names as a list may have items");

/* ---- what is drawn ----------------------------------------------------------------------------------------------- */

enum { NUMBERS = 900, FIRST_NUMBER = 100, KEYS = 90000, FIRST_KEY = 10000, NEAR = 2 };

enum retrieval_kind retrieval_kind_of(enum retrieval_task task)
{
    return task == RETRIEVAL_PASSKEY ? RETRIEVAL_KEY : task == RETRIEVAL_NEEDLE ? RETRIEVAL_FACT : RETRIEVAL_LIST;
}

void retrieval_draw(struct retrieval_scene *scene, enum retrieval_kind kind, uint64_t seed, uint32_t prompt)
{
    struct rng rng;
    rng_seed(&rng, seed, kind);
    uint64_t of_kind = rng_u64(&rng);
    rng_seed(&rng, of_kind, prompt);
    *scene = (struct retrieval_scene){.kind = kind, .units = RETRIEVAL_LEAST,
                                      .fact = order_at(COUNT_OF(facts), prompt % COUNT_OF(facts), of_kind)};
    for (size_t i = 0; i < COUNT_OF(scene->order); i++) scene->order[i] = rng_u64(&rng);
}

int64_t retrieval_unit(const struct retrieval_scene *scene, double depth)
{
    return llround(depth * (double)(scene->units - (scene->kind == RETRIEVAL_LIST)));
}

/* Items less than COUNT_OF(nouns) apart differ in their nouns; all of a list in noun or adjective. */
void retrieval_item_name(const struct retrieval_scene *scene, int64_t item, char name[RETRIEVAL_NAME_SIZE])
{
    uint64_t round = (uint64_t)item / COUNT_OF(nouns), place = (uint64_t)item % COUNT_OF(nouns);
    uint64_t noun = order_at(COUNT_OF(nouns), place, scene->order[0]);
    uint64_t adjective = order_at(RETRIEVAL_MOST_ITEMS, place, scene->order[1]) + round;
    snprintf(name, RETRIEVAL_NAME_SIZE, "%s %s", adjectives[adjective % COUNT_OF(adjectives)], nouns[noun]);
}

/* Items less than NUMBERS apart have different ones. */
int retrieval_item_number(const struct retrieval_scene *scene, int64_t item)
{
    return FIRST_NUMBER + (int)order_at(NUMBERS, (uint64_t)item % NUMBERS, scene->order[2]);
}

static const struct fact *fact_of(const struct retrieval_scene *scene)
{
    return &facts[scene->fact];
}

static bool has_answer(const struct retrieval_answers *answers, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(answers->text[i], text)) return true;
    return false;
}

/* The numbers of the item, of its neighbours (a list goes round), and of others. There are at least as many items as answers, so
 * that the draw ends. */
static void list_answers(const struct retrieval_scene *scene, int64_t item, struct retrieval_answers *answers)
{
    static const int64_t near[] = {0, -NEAR, -1, 1, NEAR};
    struct rng rng;
    rng_seed(&rng, scene->order[3], (uint64_t)item);
    for (size_t n = 0; n < SNELLEN_RETRIEVAL_ANSWERS;) {
        int64_t other = n < COUNT_OF(near) ? (item + near[n] + scene->units) % scene->units
                                           : (int64_t)rng_below(&rng, (uint64_t)scene->units);
        char text[RETRIEVAL_ANSWER_SIZE];
        snprintf(text, sizeof text, "%d", retrieval_item_number(scene, other));
        if (n < COUNT_OF(near) || !has_answer(answers, n, text)) memcpy(answers->text[n++], text, sizeof text);
    }
}

void retrieval_answers(const struct retrieval_scene *scene, double depth, struct retrieval_answers *answers)
{
    memset(answers, 0, sizeof *answers);
    if (scene->kind == RETRIEVAL_LIST) {
        list_answers(scene, retrieval_unit(scene, depth), answers);
        return;
    }
    for (uint64_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        char *text = answers->text[i];
        if (scene->kind == RETRIEVAL_KEY)
            snprintf(text, RETRIEVAL_ANSWER_SIZE, "%d", FIRST_KEY + (int)order_at(KEYS, i, scene->order[0]));
        else
            snprintf(text, RETRIEVAL_ANSWER_SIZE, "%s",
                     fact_of(scene)->answers[order_at(SNELLEN_RETRIEVAL_ANSWERS, i, scene->order[0])]);
    }
}

/* ---- how it reads ------------------------------------------------------------------------------------------------ */

/* The sentences of arXiv 2305.16300 over and over; those about other things each once, then each once in another order. */
static const char *filler_at(const struct retrieval_scene *scene, uint64_t i)
{
    if (scene->kind == RETRIEVAL_KEY) return key_filler[i % COUNT_OF(key_filler)];
    return fact_filler[order_at(COUNT_OF(fact_filler), i % COUNT_OF(fact_filler), scene->order[2] + i / COUNT_OF(fact_filler))];
}

static void put_fact(const struct retrieval_scene *scene, const char *answer, struct strbuf *out)
{
    if (scene->kind == RETRIEVAL_KEY)
        strbuf_printf(out, " The pass key is %s. Remember it. %s is the pass key.", answer, answer);
    else
        strbuf_printf(out, " %s %s.", fact_of(scene)->frame, answer);
}

/* Filler with the fact before sentence `unit`. */
static void put_filler(const struct retrieval_scene *scene, double depth, struct strbuf *out, size_t *at)
{
    struct retrieval_answers answers;
    int64_t unit = retrieval_unit(scene, depth);
    retrieval_answers(scene, depth, &answers);
    for (int64_t i = 0; i <= scene->units; i++) {
        if (i == unit) *at = out->n;
        if (i == unit) put_fact(scene, answers.text[0], out);
        if (i < scene->units) strbuf_printf(out, " %s", filler_at(scene, (uint64_t)i));
    }
}

static void put_list(const struct retrieval_scene *scene, double depth, struct strbuf *out, size_t *at)
{
    int64_t unit = retrieval_unit(scene, depth);
    for (int64_t i = 0; i < scene->units; i++) {
        char name[RETRIEVAL_NAME_SIZE];
        retrieval_item_name(scene, i, name);
        if (i == unit) *at = out->n;
        strbuf_printf(out, "%s: %d\n", name, retrieval_item_number(scene, i));
    }
}

/* "the 3rd item", "the red apple" */
static void put_asked(const struct retrieval_scene *scene, enum retrieval_task task, double depth, struct strbuf *out)
{
    int64_t unit = retrieval_unit(scene, depth), n = unit + 1;
    char name[RETRIEVAL_NAME_SIZE];
    retrieval_item_name(scene, unit, name);
    bool teen = n % 100 / 10 == 1;
    const char *ending = teen ? "th" : n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
    if (task == RETRIEVAL_INDEX) strbuf_printf(out, "the %lld%s item", (long long)n, ending);
    else strbuf_printf(out, "the %s", name);
}

void retrieval_prompt(const struct retrieval_scene *scene, enum retrieval_task task, double depth, struct strbuf *out,
                      size_t *at)
{
    static const char *const intros[] = {key_intro, "Read this text. There is a question behind it.",
                                         "Here is a list of items, each with its number.\n\n"};
    strbuf_puts(out, intros[scene->kind]);
    if (scene->kind == RETRIEVAL_LIST) put_list(scene, depth, out, at);
    else put_filler(scene, depth, out, at);
    strbuf_puts(out, scene->kind == RETRIEVAL_LIST ? "\n" : "\n\n");   /* a list ends with its line */
    if (scene->kind == RETRIEVAL_KEY) strbuf_puts(out, "What is the pass key?");
    if (scene->kind == RETRIEVAL_FACT) strbuf_puts(out, fact_of(scene)->question);
    if (scene->kind != RETRIEVAL_LIST) return;
    strbuf_puts(out, "What is the number of ");
    put_asked(scene, task, depth, out);
    strbuf_puts(out, " in the list?");
}

void retrieval_frame(const struct retrieval_scene *scene, enum retrieval_task task, double depth, struct strbuf *out)
{
    if (scene->kind == RETRIEVAL_KEY) strbuf_puts(out, "The pass key is");
    if (scene->kind == RETRIEVAL_FACT) strbuf_puts(out, fact_of(scene)->frame);
    if (scene->kind != RETRIEVAL_LIST) return;
    strbuf_puts(out, "The number of ");
    put_asked(scene, task, depth, out);
    strbuf_puts(out, " is");
}

/* Where an answer stands, as a word of its own, in whatever case; NULL = nowhere. */
static const char *said_at(const char *text, const char *answer)
{
    size_t n = strlen(answer);
    for (const char *p = text; (p = strcasestr(p, answer)); p++) {
        bool starts = p == text || !isalnum((unsigned char)p[-1]);
        if (starts && !isalnum((unsigned char)p[n])) return p;
    }
    return NULL;
}

bool retrieval_says(const char *text, const struct retrieval_answers *answers)
{
    const char *right = said_at(text, answers->text[0]);
    for (size_t i = 1; right && i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        const char *wrong = said_at(text, answers->text[i]);
        if (wrong && wrong < right) return false;
    }
    return right;
}
