"""Parameters of one search over a trie."""

from typing import NamedTuple

from genir.decoding.edge_scorers import Softmax


class SearchOptions(NamedTuple):
    """Parameters of a beam search or an exact search.

    Attributes:
        beams: Beam width.
        softmax: Normalise over the level's vocabulary, over the legal symbols ("trie"), or not at
            all ("none").
        lookahead_weight: Weight of the document prior in the score of a prefix; 0: no look-ahead.
        full_scores: Whether look-ahead adds the log-probability of whole identifiers.
        max_nodes: Maximum number of nodes per query that an exact search expands.
        max_identifiers: Maximum number of identifiers in an answer (CorpusBrain).
    """

    beams: int = 20
    softmax: Softmax = "vocabulary"
    lookahead_weight: float = 0.0
    full_scores: bool = False
    max_nodes: int = 1024
    max_identifiers: int = 1
