/* The symbols of the tasks of lines, in the order of their ids: see symbols.h. The words are frequent English nouns
 * of three to six letters, and capital letters, each of which is one token in most tokenizers. */
#include "tasks/symbols.h"

#define TEN(tens)                                                                                                      \
    tens "0", tens "1", tens "2", tens "3", tens "4", tens "5", tens "6", tens "7", tens "8", tens "9"

const char *const symbol_names[SYMBOL_COUNT + SYMBOL_SPARE_WORDS] = {
    [SYMBOL_START] = ">>>", [SYMBOL_EQUALS] = "===", [SYMBOL_AGAIN] = "###", [SYMBOL_PLUS] = "+",
    [SYMBOL_CONSTANT] = "#", [SYMBOL_BLANK] = "_", [SYMBOL_A] = "a", [SYMBOL_B] = "b",
    [SYMBOL_NUMBER] = TEN(""), TEN("1"), TEN("2"), TEN("3"), TEN("4"), TEN("5"), TEN("6"), TEN("7"), TEN("8"), TEN("9"),
    [SYMBOL_WORD] =
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V",
    "W", "X", "Y", "Z", "time", "year", "people", "day", "man", "woman", "life", "child", "world", "school",
    "state", "family", "group", "hand", "part", "place", "case", "week", "system", "work", "number", "night",
    "point", "home", "water", "room", "mother", "area", "money", "story", "fact", "month", "study", "book", "eye",
    "job", "word", "issue", "side", "kind", "head", "house", "friend", "father", "power", "hour", "game", "line",
    "end", "member", "law", "car", "city", "name", "team", "minute", "idea", "body", "parent", "face", "level",
    "office", "door", "health", "person", "art", "war", "party", "result", "change", "reason", "girl", "moment",
    "air", "force", "foot", "boy", "age", "policy", "music", "market", "sense", "nation", "plan", "effect", "class",
    "care", "field", "role", "effort", "rate", "heart", "leader", "light", "voice", "wife", "police", "mind",
    "price", "report", "son", "view", "town", "road", "arm", "value", "action", "season", "tax", "player", "record",
    "paper", "space", "ground", "form", "event", "matter", "center", "couple", "site", "star", "table", "court",
    "oil", "cost", "figure", "street", "image", "phone", "data", "piece", "land", "doctor", "wall", "worker",
    "news", "test", "movie", "north", "love", "step", "baby", "type", "film", "tree", "source", "hair", "window",
    "chance", "energy", "period", "course", "summer", "plant", "term", "letter", "choice", "rule", "south", "floor",
    "church", "risk", "fire", "future", "bank", "west", "sport", "board", "fight", "goal", "bed", "order", "author",
    "blood", "agency", "nature", "color", "store", "sound", "page", "race", "series", "animal", "factor", "east",
    "artist", "scene", "stock", "career", "size", "dog", "fund", "media", "sign", "list", "answer", "cup", "amount",
    "staff", "growth", "loss", "degree", "region", "box", "trade", "bill", "lawyer", "glass", "skill", "sister",
    "stage", "design", "truth", "song", "leg", "fish", "key", "gas", "hill", "rain", "river", "rock", "ship",
    "snow", "stone", "sun", "train", "wind", "wood",
};
