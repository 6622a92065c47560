"""Makes fixtures/: small tokenizers of each kind that tokenizer.json can describe, and what the Python package `tokenizers`
makes of many texts with them (expected.json); and the seeds of fuzz/fuzz_tokenizer.c. Run by hand when a kind is added; the
tests only read the results.

    python3 make_fixtures.py      # needs: pip install tokenizers
"""

import json, os, random, unicodedata
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
MARK = "\u2581"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CORPUS = """The eye chart hangs on the wall, and the letters get smaller from line to line. Whoever reads the last line has
good eyes; whoever cannot, gets glasses. A model reads a long text in the same way: the first words are clear, the later
ones blur, and somewhere it can't tell eleven ones from twelve. It's the reader's job to find where that is. We've looked,
they'd guessed, you're measuring: 1, 11, 111, 1111, 11111, 1,000,000 and 3.14159. "Well," she said, "isn't that what I'LL
see?" int main(void) { for (int i = 0; i < 10; i++) sum += x[i] << 2; return 0; }  // and so on
\tdef read(chart):\n\t\treturn [line for line in chart if line]\n\n\nDer Größte übte süß, la forêt était vide, el niño
mañana. Быстрый текст, 日本語の文字, 한국어 문장, עברית, العربية. \U0001f44d\U0001f3fd ½ ² … — “quotes” """
FIXED = [
    "",
    " ",
    "  ",
    "Hello, world!",
    "  leading",
    "trailing  ",
    "tabs\tand\nnew\r\nlines\n\n\n end ",
    "a\u00a0b\u3000c\u2003d",
    "1234567890 3.14159 1,000,000 \u0661\u0662\u0663 \u00bd\u00b2",
    "don't I'LL we've they'd it's 'tis",
    "na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d \u2026",
    "cafe\u0301 a\u0308\u0301 \u1e9b\u0323",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1f0\U0001f1f7",
    "int main(void) { return x[i] << 2; }  // c",
    "<|im_start|>user\nhi<|im_end|>\n",
    "<s>hello</s> <unk>",
    "a<tool>b <tool>c",
    "<|im_start|><|im_start|>  <|im_end|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\n" * 9,
    " " * 33 + "x",
    "\x00\x01\x1b\x7f",
    "a\u180eb \u180ec",
    "\u0085x\u2028y",
    "snake_case camelCase HTTPServer2 x1y2",
    "...!?!? --> <h1> &amp;",
    "the the the  the   the",
    " the",
    "MARK <mark> x<mark>y <mark>",
    "  <left>  <right>  z",
    "a\n\nb\n\n\n\nc\n",
]


def texts():
    dice = random.Random(3)
    words = CORPUS.split() + [f for f in FIXED if f]
    ranges = [
        (0x20, 0x7E),
        (0xA0, 0x17F),
        (0x300, 0x36F),
        (0x3B1, 0x3C9),
        (0x430, 0x44F),
        (0x4E00, 0x4E40),
        (0xAC00, 0xAC40),
        (0x1F600, 0x1F640),
    ]
    for _ in range(40):
        out = []
        for _ in range(dice.randint(1, 8)):
            kind = dice.random()
            if kind < 0.5:
                out.append(dice.choice(words))
            elif kind < 0.8:
                out.append(dice.choice([" ", "  ", "\n", "\n\n", "\t", " \n ", "\r\n"]))
            else:
                low, high = dice.choice(ranges)
                out.append("".join(chr(dice.randint(low, high)) for _ in range(dice.randint(1, 5))))
        yield "".join(out)


def train(tokenizer, special, size, alphabet=()):
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS.split("\n"), trainer)
    return tokenizer


def byte_level(pre, special, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    return train(t, special, 420, pre_tokenizers.ByteLevel.alphabet())


def regex_split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    data = json.loads(t.to_str())
    data["model"]["merges"] = [
        " ".join(m) if isinstance(m, list) else m for m in data["model"]["merges"]
    ]  # the older form
    return data


def smollm():
    pre = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    t = byte_level(pre, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tool>", normalized=False)])
    return json.loads(t.to_str())


def llama3():
    t = byte_level(regex_split(LLAMA3), ["<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    data = json.loads(t.to_str())
    data["model"]["ignore_merges"] = True
    return data


def qwen2():
    t = byte_level(regex_split(QWEN2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.normalizer = normalizers.NFC()
    return json.loads(t.to_str())


def sentencepiece(name):
    """Trained on words that carry their space, as SentencePiece has them; byte tokens behind."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    t.pre_tokenizer = pre_tokenizers.Split(MARK, "merged_with_next")
    train(t, ["<unk>", "<s>", "</s>"], 420)
    data = json.loads(t.to_str())
    vocab = data["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    data["model"]["byte_fallback"] = True
    back = [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    data["pre_tokenizer"] = None
    if name == "llama2":
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    if name == "gemma":
        data["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
        data["pre_tokenizer"] = {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        }
        for n in range(1, 5):
            vocab["\n" * n] = vocab.get("\n" * n, len(vocab))
            data["added_tokens"].append(
                {
                    "id": vocab["\n" * n],
                    "content": "\n" * n,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": False,
                }
            )
    if name == "metaspace":
        data["normalizer"] = None
        data["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True}
        back = [{"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True}]
    data["decoder"] = back[0] if name == "metaspace" else {"type": "Sequence", "decoders": back}
    return data


def flags():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    t.add_tokens(
        [
            AddedToken("<left>", lstrip=True),
            AddedToken("<right>", rstrip=True),
            AddedToken("<mark>", single_word=True),
            AddedToken("mark", single_word=True, normalized=False),
        ]
    )
    return json.loads(t.to_str())


def decoded(name, text):
    """What decoding gives back; None where the tokenizer is made to lose white space."""
    if name == "qwen2":
        return unicodedata.normalize("NFC", text)
    if name == "metaspace":
        return text[1:] if text.startswith(" ") else text
    return None if name == "flags" else text


makers = {"gpt2": gpt2, "smollm": smollm, "llama3": llama3, "qwen2": qwen2, "flags": flags}
makers.update({n: lambda n=n: sentencepiece(n) for n in ("llama2", "gemma", "metaspace")})
expected = []
os.makedirs(HERE, exist_ok=True)
for name, make in makers.items():
    data = make()
    path = os.path.join(HERE, name + ".json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(data, f, ensure_ascii=False, separators=(",", ":"))
    tokenizer = Tokenizer.from_file(path)
    cases = [
        {"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids, "decoded": decoded(name, t)}
        for t in FIXED + list(texts())
    ]
    expected.append({"name": name, "cases": cases})
with open(os.path.join(HERE, "expected.json"), "w", encoding="utf-8") as f:
    json.dump({"tokenizers": expected}, f, separators=(",", ":"))

# Seeds: a tokenizer.json, a zero byte, a text. Two that have a token for each byte, and short ones for everything else.
SEEDS = os.path.join(HERE, "..", "..", "..", "fuzz", "seeds", "tokenizer")
TEXT = "Hello  w\u00f6rld \u2581 <tool>\n\n1234 it's<|im_end|> ".encode() + b"\xff\x00\x80end"
TEMPLATE = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def small(model=None, **parts):
    base = {
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2, MARK: 3, "<0x41>": 4},
        "merges": ["a b"],
        "byte_fallback": True,
        "unk_token": "a",
    }
    return dict(
        {
            "added_tokens": [
                {"id": 7, "content": "<tool>", "lstrip": True, "single_word": True},
                {"id": 8, "content": "<e>", "special": True},
            ]
        },
        model=dict(base, **(model or {})),
        **parts,
    )


metaspace = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
regex = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "MergedWithPrevious"}
seeds = {
    "normalizers": small(
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Prepend", "prepend": MARK},
                {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
            ],
        }
    ),
    "metaspace": small(pre_tokenizer=metaspace, decoder=metaspace),
    "regex": small(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, regex]}
    ),
    "pairs": small(
        {"merges": [["a", "b"]], "ignore_merges": True, "fuse_unk": True},
        bos_token="<e>",
        eos_token={"content": "<e>"},
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<e>"}}]},
    ),
    "chatml": small(chat_template=TEMPLATE),
    "gemma_turns": small(
        chat_template=[
            {"name": "default", "template": "{{ bos_token }}<start_of_turn>model <end_of_turn> content | trim"}
        ]
    ),
    "unigram": {"model": {"type": "Unigram", "vocab": [["a", -1.5]]}},
}
os.makedirs(SEEDS, exist_ok=True)
for name, data in seeds.items():
    with open(os.path.join(SEEDS, name), "wb") as f:
        f.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\0" + TEXT)
for name in ("smollm", "gemma"):
    with open(os.path.join(HERE, name + ".json"), "rb") as json_file, open(os.path.join(SEEDS, name), "wb") as f:
        f.write(json_file.read() + b"\0" + TEXT)
