"""Template languages in Markdown: Hugo's shortcodes, Liquid and Jinja, MDX.

Each is removed from a page's source as far as it is no text. All scans take linear time.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

FENCE = re.compile(r"^(?P<indent>[ \t>]*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`\n]*)$")
CODE_SHORTCODES = frozenset({"highlight", "code", "code-toggle"})
INCLUDE_SHORTCODES = frozenset({"include", "readfile", "readFile"})
REFERENCE_SHORTCODES = frozenset({"ref", "relref"})
ARGUMENT = re.compile(
    r'(?:(?P<name>[\w-]+)=)?(?:"(?P<quoted>[^"]*)"|`(?P<raw>[^`]*)`|(?P<bare>[^\s"`]+))'
)
SKIPPED_TAGS = frozenset({"raw", "comment", "for"})
"""Tags of Liquid and Jinja whose content is no Markdown, or depends on data."""
TITLES = ("title", "summary", "header", "name")
"""Arguments of a shortcode that are text."""
Read = Callable[[str], str | None]
"""Path -> text of a file of the project, or None."""


def code_and_text(source: str) -> Iterator[tuple[bool, str]]:
    """Yield the fenced code and the other parts of a Markdown source: (is code, lines)."""
    fence, lines = "", list[str]()
    for line in source.splitlines(keepends=True):
        found = FENCE.match(line.rstrip("\n"))
        if found and not fence:
            yield False, "".join(lines)
            fence, lines = found["ticks"], [line]
        else:
            lines.append(line)
            if found and found["ticks"].startswith(fence) and not found["info"].strip():
                yield True, "".join(lines)
                fence, lines = "", []
    yield bool(fence), "".join(lines)


def outside_code(source: str, change: Callable[[str], str]) -> str:
    """Return a source whose parts outside of fenced code are changed."""
    return "".join(part if code else change(part) for code, part in code_and_text(source))


def _tags(source: str, ends: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (opening, content) of each tag, and ("", text) of the text between them.

    ends: closing by opening. A tag without its end is text.
    """
    shape = re.compile("|".join(map(re.escape, ends)))
    place, missing = 0, set[str]()
    for found in shape.finditer(source):
        opening = found.group()
        if found.start() < place or opening in missing:
            continue
        end = source.find(ends[opening], found.end())
        if end < 0:
            missing.add(opening)
            continue
        yield "", source[place : found.start()]
        yield opening, source[found.end() : end]
        place = end + len(ends[opening])
    yield "", source[place:]


def strip_shortcodes(source: str, read: Read) -> str:
    """Remove Hugo's shortcodes; their inner text, titles and included files stay."""
    ends = {"{{<": ">}}", "{{%": "%}}"}
    tags = list(_tags(source, ends))
    closed = Counter(
        words[0].lstrip("/") for opening, tag in tags
        if opening and (words := tag.split()) and words[0].startswith("/")
    )  # fmt: skip
    made = []
    for opening, tag in tags:
        inner = tag.strip()
        if not opening:
            made.append(tag)
        elif inner.startswith("/*") and inner.endswith("*/"):
            made.append(f"{opening} {inner[2:-2].strip()} {ends[opening]}")
        else:
            made.append(_shortcode(inner, closed, read))
    return "".join(made)


def _shortcode(inner: str, closed: Counter[str], read: Read) -> str:
    name, _, rest = inner.removesuffix("/").strip().partition(" ")
    if name.startswith("/"):
        return "\n```\n" if name[1:] in CODE_SHORTCODES else ""
    arguments = [
        (found["name"] or "", found["quoted"] or found["raw"] or found["bare"] or "")
        for found in ARGUMENT.finditer(rest)
    ]
    first = next((value for key, value in arguments if not key), "")
    if name in REFERENCE_SHORTCODES:
        return first
    if name in INCLUDE_SHORTCODES:
        return read(first or next((value for _, value in arguments), "")) or ""
    if name in CODE_SHORTCODES:
        return f"\n```{first}\n" if closed[name] else ""
    titles = [value for key, value in arguments if key in TITLES]
    return f"\n{titles[0]}\n\n" if titles and closed[name] else ""


def strip_liquid(source: str, read: Read) -> str:
    """Remove the tags, values, comments and loops of Liquid and Jinja; text in `raw` stays."""
    ends = {"{%": "%}", "{{": "}}"}
    made, until, depth = list[str](), "", 0
    for opening, tag in _tags(source, ends):
        name, _, rest = tag.strip("- \n\t").partition(" ")
        if until:
            depth += bool(opening) and f"end{name}" == until
            if opening and name == until:
                depth -= 1
                until = until if depth else ""
            elif until == "endraw":
                made.append(f"{opening}{tag}{ends[opening]}" if opening else tag)
        elif not opening:
            made.append(tag)
        elif opening == "{%" and name in SKIPPED_TAGS:
            until, depth = f"end{name}", 1
        elif opening == "{%":
            made.append(_liquid(name, rest.strip(), read))
    return "".join(made)


def _liquid(name: str, rest: str, read: Read) -> str:
    if name == "highlight":
        return f"\n```{rest.partition(' ')[0]}\n"
    if name == "endhighlight":
        return "\n```\n"
    if name in ("link", "post_url"):
        return rest
    quoted = re.match(r"""["']([^"'\n]+)["']""", rest)
    if name in ("include", "include-markdown") and quoted:
        return read(quoted[1]) or ""
    return ""
