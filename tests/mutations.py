"""Files with something wrong in them: in their bytes, or in what the bytes stand for.

What knows a container changes what is in it and closes it again: a header fits its length and a checksum its content,
so that a reader comes to what is wrong instead of stopping at the door.
"""

import copy
import io
import json
import pickletools
import random
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
# What a text of JSON is replaced by after it was written: what Python itself does not write.
DEEP, LONG = "@deep@", "@long@"
WILD: list[Any] = [
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), -float("inf")),
    *(2**31, 2**32, 2**53 + 1, 2**63, -(2**63), 2**64, 10**30, DEEP, LONG),
    *("", "x" * 10_000, "\ud800", "a\u202eb", "\0", "\x1b[2J", "../../etc/passwd", "NaN", "1", "towers", "__class__"),
    *([], {}, [[]], [None] * 2000, [0] * 20_000, ["x"] * 5000, {"": None}, {str(i): i for i in range(2000)}),
]


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A file with something wrong in it."""
    change = known_structure(content)
    if change is not None and chance.random() < 0.6:
        try:
            return change(chance, content)
        except (ValueError, LookupError, zipfile.BadZipFile):
            pass  # an input of the corpus may be damaged already
    return bytes_mutated(chance, content)


def known_structure(content: bytes) -> Callable[[random.Random, bytes], bytes] | None:
    """What changes a file of this container, by its first bytes."""
    if content.startswith(b"PK"):
        return zip_mutated
    if content.startswith(PNG):
        return png_mutated
    if content.lstrip()[:1] in (b"{", b"["):
        return json_mutated
    return tensors_mutated if content[8:9] == b"{" else None


def bytes_mutated(chance: random.Random, content: bytes) -> bytes:
    """A file of which some bytes are others."""
    changed = bytearray(content)
    # Most of a file is numbers; what steers a reader lies at its ends.
    place = chance.choice((chance.randrange(len(changed)), chance.randrange(min(4000, len(changed)))))
    place = chance.choice((place, len(changed) - 1 - chance.randrange(min(4000, len(changed)))))
    kind = chance.randrange(7)
    if kind == 0:
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            changed[(place + chance.randrange(64)) % len(changed)] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del changed[place:]
    elif kind == 2:
        opcodes = [each.code.encode("latin-1") for each in pickletools.opcodes]
        changed[place:place] = b"".join(chance.choice(opcodes) for _ in range(chance.randrange(1, 6)))
    elif kind == 3:
        length = chance.randrange(1, 200)
        changed[place : place + length] = chance.randbytes(length)
    elif kind == 4:
        other = chance.randrange(len(changed))
        changed[place : place + 100] = changed[other : other + 100]
    elif kind == 5:
        changed[place : place + 8] = chance.choice((b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little")))
    else:
        del changed[place : place + chance.randrange(1, 300)]
    return bytes(changed)


def json_mutated(chance: random.Random, content: bytes) -> bytes:
    """A JSON document of which some values are others."""
    document = json.loads(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        document = value_mutated(chance, document)
    return written(chance, document)


def written(chance: random.Random, document: Any) -> bytes:
    """A document as JSON, with what Python does not write."""
    depth = chance.choice((20, 500, 3000, 100_000))
    text = json.dumps(document).replace(f'"{DEEP}"', "[" * depth + "]" * depth)
    return text.replace(f'"{LONG}"', "9" * chance.choice((400, 5000))).encode()


def value_mutated(chance: random.Random, document: Any) -> Any:
    """A document with one value changed, taken out, put in or moved."""
    places = list(_places(document))
    if not places or chance.random() < 0.02:
        return _wild(chance)
    holder, key = chance.choice(places)
    kind = chance.randrange(7)
    if kind <= 2:
        holder[key] = _wild(chance)
    elif kind == 3:
        del holder[key]
    elif kind == 4:  # of another place
        other, at = chance.choice(places)
        holder[key] = json.loads(json.dumps(other[at]))
    elif kind == 5 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * chance.choice((1, 2, 1000))
    elif kind == 5:
        holder[chance.choice(("", "x", "\ud800", f"{key} ", "schema"))] = holder.pop(key)
    else:
        holder[key] = _near(chance, holder[key])
    return document


def _wild(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(WILD))


def _near(chance: random.Random, value: Any) -> Any:
    """A value of the same kind, or of the kind that is written alike."""
    if isinstance(value, bool) or value is None:
        return chance.choice((not value, "true", 1))
    if isinstance(value, int | float):
        return chance.choice((-value, value + 1, value * 1e6, str(value), [value], value + 0.5))
    if isinstance(value, str):
        return chance.choice((value.upper(), value[:-1], value * 3, [value], value.encode().hex()))
    return chance.choice((list(value), {"0": value}, [value], len(value), json.dumps(value)))


def _places(document: Any) -> Any:
    """Each value of a document, as what holds it and under which key."""
    left = [document]
    while left:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            left.append(holder[key])


def tensors_mutated(chance: random.Random, content: bytes) -> bytes:
    """A safetensors file with a header of which a value is another: of a tensor, or of what is told of all of them."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    told = header.get("__metadata__", {})
    inner = [name for name, text in told.items() if text[:1] in ("{", "[")]
    if inner and chance.random() < 0.7:
        name = chance.choice(inner)
        told[name] = json_mutated(chance, told[name].encode()).decode()
        text = json.dumps(header).encode()
    else:
        text = written(chance, value_mutated(chance, header))
    return len(text).to_bytes(8, "little") + text + content[end:]


def zip_mutated(chance: random.Random, content: bytes) -> bytes:
    """A zip archive with an entry that is missing, there twice, of another name, or of other content."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    number = chance.randrange(len(entries))
    name, data = entries[number]
    kind = chance.randrange(5)
    if kind == 0:
        del entries[number]
    elif kind == 1:
        entries.append((name, chance.choice(entries)[1]))
    elif kind == 2:
        entries[number] = (chance.choice(("data.pkl", "../x", "archive/data.pkl", "a\u202eb", name.upper())), data)
    else:
        number = next((i for i, each in enumerate(entries) if each[0].endswith(".pkl")), number)
        entries[number] = (entries[number][0], bytes_mutated(chance, entries[number][1] or b"\0"))
    made = io.BytesIO()
    how = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two entries of one name
        for each in dict(entries).items() if kind != 1 else entries:
            archive.writestr(zipfile.ZipInfo(each[0]), each[1], how)
    return made.getvalue()


def png_mutated(chance: random.Random, content: bytes) -> bytes:
    """A PNG file with a part that is missing, there twice, or of other content, and with checksums that fit."""
    parts, at = [], len(PNG)
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        parts.append((content[at + 4 : at + 8], content[at + 8 : end]))
        at = end + 4
    number = chance.randrange(len(parts))
    name, data = parts[number]
    kind = chance.randrange(5)
    if kind == 0:
        del parts[number]
    elif kind == 1:
        parts.insert(number, parts[chance.randrange(len(parts))])
    elif kind == 2:  # width and height
        size = chance.choice((0, 1, 9, 2**13, 2**16, 2**31 - 1)).to_bytes(4, "big")
        head = parts[0][1]
        parts[0] = (parts[0][0], chance.choice((size + head[4:], head[:4] + size + head[8:], size * 2 + head[8:])))
    elif kind == 3:
        parts[number] = (chance.choice((b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"eXIf", b"gAMA", b"acTL")), data)
    else:
        parts[number] = (name, bytes_mutated(chance, data or b"\0"))
    made = PNG
    for name, data in parts:
        made += len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
    return made
