import json
from io import StringIO
from math import log2

import numpy as np
import pytest
from rich.console import Console

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme
from genir.identifiers.report import IdentifierReport, LevelReport, plot, render, report
from genir.identifiers.table import IdentifierTable
from genir.types import Document


def build(identifiers):
    return IdentifierTable.build(identifiers, [f"k{n}" for n in range(len(identifiers))])


def hierarchical(leaf=2):
    """A scheme of one leaf: enough to say how large a level is."""
    scheme = build_scheme(IdentifierSection(scheme="hierarchical", leaf=leaf))
    return scheme.fit([Document("a", "")], np.zeros((1, 2), dtype=np.float32))


class Sized(type(hierarchical())):
    """Hierarchical identifiers with level sizes given by hand."""

    sizes = (4, 4, 4)

    def level_sizes(self):
        return list(self.sizes)


def sized(*sizes):
    scheme = Sized(hierarchical().options)
    scheme.sizes = sizes
    return scheme


def coded(levels=2, codes=4, tied=0):
    scheme = build_scheme(IdentifierSection(scheme="product", levels=levels, codes=codes, ties=8))
    scheme.codebooks = np.zeros((levels, codes, 1), dtype=np.float32)
    scheme.num_collisions = tied
    return scheme


# root -> 0 -> (0 -> 5), (1 -> 5 and 6);  root -> 1 -> 2 (ends); root -> 3 -> 0 -> 0
TREE = [[(0, 0, 5)], [(0, 1, 5)], [(0, 1, 6)], [(1, 2)], [(3, 0, 0)]]


def test_a_small_tree_by_hand():
    found = report(build(TREE), sized(4, 4, 8))
    assert (found.documents, found.rows, found.uniqueness, found.tied) == (5, 5, 1.0, 0.0)
    assert found.lengths == {2: 1, 3: 4} and found.mean_length == pytest.approx(14 / 5)
    assert found.bytes_per_identifier == 3 * 2 + 4
    # Level 1: symbols 0 0 0 1 3; the root has 3 children.
    first = -(0.6 * log2(0.6) + 2 * 0.2 * log2(0.2))
    assert found.levels[0] == LevelReport("1", 4, 3, pytest.approx(first), 3.0, 3, 5)
    # Level 2: symbols 0 1 1 2 0; nodes 0, 1, 3 have 2, 1 and 1 children.
    second = -(2 * 0.4 * log2(0.4) + 0.2 * log2(0.2))
    assert found.levels[1] == LevelReport(
        "2", 4, 3, pytest.approx(second), pytest.approx(4 / 3), 2, 3
    )
    # Level 3: symbols 5 5 6 0; nodes 00, 01, 30 have 1, 2 and 1; node 12 has none.
    assert found.levels[2] == LevelReport("3", 8, 3, pytest.approx(1.5), pytest.approx(4 / 3), 2, 2)
    # Choices on the paths: 005: root, 0. 015 and 016: root, 0, 01. 12 and 300: root.
    assert found.decode_steps == pytest.approx((2 + 3 + 3 + 1 + 1) / 5)
    assert found.warnings == ()


def test_children_of_different_nodes_are_not_mixed_up():
    """Adjacent rows with the same symbol under different parents are two children."""
    found = report(build([[(0, 7)], [(1, 7)]]), sized(2, 8))
    assert [level.max_children for level in found.levels] == [2, 1]
    assert found.levels[1].used == 1 and found.levels[1].entropy == 0.0
    assert found.decode_steps == 1.0


def test_uniqueness_counts_documents_with_one_identifier_of_their_own():
    shared = [[(0, 0)], [(0, 0), (1, 1)], [(0, 0)], [(2, 2), (2, 3)]]
    found = report(build(shared), sized(4, 4))
    assert found.uniqueness == 0.5 and found.rows == 6
    # 00 is in three rows of three documents; the first and the third have nothing else.
    assert (found.shared, found.alike) == (0.5, 0.5)
    assert found.rows_per_document == 1.5
    assert found.bytes_per_document == 1.5 * (2 * 2 + 4)
    assert found.warnings == (
        "only 50% of the documents have a unique identifier; the others cannot be distinguished",
    )


def texts(tokenizer, corpus, **options):
    scheme = build_scheme(IdentifierSection(**options), tokenizer).fit(corpus)
    table = IdentifierTable.build(scheme.encode(corpus), [document.key for document in corpus])
    return report(table, scheme)


def test_shared_ngrams_cause_no_warning(tokenizer):
    corpus = [Document(f"d{n}", f"the path of anna {n}") for n in range(4)]
    found = texts(tokenizer, corpus, scheme="ngram", n=2)
    # the path, path of, of anna are shared; anna 0, 0 (end) are not.
    assert (found.rows, found.rows_per_document) == (20, 5.0)
    assert (found.uniqueness, found.shared, found.alike) == (1.0, 0.6, 0.0)
    assert found.warnings == ()
    assert found.to_dict()["rows_per_document"] == 5.0


def test_documents_that_hold_the_same_are_warned_of(tokenizer):
    corpus = [Document(f"d{n}", "the path of anna") for n in range(2)]
    corpus.append(Document("d2", "the path of the guide"))
    for options in ({"scheme": "ngram", "n": 2}, {"scheme": "views", "ngrams": 1}):
        found = texts(tokenizer, corpus, **options)
        assert found.alike == pytest.approx(2 / 3)
        assert found.warnings == (
            "67% of the documents have the same identifiers as another, and cannot be "
            "distinguished; use longer or more identifiers",
        )


def test_codes_that_are_never_used_are_a_collapse():
    codes = [[(n % 4, 0, n // 4)] for n in range(8)]
    found = report(build(codes), coded())
    assert [level.name for level in found.levels] == ["1", "2", "tie"]
    assert [level.size for level in found.levels] == [4, 4, 8]
    (warning,) = found.warnings
    assert "1 of 2 levels uses less than half of the codes (level 2: 1 of 4)" in warning


def test_codes_of_a_level_that_separates_nothing_are_no_collapse():
    """As in a small corpus: level 1 separates the documents, or all but two."""
    for codes in ([(n, 0, 0) for n in range(4)], [(n % 4, 0, n // 4) for n in range(5)]):
        found = report(build([[row] for row in codes]), coded())
        assert (found.levels[1].used, found.levels[1].size) == (1, 4)
        assert found.levels[1].undecided in (0, 2) and found.warnings == ()


def test_half_of_the_codes_are_no_collapse():
    assert report(build([[(n % 4, n % 2, 0)] for n in range(4)]), coded()).warnings == ()


def test_many_ties_are_warned_of():
    codes = [[(n, n, 0)] for n in range(4)] + [[(0, 0, 1)]]
    found = report(build(codes), coded(tied=1))
    assert found.tied == 0.2 and "20% of the documents differ only by" in found.warnings[0]


def test_text_levels_have_the_size_of_the_vocabulary(tokenizer):
    corpus = [Document(f"d{n}", "", title="the guide") for n in range(3)]
    scheme = build_scheme(IdentifierSection(scheme="title", max_tokens=4), tokenizer).fit(corpus)
    table = IdentifierTable.build(scheme.encode(corpus), [document.key for document in corpus])
    found = report(table, scheme)
    assert [level.size for level in found.levels] == [len(tokenizer)] * 4
    assert found.tied == pytest.approx(2 / 3)
    # "the guide </s>", "the guide 2 </s>", "the guide 3 </s>": one choice each.
    assert found.decode_steps == 1.0 and found.lengths == {3: 1, 4: 2}
    assert "67% of the documents differ only" in found.warnings[0]
    assert "67% of the identifiers have max_tokens = 4" in found.warnings[1]


def test_atomic_is_one_step():
    corpus = [Document(f"d{n}", "") for n in range(8)]
    scheme = build_scheme(IdentifierSection(scheme="atomic")).fit(corpus)
    found = report(build(scheme.encode(corpus)), scheme)
    assert found.levels == (LevelReport("1", 8, 8, 3.0, 8.0, 8, 8),)
    assert (found.decode_steps, found.bytes_per_identifier, found.warnings) == (1.0, 6.0, ())


def test_a_single_identifier_needs_no_choice():
    found = report(build([[(2, 1)]]), sized(4, 4))
    assert found.decode_steps == 0.0 and found.levels[0].entropy == 0.0


def test_an_empty_table_is_refused():
    with pytest.raises(InputError, match="the corpus holds no documents"):
        report(IdentifierTable.build([], []), hierarchical())


def test_counts_agree_with_a_slow_oracle():
    rng = np.random.default_rng(0)
    rows = {tuple(rng.integers(0, 3, 5).tolist()) for _ in range(80)}
    found = report(build([[row] for row in sorted(rows)]), sized(*[3] * 5))
    for depth, level in enumerate(found.levels):
        children = {}
        for row in rows:
            children.setdefault(row[:depth], set()).add(row[depth])
        counts = [len(symbols) for symbols in children.values()]
        assert level.mean_children == pytest.approx(np.mean(counts))
        assert level.max_children == max(counts)
    steps = [
        sum(len({r[d] for r in rows if r[:d] == row[:d]}) > 1 for d in range(5)) for row in rows
    ]
    assert found.decode_steps == pytest.approx(np.mean(steps))


def test_to_dict_is_json():
    values = json.loads(json.dumps(report(build(TREE), sized(4, 4, 8)).to_dict()))
    assert values["lengths"] == {"2": 1, "3": 4} and values["mean_length"] == pytest.approx(2.8)
    assert values["levels"][0]["name"] == "1" and values["warnings"] == []
    assert values["scheme"] == "hierarchical" and values["decode_steps"] == pytest.approx(2.0)


def printed(found: IdentifierReport) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(render(found))
    return console.file.getvalue()


def test_render_shows_the_figures_and_the_warnings():
    codes = [[(n % 4, 0, n // 4)] for n in range(8)]
    text = printed(report(build(codes), coded(tied=4)))
    for part in ("product", "8, 1.0 a document", "100.0%", "50.0%", "tie", "! codebook collapse"):
        assert part in text


def test_render_folds_very_long_identifiers():
    row = tuple(range(40))
    text = printed(report(build([[row]]), sized(*[64] * 40)))
    assert "and 20 more levels" in text


@pytest.mark.parametrize("depth", [1, 3, 40])
def test_plot_writes_a_png(tmp_path, depth):
    found = report(build([[(n, *[0] * (depth - 1))] for n in range(4)]), sized(*[4] * depth))
    plot(found, tmp_path / "deep" / "report.png")
    image = (tmp_path / "deep" / "report.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n") and len(image) > 10_000
