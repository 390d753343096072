from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile

import numpy as np
import pytest

from kflow.data.table_file import TableFormat, read_table

TEXT = "age,city,note\n31,Oslo,a\n,Rome,NA\n45.5, Oslo ,?\n"


@pytest.fixture
def read(tmp_path):
    """Write a file and read it."""

    def read(content, name="data.csv", encoding="utf-8", form=None, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_table(path, form, **options)

    return read


def cells(frame, name):
    return [None if cell is None or cell != cell else cell for cell in frame[name]]


def test_numbers_text_and_missing_cells(read):
    table = read(TEXT)
    assert list(table.frame.columns) == ["age", "city", "note"]
    np.testing.assert_array_equal(table.frame["age"], [31, np.nan, 45.5])
    assert cells(table.frame, "city") == ["Oslo", "Rome", "Oslo"]
    assert cells(table.frame, "note") == ["a", None, None]
    assert table.notes == ()


def test_text_that_is_all_numbers(read):
    frame = read("code,x\n007,1\n010,2\n", text=("code",)).frame
    assert cells(frame, "code") == ["007", "010"]
    assert frame["x"].dtype == np.float64


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_text(suffix, pack, read):
    assert cells(read(pack(TEXT.encode()), f"data.csv{suffix}").frame, "age")[0] == 31
    with pytest.raises(ValueError, match="not compressed as its name says"):
        read(TEXT, f"data.csv{suffix}")
    with pytest.raises(ValueError, match="damaged"):
        read(pack(TEXT.encode())[:-9], f"data.csv{suffix}")


def test_zipped_text(read, tmp_path):
    path = tmp_path / "data.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.csv", TEXT)
    assert len(read_table(path).frame) == 3
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", TEXT)
    with pytest.raises(ValueError, match="holds 2 files"):
        read_table(path)
    with pytest.raises(ValueError, match="damaged"):
        read(TEXT, "data.csv.zip")


def test_what_is_found_out_is_told(read):
    table = read("größe;x\n1,5;2\n2,5;3\n", encoding="cp1252")
    assert cells(table.frame, "größe") == [1.5, 2.5]
    assert [note.split(" (")[0] for note in table.notes] == [
        "The encoding is cp1252, as far as can be told",
        "Cells are separated by semicolon",
        "The decimal mark is a comma",
    ]


def test_what_is_said_is_not_found_out(read):
    form = TableFormat(separator="semicolon", encoding="latin-1", decimal=".")
    table = read("a;b\n1,5;é\n", encoding="latin-1", form=form)
    assert cells(table.frame, "a") == ["1,5"]
    assert cells(table.frame, "b") == ["é"]
    assert table.notes == ()
    assert list(read("a:b\n1:2\n", form=TableFormat(separator=":")).frame.columns) == ["a", "b"]
    assert list(read("a\tb\n1\t2\n", form=TableFormat(separator="\\t")).frame.columns) == ["a", "b"]


def test_a_first_line_of_values_is_a_row(read):
    table = read("5.1,3.5,setosa\n4.9,3.0,setosa\n")
    assert list(table.frame.columns) == ["column_1", "column_2", "column_3"]
    assert cells(table.frame, "column_1") == [5.1, 4.9]
    assert "The first line holds values (5.1, 3.5, setosa, ...), not names" in table.notes[0]


@pytest.mark.parametrize("character", [*"\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"])
def test_only_line_feeds_and_carriage_returns_end_lines(character, read):
    text = f"a{character}b"
    assert cells(read(f"x,y\n{text},1\n").frame, "x") == [text]
    for end in ("\n", "\r", "\r\n"):
        assert cells(read(end.join(["x,y", "a,1", "b,2"])).frame, "x") == ["a", "b"]


def test_blank_lines_are_skipped(read):
    assert cells(read("a,b\n1,2\n   \n\n3,4\n \t\n").frame, "b") == [2, 4]


def test_a_byte_order_mark_is_no_part_of_a_name(read):
    frame = read("\ufeffa,b\n1,2\n", form=TableFormat(encoding="utf-8")).frame
    assert list(frame.columns) == ["a", "b"]


def test_names_that_are_missing_or_come_again(read):
    table = read("a,,a\n1,2,3\n")
    assert list(table.frame.columns) == ["a", "column_2", "a_2"]
    assert len(table.notes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("a,b\n", "has no rows below the names"),
        ("a,b\n1,2\n1\n", "line 3 has 1 cells, the first line 2"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells"),
        ('a,b\n1,"2\n', "check the quotes"),
        (b"a,b\n1,\0\xff\n", "zero bytes"),
    ],
)
def test_what_is_no_table(text, message, read):
    with pytest.raises(ValueError, match=message) as caught:
        read(text)
    assert "data.csv" in str(caught.value)


def test_formats_that_cannot_be():
    for separator in ("", "ab", '"'):
        with pytest.raises(ValueError, match="separator must be one character"):
            TableFormat(separator=separator)
    with pytest.raises(ValueError, match="decimal must be"):
        TableFormat(decimal="'")


@pytest.mark.parametrize("name", ["a.npz", "a.xlsx", "a.gz", "csv", "a.parquet.gz"])
def test_names_of_other_files(name, tmp_path):
    with pytest.raises(ValueError, match=r"tables are read from \.csv"):
        read_table(tmp_path / name)


def test_missing_files(tmp_path):
    for name in ("none.csv", "none.csv.gz", "none.csv.zip", "none.parquet"):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / name)


def test_without_pandas_the_error_says_how_to_install_it(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'kflow\[tables\]'"):
        read(TEXT)


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "data.parquet"
    frame = pandas.DataFrame({"a": [1.5, None], "b": ["x", None], "c": [True, False]})
    try:
        frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ImportError, match="parquet files need PyArrow: pip install pyarrow"):
            read_table(path)
        return
    assert list(read_table(path).frame.columns) == ["a", "b", "c"]
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is no parquet file, or it is damaged"):
        read_table(path)
