"""Files by name, folder and pattern, of every format, whole and damaged."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from karma.errors import SettingsError
from karma_gateway.sources.files import files_of, read_files
from karma_gateway.sources.items import Fault, Item, Line, Row

LIMIT = 10_000
ROWS = [{"prompt": "one", "n": 1}, {"prompt": "two", "n": 2}]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def items(*paths: Path) -> list[Item]:
    return [item for chunk in read_files([str(path) for path in paths], LIMIT) for item in chunk]


def rows(*paths: Path) -> list[Any]:
    """The rows' values, whatever the format."""
    return [
        json.loads(each.content) if isinstance(each, Line) else getattr(each, "fields", each) for each in items(*paths)
    ]


def arrow(path: Path, table: pyarrow.Table, stream: bool) -> None:
    new = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with pyarrow.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table)


@pytest.fixture(
    params=["lines", "array", "gzip", "bzip2", "xz", "zstd", "parquet", "packed parquet", "arrow", "stream"]
)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The rows in a file of each format, whose name does not say which."""
    path, table = tmp_path / "data", pyarrow.Table.from_pylist(ROWS)
    if request.param in ("arrow", "stream"):
        arrow(path, table, request.param == "stream")
        return path
    if "parquet" in request.param:
        parquet.write_table(table, path)
    else:
        path.write_bytes(json.dumps(ROWS).encode() if request.param == "array" else LINES)
    packed = {
        "gzip": gzip.compress,
        "packed parquet": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": lambda data: pyarrow.Codec("zstd").compress(data, asbytes=True),
    }
    if request.param in packed:
        path.write_bytes(packed[request.param](path.read_bytes()))
    return path


def test_every_format_is_known_by_its_bytes_and_gives_the_same_rows(written: Path) -> None:
    assert rows(written) == ROWS


def test_cells_of_csv_are_texts_and_a_broken_row_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,id\r\n"say ""a""\r\nb",007\r\nx,1,2\r\nnul\x00,4\r\n\xff,5\r\n\r\nlast,\r\n')
    found = items(path)
    assert found[0] == Row(str(path), 2, {"prompt": 'say "a"\r\nb', "id": "007"})
    assert found[1] == Fault(str(path), 4, "has 3 cells, but the first line names 2 columns")
    assert found[2:] == [
        Row(str(path), 5, {"prompt": "nul\x00", "id": "4"}),  # refused when a prompt is made of it
        Fault(str(path), 6, "not UTF-8; save the table as UTF-8"),
        Row(str(path), 8, {"prompt": "last", "id": None}),
    ]


@pytest.mark.parametrize("rest", ["\ny,two\nz,three\n", "\ny,two\n" * LIMIT])
def test_a_quoted_cell_that_is_never_closed_is_refused_and_not_taken_for_one_prompt(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('note,prompt\nw,one\nx,"open' + rest)
    first, fault = items(path)
    assert first == Row(str(path), 2, {"note": "w", "prompt": "one"})
    assert isinstance(fault, Fault) and fault.number == 3 and "not closed by the end of the file" in fault.reason


@pytest.mark.parametrize("cell", ['"' + "a line\n" * LIMIT + '"', "x" * 2 * LIMIT])
def test_the_lines_of_a_cell_that_is_too_large_are_no_rows(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"prompt\n{cell}\nlast\n")
    assert items(path) == [
        Fault(str(path), 2, "a cell has more than 10,000 characters (prompt_bytes in the pool file)"),
        Row(str(path), 3 + cell.count("\n"), {"prompt": "last"}),
    ]


@pytest.mark.parametrize(
    ("name", "data"), [("t.csv", b"prompt\nhi\n"), ("t.tsv", b"prompt\tid\nhi\t1\n"), ("t", b"prompt;id\nhi;1\n")]
)
def test_tables_of_one_column_and_of_other_separators_are_read(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert [row["prompt"] for row in rows(tmp_path / name)] == ["hi"]


def test_values_that_json_lacks_become_texts_and_missing_numbers_null(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "when": [datetime.datetime(2026, 1, 2, 3)],
            "price": [decimal.Decimal("1.10")],
            "n": [float("nan")],
            "half": pyarrow.array([0.5], pyarrow.float32()),
            "kind": pyarrow.array(["a"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "t")
    (row,) = rows(tmp_path / "t")
    assert row == {"when": "2026-01-02 03:00:00.000000", "price": "1.10", "n": None, "half": 0.5, "kind": "a"}


def test_a_text_that_is_no_utf8_is_a_fault_of_its_row(tmp_path: Path) -> None:
    texts = pyarrow.array([b"a", b"\xff", b"c"], pyarrow.binary())
    bad = pyarrow.StringArray.from_buffers(3, texts.buffers()[1], texts.buffers()[2])
    parquet.write_table(pyarrow.table({"prompt": bad}), tmp_path / "t")
    first, second, third = items(tmp_path / "t")
    assert (first, third) == (
        Row(str(tmp_path / "t"), 1, {"prompt": "a"}),
        Row(str(tmp_path / "t"), 3, {"prompt": "c"}),
    )
    assert isinstance(second, Fault) and second.number == 2


def test_a_damaged_row_group_is_one_fault_and_the_next_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t"
    parquet.write_table(
        pyarrow.table({"prompt": [f"{n:05}" for n in range(30)]}), path, row_group_size=10, compression="gzip"
    )
    place = parquet.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = items(path)
    assert [each.number for each in found if isinstance(each, Row)] == [*range(1, 11), *range(21, 31)]
    (fault,) = [each for each in found if isinstance(each, Fault)]
    assert fault.reason.startswith("rows 11 to 20 cannot be read: ")


def test_a_parquet_file_that_was_cut_is_named_and_others_of_its_folder_go_on(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "b.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SettingsError, match=r"a\.parquet: is no whole Parquet file"):
        items(tmp_path / "a.parquet")
    fault, *good = items(*(tmp_path / name for name in ("a.parquet", "b.parquet")))
    assert isinstance(fault, Fault) and fault.reason.startswith("is no whole Parquet file")
    assert [row.fields for row in good if isinstance(row, Row)] == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: pyarrow.Codec("zstd").compress(data, asbytes=True)])
def test_a_compressed_file_that_was_cut_gives_what_came_before_and_says_so(pack: Any, tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"prompt": str(n * n)}).encode() + b"\n" for n in range(30_000))
    whole = pack(lines)
    (tmp_path / "t").write_bytes(whole[: len(whole) * 3 // 4])
    *before, last = items(tmp_path / "t")
    assert len(before) > 1000
    assert isinstance(last, Fault) and last.reason.startswith("is damaged or cut, and ends here")


def test_rows_of_huge_cells_come_in_small_chunks(tmp_path: Path) -> None:
    table = pyarrow.table({"prompt": [f"{n:02}" * 500_000 for n in range(20)]})
    parquet.write_table(table, tmp_path / "t")
    sizes = [len(chunk) for chunk in read_files([str(tmp_path / "t")], LIMIT)]
    assert sum(sizes) == 20
    assert max(sizes) < 20


def test_a_folder_is_read_whole_but_for_what_holds_no_data(tmp_path: Path) -> None:
    for name in ("data/train-00001.parquet", "data/train-00000.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / name)
    (tmp_path / "more.jsonl.gz").write_bytes(gzip.compress(LINES, mtime=0))
    for name in ("README.md", "dataset_info.json", "state.json", ".hidden.jsonl", "_partial.jsonl"):
        (tmp_path / name).write_text("{}")
    found = files_of(str(tmp_path))
    names = ["data/train-00000.parquet", "data/train-00001.parquet", "more.jsonl.gz"]
    assert found == [str(tmp_path / name) for name in names]
    assert rows(*map(Path, found)) == ROWS * 3


def test_a_pattern_means_the_files_that_match_it(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).write_bytes(LINES)
    assert files_of(str(tmp_path / "*.jsonl")) == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    (tmp_path / "x[1].jsonl").write_bytes(LINES)  # a name that looks like a pattern
    assert files_of(str(tmp_path / "x[1].jsonl")) == [str(tmp_path / "x[1].jsonl")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.jsonl", "cannot be read: No such file"),
        ("*.csv", "no file matches this pattern"),
        ("empty", "no file in this folder ends with .jsonl"),
    ],
)
def test_a_name_without_a_file_is_refused_with_what_it_was(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=f"{said}"):
        files_of(str(tmp_path / name))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04", "looks like a zip archive or a spreadsheet"),
        ("{}".encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        (b"<!DOCTYPE html>", "looks like HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (gzip.compress(gzip.compress(LINES, mtime=0), mtime=0), "is compressed twice"),
        (gzip.compress(LINES, mtime=0)[:10], "is damaged or cut"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_bytes(data)
    with pytest.raises(SettingsError, match=said):
        items(tmp_path / "prompts")
