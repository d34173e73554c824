"""`--save FILE.parquet`: what was computed for every scan, a row each, in one file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundry_edge_runtime.errors import StorageError
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.readers.optional import optional
from foundry_edge_runtime.result import Result

SUFFIX = ".parquet"
_ROWS = 256  # a row group


class ParquetFile:
    """One Parquet file under way; it appears under its name when it is closed.

    A row has ``input``, ``scan``, ``tokens`` (c x d values, row by row), ``centers`` (c x 3), ``global``,
    ``logits`` (null without a head), ``label``, ``score`` and ``points``; the shape (c, d) is in the file's
    metadata.

    Args:
        path: of the file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._arrow = optional("pyarrow", "parquet", "saving as Parquet")
        self._parquet = optional("pyarrow.parquet", "parquet", "saving as Parquet")
        self._path = path
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None
        self._stack = ExitStack()
        self._partial = self._stack.enter_context(replacing(path))

    def add(self, result: Result) -> Result:
        """Take a result; the result, with ``saved`` set."""
        best = None if result.top is None else result.top[0]
        row = {
            "input": result.cloud.source,
            "scan": result.scan,
            "tokens": result.tokens.ravel(),
            "centers": result.centers.ravel(),
            "global": result.pooled,
            "logits": result.logits,
            "label": None if best is None else best.label,
            "score": None if best is None else best.score,
            "points": len(result.cloud),
        }
        self._open(result)
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._write()
        return replace(result, saved=self._path)

    def close(self, error: BaseException | None = None) -> None:
        """Finish the file; after an error, what is whole is kept all the same unless writing was the error.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            if not isinstance(error, StorageError) and self._writer is not None:
                self._write()
                self._writer.close()
                self._stack.close()
                return
        except OSError as failed:
            error = failed
        kept = error or StorageError("no scan was computed", where=self._path)
        self._stack.__exit__(type(kept), kept, None)

    def _open(self, result: Result) -> None:
        if self._writer is not None:
            return
        arrow, values = self._arrow, self._arrow.list_(self._arrow.float32())
        text = arrow.string()
        fields = [("input", text), ("scan", arrow.int64()), ("tokens", values), ("centers", values)]
        fields += [("global", values), ("logits", values), ("label", text), ("score", arrow.float64())]
        shape = ",".join(map(str, result.tokens.shape))
        self._schema = arrow.schema([*fields, ("points", arrow.int64())], metadata={"tokens_shape": shape})
        self._writer = self._parquet.ParquetWriter(self._partial, self._schema)

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))
        except OSError as error:
            raise StorageError(
                f"cannot be written ({error.strerror or error})",
                where=self._path,
                remedy="free space or pick another folder",
            ) from error
