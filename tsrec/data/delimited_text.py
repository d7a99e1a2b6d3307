"""Fields between separators, in batches: CSV, TSV, and what is written `1::Toy Story::Comedy`.

A row of too few or too many fields is refused: whatever filled the gap would be a guess. A first line `sep=;`, as
spreadsheets write it, names the separator and is no row.
"""

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from tsrec.config import TableFormat
from tsrec.data.compressed_files import open_bytes, open_text
from tsrec.data.format_hints import likely_separator
from tsrec.errors import DataError

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
_TYPED = (".inter", ".item")  # RecBole's: item_id:token
_ROWS = 200_000
_BLOCK_BYTES = 1 << 24  # a row has to fit
_SHOWN_CHARS = 120
_SAMPLE_LINES = 20
_ABOVE = "; where lines stand above the header, take them out"
_ROW_NAMES = "; where row names that have no header stand first, write the file without them (R: row.names = FALSE)"
_LONGEST_DECLARATION = 1000  # characters: a spreadsheet may fill the line up with empty fields

Batches = Iterator[tuple[pd.DataFrame, tuple[str, ...]]]


@dataclass(frozen=True)
class DelimitedFile:
    """One file: its suffix `kind`, which may say the separator; its `form` otherwise, and the setting that holds it
    (`section`), for messages."""

    path: Path
    kind: str
    form: TableFormat
    section: str

    @property
    def separator(self) -> str | None:
        """What stands between fields, where that is known."""
        return self.form.separator or self._declared or _SEPARATORS.get(self.kind)

    def read(self, wanted: Collection[str]) -> Batches:
        """Yield batches of the wanted columns as strings, and the names of all.

        Raises:
            DataError: the file is empty, its separator is not known, or a row has too few or too many fields.
            UnicodeError: the text is in another encoding.
        """
        separator = self.separator
        if separator is None:
            self._refuse_zeros()
            raise DataError(f"{self.path}: {self.section}.separator is not set{self.hint()}")
        quoted = self._is_quoted(separator)
        names = self._column_names(separator, quoted, wanted)
        if len(separator) == 1 and separator.isascii():
            yield from self._read_arrow(separator, quoted, names, wanted)
        else:
            yield from self._read_lines(separator, names, wanted)

    def hint(self) -> str:
        """What to set where lines look as if something else than is known stood between fields; else nothing."""
        with open_text(self.path, self.form.encoding, errors="replace") as stream:
            likely = likely_separator(list(islice(stream, self._n_declaring, _SAMPLE_LINES)))
        if likely is None or likely == self.separator:
            return ""
        return f"; the file looks separated by {likely!r}: set {self.section}.separator={likely!r}"

    def _column_names(self, separator: str, quoted: bool, wanted: Collection[str]) -> tuple[str, ...]:
        first = next((row for row in self._rows(separator, quoted) if row), None)
        if first is None:
            raise DataError(f"{self.path}: the file is empty")
        self._refuse_zeros()
        given = self.form.column_names
        if given is None:
            names = tuple(name.split(":")[0] if self.kind in _TYPED else name.strip() for name in first)
            if len(names) == 1:
                raise DataError(f"{self.path}: the first line has one field, {names[0]!r}{self.hint() or _ABOVE}")
            for name in wanted:
                if names.count(name) > 1:
                    cure = f"rename one, or, where the first line is no header, set {self.section}.column_names"
                    raise DataError(f"{self.path}: two columns are called {name!r}; {cure}")
            return names
        if tuple(first) == given:
            raise DataError(f"{self.path}: the first line is a header; take {self.section}.column_names out")
        if len(first) != len(given):
            has = f"row 1 has {len(first)} fields, {self.section}.column_names has {len(given)} names"
            raise DataError(f"{self.path}: {has}{self.hint()}")
        return given

    def _refuse_zeros(self) -> None:
        with open_text(self.path, self.form.encoding, errors="replace") as stream:
            if "\0" in stream.readline():
                raise UnicodeError("every other byte is zero, as in UTF-16")

    def _rows(self, separator: str, quoted: bool) -> Iterator[list[str]]:
        """Rows by plain Python; blank lines are empty lists."""
        with self._open() as stream:
            if len(separator) > 1:
                for line in stream:
                    yield line.rstrip("\r\n").split(separator) if line.strip() else []
            else:
                csv.field_size_limit(_BLOCK_BYTES)
                quoting: dict[str, Any] = {} if quoted else {"quoting": csv.QUOTE_NONE}
                yield from csv.reader(stream, delimiter=separator, **quoting)

    def _read_arrow(self, separator: str, quoted: bool, names: tuple[str, ...], wanted: Collection[str]) -> Batches:
        included = [name for name in names if name in wanted]
        reading = arrow_csv.ReadOptions(
            column_names=list(names),
            skip_rows=self._n_declaring,
            skip_rows_after_names=self._n_header,
            encoding=self.form.encoding,
            block_size=_BLOCK_BYTES,
            use_threads=False,  # else errors name no row
        )
        parsing = arrow_csv.ParseOptions(
            delimiter=separator,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
            escape_char=self.form.escape or False,
        )
        # Without any wanted column the caller still learns the names.
        types = dict.fromkeys(names, pa.string())
        converting = arrow_csv.ConvertOptions(column_types=types, include_columns=included or list(names[:1]))
        with open_bytes(self.path) as stream:
            try:
                for batch in arrow_csv.open_csv(stream, reading, parsing, converting):
                    yield batch.to_pandas()[included], names
            except pa.ArrowInvalid as error:
                if "UTF8" in str(error):
                    raise UnicodeError(str(error)) from None
                raise DataError(f"{self.path}: {self._problem(str(error), len(names))}") from None

    def _problem(self, message: str, n_columns: int) -> str:
        problem = f"unparsable: {message}"
        if found := re.search(r"Row #(\d+): Expected \d+ columns, got (\d+)(?:: (.*))?", message, re.DOTALL):
            row = int(found[1]) - self._n_declaring - self._n_header
            problem = _wrong_number(row, int(found[2]), n_columns, found[3] or "")
        if self._has_row_names(n_columns):
            return problem + _ROW_NAMES
        if '"' in message or "straddl" in message:
            return problem + self._cure(escaped=self.form.escape is None and '\\"' in message)
        return problem + (self.hint() or "; mend the row")

    def _has_row_names(self, n_columns: int) -> bool:
        """Whether the first rows all have one field more than the header, as `write.table` of R has it."""
        rows = list(islice(filter(None, self._rows(self.separator or ",", quoted=True)), 1, _SAMPLE_LINES))
        return not self.form.column_names and len(rows) > 1 and all(len(row) == n_columns + 1 for row in rows)

    def _read_lines(self, separator: str, names: tuple[str, ...], wanted: Collection[str]) -> Batches:
        """Separators of several characters: plain splitting, which knows no quotation marks."""
        rows = filter(None, self._rows(separator, quoted=False))
        if not self.form.column_names:
            next(rows)
        numbers = count(1)
        while batch := list(islice(rows, _ROWS)):
            for number, row in zip(numbers, batch, strict=False):
                if len(row) != len(names):
                    problem = _wrong_number(number, len(row), len(names), separator.join(row))
                    raise DataError(f"{self.path}: {problem}{self.hint() or '; mend the row'}")
            frame = pd.DataFrame(batch, columns=list(names), dtype="str")
            yield frame[[name for name in names if name in wanted]], names

    def _is_quoted(self, separator: str) -> bool:
        """Are quotation marks part of the notation?

        Between commas and semicolons they are. Elsewhere a file may have them (pandas writes them around tabs, line
        breaks and quotes) or not (RecBole, MIND): they are notation where all of them can be read so, and where a
        field over several lines is not better read as rows of their own.

        Raises:
            DataError: they are, but one is not closed, or has text behind it: rows would be swallowed.
        """
        if self.form.quoting == "none" or len(separator) > 1 or not self._has_marks():
            return False
        fault, has_long_fields, n_columns = self._scan_marks(separator)
        if self.form.quoting == "double" or separator in ",;":
            if fault and '"' in fault:
                raise DataError(f"{self.path}: {fault}{self._cure(escaped=self.form.escape is None)}")
            return True
        if fault or not has_long_fields:
            return not fault
        return any(row and len(row) != n_columns for row in self._rows(separator, quoted=False))

    def _scan_marks(self, separator: str) -> tuple[str, bool, int]:
        """What is wrong with the file where its marks are notation; whether fields go over lines; its columns."""
        n_rows, n_lines, n_columns, has_long_fields = 0, 0, 0, False
        csv.field_size_limit(_BLOCK_BYTES)
        with self._open() as stream:
            reader = csv.reader(stream, delimiter=separator, strict=True, escapechar=self.form.escape)
            try:
                for row in reader:
                    n_columns = n_columns or len(row)
                    if row and len(row) != n_columns:
                        return "rows differ in their number of fields", has_long_fields, n_columns
                    n_rows += bool(row)
                    has_long_fields = has_long_fields or reader.line_num > n_lines + 1
                    n_lines = reader.line_num
            except csv.Error:
                number, line = n_rows + 1 - self._n_header, n_lines + 1 + self._n_declaring
                fault = f'row {number} (line {line}): a mark " is not closed, or has text behind it'
                return fault, has_long_fields, n_columns
        return "", has_long_fields, n_columns

    def _cure(self, escaped: bool) -> str:
        of_escape = f"; where a backslash stands before those that are, {self.section}.escape='\\'"
        return f"; where quotation marks are text, set {self.section}.quoting=none{of_escape * escaped}"

    def _open(self) -> TextIO:
        """The text, line ends as they are, behind a line that only declares the separator."""
        stream = open_text(self.path, self.form.encoding, newline="")
        for _ in range(self._n_declaring):
            stream.readline()
        return stream

    @cached_property
    def _declared(self) -> str | None:
        """The separator that a first line `sep=;` names."""
        with open_text(self.path, self.form.encoding, errors="replace") as stream:
            found = re.fullmatch(r'"?sep=([^\w\s"]|\t)"?\1*\n?', stream.readline(_LONGEST_DECLARATION), re.IGNORECASE)
        return found[1] if found else None

    @property
    def _n_declaring(self) -> int:
        return 0 if self._declared is None else 1

    @property
    def _n_header(self) -> int:
        return 0 if self.form.column_names else 1

    def _has_marks(self) -> bool:
        with open_bytes(self.path) as stream:
            return any(b'"' in chunk for chunk in iter(lambda: stream.read(1 << 20), b""))


def _wrong_number(row: int, n_fields: int, n_columns: int, text: str) -> str:
    return f"row {row} has {n_fields} fields, expected {n_columns}: {text[:_SHOWN_CHARS]!r}"
