"""Makes hostile inputs out of good ones. Everything comes from the given source of chance, so a seed makes it again."""

from __future__ import annotations

import functools
import gzip
import io
import json
import lzma
import re
import tarfile
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

# Written into JSON as they are, by way of a mark: no JSON writer would write them.
_RAW = {
    "\uf000": "9" * 5000,
    "\uf001": "NaN",
    "\uf002": "-Infinity",
    "\uf003": '"\\ud800"',
    "\uf004": "[" * 3000 + "]" * 3000,
    "\uf005": '{"a":' * 500 + "1" + "}" * 500,
    "\uf006": "1e999",
    "\uf007": "-" + "1" * 400,
    "\uf008": "[" * 100_000,
}
_TEXTS = (
    "", " ", "\0", "\x1b[2J", "../../../etc/passwd", "/etc/passwd", "a" * 300, "x" * 70_000, "9" * 5000, "-1", "0x", "é" * 200,
    "\u202e", "%s%n", "{driver:>9999999}", "(a+)+$", "sha256:" + "0" * 64, "sha256:" + "F" * 64, "https://evil.example/",
    "null", "true", "\r\n", "' or 1=1", "=", ":", ",", "\t", "$(reboot)", "*", "&a", "🦀",
)  # fmt: skip
_NUMBERS = (0, -1, 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308)


def any_value(chance: random.Random, depth: int = 2) -> Any:
    kind = chance.randrange(9 if depth else 6)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.choice(_NUMBERS)
    if kind in {2, 3}:
        return chance.choice(_TEXTS)
    if kind == 4:
        return chance.choice(list(_RAW))
    if kind in {5, 6}:
        return [] if kind == 5 else [any_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(_TEXTS): any_value(chance, depth - 1) for _ in range(chance.randrange(4))}


def _places(data: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return every container and key of a document; the first of a long list stand for the others."""
    items = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    for key, value in items[:60]:
        found.append((data, key))
        _places(value, found)
    return found


def mutate_data(chance: random.Random, data: Any) -> Any:
    """Return plain data with a few places changed: other kinds, missing keys, doubled items, more nesting."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        places = _places(data, [])
        if not places or chance.random() < 0.02:
            return any_value(chance)
        holder, key = chance.choice(places)
        chance.choice(_CHANGES)(chance, holder, key)
    return data


def _rename(chance: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder *= chance.choice([2, 50])
    else:
        holder[chance.choice(_TEXTS)] = holder.pop(key)


def _copy_within(chance: random.Random, holder: Any, key: Any) -> None:
    holder[key] = holder[chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))]


def _replace(chance: random.Random, holder: Any, key: Any) -> None:
    """Mostly another kind of value; of a text now and then another one, which gets further."""
    is_text = isinstance(holder[key], str) and chance.random() < 0.4
    holder[key] = chance.choice(_TEXTS) if is_text else any_value(chance)


_CHANGES: tuple[Callable[[random.Random, Any, Any], object], ...] = (
    lambda _, holder, key: holder.pop(key),
    lambda _, holder, key: holder.__setitem__(key, [holder[key]]),
    lambda _, holder, key: holder.__setitem__(key, {"a": holder[key]}),
    _rename,
    _copy_within,
    _replace,
    _replace,
    _replace,
)


def dump_json(data: Any) -> bytes:
    text: str = json.dumps(data, ensure_ascii=False)
    for mark, raw in _RAW.items():
        text = text.replace(f'"{mark}"', raw)
    return text.encode("utf-8", "surrogatepass")


def json_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    sample = chance.choice(samples)
    if chance.random() < 0.25:
        return bytes_input(chance, samples)
    content = dump_json(mutate_data(chance, json.loads(sample)))
    if chance.random() < 0.05 and content.startswith(b"{"):  # keys twice
        key = str(chance.choice(list(json.loads(sample)) or ["a"]))
        return b'{"' + key.encode() + b'":1,' + content[1:]
    return content


def lines_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """A file of JSON lines, one of them hostile."""
    lines = chance.choice(samples).splitlines()
    number = chance.randrange(len(lines))
    if chance.random() < 0.2:
        lines[number] = bytes_input(chance, [lines[number]])
    else:
        changed = mutate_data(chance, json.loads(lines[number]))
        # Compact, with the kind of the line first, as the reader wants them.
        lines[number] = dump_json(changed).replace(b'{"type": "', b'{"type":"', 1)
    return b"\n".join(lines) + b"\n"


_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
_YAML_TRICKS = (
    _LAUGHS, "a: &a {b: *a}", "!!python/object:os.system x", "a: !!timestamp 99999-99-99", "a: 2026-13-45", "a: 0b",
    "? [a, b]\n: c", "--- a\n--- b", "%YAML 9.9\n---\na", "a: !!int 'x'", "a: !!binary '%'", "{" * 900, "- " * 900 + "a",
    "<<: {a: 1}", "a: 0o999", "a: .nan", "a: 1_0:99:99", "\ufeffa: 1", "a: 12:99:99", "a: !!float x", "*a",
)  # fmt: skip


def yaml_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    dice = chance.random()
    sample = chance.choice(samples)
    if dice < 0.3:
        return text_input(chance, samples)
    if dice < 0.4:
        trick = chance.choice(_YAML_TRICKS).encode()
        return trick if chance.random() < 0.5 else sample + b"\n" + trick
    documents = [mutate_data(chance, item) for item in yaml.safe_load_all(sample)]
    return b"\n---\n".join(dump_json(_jsonable(item)) for item in documents)


def _jsonable(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _jsonable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_jsonable(value) for value in data]
    return data if data is None or isinstance(data, bool | int | float | str) else str(data)


def text_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Lines and words that are dropped, doubled, swapped, or replaced by awkward ones; sometimes single bytes."""
    if chance.random() < 0.25:
        return bytes_input(chance, samples)
    lines = chance.choice(samples).split(b"\n")
    for _ in range(chance.choice([1, 1, 2, 5])):
        number = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[number : number + chance.choice([1, 5])]
                lines = lines or [b""]
            case 1:
                lines[number:number] = [lines[number]] * chance.choice([1, 50])
            case 2:
                lines[number] = chance.choice(_TEXTS).encode("utf-8", "surrogatepass")
            case _:
                lines[number] = _other_word(chance, lines[number])
    return b"\n".join(lines)


def _other_word(chance: random.Random, line: bytes) -> bytes:
    numbers = list(re.finditer(rb"[0-9]+", line))
    if numbers and chance.random() < 0.4:
        number = chance.choice(numbers)
        other = chance.choice([b"9" * 5000, b"-1", b"0", str(2**64).encode(), b"1e9", "\u0665".encode()])
        return line[: number.start()] + other + line[number.end() :]
    separator = chance.choice([b" ", b" ", b"=", b":", b"\t", b"/", b"."])
    words = line.split(separator)
    words[chance.randrange(len(words))] = chance.choice(_TEXTS).encode("utf-8", "surrogatepass")
    return separator.join(words)


_INTEGERS = [
    b"\0" * 8,
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 7 + b"\x7f",
    b"\x80" + bytes(7),
    b"\x01" + bytes(7),
]


def bytes_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Flipped, cut, inserted, spliced and overwritten bytes."""
    data = bytearray(chance.choice(samples))
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if data:
                data[place % len(data)] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[place % len(data)] = chance.randrange(256)
            case 2:
                del data[place : place + chance.choice([1, 8, 600])]
            case 3:
                data[place:place] = chance.choice([b"\0", b"\xff", b'"', b"[", b"\xed\xa0\x80", bytes(600)])
            case 4:
                other = chance.choice(samples)
                start = chance.randrange(len(other) + 1)
                data[place : place + 64] = other[start : start + 64]
            case 5:
                width = chance.choice([1, 2, 4, 8])
                data[place : place + width] = chance.choice(_INTEGERS)[:width]
            case _ if chance.random() < 0.2:
                del data[place:]
    return bytes(data)


# Archives


def _pax(records: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    body = b"".join(
        _record(key.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass"))
        for key, value in records.items()
    )
    return header("pax", kind, len(body)) + _padded(body)


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %b=%b\n" % (length, key, value)


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 512)


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    member = tarfile.TarInfo(name[:90])
    member.type, member.size, member.linkname = kind, size, link[:90]
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _member(chance: random.Random, names: Sequence[str]) -> bytes:
    name = chance.choice([*names, *names, "./" + chance.choice(names), *_TEXTS, ".wh.a", "a/.wh..wh..opq", "a" * 90])
    body = chance.choice([b"", b"x", b"x" * 513, bytes(70_000)])
    size = len(body) if chance.random() < 0.9 else chance.choice([0, 1, 2**33, 2**62, 511])
    kinds = [bytes([number]) for number in range(48, 56)] + [
        b"L",
        b"K",
        b"x",
        b"g",
        b"S",
        b"D",
        b"M",
        b"V",
        b"X",
        b"\0",
        b"?",
    ]
    kind = tarfile.REGTYPE if chance.random() < 0.6 else chance.choice(kinds)
    return header(name.replace("\0", "0"), kind, size, chance.choice([*names, *_TEXTS]).replace("\0", "0")) + _padded(
        body
    )


def _tricks(chance: random.Random, names: Sequence[str]) -> bytes:
    size = chance.choice(["-1", "9" * 5000, "1e3", "", str(2**64), "5", str(2**33)])
    sparse = chance.choice([str(2**40), "9" * 30, "10"])
    tricks: list[Callable[[], bytes]] = [
        lambda: _pax({"path": chance.choice(_TEXTS)}),
        lambda: _pax({"size": size}),
        lambda: _pax({"linkpath": "../" * 2000}),
        lambda: _pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": sparse}),
        lambda: _pax({"GNU.sparse.size": sparse, "GNU.sparse.numblocks": "1", "GNU.sparse.offset": "0"}),
        lambda: _pax({"GNU.sparse.map": "0,1," * 9000 + "1", "GNU.sparse.size": sparse}),
        lambda: _pax({f"k{number}": "v" for number in range(3000)}, chance.choice([b"x", b"g"])),
        lambda: header("pax", b"x", 8000) + _padded(b"1" * 8000),
        lambda: header("pax", b"x", 30) + _padded(b"9999999 path=a\n30 path=b\n"),
        lambda: header("long", b"L", 3 * 10**5) + _padded(b"n" * 3 * 10**5),
        lambda: header("long", b"L", 3 * 10**8),
        lambda: header("long", b"L", 3000) + _padded(b"d/" * 1500),
        lambda: b"".join(_pax({"path": "a"}) for _ in range(1200)),
        lambda: _sparse(chance),
    ]
    return chance.choice(tricks)() + _member(chance, names)


def _sparse(chance: random.Random) -> bytes:
    """An old GNU sparse header: a little data, and a large real size."""
    block = bytearray(header("sparse", b"S", 512))
    block[386 : 386 + 24] = b"00000000000\0" + b"00000001000\0"
    block[483 : 483 + 12] = chance.choice([b"77777777777\0", b"00000002000\0"])
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(512)


def tar_content(chance: random.Random, names: Sequence[str]) -> bytes:
    parts = [
        _tricks(chance, names) if chance.random() < 0.3 else _member(chance, names)
        for _ in range(chance.randrange(1, 9))
    ]
    if chance.random() < 0.03:  # itself again and again, which compresses to nothing
        parts *= 1 + _LARGEST // sum(map(len, parts))
    return b"".join(parts) + bytes(1024 if chance.random() < 0.8 else 0)


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


_PACKERS: tuple[Callable[[bytes], bytes], ...] = (lambda data: data, lambda data: gzip.compress(data, 6, mtime=0), _xz)
_LARGEST = 16 * 1024**2


@functools.cache
def _bombs() -> tuple[bytes, ...]:
    return gzip.compress(bytes(300 * 1024**2), 1, mtime=0), _xz(bytes(300 * 1024**2))


def tar_input(
    chance: random.Random, samples: Sequence[bytes], *, packers: Sequence[Callable[[bytes], bytes]] = _PACKERS
) -> bytes:
    """An archive: a good one with changed bytes, or one of hostile members; packed or not.

    ``samples`` are good archives; the names of their members are used again.
    """
    if chance.random() < 0.01 and len(packers) > 1:
        return chance.choice(_bombs())
    dice = chance.random()
    pack = chance.choice(packers)
    if dice < 0.25:
        return pack(bytes_input(chance, samples))
    names = names_of(samples[0])
    packed = pack(tar_content(chance, names))
    return bytes_input(chance, [packed]) if dice < 0.35 else packed


def plain_tar_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    return tar_input(chance, samples, packers=_PACKERS[:1])


def names_of(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [name for name in opened.getnames() if len(name) < 90]


def ar(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """Return an ar archive, as a .deb is one."""
    packed = b"!<arch>\n"
    for name, content in parts:
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        packed += b"\n" * (len(content) % 2)
    return packed


def deb_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """A package whose data.tar is hostile, or that is so itself; ``samples`` are archives."""
    name = chance.choice(["data.tar.xz", "data.tar.xz", "data.tar.gz", "data.tar", "data.tar.zst", "x" * 16])
    pack = {"data.tar.xz": _xz, "data.tar.gz": _PACKERS[1]}.get(name, _PACKERS[0])
    packed = tar_input(chance, samples, packers=[pack])
    deb = ar([("debian-binary", b"2.0\n"), ("control.tar", b""), (name, packed)])
    return bytes_input(chance, [deb]) if chance.random() < 0.3 else deb


_STRANGE_NAMES = (
    "../evil", "/tmp/kmodsmith-evil", "a/../../evil", "a\\b", "", ".", "..", "a//b", "a" * 300, "\N{SNOWMAN}", "a\0b", "a/",
    "demo-1.0.data/scripts/../../x", "demo-1.0.data/strange/x", "demo-1.0.dist-info/x/y", "other-1.0.dist-info/RECORD",
)  # fmt: skip
_POINTS = b"[console_scripts]\n../../../x = a:b\n/tmp/kmodsmith-evil = a:b\n"


def zip_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Return a zip file with other members, or other bytes."""
    if chance.random() < 0.3:
        return bytes_input(chance, samples)
    with zipfile.ZipFile(io.BytesIO(chance.choice(samples))) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(members))
        name, content = members[at]
        match chance.randrange(5):
            case 0:
                members.insert(at, (chance.choice(_STRANGE_NAMES), content))
            case 1:
                members[at] = (name, text_input(chance, [content or b"x"]))
            case 2:
                members.insert(at, (name, content))
            case 3:
                members.insert(at, ("demo-1.0.dist-info/entry_points.txt", text_input(chance, [_POINTS])))
            case _ if len(members) > 1:
                del members[at]
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = chance.choice((0, 0o100644, 0o104755, 0o120777, 0o10644, 0o40755)) << 16
            kind = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            archive.writestr(info, content, compress_type=kind)
    return bytes_input(chance, [target.getvalue()]) if chance.random() < 0.1 else target.getvalue()
