from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.drivers.dkms import DkmsModule, DkmsRecipe, read_dkms_conf, run_where_unreadable
from builder.errors import ConfigError
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'PACKAGE_NAME="drv"\nPACKAGE_VERSION="1.2"\n'
ONE = f'{HEAD}BUILT_MODULE_NAME[0]="drv"\nDEST_MODULE_LOCATION[0]="/extra"\n'
GENERIC = "make KERNELRELEASE=$KERNEL_FULL_VERSION -C $KERNEL_SRC_DIR M=$PWD"


@pytest.fixture
def conf_file(tmp_path: Path) -> Path:
    return tmp_path / "dkms.conf"


def _read(file: Path, text: str) -> DkmsRecipe:
    file.write_text(text)
    return read_dkms_conf(file)


def _complaints(file: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _read(file, text)
    assert "versions.yaml" in (caught.value.hint or "")
    return [f"{m.line}:{m.column} {m.path}: {m.message}" for m in caught.value.mistakes]


@pytest.mark.parametrize(
    ("make", "command"),
    [
        ("", GENERIC),
        ('MAKE="make"', "make KERNELRELEASE=$KERNEL_FULL_VERSION"),
        ("MAKE[0]=make", "make KERNELRELEASE=$KERNEL_FULL_VERSION"),
        ("MAKE=('make all' unused)", "make KERNELRELEASE=$KERNEL_FULL_VERSION all"),
        ("MAKE=make\nMAKE+=' all'", "make KERNELRELEASE=$KERNEL_FULL_VERSION all"),
        ("MAKE=first; MAKE='second'", "second"),
        ("export MAKE=exported", "exported"),
        ("A=a MAKE=$A MAKE+=b >/dev/null", "ab"),
        ("MAKE=x\nMAKE=temporary true", "x"),
        ("MAKE[1]='never used without MAKE_MATCH'", GENERIC),
        ("MAKE=\"'make' KVER=$kernelver\"", "'make' KVER=$KERNEL_FULL_VERSION"),
        (
            'MAKE="K=/lib/modules/${kernelver}/build make x"',
            "K=/lib/modules/$KERNEL_FULL_VERSION/build make x",
        ),
        ('MAKE="sh b.sh ${kernelver}x"', "sh b.sh ${KERNEL_FULL_VERSION}x"),
        ("MAKE=\"sh b.sh 'I=$kernel_source_dir/i'\"", "sh b.sh 'I='\"$KERNEL_SRC_DIR\"'/i'"),
        ("MAKE='sh b.sh $kernelver ${HOME}'", "sh b.sh $KERNEL_FULL_VERSION ${HOME}"),
        ('MAKE="sh b.sh \\$PWD \\"a\\" \\x"', 'sh b.sh $PWD "a" \\x'),
        ('MAKE="sh b.sh \\\n   a     b"', "sh b.sh a b"),
        ("MAKE=sh\\ b.sh # comment", "sh b.sh"),
        ('MAKE="sh b.sh -j$(nproc)" ', "sh b.sh -j$(nproc)"),
        ('MAKE="sh b.sh -j`nproc`"', "sh b.sh -j$(nproc)"),
        ('MAKE="sh b.sh $dkms_tree/$module/$module_version/build/x"', "sh b.sh $PWD/x"),
        ('MAKE="sh b.sh ${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build"', "sh b.sh $PWD"),
        ('MAKE="sh b.sh /usr/src/drv-1.2/x /usr/src/drv-1.2.3"', "sh b.sh $PWD/x /usr/src/drv-1.2.3"),
        (
            'MAKE="cd src && make M=$dkms_tree/$module/$module_version/build"',
            "build_dir=$PWD; cd src && make M=$build_dir",
        ),
        (
            "PRE_BUILD='configure --with-k=$kernelver'\nMAKE=x",
            "{ ./configure --with-k=$KERNEL_FULL_VERSION; } && { x; }",
        ),
        ("MAKE=x\nPOST_BUILD=./after.sh", "{ x; } && { ./after.sh; }"),
        ('A="$unset_but_not_needed"\nB=$(date)\nMAKE=x', "x"),
        ("if [ -x /bin/a ]; then\n  UNUSED=1\nfi\nMAKE=x", "x"),
        ("f() {\n UNUSED=1\n}\nMAKE=x", "x"),
        ("pushd `dirname $BASH_SOURCE`; popd >/dev/null 2>&1\nMAKE=x", "x"),
        ("case $kernelver in\n 2.*) A=1 ;;\n *) A=2 ;;\nesac\nMAKE=x", "x"),
        ("for i in 1 2 3; do A=$i; done\nMAKE=x", "x"),
        ("[[ $kernelver =~ (a|b) ]] && A=1\nMAKE=x", "x"),
        ("A=1 true\nMAKE=x\r", "x"),
    ],
)
def test_command(conf_file: Path, make: str, command: str) -> None:
    assert _read(conf_file, f"{ONE}{make}\n").command == command


def test_command_of_a_kernel_that_matches(conf_file: Path) -> None:
    recipe = _read(conf_file, f"{ONE}MAKE[0]=new\nMAKE[1]=old\nMAKE_MATCH[1]='^5\\.'\n")
    test = "echo \"$KERNEL_FULL_VERSION\" | grep -Eq -e '^5\\.'"
    assert recipe.make == (f"if {test}; then old; else new; fi",)


def test_first_command_with_a_match_leaves_the_generic_one_for_others(conf_file: Path) -> None:
    (command,) = _read(conf_file, f"{ONE}MAKE[0]=old\nMAKE_MATCH[0]='^5'\n").make
    assert command.endswith(f"then old; else {GENERIC}; fi")


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("DEST_MODULE_LOCATION=/extra", [("drv.ko", "drv")]),
        ("BUILT_MODULE_NAME=$PACKAGE_NAME", [("drv.ko", "drv")]),
        ("BUILT_MODULE_NAME=a\nDEST_MODULE_NAME=b", [("a.ko", "b")]),
        ("BUILT_MODULE_NAME=a\nBUILT_MODULE_LOCATION=src/x", [("src/x/a.ko", "a")]),
        ("BUILT_MODULE_NAME=a\nBUILT_MODULE_LOCATION=./src/x/", [("src/x/a.ko", "a")]),
        ("BUILT_MODULE_NAME=a\nBUILT_MODULE_LOCATION=.", [("a.ko", "a")]),
        ("BUILT_MODULE_NAME=a\nBUILT_MODULE_LOCATION=$dkms_tree/drv/1.2/build/s", [("s/a.ko", "a")]),
        ("BUILT_MODULE_NAME[2]=z\nBUILT_MODULE_NAME=(a)", [("a.ko", "a")]),
        ("BUILT_MODULE_NAME=(a b-c)", [("a.ko", "a"), ("b-c.ko", "b-c")]),
        ("BUILT_MODULE_NAME[1]=b\nBUILT_MODULE_NAME[0]=a", [("a.ko", "a"), ("b.ko", "b")]),
        ("i=0\nBUILT_MODULE_NAME[$i]=a\ni=1\nBUILT_MODULE_NAME[${i}]=b", [("a.ko", "a"), ("b.ko", "b")]),
    ],
)
def test_modules(conf_file: Path, text: str, modules: list[tuple[str, str]]) -> None:
    recipe = _read(conf_file, f"{HEAD}{text}\n")
    assert recipe.modules == tuple(DkmsModule(built_file=file, name=name) for file, name in modules)


REFUSED = [
    ("MAKE=$(cat make.txt)", "5:1 MAKE: the command substitution 'cat make.txt' would have to be executed"),
    ("MAKE=`cat make.txt`", "5:1 MAKE: the command substitution 'cat make.txt' would have to be executed"),
    ("A=$(id)\nMAKE=$A", "6:1 MAKE: $A of line 5 is not known: the command substitution 'id' would have"),
    ("MAKE=$UNSET", "5:1 MAKE: $UNSET is not set by this file"),
    ("MAKE=${A:-b}", "5:1 MAKE: ${A:-b} is more than a plain reference"),
    ("MAKE=$1", "5:1 MAKE: $1 is known only to a running shell"),
    ("MAKE=$'a\\tb'", "5:1 MAKE: $' quotes cannot be read"),
    ("if true; then\n  MAKE=x\nfi", "6:3 MAKE: it is set under a condition"),
    ("MAKE=x\n[ -f y ] && MAKE=z", "6:13 MAKE: it is set under a condition"),
    ("MAKE=x\n: ${MAKE:=y}", "6:3 MAKE: ${MAKE:=y} may set it"),
    ("f() {\n MAKE=x\n}", "6:2 MAKE: it is set under a condition"),
    ("let i++", "5:1 : the command 'let i++' would have to be executed"),
    (
        "((i++))\nBUILT_MODULE_NAME[$i]=a",
        "6:1 BUILT_MODULE_NAME: the index of BUILT_MODULE_NAME would have to",
    ),
    ("i=1\nfor i in 1 2; do :; done\nDEST_MODULE_NAME[$i]=a", "7:1 DEST_MODULE_NAME: the index of"),
    ("true && BUILT_MODULE_NAME[4]=a\nBUILT_MODULE_NAME+=(b)", "5:9 BUILT_MODULE_NAME: it is set under"),
    (". ./common.sh", "5:1 : the command '. ./common.sh' would have to be executed"),
    ('eval "MAKE=x"', "5:1 : the command 'eval \"MAKE=x\"' would have to be executed"),
    ("if true; then eval MAKE=x; fi", "5:15 : the command 'eval MAKE=x' would have to be executed"),
    ("./helper.sh && A=1", "5:1 : the command './helper.sh' would have to be executed"),
    ("cat <<EOF\nMAKE=x\nEOF", "a here-document cannot be read"),
    ('MAKE="never closed', "a closing '\"' is missing"),
    ("MAKE='never closed", '"\'" is missing'),
    ("MAKE=$(never closed", "a closing ')' is missing"),
    ("MAKE=(never closed", "')' of an array is missing"),
    ("if true; then A=1", "the file ends inside 'if'"),
    ("fi", "'fi' closes nothing that was opened"),
    ("PATCH[0]=fix.patch", "5:1 PATCH: patches are not applied here"),
    ("PRE_BUILD='sh -c \"x\"'", "5:1 PRE_BUILD: 'sh -c \"x\"' is not a script of the source"),
    ("PRE_BUILD=../../x", "5:1 PRE_BUILD: '../../x' is not a script of the source"),
    ("MAKE='make -C /lib/modules/$(uname -r)/build'", "5:1 MAKE: 'uname' would name the kernel of the build"),
    ('MAKE="make X=$dkms_tree/other/1/build"', "5:1 MAKE: the command uses another driver's dkms folder"),
    ("BUILT_MODULE_LOCATION=../../etc", "5:1 BUILT_MODULE_LOCATION: '../../etc/' is not a folder inside"),
    ("BUILT_MODULE_LOCATION=/etc", "5:1 BUILT_MODULE_LOCATION: '/etc/' is not a folder inside the source"),
    ("BUILT_MODULE_NAME='a b'", "5:1 BUILT_MODULE_NAME: 'a b' is not the name of a module"),
    ("BUILT_MODULE_NAME='a;b'", "5:1 BUILT_MODULE_NAME: 'a;b' is not the name of a module"),
    ("BUILT_MODULE_NAME=a.ko", "5:1 BUILT_MODULE_NAME: 'a.ko' is not the name of a module"),
    ("DEST_MODULE_NAME=../x", "5:1 DEST_MODULE_NAME: '../x' is not the name of a module"),
    ("BUILT_MODULE_NAME=a.ko", "leave out '.ko'"),
    ("BUILT_MODULE_NAME=src/a", "its folder belongs into BUILT_MODULE_LOCATION"),
    ("BUILT_MODULE_NAME[1]=drv", "5:1 BUILT_MODULE_NAME: 'drv' is the name of module 0 and of module 1"),
    ("BUILT_MODULE_NAME[1]=b\nDEST_MODULE_NAME[1]=drv", "6:1 DEST_MODULE_NAME: 'drv' is the name of module 0 and of"),
    ("MAKE = x", "5:1 : a shell takes MAKE for a command here: no blanks may stand around '='"),
    ("MAKE[0] =x", "5:1 : a shell takes MAKE[0] for a command here: no blanks may stand around '='"),
    ("DEST_MODULE_LOCATION[1]=/extra", "BUILT_MODULE_NAME: is missing for module 1"),
    ("BUILD_EXCLUSIVE_KERNEL='(a+)+$'", "5:1 BUILD_EXCLUSIVE_KERNEL: the regular expression '(a+)+$' is too"),
    ("BUILD_EXCLUSIVE_KERNEL='[a'", "5:1 BUILD_EXCLUSIVE_KERNEL: '[a' is not a regular expression"),
    ("BUILD_EXCLUSIVE_KERNEL=$kernelver", "BUILD_EXCLUSIVE_KERNEL: depends on the kernel or the machine"),
    ("PACKAGE_VERSION='1 2'", "5:1 PACKAGE_VERSION: is '1 2', which dkms would not take"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(conf_file: Path, text: str, words: str) -> None:
    (complaint,) = _complaints(conf_file, f"{ONE}{text}\n")
    assert words in complaint


def test_a_misspelt_key_is_named_where_the_right_one_is_missing(conf_file: Path) -> None:
    head = "PACKAGE_NAME=drv\nPACKAGE_VERSIN=1\n"
    assert _complaints(conf_file, f"{head}BUILD_MODULE_NAME[0]=drv\nDEST_MODULE_LOCATIONS=x\n") == [
        "1:1 BUILT_MODULE_NAME: is missing: the file names no module: was it meant by BUILD_MODULE_NAME?",
        "1:1 PACKAGE_VERSION: is missing: was it meant by PACKAGE_VERSIN?",
    ]


def test_a_byte_order_mark_is_named(conf_file: Path) -> None:
    conf_file.write_bytes(b"\xef\xbb\xbf" + ONE.encode())
    with pytest.raises(ConfigError, match="byte order mark, which no shell understands"):
        read_dkms_conf(conf_file)


def test_every_mistake_is_reported_at_once(conf_file: Path) -> None:
    complaints = _complaints(conf_file, "PACKAGE_NAME=drv\nMAKE=$(a)\nPATCH=x\n. ./y\nBUILT_MODULE_NAME=drv\n")
    assert [complaint.split(":")[0] for complaint in complaints] == ["1", "2", "3", "4"]
    assert "PACKAGE_VERSION: is missing" in complaints[0]


def test_nothing_is_executed(conf_file: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    text = f'{ONE}A=$(touch {mark})\nB=`touch {mark}`\necho "$(touch {mark})" > {mark}\nC[$(touch {mark})]=1\n'
    _read(conf_file, text)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"A=\xff", "is not UTF-8 text"),
        (b"A=1\nB=\x00", "holds a control character"),
        ("A=\ue000".encode(), "holds a control character"),
        (b"#" * 300_000, "is larger than 256 KiB"),
        (b"", "PACKAGE_NAME is missing"),
    ],
)
def test_file_that_is_not_a_dkms_conf(conf_file: Path, data: bytes, words: str) -> None:
    conf_file.write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        read_dkms_conf(conf_file)


def test_file_that_does_not_exist(conf_file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_dkms_conf(conf_file)


@pytest.mark.parametrize(
    "piece", ["(", "$(", "${", '"', "`", "{ ", "if ", "A=", "A[", "\\", "$", "[[ ", "a=(b)\n", "&&"]
)
def test_hostile_text_is_read_in_bounded_time(conf_file: Path, piece: str) -> None:
    conf_file.write_text((piece * 30_000)[:30_000])
    started = time.process_time()  # not the clock: the machine may do other things
    with pytest.raises(ConfigError):
        read_dkms_conf(conf_file)
    assert time.process_time() - started < 5


CONDITIONAL = """
if [ -f $kernel_source_dir/.config ]; then
    . $kernel_source_dir/.config
    if ! { echo "$kernelver"; echo 5.18; } | sort -V -C; then
        if [ "${CONFIG_VIDEO_DEV:-n}" = "n" ]; then
            BUILD_EXCLUSIVE_KERNEL="REQUIRES CONFIG_VIDEO_DEV"
        fi
    fi
fi
"""


def test_exclusion_under_a_condition_is_noted_and_left_to_a_shell(conf_file: Path) -> None:
    recipe = _read(conf_file, f"{ONE}{CONDITIONAL}POST_INSTALL=udev.sh\n")
    assert recipe.build_exclusive_kernel is None
    assert recipe.notes == (
        "line 10: BUILD_EXCLUSIVE_KERNEL is set under a condition; dkms.conf is run for each kernel to tell",
        "line 14: POST_INSTALL is not followed",
    )


@pytest.mark.parametrize(
    ("text", "kernel", "reason"),
    [
        ("", "6.1.0-56-amd64", None),
        ("BUILD_EXCLUSIVE_KERNEL='^(5\\.[6-9]|6)\\.'", "6.1.0-56-amd64", None),
        (
            "BUILD_EXCLUSIVE_KERNEL='^5\\.'",
            "6.1.0-56-amd64",
            "BUILD_EXCLUSIVE_KERNEL '^5\\\\.' does not match 6.1.0",
        ),
        ("BUILD_EXCLUSIVE_KERNEL='^[[:digit:]]+\\.1\\.'", "6.1.0-56-amd64", None),
        ("BUILD_EXCLUSIVE_KERNEL='el9_[0-9]+'", "5.14.0-427.68.1.el9_4.x86_64+rt", None),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=5.15", "5.14.0-427.68.1.el9_4.x86_64", "is older than"),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=5.4", "5.14.0-427.68.1.el9_4.x86_64", None),
        ("BUILD_EXCLUSIVE_KERNEL_MAX=6.1", "6.12.117+deb12-amd64", "is newer than"),
        ("BUILD_EXCLUSIVE_ARCH='x86_64|aarch64'", "6.1.0-56-amd64", None),
        (
            "BUILD_EXCLUSIVE_ARCH='^ppc64le$'",
            "6.1.0-56-amd64",
            "BUILD_EXCLUSIVE_ARCH '^ppc64le$' does not match x86_64",
        ),
        ("OBSOLETE_BY=6.1", "6.1.0-56-amd64", "OBSOLETE_BY says that kernels from 6.1 on"),
        ("OBSOLETE_BY=6.2", "6.1.0-56-amd64", None),
    ],
)
def test_excludes(conf_file: Path, text: str, kernel: str, reason: str | None) -> None:
    found = _read(conf_file, f"{ONE}{text}\n").excludes(parse_kernel_version(kernel))
    assert (found is None) == (reason is None)
    assert (reason or "") in (found or "")


def test_config_is_exposed(conf_file: Path) -> None:
    recipe = _read(conf_file, f'{ONE}BUILD_EXCLUSIVE_CONFIG="CONFIG_PCI !CONFIG_PREEMPT_RT"\n')
    assert recipe.build_exclusive_config == ("CONFIG_PCI", "!CONFIG_PREEMPT_RT")


# Imitates xtables-addons: variables in variables, and a command after the make.
NESTED = """
BDIR="$dkms_tree/${PACKAGE_NAME}/${PACKAGE_VERSION}/build"
MAKEARGS="-C $kernel_source_dir M=${BDIR}/extensions TOP=${BDIR}"
MAKE="make ${MAKEARGS} modules ; find ${BDIR} -name '*.ko' -exec mv -v {} ${BDIR} \\;"
"""


def test_variables_in_variables(conf_file: Path) -> None:
    assert _read(conf_file, ONE + NESTED).command == (
        "make KERNELRELEASE=$KERNEL_FULL_VERSION -C $KERNEL_SRC_DIR M=$PWD/extensions TOP=$PWD modules ;"
        " find $PWD -name '*.ko' -exec mv -v {} $PWD \\;"
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from(list("MAKE=\"'$(){}[]0\\\n #abP;`&|<>+")), max_size=120))
def test_any_text_is_read_or_refused(conf_file: Path, text: str) -> None:
    try:
        _read(conf_file, ONE + text)
    except ConfigError as error:
        assert error.mistakes


_CONDITIONAL = (
    ONE
    + """
if [ -f $kernel_source_dir/.config ]; then
    . $kernel_source_dir/.config
    if [ "${CONFIG_VIDEO_DEV:-n}" = "n" ]; then
        BUILD_EXCLUSIVE_KERNEL="REQUIRES CONFIG_VIDEO_DEV"
    fi
fi
"""
)


def test_an_exclusion_under_a_condition_is_left_to_a_shell_and_said(conf_file: Path) -> None:
    recipe = _read(conf_file, _CONDITIONAL)
    assert recipe.make[0].endswith("&& bash /tmp/run-dkms check ./dkms.conf")
    assert "\n" not in recipe.make[0]
    assert len(recipe.make) == 2
    assert [note.partition(": ")[2] for note in recipe.exclusions] == [
        "BUILD_EXCLUSIVE_KERNEL is set under a condition; dkms.conf is run for each kernel to tell"
    ]
    with_config = _read(conf_file, ONE + 'BUILD_EXCLUSIVE_CONFIG="!CONFIG_PREEMPT_RT"\n')
    assert "run-dkms check" in with_config.make[0]
    assert not any("bash" in part for part in _read(conf_file, ONE).make)


_COMPUTED = """
PACKAGE_NAME=many
PACKAGE_VERSION=1
i=0
BUILT_MODULE_NAME[$i]=one
i=$((i + 1))
BUILT_MODULE_NAME[$i]=two
"""


@pytest.mark.parametrize("text", [_COMPUTED, ONE + "MAKE=`echo make`\n", ONE + 'if true; then MAKE="make x"; fi\n'])
def test_a_file_that_only_a_shell_can_read_is_run(conf_file: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(conf_file, text)
    recipe = run_where_unreadable(conf_file, caught.value)
    assert (len(recipe.make), recipe.make[0].endswith("run-dkms run ./dkms.conf"), recipe.modules) == (1, True, ())
    assert all("so the file is run for each kernel" in note for note in recipe.exclusions)


@pytest.mark.parametrize(
    "text", ["PACKAGE_VERSION=1\n", ONE + "\x01", ONE + "PATCH[0]=a.patch\n", ONE + 'MAKE="make\n']
)
def test_what_a_shell_would_not_understand_either_is_no_reason_to_run_it(conf_file: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(conf_file, text)
    with pytest.raises(ConfigError):
        run_where_unreadable(conf_file, caught.value)
