"""Tensors that grow by rows, with spare storage so that most changes copy no other row."""

from torch import Tensor

SPARE_SHARE = 16
"""Rows per spare row in a storage."""


class GrowingTensor:
    """Storage of a tensor that grows by rows."""

    def __init__(self) -> None:
        self._storage: Tensor | None = None

    def write(self, old: Tensor, size: int, places: Tensor | slice, rows: Tensor) -> Tensor:
        """Return `old` with at least `size` rows, of which some are written.

        Args:
            old: The tensor, [rows, ...]; its content may be written in place.
            size: Number of rows.
            places: Rows to write, int64 [M], or a slice of M.
            rows: Their content, [M, ...].
        """
        size, whole = max(size, len(old)), self._storage
        if whole is None or len(whole) < size or whole.data_ptr() != old.data_ptr():
            whole = old.new_zeros(size + size // SPARE_SHARE + 1, *old.shape[1:])
            whole[: len(old)] = old
            self._storage = whole
        whole[places] = rows.to(whole.dtype)
        return whole[:size]

    def clear(self) -> None:
        """Forget the storage; the next change copies the tensor."""
        self._storage = None
