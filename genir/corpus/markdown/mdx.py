"""MDX, the Markdown of Docusaurus: imports, exports, JSX tags and expressions are no text."""

import re

from genir.corpus.markdown.templates import code_and_text

ESM = re.compile(r"(?:import|export)\s")
TAG = re.compile(r"</?(?P<name>[A-Za-z][\w.:-]*)?(?=[\s/>])")
QUOTED_ATTRIBUTE = re.compile(
    r"""\s([\w:-]+)=(?:"([^"]*)"|'([^']*)'|\{\s*["'`]([^"'`{}]*)["'`]\s*\})"""
)
LABELS = ("label", "title", "summary", "header")
"""Attributes of a component that are text."""
STRING = re.compile(r"""\A\s*(?:"([^"\n]*)"|'([^'\n]*)'|`([^`$]*)`)\s*\Z""")
ANCHOR = re.compile(r"\{#[^{}\n]+\}")
CODE_SPAN = re.compile(r"(`+)(?!`)")
WRAPPED = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*mdx-code-block[ \t]*\n")
MARKED_LINE = re.compile(
    r"^[ \t]*(?://|#|/\*|\{/\*|<!--|--|%)[ \t]*(?:highlight|error|success|diff)-"
    r"(?:next-line|start|end|add|remove)[^\n]*\n",
    re.MULTILINE,
)


def strip_mdx(source: str) -> str:
    """Remove what MDX adds to Markdown: labels of components and strings in expressions stay."""
    made = []
    for code, part in code_and_text(source):
        if code and (wrapped := WRAPPED.match(part)):
            code, part = False, part[wrapped.end() :].rstrip().rpartition("\n")[0] + "\n"
        made.append(MARKED_LINE.sub("", part) if code else _without_jsx(_without_esm(part)))
    return "".join(made)


def _without_esm(part: str) -> str:
    """Remove imports and exports: paragraphs that begin with the word, with all their brackets."""
    kept, depth, inside, before = list[str](), 0, False, ""
    for line in part.splitlines(keepends=True):
        if not inside and not before.strip() and ESM.match(line):
            inside, depth = True, 0
        elif inside and not line.strip() and depth <= 0:
            inside = False
        if inside:
            depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        else:
            kept.append(line)
        before = "" if inside else line
    return "".join(kept)


def _without_jsx(part: str) -> str:
    braces, spans = _pairs(part), _code_spans(part)
    made, place = list[str](), 0
    while place < len(part):
        character = part[place]
        if place in spans:
            end, shown = spans[place], part[place : spans[place]]
        elif character == "\\":
            end, shown = place + 2, part[place : place + 2]
        elif character == "{" and place in braces and not ANCHOR.match(part, place):
            end, shown = braces[place] + 1, _value(part[place + 1 : braces[place]])
        elif character == "<":
            end, shown = _tag(part, place, braces)
        else:
            end, shown = place + 1, character
        made.append(shown)
        place = end
    return "".join(made)


def _pairs(part: str) -> dict[int, int]:
    """Return the closing brace of each opening one that has one."""
    found, open_ = dict[int, int](), list[int]()
    for brace in re.finditer(r"[{}]", part):
        if brace.group() == "{":
            open_.append(brace.start())
        elif open_:
            found[open_.pop()] = brace.start()
    return found


def _code_spans(part: str) -> dict[int, int]:
    """Return the end of each inline code by its start."""
    found, place = dict[int, int](), 0
    missing = set[str]()
    while ticks := CODE_SPAN.search(part, place):
        place = ticks.end()
        if ticks[1] not in missing:
            end = re.compile(rf"(?<!`){ticks[1]}(?!`)").search(part, place)
            if end is None:
                missing.add(ticks[1])
            else:
                found[ticks.start()] = place = end.end()
    return found


def _value(expression: str) -> str:
    """Return the text of an expression: that of a string, else ""."""
    string = STRING.match(expression)
    return next((text for text in string.groups() if text is not None), "") if string else ""


def _tag(part: str, start: int, braces: dict[int, int]) -> tuple[int, str]:
    """Return the end of a JSX tag, and its text: labels of a component, or a plain HTML tag."""
    opening = TAG.match(part, start)
    if opening is None:
        if part.startswith("<>", start):
            return start + 2, ""
        return start + 1, "<"
    end = _end_of_tag(part, opening.end(), braces)
    if end < 0:
        return start + 1, "<"
    name, closing = opening["name"] or "", part[start + 1] == "/"
    attributes = {
        found[1]: next((value for value in found.groups()[1:] if value is not None), "")
        for found in QUOTED_ATTRIBUTE.finditer(part, opening.end(), end)
    }
    if name[:1].islower() and "." not in name:
        kept = "".join(f' {key}="{value}"' for key, value in attributes.items() if '"' not in value)
        return end, f"<{'/' * closing}{name}{kept}>"
    begins = not part[part.rfind("\n", 0, start) + 1 : start].strip()
    labels = [attributes[label] for label in LABELS if attributes.get(label)]
    if not begins:
        return end, ""
    return end, f"\n\n{labels[0]}\n\n" if labels else "\n\n"


def _end_of_tag(part: str, place: int, braces: dict[int, int]) -> int:
    """Return the place behind a tag's `>`; -1 if it does not end before the next tag."""
    while place < len(part):
        character = part[place]
        if character == ">":
            return place + 1
        if character == "<":
            return -1
        if character in "\"'":
            close = part.find(character, place + 1, place + 2_000)
            place = place if close < 0 else close
        elif character == "{":
            place = braces.get(place, place)
        place += 1
    return -1
