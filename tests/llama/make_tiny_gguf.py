"""Write a language model of 570 KB: a Llama of two layers with random weights, in the GGUF format, version 3.

    python make_tiny_gguf.py tiny.gguf

A real inference server answers with it: gibberish, but real tokens, real usage, real streaming. Always the same bytes.
"""

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 4096
SPREAD = 0.08
"""Standard deviation of the weights."""
ALIGNMENT = 32
"""Of each tensor's first byte, as the format demands by default."""
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
"""GGUF's numbers of the types of its metadata."""
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
"""llama.cpp's kinds of tokens."""
WORDS = """
the of and to in is it you that he was for on are with as his they be at one have this from or had by hot but some
what there we can out other were all your when up use word how said an each she which do their time if will way
about many then them would write like so these her long make thing see him two has look more day could go come
"""
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

Tensor = tuple[str, tuple[int, ...], bytes]
"""Name, lengths (the innermost first), little-endian float32."""


def vocabulary() -> Iterator[tuple[str, int]]:
    """Tokens with their kinds: any byte can be written, and some words in one piece (U+2581 is a word's space)."""
    yield from (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL))
    yield from ((f"<0x{number:02X}>", BYTE) for number in range(256))
    yield from ((f"\u2581{word}", NORMAL) for word in WORDS.split())
    yield from ((chr(number), NORMAL) for number in range(33, 127))
    yield "\u2581", NORMAL


def metadata(tokens: Sequence[tuple[str, int]]) -> Iterator[bytes]:
    """What the server must know of the model, each as key, type, value."""
    unspoken = sum(kind != NORMAL for _, kind in tokens)
    yield _text("general.architecture", "llama")
    yield _text("general.name", "tiny")
    for key, number in (
        ("context_length", CONTEXT),
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", FEED_FORWARD),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", HEADS),
        ("rope.dimension_count", WIDTH // HEADS),
        ("vocab_size", len(tokens)),
    ):
        yield _key(f"llama.{key}", UINT32) + struct.pack("<I", number)
    yield _key("llama.attention.layer_norm_rms_epsilon", FLOAT32) + struct.pack("<f", 1e-5)
    yield _text("tokenizer.ggml.model", "llama")
    yield _text("tokenizer.chat_template", TEMPLATE)
    yield _list("tokens", STRING, len(tokens), b"".join(_string(token) for token, _ in tokens))
    scores = [0.0] * unspoken + [-float(rank) for rank in range(len(tokens) - unspoken)]
    yield _list("scores", FLOAT32, len(tokens), struct.pack(f"<{len(tokens)}f", *scores))
    yield _list("token_type", INT32, len(tokens), struct.pack(f"<{len(tokens)}i", *(kind for _, kind in tokens)))
    for number, name in enumerate(("unknown", "bos", "eos")):
        yield _key(f"tokenizer.ggml.{name}_token_id", UINT32) + struct.pack("<I", number)


def tensors(tokens: Sequence[tuple[str, int]], rng: Random) -> Iterator[Tensor]:
    """All weights. Tokens that are no words keep a logit of zero, so that answers are words for the most part."""
    yield _random("token_embd.weight", (WIDTH, len(tokens)), rng)
    yield _ones("output_norm.weight")
    name, shape, weights = _random("output.weight", (WIDTH, len(tokens)), rng)
    silent = 4 * WIDTH * sum(kind != NORMAL for _, kind in tokens)
    yield name, shape, bytes(silent) + weights[silent:]
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        yield _ones(f"{block}attn_norm.weight")
        yield _ones(f"{block}ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield _random(f"{block}{part}.weight", (WIDTH, WIDTH), rng)
        for part in ("ffn_gate", "ffn_up"):
            yield _random(f"{block}{part}.weight", (WIDTH, FEED_FORWARD), rng)
        yield _random(f"{block}ffn_down.weight", (FEED_FORWARD, WIDTH), rng)


def model() -> bytes:
    """The whole file: header, metadata, where each tensor is, and the tensors."""
    tokens = list(vocabulary())
    pairs = list(metadata(tokens))
    weights = list(tensors(tokens, Random(0)))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(pairs)) + b"".join(pairs)
    body = b""
    for name, shape, values in weights:
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        body += _aligned(values)
    return _aligned(head) + body


def _aligned(part: bytes) -> bytes:
    return part + bytes(-len(part) % ALIGNMENT)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _key(key: str, kind: int) -> bytes:
    return _string(key) + struct.pack("<I", kind)


def _text(key: str, text: str) -> bytes:
    return _key(key, STRING) + _string(text)


def _list(name: str, kind: int, count: int, items: bytes) -> bytes:
    return _key(f"tokenizer.ggml.{name}", ARRAY) + struct.pack("<IQ", kind, count) + items


def _random(name: str, shape: tuple[int, int], rng: Random) -> Tensor:
    return name, shape, _floats([rng.gauss(0, SPREAD) for _ in range(shape[0] * shape[1])])


def _ones(name: str) -> Tensor:
    return name, (WIDTH,), _floats([1.0] * WIDTH)


def _floats(values: list[float]) -> bytes:
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(model())
