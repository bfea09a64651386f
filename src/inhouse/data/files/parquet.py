"""Apache Parquet."""

import datetime
import decimal
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from inhouse.data.file import (
    MAX_ROWS,
    MAX_UNPACKED,
    CannotExport,
    Content,
    FileKind,
    FileTooLarge,
    FileUnreadable,
    Row,
    file_kind,
    mended,
    named,
)

_BATCH = 2000


@file_kind("parquet")
class Parquet(FileKind):
    """Columns with types; lists and structures in them stay what they are."""

    suffixes = ("parquet",)
    begins = b"PAR1"
    media_type = "application/vnd.apache.parquet"
    needs = "pyarrow"
    extra = "parquet"

    def read(self, file: BinaryIO) -> Content:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file, memory_map=False, pre_buffer=False)
            about = table.metadata
            unpacked = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileUnreadable(f"The Parquet file cannot be read: {_first_line(error)}.") from error
        if about.num_rows > MAX_ROWS:
            raise FileTooLarge(f"The file has more than {MAX_ROWS:,} rows.", hint="Split it into several imports.")
        if unpacked > MAX_UNPACKED:
            raise FileTooLarge(f"Unpacked, the file has more than {MAX_UNPACKED >> 20} MB.", hint="Split it.")
        named(table.schema_arrow.names)
        return Content(_rows(table))

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(rows)
        columns = dict.fromkeys(name for row in rows for name in row)
        try:
            pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows]), out)
        except (pa.ArrowException, OverflowError) as error:
            raise CannotExport(
                f"The rows do not fit into typed columns: {_first_line(error)}.", hint="Export JSON lines."
            ) from error


def _rows(table: Any) -> Iterator[Row]:
    import pyarrow as pa

    try:
        for batch in table.iter_batches(batch_size=_BATCH):
            if batch.nbytes > MAX_UNPACKED:
                raise FileTooLarge(f"{_BATCH} rows have more than {MAX_UNPACKED >> 20} MB.")
            for row in batch.to_pylist():
                yield mended({name.strip(): _plain(value) for name, value in row.items()})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileUnreadable(f"The Parquet file cannot be read: {_first_line(error)}.") from error


def _plain(value: Any) -> Any:
    """A value as JSON has it. A structure's empty members are left out, as other kinds of files leave them out."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
