"""Literals of a JavaScript or TypeScript configuration, read as data: nothing is executed."""

import re
from typing import Any

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z))"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*(?:`|\Z))"""
    r"""|(?P<word>[\w$]+(?:\.[\w$]+)*)|(?P<mark>\.\.\.|=>|.)""",
    re.DOTALL,
)
CONFIG = re.compile(
    r"\b(?:export\s+default|module\.exports\s*=|(?:const|let|var)\s+[\w$]+(?:\s*:\s*[\w$.<>]+)?\s*=)"
    r"\s*(?:async\s*)?(?:function\s*[\w$]*\s*\([^()]*\)\s*\{\s*return\s*|\([^()]*\)\s*=>\s*)?"
    r"\(?\s*(?=\{)"
)
"""Starts of the objects that may be the configuration."""
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
WORDS = {"true": True, "false": False, "null": None, "undefined": None}
CASTS = ("as", "satisfies")
MAX_CHARS = 2**18
MAX_DEPTH = 50


def config_objects(source: str) -> list[dict[str, Any]]:
    """Return the objects that a script assigns to variables or exports, in order.

    Values that are no literals, such as calls and functions, are None.
    """
    source = source[:MAX_CHARS]
    tokens = [found for found in TOKEN.finditer(source) if found["skip"] is None]
    at = {found.start(): place for place, found in enumerate(tokens)}
    starts = [at[found.end()] for found in CONFIG.finditer(source) if found.end() in at]
    objects = (_Reader(tokens, start).value(0) for start in starts)
    return [one for one in objects if isinstance(one, dict)]


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[re.Match[str]], place: int) -> None:
        self._tokens = tokens
        self._place = place

    def _peek(self) -> str:
        return self._tokens[self._place].group() if self._place < len(self._tokens) else ""

    def _next(self) -> re.Match[str] | None:
        self._place += 1
        return self._tokens[self._place - 1] if self._place <= len(self._tokens) else None

    def value(self, depth: int) -> Any:
        """Return the value of an expression and go behind it; None if it is no literal."""
        start, found = self._place, self._literal(depth)
        if self._peek() in CASTS:
            self._skip()
        if self._peek() in ("", ",", "}", "]", ")", ";"):
            return found
        self._place = start
        self._skip()
        return None

    def _literal(self, depth: int) -> Any:
        token = self._peek()
        if token == "(":
            self._next()
            found = self.value(depth + 1) if depth < MAX_DEPTH else None
            if self._peek() == ")":
                self._next()
            return found
        if token in ("{", "[") and depth < MAX_DEPTH:
            self._next()
            return self._object(depth) if token == "{" else self._array(depth)
        found = self._next()
        if found is None or found["mark"]:
            self._place -= 1
            return None
        if found["string"]:
            text = found.group()
            return None if text[0] == "`" and "${" in text else ESCAPE.sub(r"\1", text[1:-1])
        return WORDS.get(token, int(token) if token.isdecimal() else None)

    def _object(self, depth: int) -> dict[str, Any]:
        made = dict[str, Any]()
        while self._peek() not in ("}", ""):
            key = self._next()
            if self._peek() == ":" and key is not None:
                self._next()
                name = key.group()
                made[name[1:-1] if key["string"] else name] = self.value(depth + 1)
            else:  # a method, a spread or a variable
                self._place -= 1
                self._skip()
            if self._peek() in (",", ";", ")", "]"):
                self._next()
        self._next()
        return made

    def _array(self, depth: int) -> list[Any]:
        made = list[Any]()
        while self._peek() not in ("]", ""):
            made.append(self.value(depth + 1))
            if self._peek() == ",":
                self._next()
            elif self._peek() != "]":
                self._skip()
        self._next()
        return made

    def _skip(self) -> None:
        """Go to the end of an expression: a comma or a closing bracket."""
        depth = 0
        while (token := self._peek()) and (depth or token not in (",", "}", "]", ")", ";")):
            depth += token in ("{", "[", "(")
            depth -= token in ("}", "]", ")")
            self._next()
