"""The variables that a fragment of bash sets, as far as they are known without running anything.

Assignments, arrays, quotes, continuation lines and plain references are read. What would have to be executed
(substitutions, conditions, loops, commands) is never executed: the values that depend on it are marked as not
known, with the reason, and only a command that could set any variable is a problem of the whole fragment.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANY = -1
"""The "element" of a variable that is set when any of its elements may be another than the ones known."""

_HARMLESS = frozenset((":", "true", "echo", "pushd", "popd", "cd", "[", "test"))
_SETS_VARIABLES = frozenset(
    (
        *(
            "eval",
            ".",
            "source",
            "declare",
            "typeset",
            "local",
            "readonly",
            "read",
            "unset",
            "set",
            "shift",
            "let",
        ),
        *("mapfile", "readarray", "printf", "getopts", "exit", "return", "alias", "trap", "enable", "shopt"),
        *("command", "builtin", "exec", "coproc", "wait"),
    )
)
_OPENING = frozenset(("if", "case", "for", "while", "until", "select", "{"))
_CLOSING = {"fi": "if", "esac": "case", "done": "loop", "}": "{"}
_BETWEEN = frozenset(("then", "else", "elif", "do", "!", "time", "export"))
_LOOPS = frozenset(("for", "while", "until", "select"))

_ASSIGNMENT = re.compile(r"(?P<key>[A-Za-z_]\w*)(?=\[[^\]\n]{1,200}\]\+?=|\+?=)")
_OPERATOR = re.compile(r"&&|\|\||;;&?|;&|[;&|()\n]")
_REDIRECTION = re.compile(r"\d*(?:<<<?-?|>>|>&|<&|<>|>\||&>|[<>])")
_BLANK = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_LITERAL = re.compile(r"[^\s;&|()<>$`\"'\\]+")
_NAME = re.compile(r"[A-Za-z_]\w*")
# An index that begins with a zero is octal.
_INDEX = re.compile(r"0|[1-9][0-9]{0,2}")
_NAME_OR_ELEMENT = re.compile(rf"(?P<name>[A-Za-z_]\w*)(?:\[(?P<index>{_INDEX.pattern})\])?")
_EXPANSION_THAT_ASSIGNS = re.compile(r"\$\{([A-Za-z_]\w*)(?:\[[^\]]*\])?:?=")
_ARITHMETIC = re.compile(r"\(\(|\[|:(?![-=?+])")
_ARITHMETIC_THAT_ASSIGNS = re.compile(r"\+\+|--|<<=|>>=|(?<![=!<>])=(?!=)")
# What is not quoted in an array: text that a shell expands, and values that it makes several words of, or none.
_EXPANDED = re.compile(r"[*?\[{]")
_SPLIT = re.compile(r"[\s*?\[\\]|^$")
# What is before it is done by a shell of its own.
_FORK = re.compile(r"\|(?!\|)|&(?![&>])")
_EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")
_KEYWORD = re.compile(r"(?:\[\[|[!{}]|[a-z]+)(?=[\s;&|()]|$)")


@dataclass(frozen=True, slots=True)
class ShellProblem:
    """Why something cannot be read, and where: an offset into the text."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value, or with ``problem`` why it is not known."""

    text: str
    position: int
    problem: str | None = None
    is_conditional: bool = False


@dataclass(frozen=True, slots=True)
class _Assignment:
    key: str
    index: Value | None
    values: tuple[Value, ...]
    is_array: bool
    is_append: bool
    position: int


class _StopReadingError(Exception):
    """The structure of the text is lost; what follows would be guessed."""


class ShellFragment:
    """Reads a text at once: look at ``variables`` and ``problems``.

    Args:
        text: the fragment.
        known: values of variables that are set before the fragment is read.
        known_commands: values that stand for the output of a command substitution.
        harmless_sources: files whose sourcing sets nothing that matters.
    """

    def __init__(
        self,
        text: str,
        *,
        known: Mapping[str, str],
        known_commands: Mapping[str, str],
        harmless_sources: re.Pattern[str],
    ) -> None:
        self._text = text
        self._known = known
        self._known_commands = known_commands
        self._harmless_sources = harmless_sources
        self._position = 0
        self._blocks: list[str] = []
        self._is_chained = False
        self.variables: dict[str, dict[int, Value]] = {}
        self.problems: list[ShellProblem] = []
        self._read()

    def line_of(self, position: int) -> int:
        return self._text.count("\n", 0, position) + 1

    def _read(self) -> None:
        try:
            while self._skip_blank():
                if self._text.startswith("((", self._position):
                    self._skip_arithmetic()
                elif not self._take_operator():
                    self._read_command()
            if self._blocks:
                self.problems.append(ShellProblem(len(self._text), f"the file ends inside {self._blocks[-1]!r}"))
        except _StopReadingError as error:
            self.problems.append(ShellProblem(self._position, str(error)))

    # Structure

    def _skip_blank(self) -> bool:
        """Skip blanks and comments; False at the end of the text."""
        while self._take(_BLANK) or self._take(_COMMENT):
            pass
        return self._position < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            return ""
        self._position = match.end()
        return match[0]

    def _take_operator(self) -> bool:
        operator = self._take(_OPERATOR)
        if operator == "(":
            self._blocks.append("(")
        elif operator == ")" and self._blocks and self._blocks[-1] == "(":
            self._blocks.pop()
        if operator:
            self._is_chained = operator in ("&&", "||", "|") or (self._is_chained and operator in "()")
        return bool(operator)

    def _read_command(self) -> None:
        start = self._position
        assignments: list[_Assignment] = []
        words: list[Value] = []
        while self._skip_blanks_in_command() and not self._is_at_operator():
            if self._take_redirection():
                continue
            if not words and _ASSIGNMENT.match(self._text, self._position):
                assignments.append(self._read_assignment())
                continue
            if not words and not assignments and self._take_keyword():
                return
            words.append(self._read_word())
        if len(words) == 1 and self._take(_EMPTY_PARENTHESES):
            return  # a function: its body is the block that follows
        self._judge(words, assignments, start)

    def _skip_blanks_in_command(self) -> bool:
        if self._take(_BLANK):
            self._take(_COMMENT)
        return self._position < len(self._text)

    def _is_at_operator(self) -> bool:
        return self._text[self._position] in ";&|()\n" and not _REDIRECTION.match(self._text, self._position)

    def _take_redirection(self) -> bool:
        redirection = self._take(_REDIRECTION)
        if redirection.lstrip("0123456789").startswith("<<"):
            raise _StopReadingError("a here-document cannot be read")
        if redirection:
            self._take(_BLANK)
            self._read_word()
        return bool(redirection)

    def _take_keyword(self) -> bool:
        keyword = _KEYWORD.match(self._text, self._position)
        if keyword is None:
            return False
        word = keyword[0]
        if word not in _BETWEEN | _OPENING | _CLOSING.keys() | {"[["}:
            return False
        self._position = keyword.end()
        if word == "[[":
            self._skip_to("]]")
        elif word in _OPENING:
            self._open_block(word)
        elif word in _CLOSING and (not self._blocks or self._blocks.pop() != _CLOSING[word]):
            raise _StopReadingError(f"{word!r} closes nothing that was opened")
        return True

    def _open_block(self, word: str) -> None:
        self._blocks.append("loop" if word in _LOOPS else word)
        if word not in ("case", "for", "select"):
            return
        while self._skip_blanks_in_command() and not self._is_at_operator():
            start = self._position
            head = self._read_word()
            if word == "case" and head.text == "in":
                return
            if word != "case" and _NAME.fullmatch(head.text):
                self._spoil(head.text, 0, Value("", start, "a loop sets it"))

    def _skip_arithmetic(self) -> None:
        start = self._position
        self._skip_to("))")
        self._note_assignments(start)

    def _note_assignments(self, start: int) -> None:
        """Take note of the variables that arithmetic or an expansion sets besides its value; it was just read."""
        text = self._text[start : self._position]
        for assigned in _EXPANSION_THAT_ASSIGNS.finditer(text):
            self._spoil(assigned[1], ANY, Value("", start, f"{excerpt(text)} may set it"))
        if _ARITHMETIC.search(text) and _ARITHMETIC_THAT_ASSIGNS.search(text):
            for name in _NAME.findall(text):
                self._spoil(name, ANY, Value("", start, "it is computed"))

    def _skip_to(self, end: str) -> None:
        found = self._text.find(end, self._position)
        if found < 0:
            raise _StopReadingError(f"{end!r} is missing")
        self._position = found + len(end)

    # Words

    def _read_assignment(self) -> _Assignment:
        start = self._position
        key = self._take(_NAME)
        index = None
        if self._text[self._position] == "[":
            self._position += 1
            index = self._read_word(stop="]")
            self._note_assignments(start)
            if not self._take(re.compile(r"\]")):
                raise _StopReadingError(f"the index of {key} cannot be read")
        is_append = bool(self._take(re.compile(r"\+")))
        self._position += 1
        is_array = self._text.startswith("(", self._position)
        values = self._read_array() if is_array else (self._read_word(),)
        return _Assignment(key, index, values, is_array, is_append, start)

    def _read_array(self) -> tuple[Value, ...]:
        self._position += 1
        values: list[Value] = []
        while self._skip_blank():
            if self._text[self._position] == ")":
                self._position += 1
                return tuple(values)
            if self._text[self._position] == "\n":
                self._position += 1
                continue
            before = self._position
            values.append(self._read_word(in_array=True))
            if self._position == before:
                break
        raise _StopReadingError("')' of an array is missing")

    def _read_word(self, *, stop: str = "", in_array: bool = False) -> Value:
        start = self._position
        parts: list[str] = []
        problem: str | None = None
        while self._position < len(self._text):
            character = self._text[self._position]
            if character in " \t\n;&|()<>" or (stop and character == stop):
                break
            if character == '"':
                text, why = self._read_double_quoted()
            elif character in "$`":
                text, why = self._read_expansion(in_quotes=False)
                if in_array and why is None and _SPLIT.search(text):
                    why = f"the words in {excerpt(text)!r} would have to be computed"
            else:
                text, why = self._read_plain(stop), None
                is_expanded = (in_array and _EXPANDED.search(text)) or (text.startswith("~") and not parts)
                if is_expanded and character not in "'\\":
                    why = f"what {excerpt(text)!r} stands for would have to be computed"
            parts.append(text)
            problem = problem or why
        return Value("".join(parts), start, problem)

    def _read_plain(self, stop: str) -> str:
        character = self._text[self._position]
        if character == "'":
            start = self._position + 1
            self._position += 1
            self._skip_to("'")
            return self._text[start : self._position - 1]
        if character == "\\":
            self._position += 2
            return self._text[self._position - 1 : self._position].replace("\n", "")
        text = self._take(_LITERAL)
        if stop and stop in text:
            self._position -= len(text) - text.index(stop)
            text = text[: text.index(stop)]
        return text

    def _read_double_quoted(self) -> tuple[str, str | None]:
        self._position += 1
        parts: list[str] = []
        problem: str | None = None
        while self._position < len(self._text):
            character = self._text[self._position]
            if character == '"':
                self._position += 1
                return "".join(parts), problem
            if character in "$`":
                text, why = self._read_expansion(in_quotes=True)
                problem = problem or why
            elif character == "\\":
                text = _unescape_in_quotes(self._text[self._position : self._position + 2])
                self._position += 2
            else:
                text = self._take(re.compile(r"[^\"$`\\]+"))
            parts.append(text)
        raise _StopReadingError("a closing '\"' is missing")

    def _read_expansion(self, *, in_quotes: bool) -> tuple[str, str | None]:
        """Read what begins with a dollar or a backtick: its value, and why the value is not known."""
        start = self._position
        rest = self._text[start : start + 2]
        if rest[0] == "`":
            return self._substitute_command(self._take_balanced("`", "`"))
        if rest in ("$(", "$["):
            command = self._take_balanced(rest[1], ")" if rest == "$(" else "]")
            if rest == "$[" or command.startswith("("):
                self._note_assignments(start)
            return self._substitute_command(command)
        if rest == "${":
            return self._read_braced_reference()
        self._position += 1
        if name := self._take(_NAME):
            return self._look_up(name, 0)
        if re.fullmatch(r"\$[\d#?$!@*-]", rest):
            self._position += 1
            return "", f"{rest} is known only to a running shell"
        is_own_quoting = not in_quotes and rest[1:] in ("'", '"')
        return "$", f"{rest} quotes cannot be read" if is_own_quoting else None

    def _read_braced_reference(self) -> tuple[str, str | None]:
        start = self._position
        inside = self._take_balanced("{", "}")
        if element := _NAME_OR_ELEMENT.fullmatch(inside):
            return self._look_up(element["name"], int(element["index"] or 0))
        self._note_assignments(start)
        return "", f"${{{excerpt(inside)}}} is more than a plain reference"

    def _take_balanced(self, opening: str, closing: str) -> str:
        """Take from the opening to its closing character, quotes respected; return what is between."""
        start = self._text.index(opening, self._position) + 1
        depth = 1
        position = start
        while position < len(self._text):
            character = self._text[position]
            if character == "\\":
                position += 1
            elif character == "'" and opening == "(":
                position = self._text.find("'", position + 1)
                if position < 0:
                    break
            elif character == closing:
                depth -= 1
            elif character == opening:
                depth += 1
            if depth == 0:
                self._position = position + 1
                return self._text[start:position]
            position += 1
        raise _StopReadingError(f"a closing {closing!r} is missing")

    def _substitute_command(self, command: str) -> tuple[str, str | None]:
        if (known := self._known_commands.get(command.strip())) is not None:
            return known, None
        return "", f"the command substitution {excerpt(command)!r} would have to be executed"

    def _look_up(self, name: str, index: int) -> tuple[str, str | None]:
        if name not in self.variables:
            known = self._known.get(name)
            if known is None:
                return "", f"${name} is not set by this file"
            return "" if index else known, None
        elements = self.variables[name]
        value = elements.get(ANY) or elements.get(index)
        if value is None:
            return "", None
        if value.problem is None:
            return value.text, None
        line = self.line_of(value.position)
        return "", f"${name} of line {line} is not known: {value.problem.split(' is not known: ')[-1]}"

    # Meaning

    def _judge(self, words: Sequence[Value], assignments: Sequence[_Assignment], start: int) -> None:
        is_conditional = bool(self._blocks) or self._is_chained or bool(_FORK.match(self._text, self._position))
        if words:
            self._judge_command(words, start, is_conditional=is_conditional)
            return
        if len(assignments) == 1:
            self._assign(assignments[0], is_conditional=is_conditional)
        elif assignments:
            self._assign_in_turn(start, is_conditional=is_conditional)

    def _assign_in_turn(self, start: int, *, is_conditional: bool) -> None:
        """Read several assignments of one command again: each may use the ones before it."""
        end = self._position
        self._position = start
        while self._position < end and self._skip_blanks_in_command():
            if self._position < end and not self._take_redirection():
                self._assign(self._read_assignment(), is_conditional=is_conditional)

    def _judge_command(self, words: Sequence[Value], start: int, *, is_conditional: bool) -> None:
        name = words[0].text
        if name in (".", "source") and len(words) > 1 and self._harmless_sources.fullmatch(words[1].text):
            return
        if name in _HARMLESS or (is_conditional and name not in _SETS_VARIABLES and not words[0].problem):
            return
        command = excerpt(self._text[start : self._position])
        if len(words) > 1 and words[1].text.startswith("=") and _NAME_OR_ELEMENT.fullmatch(name):
            sentence = f"a shell takes {name} for a command here: no blanks may stand around '='"
            self.problems.append(ShellProblem(start, sentence))
            return
        self.problems.append(ShellProblem(start, f"the command {command!r} would have to be executed"))

    def _assign(self, assignment: _Assignment, *, is_conditional: bool) -> None:
        index = self._index(assignment)
        if is_conditional:
            why = "it is set under a condition, which would have to be executed"
            self._spoil(assignment.key, index, Value("", assignment.position, why, is_conditional=True))
        elif assignment.is_array:
            self._assign_array(assignment)
        elif index == ANY:
            why = f"the index of {assignment.key} would have to be computed"
            self._spoil(assignment.key, index, Value("", assignment.position, why))
        else:
            self._assign_element(assignment, index)

    def _assign_element(self, assignment: _Assignment, index: int) -> None:
        elements = self._elements_of(assignment.key)
        value = replace(assignment.values[0], position=assignment.position)
        before = elements.get(index) if assignment.is_append else None
        if before:
            value = replace(value, text=before.text + value.text, problem=before.problem or value.problem)
        elements[index] = value

    def _assign_array(self, assignment: _Assignment) -> None:
        elements = self._elements_of(assignment.key)
        if not assignment.is_append:
            elements.clear()
        elif any(value.problem for value in elements.values()):
            why = f"where {assignment.key} ends is not known"
            self._spoil(assignment.key, ANY, Value("", assignment.position, why))
            return
        if unknown := next((value for value in assignment.values if value.problem), None):
            self._spoil(assignment.key, ANY, unknown)  # how many elements there are is not known, either
        else:
            elements.update(enumerate(assignment.values, max(elements, default=-1) + 1))

    def _elements_of(self, key: str) -> dict[int, Value]:
        if key not in self.variables:
            known = self._known.get(key)
            self.variables[key] = {} if known is None else {0: Value(known, 0)}
        return self.variables[key]

    @staticmethod
    def _index(assignment: _Assignment) -> int:
        if assignment.is_array:
            return ANY
        if assignment.index is None:
            return 0
        text = assignment.index.text
        return int(text) if assignment.index.problem is None and _INDEX.fullmatch(text) else ANY

    def _spoil(self, key: str, index: int, value: Value) -> None:
        elements = self._elements_of(key)
        elements[index] = elements.get(ANY, value) if index == ANY else value


def _unescape_in_quotes(pair: str) -> str:
    if pair == "\\\n":
        return ""
    return pair[1] if pair[1:] in ("$", "`", '"', "\\") else pair


def excerpt(text: str) -> str:
    return textwrap.shorten(text, width=60, placeholder=" ...")
