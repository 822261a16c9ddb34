"""A query with a vector."""

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorQuery(str):
    """A query with the unit vector of an encoder beside its text, which may be empty.

    It is a `str`, so that searchers which read words take it, too. It differs from its bare text in
    comparisons.

    Attributes:
        vector: float32 [H].
    """

    vector: "NDArray[np.float32]"

    def __new__(cls, text: str, vector: "NDArray[np.float32]") -> Self:
        """Return a text with a vector."""
        query = super().__new__(cls, text)
        query.vector = vector
        return query

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return the arguments of a copy."""
        return str(self), self.vector

    def __eq__(self, other: object) -> bool:
        """Return whether text and vector are equal."""
        return (
            isinstance(other, VectorQuery)
            and str.__eq__(self, other)
            and self.vector.tobytes() == other.vector.tobytes()
        )

    def __ne__(self, other: object) -> bool:
        """Return whether text or vector differ."""
        return not self == other

    def __hash__(self) -> int:
        """Return a hash of text and vector."""
        return hash((str(self), self.vector.tobytes()))

    def with_text(self, text: str) -> Self:
        """Return another text with this vector."""
        return type(self)(text, self.vector)
