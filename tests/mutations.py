"""Files with something wrong in them."""

import pickletools
import random


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A file with something wrong in it."""
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
