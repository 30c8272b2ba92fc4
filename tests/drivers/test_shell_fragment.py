"""What a fragment of bash sets, as bash itself would; what cannot be known is said, never guessed."""

from __future__ import annotations

import re

import pytest

from builder.drivers.shell_fragment import ANY, ShellFragment, excerpt

_KNOWN = {"kernelver": "6.1", "tree": "/var/lib/dkms", "empty": ""}


def _read(text: str) -> ShellFragment:
    return ShellFragment(
        text, known=_KNOWN, known_commands={"nproc": "8", "true": ""}, harmless_sources=re.compile(r"/boot/config-6\.1")
    )


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("A=", {0: ""}),
        ("A=b", {0: "b"}),
        ("A=b\nA=c", {0: "c"}),
        ("A=b A=c", {0: "c"}),
        ("A=b; B=$A$A; A=$B", {0: "bb"}),
        ("export A=b", {0: "b"}),
        ("A=b >/dev/null 2>&1", {0: "b"}),
        ("A='b  \"c\" $A \\'", {0: 'b  "c" $A \\'}),
        ('A="b  \'c\' \\$A \\\\ \\"d\\" \\e \\`"', {0: "b  'c' $A \\ \"d\" \\e `"}),
        ("A=b\\ c\\$\\\n'd'\"e\"", {0: "b c$de"}),
        ('A="b\\\nc"', {0: "bc"}),
        ("A=b#c # d", {0: "b#c"}),
        ("A=b; # c 'd", {0: "b"}),
        ('A=$ B="$"', {0: "$"}),
        ("A={b,c}*?[d]", {0: "{b,c}*?[d]"}),
        ("A=b~:c/~", {0: "b~:c/~"}),
        ("A=$kernelver-${kernelver}${tree[0]}${tree[1]}", {0: "6.1-6.1/var/lib/dkms"}),
        ("A=b$empty", {0: "b"}),
        ("A=-j$(nproc)`nproc`$( true )", {0: "-j88"}),
        ("A=b\nA+=c", {0: "bc"}),
        ("A+=c", {0: "c"}),
        ("A[2]=b\nA[0]=c\nA[2]+=d", {0: "c", 2: "bd"}),
        ("A=b\nA[1]=c\nA=d", {0: "d", 1: "c"}),
        ('i=3\nA[$i]=b\nA["1"]=c', {3: "b", 1: "c"}),
        ("A[999]=b", {999: "b"}),
        ("A=()", {}),
        ("A=(b 'c d' \"$kernelver\" e$kernelver)", {0: "b", 1: "c d", 2: "6.1", 3: "e6.1"}),
        ("A=( # one\n  b # two\n\n  c )", {0: "b", 1: "c"}),
        ("A=(b c)\nA+=(d)", {0: "b", 1: "c", 2: "d"}),
        ("A=(b c)\nA=(d)", {0: "d"}),
        ("A=b\nA+=(c)", {0: "b", 1: "c"}),
        ('A=(b c)\nA=("${A[1]}" ${A})', {0: "c", 1: "b"}),
        ("A=b\nA=temporary true", {0: "b"}),
        ("A=b\n: $((i++)) ${i[j=2]} ${C:-A}", {0: "b"}),
        ("A=1\n: $((A == 1)) $((A <= 2)) $((A != 3))\n((A >= 4))", {0: "1"}),
    ],
)  # fmt: skip
def test_what_is_known(text: str, elements: dict[int, str]) -> None:
    fragment = _read(text)
    assert fragment.problems == []
    assert {index: value.text for index, value in fragment.variables["A"].items()} == elements
    assert not [value for value in fragment.variables["A"].values() if value.problem]


def test_a_variable_that_was_set_before_is_there_to_be_changed() -> None:
    variables = _read("kernelver+=-rt\ntree[1]=x\nA=$kernelver:$tree:${tree[1]}").variables
    assert (variables["A"][0].text, variables["A"][0].problem) == ("6.1-rt:/var/lib/dkms:x", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=$B", "$B is not set by this file"),
        ("A=$1", "$1 is known only to a running shell"),
        ("A=${B:-c}", "${B:-c} is more than a plain reference"),
        ("A=${#B}", "${#B} is more than a plain reference"),
        ("A=${B[010]}", "${B[010]} is more than a plain reference"),
        ("A=$'b'", "$' quotes cannot be read"),
        ('A=$"b"', '$" quotes cannot be read'),
        ("A=~/b", "what '~/b' stands for would have to be computed"),
        ("A=b$(date)c", "the command substitution 'date' would have to be executed"),
        ("A=`date`", "the command substitution 'date' would have to be executed"),
        ("A=$((1 + 1))", "the command substitution '(1 + 1)' would have to be executed"),
        ("A=$[1 + 1]", "the command substitution '1 + 1' would have to be executed"),
        ("B=$(date)\n\nA=$B", "$B of line 1 is not known: the command substitution 'date' would"),
        ("B=$(date)\nC=$B\nA=$C", "$C of line 2 is not known: the command substitution 'date' would"),
        ("A=b\nif true; then A=c; fi", "under a condition"),
        ("A=b\nwhile false; do A=c; done", "under a condition"),
        ("A=b\ncase x in x) A=c ;; esac", "under a condition"),
        ("A=b\n{ A=c; }", "under a condition"),
        ("A=b\n( A=c )", "under a condition"),
        ("A=b\nf() { A=c; }", "under a condition"),
        ("A=b\ntrue && A=c", "under a condition"),
        ("A=b\ntrue || A=c", "under a condition"),
        ("A=b\nA=c | true", "under a condition"),
        ("A=b\nA=c &", "under a condition"),
        ("A=b\nfor A in c d; do :; done", "a loop sets it"),
        ("A=1\n((A++))", "it is computed"),
        ("A=1\nB=$((A++))", "it is computed"),
        ("A=1\nB=$((A <<= 1))", "it is computed"),
        ("A=1\nB=$[A -= 2]", "it is computed"),
        ("A=1\nB=${C:A=2}", "it is computed"),
        ("A=1\nB[A+=1]=c", "it is computed"),
        ("A=1\n: ${A:=b}", "${A:=b} may set it"),
        ('A=1\nB="${C:-${A=b}}"', "${A=b}} may set it"),
        ("i=$(date)\nA[$i]=b", "the index of A would have to be computed"),
        ("A[i]=b", "the index of A would have to be computed"),
        ("A[010]=b", "the index of A would have to be computed"),
        ("A[1000]=b", "the index of A would have to be computed"),
        ("A=(b $(date))", "the command substitution 'date'"),
        ("B='b c'\nA=($B)", "the words in 'b c' would have to be computed"),
        ("A=($empty)", "the words in '' would have to be computed"),
        ("B='*'\nA=(x$B)", "the words in '*' would have to be computed"),
        ("A=(*.c)", "what '*.c' stands for would have to be computed"),
        ("A=(b{c,d})", "what 'b{c,d}' stands for would have to be computed"),
        ("A=([1]=b)", "what '[1]=b' stands for would have to be computed"),
        ("A=(~)", "what '~' stands for would have to be computed"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(text: str, words: str) -> None:
    fragment = _read(text)
    assert fragment.problems == [], "the rest of the file can be read"
    problems = [value.problem for value in fragment.variables["A"].values() if value.problem]
    assert len(problems) == 1
    assert words in problems[0]


def test_what_is_set_anew_is_known_again() -> None:
    for text in ("if true; then A=b; fi\nA=c", "A=$(date)\nA=c", "((A++))\nA=(c)", "A=(*)\nA=(c)"):
        variables = _read(text).variables
        assert [(value.text, value.problem) for value in variables["A"].values()] == [("c", None)], text


def test_the_elements_of_an_array_of_which_one_is_not_known_are_not_counted() -> None:
    variables = _read("A=(b $(date) c)\nB=${A[2]}").variables
    assert list(variables["A"]) == [ANY]
    assert "$A of line 1 is not known" in (variables["B"][0].problem or "")
    longer = _read("true && A[4]=b\nA+=(c)").variables["A"]
    assert longer[ANY].problem == "where A ends is not known"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("./configure", 1, "the command './configure' would have to be executed"),
        ("A=b\n. ./other", 2, "the command '. ./other' would have to be executed"),
        ("A=b\n\nif true; then\n  eval A=c\nfi", 4, "the command 'eval A=c' would have to be executed"),
        ("true && read A", 1, "the command 'read A' would have to be executed"),
        ("if true; then $B A=c; fi", 1, "the command '$B A=c' would have to be executed"),
        ("declare A=b", 1, "the command 'declare A=b' would have to be executed"),
        ("source /boot/config-6.2", 1, "the command 'source /boot/config-6.2' would"),
        ("cat <<B\nA=c\nB", 1, "a here-document cannot be read"),
        ("A='b", 1, '"\'" is missing'),
        ('A="b', 1, "a closing '\"' is missing"),
        ("A=$(b", 1, "a closing ')' is missing"),
        ("A=${b", 1, "a closing '}' is missing"),
        ("A=`b", 1, "a closing '`' is missing"),
        ("A=$[b", 1, "a closing ']' is missing"),
        ("A=(b", 1, "')' of an array is missing"),
        ("A=(b|c)", 1, "')' of an array is missing"),
        ("((A", 1, "'))' is missing"),
        ("[[ A", 1, "']]' is missing"),
        ("if true; then A=b", 1, "the file ends inside 'if'"),
        ("while true; do A=b", 1, "the file ends inside 'loop'"),
        ("(A=b", 1, "the file ends inside '('"),
        ("true\nfi", 2, "'fi' closes nothing that was opened"),
        ("if true; then done", 1, "'done' closes nothing that was opened"),
        ("}", 1, "'}' closes nothing that was opened"),
    ],
)
def test_what_makes_the_whole_text_unreadable_is_a_problem_with_its_line(text: str, line: int, words: str) -> None:
    fragment = _read(text)
    (problem,) = fragment.problems
    assert words in problem.message
    assert fragment.line_of(problem.position) == line


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "# only words 'of $(a", ":", "true", "echo $(date) >x", "cd x && pushd y; popd", "[ -f x ]", "[[ a =~ (b|c) ]]",
        ". /boot/config-6.1", "source /boot/config-6.1", "if ./helper; then ./other; fi", "[ -x y ] && ./helper",
        "f() {\n ./helper\n}", "for i in 1 2; do ./helper $i; done", "! true", "time true", "case $x in\n a|b) ./helper ;;\nesac",
    ],
)  # fmt: skip
def test_what_sets_nothing_is_passed_over(text: str) -> None:
    assert _read(text).problems == []


def test_a_value_that_is_set_under_a_condition_says_so_and_where() -> None:
    fragment = _read("A=b\nif true; then\n  A=c\nfi\nB=d")
    value = fragment.variables["A"][0]
    assert (value.is_conditional, fragment.line_of(value.position)) == (True, 3)
    assert not fragment.variables["B"][0].is_conditional


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a  b\n c") == "a b c"
    assert excerpt("word " * 99).endswith(" ...")
    assert len(excerpt("word " * 99)) <= 60
