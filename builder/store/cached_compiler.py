"""How compilers of a compile are run through ccache: scripts of its container, and what is left behind there. Pure.

The scripts stand between ``make`` and the compiler, in a folder that comes first in PATH, and know of three folders:
what earlier compiles left (``KNOWN``, a copy that nobody takes back), what this one leaves (``NEW``), and ``OWN`` for
all else. ccache stores a result under a hash of the compiler, its options and what it reads. Kernels of one series
differ by where their headers lie, so these are named by links that are called the same for every kernel; their content
is hashed all the same. Only options that say where to look are rewritten, and only where these names are no part of
what is compiled: the kernel's own ``-fmacro-prefix-map`` takes them out of strings, and the Containerfile's
``-fdebug-prefix-map`` out of what the build id is made of. So a module is the same with and without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import FormatError

PROGRAMS = "/usr/lib/kmodsmith-ccache"
KNOWN, NEW, OWN = "/var/cache/kmodsmith/known", "/var/cache/kmodsmith/new", "/var/cache/kmodsmith/own"
LOADER = "ld.so"
PROGRAM = "ccache"
# ccache's own mark of a folder that backups leave out.
TAG_FILE = "CACHEDIR.TAG"
STATISTICS_FILE = "statistics"
_LINKS = "/usr/src/this-kernel"
_ENTRY = re.compile(r"[0-9a-f]{2}/[0-9a-v]{20,64}", re.ASCII)
_MAGIC = b"\xcc\xac"  # of every entry (ccache, CacheEntry.hpp)
_MOST_COMPILES = 1_000_000

BEGIN = f". {OWN}/begin"
"""What a build command is preceded by; it leaves nothing behind but another PATH, and that only where all is there."""

_BEGIN = rf"""# Puts a script in front of every compiler of this toolkit.
(
    kernel=${{KERNEL_FULL_VERSION:-${{KERNEL_VERSION:-}}}}
    {PROGRAMS}/{LOADER} --library-path {PROGRAMS} {PROGRAMS}/{PROGRAM} --version || exit 1
    mkdir -p {_LINKS} {OWN}/bin || exit 1
    for name in build source; do
        place=$(readlink -f "/lib/modules/$kernel/$name") || place=
        case $place in *"'"*) exit 1 ;; esac
        [ ! -d "$place" ] || ln -s "$place" {_LINKS}/$name || exit 1
        echo "$name='$place'"
    done >{OWN}/places
    [ -e {_LINKS}/build ] || exit 1
    parts=
    IFS=:
    for folder in $PATH; do
        for file in "$folder"/gcc "$folder"/cc "$folder"/gcc-[0-9]* "$folder"/*-linux*-gcc \
            "$folder"/*-linux*-gcc-[0-9]*; do
            name=${{file##*/}}
            [ -x "$file" ] && [ ! -e {OWN}/bin/"$name" ] || continue
            printf '#!/bin/sh\ncompiler=%s\n. {OWN}/compiler\n' "$file" >{OWN}/bin/"$name" || exit 1
            for part in "$file" "$("$file" -print-prog-name=cc1)" "$(command -v "$("$file" -print-prog-name=as)")"; do
                place=$(readlink -f "$part") && [ -f "$place" ] || exit 1
                case :$parts in *:"$place":*) ;; *) parts=$parts$place: ;; esac
            done
        done
    done
    identity=$(sha256sum $parts | sha256sum) && [ -n "$parts" ] || exit 1
    echo "identity=${{identity%% *}}" >>{OWN}/places
    chmod 755 {OWN}/bin/* || exit 1
) >/dev/null 2>&1 && PATH={OWN}/bin:$PATH || :
"""

_COMPILER = rf"""# Runs a compiler by ccache where it makes an object of the kernel's build, and as it is elsewhere.
. {OWN}/places
is_object= names_nothing= debugs_nothing=
for word do
    case $word in
    -c) is_object=yes ;;
    -fmacro-prefix-map=* | -ffile-prefix-map=*) names_nothing=yes ;;
    "-fdebug-prefix-map=$build={_LINKS}/build") debugs_nothing=yes ;;
    -E | -S | -M | -MM | - | /dev/null | @*) exec "$compiler" "$@" ;;
    esac
done
[ "$is_object$names_nothing$debugs_nothing" = yesyesyes ] || exec "$compiler" "$@"

replace() {{
    rest=$word word=
    while :; do
        case $rest in
        *"$1"/*) word=$word${{rest%%"$1"/*}}$2/ rest=${{rest#*"$1"/}} ;;
        *"$1") word=$word${{rest%"$1"}}$2 rest= ; break ;;
        *) break ;;
        esac
    done
    word=$word$rest
}}

left=$#
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
    -I* | -isystem* | -iquote* | -include* | -f*-prefix-map=* | /*)
        [ -z "$source" ] || replace "$source" {_LINKS}/source
        replace "$build" {_LINKS}/build
        ;;
    esac
    set -- "$@" "$word"
done
case $PWD/ in
"$build"/*) cd {_LINKS}/build/"${{PWD#"$build"}}" || exit 1 ;;
esac
export CCACHE_CONFIGPATH={OWN}/settings CCACHE_COMPILERCHECK="string:$identity"
exec {PROGRAMS}/{LOADER} --library-path {PROGRAMS} {PROGRAMS}/{PROGRAM} "$compiler" "$@"
"""

_SETTINGS = f"""\
remote_only = true
remote_storage = file:{KNOWN}|read-only|update-mtime=true file:{NEW}
cache_dir = {OWN}/cache
temporary_dir = {OWN}/temporary
stats_log = {OWN}/{STATISTICS_FILE}
"""

SCRIPTS = {"begin": _BEGIN, "compiler": _COMPILER, "settings": _SETTINGS}
"""The files of ``OWN`` by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the compile cache did for one compile. Hits and misses are the compile's own word, and prove nothing."""

    hits: int = 0
    misses: int = 0
    kept: int = 0
    """Entries that were taken over from it."""
    damaged: int = 0
    """Entries that were changed after they had been taken over: they were not used."""
    refused: str = ""
    """Why nothing was taken over, where it left what no cache leaves."""
    checked: str = ""
    """``equal`` or ``differs`` where it was compiled again without the cache; empty where it was not."""

    @property
    def compiles(self) -> int:
        return self.hits + self.misses

    def __str__(self) -> str:
        return f"{self.hits} of {self.compiles}" if self.compiles else ""


def read_statistics(content: bytes) -> tuple[int, int]:
    """Return hits and misses out of ccache's log of statistics, a word a line; a compile may have written it itself."""
    words = content.splitlines()
    hits = words.count(b"direct_cache_hit") + words.count(b"preprocessed_cache_hit")
    return min(hits, _MOST_COMPILES), min(words.count(b"cache_miss"), _MOST_COMPILES)


def check_entry(name: str, content: bytes) -> None:
    """Check that something is named and begins as an entry of ccache does; more, nobody can tell of it.

    Raises:
        FormatError: it does not. The message is a whole sentence.
    """
    check_entry_name(name)
    if not content.startswith(_MAGIC):
        raise FormatError(f"{name} does not begin as an entry of ccache")


def check_entry_name(name: str) -> str:
    """Return a name if entries of ccache are called like that; raises as ``check_entry``."""
    if not _ENTRY.fullmatch(name):
        raise FormatError(f"{name[:100]!r} is no name of an entry of ccache")
    return name
