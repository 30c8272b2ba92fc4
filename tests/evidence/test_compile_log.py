"""What the log of a failed compile says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from builder.errors import Failure, FailureClass
from builder.evidence.compile_log import classify_compile_log

LOGS = Path(__file__).parents[1] / "data" / "logs"
ENDED = "ended with exit code 2"

COMPILE = FailureClass.COMPILE
SYMBOL = FailureClass.UNRESOLVED_SYMBOL
TOOLKIT = FailureClass.TOOLKIT
INFRA = FailureClass.INFRASTRUCTURE

RECORDED = [
    ("api-arity", COMPILE, "/build/src/sample.c:9", "too few arguments to function 'device_create'"),
    ("api-arity.macro", COMPILE, "/build/src/sample.c:10", 'macro "class_create" requires 2 arguments'),
    ("compiler-crash", TOOLKIT, "string_64.h:49", "internal compiler error: Segmentation fault"),
    ("no-member", COMPILE, "/build/src/sample.c:9", "no member named 'nam'"),
    ("configure-failed", COMPILE, None, "configure: error: kernel headers too old"),
    ("disk-full", INFRA, None, "No space left on device"),
    ("disk-full.storage", INFRA, None, "no space left on device"),
    ("expected-module-missing", COMPILE, None, "cannot stat 'sample_extra.ko'"),
    ("implicit-declaration", COMPILE, "/build/src/sample.c:10", "function 'pci_set_dma_mask'"),
    ("linker-error", COMPILE, "/build/src/second.c:1", "multiple definition of 'shared_counter'"),
    ("makefile-error", COMPILE, "/build/src/Kbuild:4", "missing 'endif'"),
    ("makefile-error.separator", COMPILE, "Makefile:2", "missing separator"),
    ("missing-header", COMPILE, "/build/src/sample.c:7", "linux/genhd.h: No such file"),
    ("missing-tool", COMPILE, None, "make[1]: asn1c: No such file or directory"),
    ("missing-tool.compiler", COMPILE, None, "gcc-14: not found"),
    ("modpost-error", COMPILE, None, "missing MODULE_LICENSE() in /build/src/sample.o"),
    ("modpost-gpl-only", SYMBOL, None, "uses GPL-only symbol '__class_create'"),
    ("modpost-namespace", SYMBOL, None, "uses symbol dma_buf_get from namespace DMA_BUF"),
    ("modpost-undefined", SYMBOL, None, '"sample_backend_open" [/build/src/sample.ko] undefined!'),
    ("network-forbidden", COMPILE, None, "downloads.example.com: Temporary failure in name resolution"),
    ("no-rule", COMPILE, None, "No rule to make target '/build/src/sample_extra.o'"),
    ("no-rule.kbuild", COMPILE, None, "No rule to make target '/build/src/Makefile'"),
    ("no-rule.no-makefile", COMPILE, None, "No targets specified and no makefile found"),
    ("no-rule.target", COMPILE, None, "No rule to make target 'driver'"),
    ("out-of-memory", INFRA, None, "Killed signal terminated program cc1"),
    ("out-of-memory.limit", INFRA, None, "virtual memory exhausted"),
    ("out-of-memory.shell", INFRA, None, "subprocess exited on killed"),
    ("out-of-memory.step", INFRA, None, "Killed"),
    ("registry-unreachable", INFRA, None, "network is unreachable"),
    ("storage-error", INFRA, None, "creating read-write layer"),
    ("storage-error.damaged", INFRA, None, "may be corrupted"),
    ("toolkit-image-missing", TOOLKIT, None, "localhost/toolkit:6.1.0-99-amd64: image not known"),
    ("toolkit-incomplete", TOOLKIT, None, "/lib/modules/6.1.0-99-amd64/build: No such file"),
    ("toolkit-incomplete.config", TOOLKIT, None, "Kernel configuration is invalid"),
    ("toolkit-incomplete.fixdep", TOOLKIT, None, "scripts/basic/fixdep: Permission denied"),
    ("toolkit-incomplete.modpost", TOOLKIT, None, "'scripts/mod/modpost'"),
    ("toolkit-incomplete.objtool", TOOLKIT, None, "objtool: 1: foreign: not found"),
    ("warning-as-error", COMPILE, "/build/src/sample.c:10", "[-Werror=int-conversion]"),
]


def _classify(text: str, exit_explanation: str = ENDED) -> Failure:
    return classify_compile_log(text, exit_explanation=exit_explanation)


@pytest.mark.parametrize(("name", "failure_class", "location", "words"), RECORDED, ids=[row[0] for row in RECORDED])
def test_recorded_log(name: str, failure_class: FailureClass, location: str | None, words: str) -> None:
    failure = _classify((LOGS / f"{name}.log").read_text())
    assert (failure.failure_class, failure.code) == (failure_class, name.split(".", maxsplit=1)[0])
    assert words in failure.detail
    assert (failure.location or "").endswith(location or "")
    assert (failure.location is None) == (location is None)


def test_every_recorded_log_is_in_the_table() -> None:
    assert {file.stem for file in LOGS.glob("*.log")} == {row[0] for row in RECORDED}


# Words of other toolkits, as their sources print them: clang, older modpost, RHEL's paths.
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("x.c:3:10: fatal error: 'linux/genhd.h' file not found", "missing-header"),
        ("x.c:3:10: error: call to undeclared function 'strlcpy'; ISO C99 and later", "implicit-declaration"),
        ("x.c:3:10: error: too few arguments to function call, expected 2, have 1", "api-arity"),
        ("x.c:3:10: error: passing argument 1 of 'f' from incompatible pointer type", "incompatible-types"),
        ("x.c:3:10: error: unused variable 'x' [-Werror,-Wunused-variable]", "warning-as-error"),
        ('ERROR: "kallsyms_lookup_name" [/build/x.ko] undefined!', "modpost-undefined"),
        ("FATAL: modpost: GPL-incompatible module x.ko uses GPL-only symbol 'y'", "modpost-gpl-only"),
        ("ld.lld: error: undefined symbol: shared_counter", "linker-error"),
        ("ld: x.o: in function `f': x.c:(.text+0x5): undefined reference to `g'", "linker-error"),
        ("bash: line 1: pkg-config: command not found", "missing-tool"),
        ("make: gcc: Command not found", "missing-tool"),
        ("gcc: internal compiler error: Killed (program cc1)", "out-of-memory"),
        ("make[2]: *** [Makefile:9: x.o] Error 137", "out-of-memory"),
        ("curl: (6) Could not resolve host: example.com", "network-forbidden"),
        ("fatal: unable to access 'https://x/': Network is unreachable", "network-forbidden"),
        (
            "make: *** /usr/src/kernels/5.14.0-1.el9.x86_64: No such file or directory.  Stop.",
            "toolkit-incomplete",
        ),
        (
            "/usr/src/kernels/5.14.0-1.el9.x86_64/scripts/basic/fixdep: cannot execute binary file",
            "toolkit-incomplete",
        ),
        ('Error: building at STEP "RUN make": while running runtime: exit status 137', "out-of-memory"),
        ('Error: building at STEP "COPY a b": disk quota exceeded', "disk-full"),
    ],
)
def test_line_of_another_toolkit(line: str, code: str) -> None:
    assert _classify(f"  CC [M]  x.o\n{line}\nmake: *** [Makefile:3: x] Error 2\n").code == code


@pytest.mark.parametrize(
    "line",
    [
        "+ buildah build --build-arg X='no space left on device'",
        'STEP 3/4: RUN echo "error: Could not resolve host"',
        '   10 |         pr_err("Network is unreachable"); /* error: */',
        "      | error: ^~~~",
        "In file included from /usr/src/error: x.h:3,",
        "Skipping BTF generation for x.ko due to unavailability of vmlinux",
        "cc1: all warnings being treated as errors",
        "make[1]: *** [scripts/Makefile.build:255: x.o] Error 1",
        'Error: building at STEP "RUN curl || echo error: Could not resolve host": exit status 2',
        'Error: building at STEP "RUN make": while running runtime: exit status 2',
    ],
)
def test_line_that_only_quotes_words_of_an_error(line: str) -> None:
    failure = _classify(f"{line}\nplugh\n")
    assert (failure.code, failure.detail) == ("unknown", "plugh")


def test_full_disk_beats_the_compiler_error_that_it_causes() -> None:
    failure = _classify("x.c:1:1: error: expected ';'\ncp: error writing 'y': No space left on device\n")
    assert (failure.failure_class, failure.code) == (INFRA, "disk-full")


def test_full_disk_beats_the_timeout() -> None:
    assert _classify("tar: No space left on device", "took longer than 5 s and was stopped").code == "disk-full"


def test_timeout_beats_the_signal_that_ended_it() -> None:
    log = "gcc: fatal error: Killed signal terminated program cc1\n"
    failure = _classify(log, "took longer than 600 s and was stopped")
    assert (failure.code, failure.detail) == ("timeout", "the compile took longer than 600 s and was stopped")


def test_killed_from_outside_is_taken_for_want_of_memory() -> None:
    assert _classify("  CC [M]  x.o\n", "was killed by SIGKILL").code == "out-of-memory"


def test_first_error_wins_among_causes() -> None:
    log = "a.c:1:1: error: expected ';'\nb.c:2:2: fatal error: gone.h: No such file or directory\n"
    assert (_classify(log).code, _classify(log).location) == ("compiler-error", "a.c:1")


def test_a_compiler_error_wins_over_a_program_that_a_makefile_only_asks_for() -> None:
    log = "/bin/sh: 1: dkms: not found\nx.c:3:10: error: implicit declaration of function 'strlcpy'\n"
    failure = _classify(log)
    assert (failure.code, failure.location) == ("implicit-declaration", "x.c:3")
    assert "also in the log: /bin/sh: 1: dkms: not found" in (failure.hint or "")


def test_what_a_configure_tried_is_not_the_cause() -> None:
    tried = "//   /usr/src/driver/cc-test-build/test.c:4:16: error: storage size of 'test' isn't known\n"
    real = "/usr/src/driver/x.c:71:10: fatal error: asm/unaligned.h: No such file or directory\n"
    assert _classify(tried + real).code == "missing-header"
    assert _classify(tried).code == "compiler-error", "better than nothing"


def test_a_program_that_is_missing_wins_over_what_only_make_says() -> None:
    log = "/bin/sh: 1: asn1c: not found\nmake: *** No rule to make target 'x.c'.  Stop.\n"
    assert _classify(log).code == "missing-tool"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("x.c:9:3: error: 'struct block_device' has no member named 'bd_inode'", "no-member"),
        (
            "x.c:9:3: error: 'no_llseek' undeclared here (not in a function); did you mean 'noop_llseek'?",
            "undeclared-name",
        ),
        ("x.c:9:3: error: 'PCI_DMA_TODEVICE' undeclared (first use in this function)", "undeclared-name"),
        ("x.c:9:3: error: use of undeclared identifier 'no_llseek'", "undeclared-name"),
        ("x.c:9:3: error: no member named 'bd_inode' in 'struct block_device'", "no-member"),
        ("x.c:9:3: error: conflicting types for 'strscpy'; have 'int(char *)'", "conflicting-types"),
    ],
)
def test_what_a_driver_and_a_kernel_disagree_about(line: str, code: str) -> None:
    assert _classify(f"{line}\n").code == code


_INCLUDED = """\
In file included from ./include/linux/fs.h:9,
                 from /usr/src/driver/sub/a.h:7,
                 from /usr/src/driver/sub/a.c:3:
./include/linux/bdev.h:44:1: error: unknown type name 'foo_t'
   44 | foo_t x;
/usr/src/driver/b.c:1:1: error: later
"""
_IN_A_MACRO = """\
In file included from /usr/src/linux-headers-6.12-common/include/linux/list.h:5,
                 from /usr/src/driver/a.c:1:
/usr/src/driver/a.c: In function 'walk':
/usr/src/linux-headers-6.12-common/include/linux/container_of.h:20:47: error: 'struct x' has no member named 'gone'
   20 |         static_assert(__same_type(*(ptr), ((type *)0)->member) ||       \\
      |                                               ^~
./include/linux/list.h:2:9: note: in expansion of macro 'container_of'
/usr/src/driver/a.c:88:9: note: in expansion of macro 'list_for_each_entry'
"""


@pytest.mark.parametrize(("log", "place"), [(_INCLUDED, "sub/a.h:7"), (_IN_A_MACRO, "a.c:88")])
def test_an_error_in_a_header_names_the_line_of_the_driver_that_led_there(log: str, place: str) -> None:
    failure = _classify(log)
    assert failure.location == place
    assert failure.detail.endswith(f"(from {place})")


def test_an_error_in_a_header_that_nothing_of_the_driver_led_to_stays_there() -> None:
    assert _classify("./include/linux/fs.h:9:1: error: x\n/usr/src/driver/b.c:1:1: note: y\n").location == (
        "./include/linux/fs.h:9"
    )
    assert _classify(_INCLUDED.replace("./include/linux/bdev.h", "/usr/src/driver/own.h")).location == "own.h:44"


@pytest.mark.parametrize("cause", ["layer not known", "identifier is not a container", "container not known"])
def test_an_error_of_the_store_behind_a_long_step_is_one_of_the_infrastructure(cause: str) -> None:
    step = "RUN set -eu; " + "x; " * 600
    failure = _classify(f'Error: building at STEP "{step}": committing container: {cause}\n')
    assert (failure.failure_class, failure.code) == (INFRA, "storage-error")


def test_a_long_step_is_not_the_cause() -> None:
    step = 'RUN set -eu; fail() { echo "error: failed" >&2; }; ' + "x; " * 600
    failure = _classify(f'checking\nError: building at STEP "{step}": exit status 2\n')
    assert (failure.code, failure.detail) == ("unknown", "checking")


def test_network_hint_says_what_to_do() -> None:
    hint = _classify("wget: Temporary failure in name resolution").hint
    assert hint is not None
    assert "without network on purpose" in hint
    assert "digest" in hint


def test_silent_failure_says_how_it_ended() -> None:
    assert _classify("").detail == f"the compile {ENDED} and said nothing"


def test_unknown_prefers_the_line_that_speaks_of_failure() -> None:
    assert _classify("hello\ngen-tables failed: bad input\nbye\n").detail == "gen-tables failed: bad input"


def test_terminal_sequences_do_not_reach_the_detail() -> None:
    detail = _classify("\x1b[01m\x1b[Kx.c:1:2:\x1b[m\x1b[K \x1b[31merror: \x1b[mbad\x07 thing\n").detail
    assert detail == "x.c:1:2: error: bad thing"


def test_a_long_line_is_told_whole() -> None:
    line = f"x.c:1:2: error: {'a' * 600} at the end"
    assert _classify(f"{line}\n").detail == line
    assert len(_classify(f"x.c:1:2: error: {'a ' * 6000} at the end\n").detail) <= 1002


def test_only_the_end_of_a_huge_log_is_read() -> None:
    log = "x.c:1:1: error: too early\n" + f"  CC [M]  {'x' * 100}.o\n" * 50_000 + "y.c:2:2: error: seen\n"
    assert _classify(log).location == "y.c:2"


@pytest.mark.parametrize(
    "piece",
    ["a", ": ", "error: ", "ld: ", "'", "/", "env: ", 'Error: building at STEP "', "Error: overlay ", "\n"],
)
def test_hostile_log_is_read_in_bounded_time(piece: str) -> None:
    line = (piece * 4000)[:2000]
    started = time.process_time()  # its own: what else the machine does is not in it
    _classify(f"{line}\n" * 250)
    _classify(piece * 500_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("driver-container: expected module b.ko was not built", "expected-module-missing"),
        ("driver-container: s.tgz is not the file that was asked for", "containerfile-error"),
        ("driver-container: toolkit has no /lib/modules/6.1.0-9-amd64/build", "toolkit-incomplete"),
    ],
)
def test_what_our_own_containerfile_says(line: str, code: str) -> None:
    assert classify_compile_log(f"  CC [M]  a.o\n{line}\n", exit_explanation=ENDED).code == code


def test_places_in_the_source_are_named_as_the_vendor_knows_them() -> None:
    log = "/usr/src/driver/sub/a.c:10:5: error: expected expression\n"
    assert classify_compile_log(log, exit_explanation=ENDED).location == "sub/a.c:10"


_STEP = 'Error: building at STEP "RUN set -eu": exit status'


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (f"STEP 1/2: RUN x\n{{}}\n{_STEP} 77\n", "driver-excludes"),
        (f"{{}}\n{_STEP} 2\n", "containerfile-error"),
        (f"  CC [M]  x.o\nx.c:1:1: error: bad\n{{}}\n{_STEP} 77\n", "compiler-error"),
    ],
    ids=["as dkms says it", "with another exit code", "behind an error"],
)
def test_a_kernel_that_the_drivers_own_dkms_conf_excludes(log: str, code: str) -> None:
    text = log.format("driver-container: dkms excludes this kernel: no CONFIG_VIDEO_DEV")
    failure = classify_compile_log(text, exit_explanation=ENDED, may_exclude=True)
    assert classify_compile_log(text, exit_explanation=ENDED).code != "driver-excludes", "of others nobody asks it"
    assert failure.code == code
    if code == "driver-excludes":
        assert failure.detail == "its dkms.conf, run for this kernel: no CONFIG_VIDEO_DEV"


@pytest.mark.parametrize(
    "line", ["/bin/sh: 1: pkg-config: not found", "configure: error: iptables headers are missing"]
)
def test_what_a_toolkit_lacks_is_answered_with_the_key_that_brings_it(line: str) -> None:
    assert "'build_packages'" in str(_classify(f"{line}\n").hint)
