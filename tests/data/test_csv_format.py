from __future__ import annotations

import pytest

from kflow.data.csv_format import (
    cells_of,
    decoded,
    find_decimal,
    find_quote,
    find_separator,
    header_is_data,
    is_number,
)


@pytest.mark.parametrize("cell", ["1", "-1.5", "+.5", "2.", "1e5", "3.2E-7"])
def test_numbers(cell):
    assert is_number(cell)
    assert is_number(cell.replace(".", ","), ",")


@pytest.mark.parametrize(
    "cell", ["", "x", "1,5", "1.2.3", "inf", "nan", "1_000", "0x1", "1 2", "e5"]
)
def test_what_is_no_number(cell):
    assert not is_number(cell)


def test_a_point_is_no_decimal_comma():
    assert not is_number("1.000", ",")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found(encoding):
    assert decoded("Köln;€".encode(encoding), "auto") == ("Köln;€", encoding)


def test_bytes_that_cp1252_does_not_know():
    assert decoded(b"a\x81\xe9", "auto") == ("a\x81é", "latin-1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_is_no_text(encoding):
    mark = "" if encoding in ("utf-8-sig", "utf-16") else "\ufeff"
    assert decoded(f"{mark}a,b".encode(encoding), encoding) == ("a,b", encoding)


def test_encodings_that_do_not_fit():
    with pytest.raises(ValueError, match="'utf-9' is unknown"):
        decoded(b"a", "utf-9")
    with pytest.raises(ValueError, match="codec can't decode"):
        decoded(b"\xff\xff", "utf-8")
    with pytest.raises(ValueError, match="zero bytes"):
        decoded(b"PK\0\1", "auto")


def lines(text):
    return text.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("1,5;2,5\n2,5;3,5\n", ";"),
        ("a\tb c\n1\t2, 3\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a b   c\n1  2 3\n", ""),
        ("city\nNew York\nLos Angeles\n", None),
        ("x\n1\n2\n", None),
        ("a,b\n1,2\n3\n", ","),
        ('a,b\n"x;y",2\n"x;y;z",2\n', ","),
        ("title,genre,y\n1,Drama;Comedy,0\n2,Crime;War,1\n", ","),
        ("a,b\n1;2,x\n1;2,y;z\n", ","),
        ("a\n1;2\n3;4\n", ";"),
        ('a,b\n"two\nlines",2\n1,2\n', ","),
    ],
)
def test_separators(text, separator):
    assert find_separator(lines(text), '"') == separator


def test_quotes():
    assert find_quote(lines("a,b\n'x,y',1\n'z',2\n'w',3\n")) == "'"
    assert find_quote(lines("a,b\nit's,1\n")) == '"'
    assert find_quote(lines("a,b\n'x',1\n\"y\",2\n")) == '"'


def test_cells():
    rows = list(cells_of(lines('a , "b, c",d\n\n"x\ny",1,\n'), ",", '"'))
    assert rows == [(1, ["a", "b, c", "d"]), (4, ["x\ny", "1", ""])]
    assert list(cells_of(lines("  a   b\tc\n"), "", '"')) == [(1, ["a", "b", "c"])]
    assert list(cells_of(lines("a\n  \n\t\n1\n"), ",", '"')) == [(1, ["a"]), (4, ["1"])]
    assert list(cells_of(lines('a\n""\n'), ",", '"')) == [(1, ["a"]), (2, [""])]
    assert list(cells_of(lines("a,b\n,\n"), ",", '"')) == [(1, ["a", "b"]), (2, ["", ""])]
    with pytest.raises(ValueError, match=r"line 2: .* check the quotes"):
        list(cells_of(lines('a,b\n"1,2\n'), ",", '"'))


@pytest.mark.parametrize(
    ("rows", "mark"),
    [
        ([["1,5", "x"]], ","),
        ([["1.5", "x"]], "."),
        ([["1,5", "2.5"]], "."),
        ([["1,234"]], "."),  # it may be a thousand and more
        ([["1,234"], ["1,2"]], ","),
        ([["0,125"]], ","),  # but thousands do not begin with zero
        ([["-0,125"]], ","),
        ([["1"]], "."),
    ],
)
def test_decimal_marks(rows, mark):
    assert find_decimal(rows) == mark


@pytest.mark.parametrize(
    ("first", "is_data"),
    [
        ("a,b", False),
        ("5.1,3.5,Iris-setosa", True),
        ("-1,a", True),
        ("1,0,0,1", True),
        ("0,1,2,3", False),
        ("2019,2020,2021", False),
        ("5,10,200", True),
        ("id,2019,2021", False),
        ("63,male", True),
        ("63,sex", False),
        (",age", False),
    ],
)
def test_headers(first, is_data):
    others = [["30", "male", "x", "y"], ["40", "female", "x", "y"]]
    assert header_is_data([first.split(","), *others]) is is_data


@pytest.mark.parametrize(
    ("text", "is_data"),
    [
        ("name,2021,2020,2019\nOslo,1,2,3\nRome,4,5,6", False),
        ("year,2021,2019,2020\n1,1,2,3\n2,4,5,6", False),  # a word above numbers
        ("code,1.5,-2\n1,1,2\n?,4,5", False),
        ("a,7,7\n1,1,2\n3,4,5", False),
        ("Oslo,2,9,4\nRome,1,2,3\nBonn,4,5,6", True),
        ("?,5,3\n1,4,2\n2,7,1", True),  # which is a missing cell, not a word
    ],
)
def test_headers_above_their_columns(text, is_data):
    assert header_is_data([line.split(",") for line in text.splitlines()]) is is_data
