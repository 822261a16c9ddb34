"""Count the misses of a run on SQuAD whose first hit is another paragraph of the right article.

Usage: python -m benchmarks.scripts_from_docs.same_article CORPUS RUN
"""

import json
import sys
from pathlib import Path

from benchmarks.scripts_from_docs.trec import read_gold, read_hits


def main(corpus: Path, run: Path) -> None:
    """Print four counts of test queries.

    First hit of the right article; relevant paragraph not in the first ten; of these: paragraph
    among all hits of the run; first hit of the right article.
    """
    lines = (corpus / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    title = {document["_id"]: document["title"] for document in map(json.loads, lines)}
    gold, hits = read_gold(corpus / "qrels" / "test.tsv"), read_hits(run)
    article = {query for query in gold if title[hits[query][0]] == title[gold[query]]}
    missed = {query for query in gold if gold[query] not in hits[query][:10]}
    later = sum(gold[query] in hits[query] for query in missed)
    sys.stdout.write(f"{len(article)} {len(missed)} {later} {len(missed & article)}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
