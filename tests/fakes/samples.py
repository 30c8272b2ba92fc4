"""Kernel objects, kernels and images made in memory, so that a test can break exactly one thing."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.image.contents import LayerCache, read_oci_layout
from builder.image.layout import LayerBlob, LayerEntry, write_image, write_layer
from builder.kernel import parse_kernel_version
from builder.kmod.kernel_facts import KernelFacts
from builder.kmod.symvers import KernelSymbols

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.image.contents import ImageContents

KERNEL = "6.12.5+deb12-amd64"
PLACE = f"opt/lib/modules/{KERNEL}/extra/demo.ko"
# Real modules, and the Module.symvers of the kernel that they were built for.
REAL_KERNEL = "6.12.117+deb12-amd64"
REAL_MODULES = Path(__file__).parents[1] / "data" / "modules" / REAL_KERNEL
FLAGS = "SMP preempt mod_unload modversions "
SYMBOLS = {"kfree": 0x11111111, "_printk": 0x22222222, "gpl_thing": 0x33333333, "usb_thing": 0x44444444}
SYMVERS = "0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n0x22222222\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x33333333\tgpl_thing\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x44444444\tusb_thing\tdrivers/usb/core/usbcore\tEXPORT_SYMBOL\t\n0x55555555\tspace_thing\tvmlinux\tEXPORT_SYMBOL\tSPACE\n0x66666666\tfor_some\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:demo,other-*\n0x77777777\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n"


@dataclass
class Sample:
    """A module to be written; every field can be set wrong."""

    name: str = "demo"
    kernel: str = KERNEL
    flags: str = FLAGS
    bits: int = 64
    machine: int = 62
    order: str = "<"
    kind: int = 1
    modinfo: list[str] = field(default_factory=lambda: ["license=GPL"])
    depends: str = ""
    imports: list[str] = field(default_factory=lambda: ["kfree", "_printk"])
    weak: list[str] = field(default_factory=list)
    versions: dict[str, int] | None = None
    extended: bool = False
    exports: dict[str, int] = field(default_factory=dict)
    filler: bytes = b""

    def write(self) -> bytes:
        versions = self.versions
        if versions is None:
            known = SYMBOLS | {"space_thing": 0x55555555, "for_some": 0x66666666, "module_layout": 0x77777777}
            versions = {name: known[name] for name in [*self.imports, "module_layout"] if name in known}
        info = [*self.modinfo, f"depends={self.depends}", f"name={self.name}", f"vermagic={self.kernel} {self.flags}"]
        sections: list[tuple[str, int, bytes]] = [(".modinfo", 1, b"\0".join(item.encode() for item in info) + b"\0")]
        sections += self._versions(versions)
        sections.append((".text", 1, self.filler))
        symbols = [(name, 0x10, 0, 0) for name in self.imports] + [(name, 0x20, 0, 0) for name in self.weak]
        if self.exports:
            sections.append(("__ksymtab_gpl", 1, b"\0" * 12 * len(self.exports)))
            sections.append(
                ("__kcrctab_gpl", 1, struct.pack(f"{self.order}{len(self.exports)}I", *self.exports.values()))
            )
            for number, name in enumerate(self.exports):
                symbols.append((f"__ksymtab_{name}", 0, len(sections) - 1, 12 * number))
                symbols.append((f"__crc_{name}", 0, len(sections), 4 * number))
        return self._elf(sections, symbols)

    def _versions(self, versions: dict[str, int]) -> list[tuple[str, int, bytes]]:
        if self.extended:
            crcs = struct.pack(f"{self.order}{len(versions)}I", *versions.values())
            return [
                ("__version_ext_crcs", 1, crcs),
                ("__version_ext_names", 1, b"".join(n.encode() + b"\0" for n in versions)),
            ]
        form = struct.Struct(self.order + ("Q56s" if self.bits == 64 else "I60s"))
        return [("__versions", 1, b"".join(form.pack(crc, name.encode()) for name, crc in versions.items()))]

    def _elf(self, sections: list[tuple[str, int, bytes]], symbols: list[tuple[str, int, int, int]]) -> bytes:
        wide = self.bits == 64
        strings, raw = b"\0", struct.pack(f"{self.order}IBBHQQ", 0, 0, 0, 0, 0, 0) if wide else b"\0" * 16
        for name, info, section, value in symbols:
            offset = len(strings)
            strings += name.encode() + b"\0"
            raw += (
                struct.pack(self.order + "IBBHQQ", offset, info, 0, section, value, 0)
                if wide
                else struct.pack(self.order + "IIIBBH", offset, value, 0, info, 0, section)
            )
        table = [*sections, (".symtab", 2, raw), (".strtab", 3, strings)]
        names = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in table) + b".shstrtab\0"
        table.append((".shstrtab", 3, names))
        header_size, entry = (
            (64, struct.Struct(self.order + "IIQQQQIIQQ")) if wide else (52, struct.Struct(self.order + "IIIIIIIIII"))
        )
        body, headers = b"", entry.pack(*([0] * 10))
        for number, (name, kind, content) in enumerate(table, start=1):
            link = number + 1 if kind == 2 else 0
            place = names.index(b"\0" + name.encode() + b"\0") + 1
            headers += entry.pack(place, kind, 0, 0, header_size + len(body), len(content), link, 0, 1, 0)
            body += content
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if self.order == "<" else 2, 1]) + b"\0" * 9
        form = self.order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
        header = struct.pack(
            form,
            self.kind,
            self.machine,
            1,
            0,
            0,
            header_size + len(body),
            0,
            header_size,
            0,
            0,
            entry.size,
            len(table) + 1,
            len(table),
        )
        return ident + header + body + headers


def make_facts(kernel: str = KERNEL, symvers: str = SYMVERS, flags: str = FLAGS) -> KernelFacts:
    symbols = KernelSymbols(symvers)
    return KernelFacts(
        kernel=parse_kernel_version(kernel), vermagic=f"{kernel} {flags}", symbols=symbols, in_tree=symbols.modules
    )


FACT_FILES = {
    "vermagic.h": '#ifdef CONFIG_SMP\n#define A "SMP "\n#else\n#define A ""\n#endif\n#define VERMAGIC_STRING UTS_RELEASE " " \\\n\tA "preempt mod_unload modversions " MODULE_ARCH_VERMAGIC\n',
    "arch-vermagic.h": '# define MODULE_ARCH_VERMAGIC ""\n',
    "auto.conf": "CONFIG_SMP=y\nCONFIG_MODVERSIONS=y\n",
}


def write_facts(folder: Path, kernel: str = KERNEL, symvers: str = SYMVERS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arch = '# define MODULE_ARCH_VERMAGIC "aarch64"\n' if kernel.endswith("arm64") else FACT_FILES["arch-vermagic.h"]
    for name, text in {
        **FACT_FILES,
        "arch-vermagic.h": arch,
        "utsrelease.h": f'#define UTS_RELEASE "{kernel}"\n',
        "Module.symvers": symvers,
    }.items():
        (folder / name).write_text(text)


LABELS = {
    "name": "demo",
    "vendor": "V",
    "version": "1.2.0",
    "release": KERNEL,
    "summary": "S",
    "description": "D",
    "maintainer": "M",
}
DEPMOD_FILES = ("modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin")


def depmod_text(module: str = "extra/demo.ko") -> bytes:
    return f"{module}:\n".encode()


def make_program(machine: int = 62, interpreter: str = "") -> bytes:
    """An ELF executable as far as a kernel looks before it starts it; linked statically unless there is a loader."""
    count, name = (1, interpreter.encode() + b"\0") if interpreter else (0, b"")
    header = struct.pack(
        "<4sBBBx8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 2, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    return header + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) * count + name


def image_entries(modules: Mapping[str, bytes], kernel: str = KERNEL) -> list[LayerEntry]:
    """What a good image holds; ``modules`` by path below the kernel's folder."""
    root = f"opt/lib/modules/{kernel}"
    tools = [
        LayerEntry(path="usr/bin/busybox", content=make_program(), mode=0o755),
        LayerEntry(path="bin", link="usr/bin"),
    ]
    tools += [LayerEntry(path=f"usr/bin/{name}", link="busybox") for name in ("sh", "mkdir", "cp")]
    data = [LayerEntry(path=f"{root}/{name}", content=depmod_text()) for name in DEPMOD_FILES]
    files = [LayerEntry(path=f"{root}/{path}", content=content) for path, content in modules.items()]
    return [*tools, *data, *files, LayerEntry(path="licenses/LICENSE", content=b"GPL\n")]


GOOD_ENTRIES = image_entries({"extra/demo.ko": Sample().write()})

Row = tuple[str, ...]
_TYPES = {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}


def tar_member(row: Row) -> tuple[tarfile.TarInfo, bytes]:
    """Make a member of a row: kind, path, and target, content or the name of an attribute."""
    kind, path, *rest = row
    member = tarfile.TarInfo(path)
    member.type = _TYPES.get(kind, tarfile.REGTYPE)
    member.mode = 0o755 if kind == "folder" else 0o644
    if kind in {"link", "hard"}:
        member.linkname = rest[0]
    content = rest[0].encode() if kind == "file" and rest else b""
    member.size = len(content)
    if kind == "xattr":
        member.type, member.pax_headers = tarfile.DIRTYPE, {f"SCHILY.xattr.{rest[0]}": "y"}
    return member, content


def write_raw_layer(file: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> LayerBlob:
    """Write a layer exactly so, whatever it is."""
    with tarfile.open(file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return LayerBlob(file=file, digest=hashlib.sha256(file.read_bytes()).hexdigest(), size=file.stat().st_size)


def write_sample_image(
    folder: Path,
    layers: Sequence[Sequence[LayerEntry]],
    labels: Mapping[str, str] = LABELS,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Write an OCI layout of these layers, lowest first."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_layer(folder / f"{number}.tar", [], entries) for number, entries in enumerate(layers)]
    write_image(folder / "oci", written, arch="amd64", environment=environment or {"PATH": "/bin"}, labels=labels)
    return folder / "oci"


def read_sample_image(
    folder: Path,
    layers: Sequence[Sequence[LayerEntry]],
    labels: Mapping[str, str] = LABELS,
    environment: Mapping[str, str] | None = None,
) -> ImageContents:
    return read_oci_layout(write_sample_image(folder, layers, labels, environment), "test", LayerCache())


def read_raw_image(folder: Path, *layers: Sequence[Row]) -> ImageContents:
    """Read an image of layers that are exactly so."""
    written = [write_raw_layer(folder / f"{n}.tar", [tar_member(row) for row in rows]) for n, rows in enumerate(layers)]
    write_image(folder / "oci", written, arch="amd64", environment={}, labels={})
    return read_oci_layout(folder / "oci", "test", LayerCache())
