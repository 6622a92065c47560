/* The keys of a study file: name, kind, range, default, meaning. What is called one thing here is so everywhere. */
#include "train/keys.h"

#include <stddef.h>

#define AT(field) .offset = offsetof(struct settings, field)
#define RANGE(from, to) .low = (from), .high = (to)
#define TEXT .kind = KEY_TEXT, .fallback = "''"
#define INT .kind = KEY_INT
#define REAL .kind = KEY_REAL
#define SWITCH .kind = KEY_BOOL
#define NEW_MODEL .when = "model.arch"
#define LORA .when = "train.lora.rank"
#define BLOCKS .when = "memory.kind=bswa memory.kind=xl memory.kind=fam"
#define FAM .when = "memory.kind=fam"
#define ROWS .when = "memory.kind=fam memory.kind=rmt"
#define MANY 1e9
#define ANY_SEED 9007199254740992.0   /* 2^53: exact as a double */
#define FROM_FILE .when = "data.jsonl data.text"
#define FROM_TASK .when = "data.task"
#define MIXED .when = "data.mix.task"
#define LONG_TASK .when = "data.task=passkey data.task=associative data.task=stream"
#define LONG_OR_TEXT LONG_TASK " eval.text"
#define PASSKEY .when = "data.task=passkey"
#define ASSOCIATIVE .when = "data.task=associative"
#define STREAM .when = "data.task=stream"
#define EVAL_SEGMENTS .when = "eval.memory=bswa eval.memory=xl eval.memory=fam"
#define ASKS .may_change = true, .asks = true
#define EVAL_BLOCKS EVAL_SEGMENTS " eval.memory=rmt"
#define LONGEST 1e7

const struct key keys[] = {
    {"model.from", TEXT, AT(model.from),
     .help = "model to train: a GGUF file, a folder, or a name that `snellen models` lists"},
    {"model.arch", .kind = KEY_CHOICE, .fallback = "''", AT(model.arch),
     .choices = "llama qwen2 qwen3 gemma3 gpt2 gpt_neox bloom opt",
     .help = "a new model of this architecture, with random weights"},
    {"model.start", TEXT, AT(model.start), NEW_MODEL,
     .help = "a trained model of this description, whose weights are gone on with instead of random ones"},
    {"model.layers", INT, .fallback = "4", AT(model.layers), RANGE(1, 1024), NEW_MODEL, .help = "layers"},
    {"model.width", INT, .fallback = "128", AT(model.width), RANGE(1, 131072), NEW_MODEL,
     .help = "entries of the vector of a token"},
    {"model.heads", INT, .fallback = "4", AT(model.heads), RANGE(1, 1024), NEW_MODEL, .help = "attention heads"},
    {"model.kv_heads", INT, .fallback = "0", AT(model.kv_heads), RANGE(0, 1024), NEW_MODEL,
     .help = "heads of keys and values; 0 = as many as heads"},
    {"model.ff", INT, .fallback = "0", AT(model.ff), RANGE(0, 1e6), NEW_MODEL,
     .help = "width of the feed-forward; 0 = what is usual for the architecture"},
    {"model.positions", .kind = KEY_CHOICE, .fallback = "''", AT(model.positions),
     .choices = "rotary alibi learned sinusoidal none", NEW_MODEL,
     .help = "how the model knows where a token stands; '' = the architecture's own way"},
    {"model.context", INT, .fallback = "1024", AT(model.context), RANGE(2, 16777216), NEW_MODEL, .help = "positions"},
    {"model.window", INT, .fallback = "0", AT(model.window), RANGE(0, MANY), NEW_MODEL,
     .help = "sliding window of architectures that have one, in tokens; 0 = what is usual"},
    {"model.init_std", REAL, .fallback = "0.02", AT(model.init_std), RANGE(0, 1000), NEW_MODEL,
     .help = "standard deviation of new matrices and embeddings"},
    {"model.vocab", TEXT, AT(model.vocab), NEW_MODEL,
     .help = "a tokenizer.json, `chars` (the characters of data.text), `task` (the symbols of data.task), or a "
             "number of token ids"},

    {"memory.kind", .kind = KEY_CHOICE, .fallback = "full", AT(memory.kind), .choices = "full swa bswa xl fam rmt",
     .help = "what a token sees: all before it; the last window; blocks and whole segments before them; those "
             "with a window; blocks, segments and a feedback memory; its block and a recurrent memory"},
    {"memory.window", INT, .fallback = "0", AT(memory.window), RANGE(0, MANY),
     .when = "memory.kind=swa memory.kind=xl", .help = "tokens that are seen"},
    {"memory.block", INT, .fallback = "0", AT(memory.block), RANGE(0, MANY),
     BLOCKS " memory.kind=rmt", .help = "tokens of a block"},
    {"memory.segments", INT, .fallback = "1", AT(memory.segments), RANGE(0, 1e6),
     BLOCKS, .help = "blocks before its own that a token sees"},
    {"memory.stop_gradient", SWITCH, .fallback = "false", AT(memory.stop_gradient),
     BLOCKS, .help = "no gradient flows into the blocks before"},
    {"memory.fam", INT, .fallback = "8", AT(memory.fam), RANGE(1, 65536), ROWS, .help = "rows of the memory"},
    {"memory.fam_blocks", INT, .fallback = "1", AT(memory.fam_blocks), RANGE(1, 8), FAM,
     .help = "memories of so many blocks are seen"},
    {"memory.positions", .kind = KEY_CHOICE, .fallback = "last", AT(memory.positions), .choices = "last float zero", FAM,
     .help = "where its rows stand: on the last places of their block, between it and the next, at 0"},
    {"memory.start", .kind = KEY_CHOICE, .fallback = "prompt", AT(memory.start), .choices = "prompt prefix", FAM,
     .help = "what it begins with: a learned prompt that runs up through the layers, or learned rows for each layer"},

    {"data.jsonl", TEXT, AT(data.jsonl), .help = "samples to train on, a JSON object a line"},
    {"data.text", TEXT, AT(data.text), .help = "text to train on, packed to data.length"},
    {"data.task", TEXT, AT(data.task),
     .help = "a task of symbols or of long memory, as `snellen task list` names them"},
    {"data.format", TEXT, AT(data.format), FROM_TASK, .help = "how the task is written; '' = its first format"},
    {"data.lengths", .kind = KEY_INTS, .fallback = "[1, 20]", AT(data.lengths), RANGE(1, LONGEST), FROM_TASK,
     .help = "shortest and longest length, drawn evenly; of long memory: tokens in all"},
    {"data.log_lengths", SWITCH, .fallback = "false", AT(data.log_lengths), FROM_TASK,
     .help = "lengths are drawn evenly by their logarithm: as many short ones as long ones"},
    {"data.pool", INT, .fallback = "128", AT(data.pool), RANGE(1, 240), FROM_TASK,
     .help = "words that anchors and keys are drawn from"},
    {"data.spacing", INT, .fallback = "0", AT(data.spacing), RANGE(0, 10000), FROM_TASK,
     .help = "parity with anchors: one before every so many bits; 0 = every one"},
    {"data.cycle", INT, .fallback = "0", AT(data.cycle), RANGE(0, 240), FROM_TASK,
     .help = "words that the format cyclic repeats; 0 = 8"},
    {"data.mix.task", TEXT, AT(data.mix.task), FROM_TASK, .help = "another task, whose lines are mixed in"},
    {"data.mix.format", TEXT, AT(data.mix.format), MIXED, .help = "how it is written; '' = its first format"},
    {"data.mix.lengths", .kind = KEY_INTS, .fallback = "[1, 20]", AT(data.mix.lengths), RANGE(1, 10000), MIXED,
     .help = "its shortest and longest length"},
    {"data.mix.share", REAL, .fallback = "0.5", AT(data.mix.share), RANGE(0, 1), MIXED, .help = "its share of the lines"},
    {"data.curriculum", INT, .fallback = "0", AT(data.curriculum), RANGE(0, LONGEST), FROM_TASK,
     .help = "longest length at first; it grows by one, or by data.step, whenever the loss is below "
             "data.raise_below. 0 = all lengths from the start"},
    {"data.raise_below", REAL, .fallback = "0.1", AT(data.raise_below), RANGE(0, 100), .when = "data.curriculum",
     .help = "running mean of the loss at which the curriculum goes on"},
    {"data.raise_by", REAL, .fallback = "0", AT(data.raise_by), RANGE(0, 1), .when = "data.curriculum",
     .help = "and it grows by this share of itself where that is more: as much harder again each time"},
    {"data.step", INT, .fallback = "0", AT(data.step), RANGE(0, LONGEST), LONG_TASK,
     .help = "tokens from one length to the next; 0 = memory.block, or 1 without blocks"},
    {"data.depth", REAL, .fallback = "-1", AT(data.depth), RANGE(-1, 1), PASSKEY,
     .help = "where the key stands: 0 = at the start, 1 = right before the question; below 0 = anywhere"},
    {"data.within", INT, .fallback = "0", AT(data.within), RANGE(0, LONGEST), PASSKEY,
     .help = "the key ends within so many tokens from the start; 0 = anywhere"},
    {"data.pairs", INT, .fallback = "0", AT(data.pairs), RANGE(0, 10000), ASSOCIATIVE,
     .help = "pairs of a key and a value; 0 = 8"},
    {"data.every", INT, .fallback = "0", AT(data.every), RANGE(0, 1e6), STREAM,
     .help = "a question after so many lines; 0 = 10"},
    {"data.back", INT, .fallback = "0", AT(data.back), RANGE(0, 1e6), STREAM,
     .help = "it is for the line so many lines before the last; 0 = 20"},
    {"data.digits", INT, .fallback = "0", AT(data.digits), RANGE(0, 9), LONG_TASK,
     .help = "digits of a key or value; 0 = 5, associative 1"},
    {"data.vary", REAL, .fallback = "0.1", AT(data.vary), RANGE(0, 1), LONG_TASK,
     .help = "share of the filler's words that are not those of its pattern"},
    {"data.again", REAL, .fallback = "0", AT(data.again), RANGE(0, 100), PASSKEY,
     .help = "weight in the loss of the key's repetition right after it is said; the answer has 1"},
    {"data.haystack", TEXT, AT(data.haystack), PASSKEY, .help = "format words: a text file that the filler comes from"},
    {"data.length", INT, .fallback = "512", AT(data.length), RANGE(2, 16777216), FROM_FILE,
     .help = "tokens of a sequence; jsonl: the most that a sample may have"},
    {"data.cut", SWITCH, .fallback = "false", AT(data.cut), .when = "data.jsonl",
     .help = "cut samples that are longer, instead of refusing them"},
    {"data.shuffle", SWITCH, .fallback = "true", AT(data.shuffle), FROM_FILE,
     .help = "random order, by the seed; false: the order of the file"},
    {"data.skip_bad_lines", SWITCH, .fallback = "false", AT(data.skip_bad_lines), .when = "data.jsonl",
     .help = "count lines that are no sample and go on"},
    {"data.end", TEXT, AT(data.end), .when = "data.jsonl",
     .help = "put after each text or completion, such as '<|im_end|>'"},
    {"data.repeat", INT, .fallback = "0", AT(data.repeat), RANGE(0, LONGEST), FROM_FILE,
     .help = "so many tokens of each sequence, from a random place in it, come again at its end (arXiv 2404.09173); they "
             "and data.repeat_prompt count in data.length"},
    {"data.repeat_prompt", .kind = KEY_TEXT, .fallback = "\"\\n\\nAgain, from above:\\n\"", AT(data.repeat_prompt),
     .when = "data.repeat", .help = "what stands before them"},
    {"data.repeat_weight", REAL, .fallback = "0.1", AT(data.repeat_weight), RANGE(0, 1000), .when = "data.repeat",
     .help = "their weight in the loss; that of the text is 1, that of the prompt 0"},

    {"train.steps", INT, .fallback = "1000", AT(train.steps), RANGE(1, MANY), .may_change = true,
     .help = "updates of the weights"},
    {"train.batch", INT, .fallback = "16", AT(train.batch), RANGE(1, 1e6), .help = "sequences of an update"},
    {"train.micro_batch", INT, .fallback = "0", AT(train.micro_batch), RANGE(0, 1e6), .may_change = true,
     .help = "sequences that are in memory at once, their gradients add up; 0 = all of the batch"},
    {"train.optimizer", .kind = KEY_CHOICE, .fallback = "adamw", AT(train.optimizer),
     .choices = "adamw adafactor sgd", .help = "PyTorch's formulas"},
    {"train.lr", REAL, .fallback = "1e-3", AT(train.lr), RANGE(0, 1e3),
     .help = "learning rate, the highest of the schedule"},
    {"train.prompt_lr", REAL, .fallback = "1", AT(train.prompt_lr), RANGE(0, 1e3), ROWS,
     .help = "factor of the learning rate for what the memory begins with"},
    {"train.schedule", .kind = KEY_CHOICE, .fallback = "cosine", AT(train.schedule),
     .choices = "constant cosine linear", .help = "of the learning rate after warm-up"},
    {"train.warmup", INT, .fallback = "0", AT(train.warmup), RANGE(0, MANY),
     .help = "steps in which the learning rate rises to train.lr"},
    {"train.lr_end", REAL, .fallback = "0", AT(train.lr_end), RANGE(0, 1),
     .when = "train.schedule=cosine train.schedule=linear",
     .help = "share of the learning rate that is left at the end"},
    {"train.betas", .kind = KEY_PAIR, .fallback = "[0.9, 0.999]", AT(train.betas), RANGE(0, 0.9999999),
     .when = "train.optimizer=adamw", .help = "decay of the means of gradients and of their squares"},
    {"train.eps", REAL, .fallback = "1e-8", AT(train.eps), RANGE(0, 1), .when = "train.optimizer=adamw",
     .help = "added to the root of the mean square"},
    {"train.weight_decay", REAL, .fallback = "0.01", AT(train.weight_decay), RANGE(0, 1e3),
     .help = "of matrices and embeddings, not of norms and biases"},
    {"train.momentum", REAL, .fallback = "0", AT(train.momentum), RANGE(0, 0.9999999), .when = "train.optimizer=sgd",
     .help = "0 = none"},
    {"train.relative_step", SWITCH, .fallback = "false", AT(train.relative_step), .when = "train.optimizer=adafactor",
     .help = "steps in proportion to each tensor's size and never above 1/sqrt(step)"},
    {"train.clip", REAL, .fallback = "1", AT(train.clip), RANGE(0, 1e9),
     .help = "largest norm of all gradients together; 0 = no limit"},
    {"train.recompute", SWITCH, .fallback = "false", AT(train.recompute), .may_change = true,
     .help = "run layers again in the backward pass instead of keeping what they made: less memory, a third "
             "more time"},
    {"train.hardest", INT, .fallback = "1", AT(train.hardest), RANGE(1, 1024),
     .help = "sequences that are read for each one that is trained on, which are those of largest loss: for the last mistakes "
             "of a model that is nearly always right. Losses that are told are of these"},
    {"train.state_passing", REAL, .fallback = "0", AT(train.state_passing), RANGE(0, 1), ROWS,
     .help = "probability that a step begins with the memories that the first sequence of the step before ended with"},
    {"train.passing_after", INT, .fallback = "0", AT(train.passing_after), RANGE(0, MANY), .when = "train.state_passing",
     .help = "steps before memories are passed on: what is to be kept has to be learnt first"},
    {"train.memory_noise", REAL, .fallback = "0", AT(train.memory_noise), RANGE(0, 10), ROWS,
     .help = "noise on the memories from block to block, in parts of a row's root mean square: with 0.3 a pass key "
             "lasted over more blocks than were trained on"},
    {"train.position_offset", SWITCH, .fallback = "false", AT(train.position_offset),
     .help = "every other step, at random, begins at a place up to 62831 instead of at 0"},
    {"train.position_jumps", INT, .fallback = "0", AT(train.position_jumps), RANGE(0, 1e6),
     .help = "positions skip up to so many places, up to four times a sequence, at random: what belongs together is then "
             "found by content, not at a distance. For rotary, learned and sinusoidal positions"},
    {"train.jumps_below", REAL, .fallback = "0", AT(train.jumps_below), RANGE(0, 1e6), .when = "train.position_jumps",
     .help = "positions begin to skip once the mean loss of the last 20 steps is below this; 0 = from the first step"},
    {"train.stop_loss", REAL, .fallback = "0", AT(train.stop_loss), RANGE(0, 1e6), .may_change = true,
     .help = "stop early once the mean loss of the last 20 steps is below this; 0 = never"},
    {"train.save_every", INT, .fallback = "200", AT(train.save_every), RANGE(1, MANY), .may_change = true,
     .help = "steps between two checkpoints"},
    {"train.lora.rank", INT, .fallback = "0", AT(train.lora.rank), RANGE(0, 65536), .when = "model.from",
     .help = "train low-rank factors beside the matrices, which stay as they are; 0 = train all weights. 64 where "
             "train.lora is given without it"},
    {"train.lora.alpha", REAL, .fallback = "0", AT(train.lora.alpha), RANGE(0, 1e6), LORA,
     .help = "the factors count alpha / rank times; 0 = rank"},
    {"train.lora.targets", TEXT, AT(train.lora.targets), LORA,
     .help = "matrices that get factors; '' = those of attention and feed-forward"},

    {"eval.jsonl", TEXT, AT(eval.jsonl), .help = "samples to evaluate on: mean loss"},
    {"eval.text", TEXT, AT(eval.text), .help = "text to evaluate on"},
    {"eval.every", INT, .fallback = "200", AT(eval.every), RANGE(1, MANY), .may_change = true,
     .when = "eval.jsonl eval.text data.task", .help = "steps between two evaluations"},
    {"eval.samples", INT, .fallback = "64", AT(eval.samples), RANGE(1, 1e6), .when = "eval.jsonl eval.text data.task",
     .help = "sequences of an evaluation, the first of the file or of the test set"},
    {"eval.patience", INT, .fallback = "0", AT(eval.patience), RANGE(0, 1e6), .may_change = true,
     .when = "eval.jsonl eval.text data.task",
     .help = "stop early after this many evaluations without a better one; 0 = never"},

    {"eval.lengths", .kind = KEY_INTS, .fallback = "[5, 10, 20, 30, 40, 50, 60]", AT(eval.lengths), RANGE(1, LONGEST),
     .when = "data.task eval.text", .asks = true,
     .help = "lengths at which a study lets the trained model write; of eval.text: places up to each of which it is scored"},
    {"eval.exact", SWITCH, .fallback = "false", AT(eval.exact), FROM_TASK,
     .help = "the measure of evaluations is the share of lines at eval.lengths that the model does not write "
             "exactly, instead of the loss on the test set"},
    {"eval.lines", INT, .fallback = "100", AT(eval.lines), RANGE(1, 1e6), .when = "data.task eval.text", .asks = true,
     .help = "lines, or samples, a length, none of them trained on; of eval.text: stretches of the longest length"},
    {"eval.memory", .kind = KEY_CHOICE, .fallback = "''", AT(eval.memory),
     .choices = "full swa sink bswa xl fam rmt", LONG_OR_TEXT, ASKS,
     .help = "memory in which the trained model is asked; '' = that of the training"},
    {"eval.window", INT, .fallback = "0", AT(eval.window), RANGE(0, MANY),
     .when = "eval.memory=swa eval.memory=sink eval.memory=xl", ASKS,
     .help = "tokens that it sees then; 0 = memory.window"},
    {"eval.sinks", INT, .fallback = "4", AT(eval.sinks), RANGE(0, 65536), .when = "eval.memory=sink", ASKS,
     .help = "first tokens that stay"},
    {"eval.block", INT, .fallback = "0", AT(eval.block), RANGE(0, MANY), EVAL_BLOCKS, ASKS,
     .help = "tokens of a block then; 0 = memory.block"},
    {"eval.segments", INT, .fallback = "-1", AT(eval.segments), RANGE(-1, 1e6), EVAL_SEGMENTS, ASKS,
     .help = "blocks before its own that a token sees then; -1 = memory.segments"},
    {"eval.attn_temp", REAL, .fallback = "1", AT(eval.attn_temp), RANGE(0.001, 1000), FROM_TASK, ASKS,
     .help = "temperature of attention when the trained model writes for the study; below 1 it looks more sharply"},
    {"eval.attn_log", INT, .fallback = "0", AT(eval.attn_log), RANGE(0, MANY), FROM_TASK, ASKS,
     .help = "n: then it also looks log(t) / log(n) times as sharply at place t > n; 0 = not"},

    {"seeds", .kind = KEY_INTS, .fallback = "[1]", AT(seeds), RANGE(0, ANY_SEED),
     .help = "one run each; new weights and the order of the data follow from it"},
};
const size_t n_keys = COUNT_OF(keys);
