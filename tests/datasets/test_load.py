from __future__ import annotations

import gzip
import io
import shutil
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from kflow.datasets import load_dataset, load_file, load_points

# ---- digits ---------------------------------------------------------------------------------------


def test_digits_are_split_by_class_and_always_alike():
    data, again = load_dataset("digits"), load_dataset("digits")
    assert data.task == "classification"
    assert data.image_shape == (8, 8)
    assert data.X_train.shape[1] == 64
    assert len(data.X_train) + len(data.X_test) == 1797
    everything = np.bincount(data.y_train) + np.bincount(data.y_test)
    assert (np.bincount(data.y_test) == everything // 4).all()
    np.testing.assert_array_equal(data.X_test, again.X_test)
    np.testing.assert_array_equal(data.y_train, again.y_train)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown data set 'cifar'; known are digits, mnist"):
        load_dataset("cifar")


# ---- IDX ------------------------------------------------------------------------------------------


def idx(array):
    array = np.asarray(array, np.uint8)
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = "train-images-idx3-ubyte"


@pytest.fixture(params=["", ".gz"], ids=["plain", "gzip"])
def suffix(request):
    return request.param


@pytest.fixture
def write(suffix):
    def write(path, content):
        path = path.with_name(path.name + suffix)
        path.write_bytes(gzip.compress(content) if suffix else content)
        return path

    return write


@pytest.fixture
def folder(tmp_path, rng, write):
    """A folder with 20 training and 8 test images of 3 x 2 pixels."""
    for part, n in (("train", 20), ("t10k", 8)):
        write(tmp_path / f"{part}-images-idx3-ubyte", idx(rng.integers(0, 256, (n, 3, 2))))
        write(tmp_path / f"{part}-labels-idx1-ubyte", idx(np.arange(n) % 4))
    return tmp_path


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_become_points_and_labels(name, folder, suffix):
    data = load_dataset(name, folder)
    assert (data.name, data.task, data.image_shape) == (name, "classification", (3, 2))
    assert data.X_train.shape == (20, 6)
    assert data.X_test.shape == (8, 6)
    assert data.X_train.dtype == np.float32
    np.testing.assert_array_equal(data.y_test, np.arange(8) % 4)
    opener = gzip.open if suffix else open
    with opener(folder / (IMAGES + suffix), "rb") as file:
        raw = np.frombuffer(file.read()[16:], np.uint8)
    np.testing.assert_array_equal(data.X_train.ravel(), raw)


def test_image_files_need_a_folder():
    with pytest.raises(ValueError, match="pass data_dir"):
        load_dataset("mnist")


def test_a_missing_file_is_named(folder, suffix):
    (folder / f"t10k-labels-idx1-ubyte{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz .* is missing: downl"):
        load_dataset("mnist", folder)


GOOD = idx(np.zeros((20, 3, 2)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG\r\n" + GOOD, "starts with 89504e47 instead of 00000803"),
        (idx(np.zeros(20)), "starts with 00000801 instead of 00000803"),
        (GOOD.replace(b"\x08", b"\x0d", 1), "starts with 00000d03"),
        (GOOD[:9], "header is cut short"),
        (idx(np.zeros((0, 3, 2))), "holds no data"),
        (GOOD[:-1], "needs 120 bytes of data, but it has only 119"),
        (GOOD + b"\0", "needs 120 bytes of data, but it has more"),
        (GOOD[:4] + struct.pack(">3I", 2**32 - 1, 1, 1) + GOOD[16:], "only 120"),
    ],
)
def test_a_bad_idx_file_is_named(content, message, folder, write):
    path = write(folder / IMAGES, content)
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset("mnist", folder)
    assert str(path) in str(caught.value)
    assert "replace it" in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz"], indirect=True)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4],
        lambda data: data[:-6] + bytes([data[-6] ^ 255]) + data[-5:],  # the checksum
        lambda data: data[:12] + b"\xff" * 8 + data[20:],
        lambda data: b"not gzip" + data,
    ],
    ids=["half", "end", "checksum", "stream", "magic"],
)
def test_a_damaged_gzip_file_is_named(damage, folder):
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load_dataset("mnist", folder)


def test_as_many_labels_as_images(folder, write):
    write(folder / "train-labels-idx1-ubyte", idx(np.zeros(19)))
    with pytest.raises(ValueError, match="20 train images but 19 labels"):
        load_dataset("mnist", folder)


def test_training_and_test_images_have_one_size(folder, write):
    write(folder / "t10k-images-idx3-ubyte", idx(np.zeros((8, 2, 3))))
    with pytest.raises(ValueError, match="do not belong together"):
        load_dataset("mnist", folder)


# ---- folders of classes ---------------------------------------------------------------------------


@pytest.fixture(params=["zip", "folder"])
def photographs(request, tmp_path, rng):
    """Photographs of 4 x 4 pixels, six for training and two for the test of each of two classes."""
    Image = pytest.importorskip("PIL.Image")
    for part, n in (("train", 6), ("test", 2)):
        for kind in ("cat", "dog"):
            folder = tmp_path / "unpacked" / part / kind
            folder.mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:04}.jpg")
    if request.param == "folder":
        return tmp_path / "unpacked"
    shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "unpacked")
    return tmp_path


def test_photographs_become_points_and_names(photographs):
    data = load_dataset("cifar-10", photographs)
    assert (data.name, data.task, data.image_shape) == ("cifar-10", "classification", (4, 4, 3))
    assert (data.X_train.shape, data.X_test.shape) == ((12, 48), (4, 48))
    assert data.X_train.dtype == data.X_test.dtype == np.float32
    assert data.y_train.tolist() == ["cat"] * 6 + ["dog"] * 6
    assert data.y_test.tolist() == ["cat"] * 2 + ["dog"] * 2


def test_photographs_need_a_folder_in_two_parts(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match=r"pass data_dir .* images\.zip, or train/ and test/"):
        load_dataset("cifar-10")
    with pytest.raises(FileNotFoundError, match=r"holds neither images\.zip nor train/ and test/"):
        load_dataset("cifar-10", tmp_path)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("train/cat/1.png", "train/dog/1.png", "other/cat/1.png"):
            archive.writestr(name, file.getvalue())
    with pytest.raises(ValueError, match=r"images\.zip: all images must lie in train/<class>/ or"):
        load_dataset("cifar-10", tmp_path)


# ---- npz ------------------------------------------------------------------------------------------


@pytest.fixture
def npz(tmp_path):
    def save(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return save


def test_npz_with_a_test_part(npz, rng):
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    data = load_file(npz(X=X, y=y, X_test=X[:5] + 1, y_test=y[:5]))
    assert (data.name, data.task) == ("data.npz", "classification")
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.X_test, X[:5] + 1)
    np.testing.assert_array_equal(data.y_test, y[:5])


def test_npz_without_one_holds_out_a_quarter(npz, rng):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    data = load_file(npz(X=X, height=y[:, None]), target="height")
    assert data.task == "regression"
    assert len(data.y_test) == 10
    rows = np.concatenate([data.X_train, data.X_test])
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(X[:, 0]))
    np.testing.assert_array_equal(np.sort(np.concatenate([data.y_train, data.y_test])), np.sort(y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npz_keeps_the_precision(dtype, npz):
    X = np.arange(16, dtype=dtype).reshape(8, 2)
    assert load_file(npz(X=X, y=np.arange(8) % 2)).X_train.dtype == dtype


EIGHT = np.arange(8.0).reshape(8, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": EIGHT}, "has no array 'y'; it has X"),
        ({"X": EIGHT, "y": EIGHT[:7, 0]}, r"y must hold one value for each of 8 rows, got \(7,\)"),
        ({"X": EIGHT[:, 0], "y": EIGHT}, "X must have two dimensions"),
        ({"X": np.full((8, 1), np.nan), "y": EIGHT}, "X contains NaN"),
        ({"X": np.full((8, 1), "a"), "y": EIGHT}, "X must hold real numbers"),
        ({"X": EIGHT, "y": np.full(8, np.nan)}, "targets contain NaN"),
        ({"X": EIGHT, "y": np.full(8, 1j)}, "targets must be numbers or text"),
        ({"X": EIGHT, "y": np.full(8, None)}, "damaged or holds Python objects"),
        ({"X": EIGHT, "y": EIGHT, "X_test": EIGHT}, "has no array 'y_test'"),
        ({"X": EIGHT, "y": EIGHT, "X_test": EIGHT.repeat(2, 1), "y_test": EIGHT}, "X_test must h"),
        ({"X": EIGHT[:3], "y": EIGHT[:3]}, "too few rows"),
    ],
)
def test_bad_npz_files_are_explained(arrays, message, npz):
    path = npz(**arrays)
    with pytest.raises(ValueError, match=message) as caught:
        load_file(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"X,y\n1,2\n", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz(content, tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a \.npz file, or it is damaged"):
        load_file(path)


def test_a_damaged_npz(npz):
    path = npz(X=np.zeros((1000, 2)), y=np.zeros(1000))
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        load_file(path)


def test_missing_files_and_other_kinds(tmp_path):
    for name in ("none.npz", "none.csv"):
        with pytest.raises(FileNotFoundError):
            load_file(tmp_path / name)
    with pytest.raises(ValueError, match=r"only \.npz and \.csv files"):
        load_file(tmp_path / "data.xlsx")


# ---- csv ------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    def save(text, encoding="utf-8"):
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return save


def rows(header, *cells, repeat=4):
    return "\n".join([header, *cells * repeat]) + "\n"


def test_csv_with_text_labels_in_the_last_column(table):
    data = load_file(table(rows("a,b,kind", "1,2.5,cat", "-3e2,4, dog ", repeat=8)))
    assert data.task == "classification"
    assert data.X_train.shape == (12, 2)
    assert set(data.y_train) == set(data.y_test) == {"cat", "dog"}
    cats = data.X_train[data.y_train == "cat"]
    np.testing.assert_array_equal(cats, np.tile([1, 2.5], (6, 1)))


def test_csv_target_by_name_with_windows_line_ends_and_byte_order_mark(table):
    text = rows("y,x", "0.5,1", "1.5,2").replace("\n", "\r\n")
    data = load_file(table(text, "utf-8-sig"), target="y")
    assert data.task == "regression"
    np.testing.assert_array_equal(data.y_train, data.X_train[:, 0] - 0.5)


def test_csv_columns_keep_their_names_if_these_tell_them_apart(table):
    data = load_file(table(rows("b, a ,kind,c", "1,2,cat,3", "4,5,dog,6")), target="kind")
    assert data.feature_names == ("b", "a", "c")
    assert load_file(table(rows("a,a,kind", "1,2,cat"))).feature_names is None
    assert load_dataset("digits").feature_names is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no data"),
        ("a,b\n", "has no data"),
        ("a\n1\n", "has no feature columns"),
        ("a,b\n1,2\n1\n", "line 3 has 1 cells, the header 2"),
        ("a,b\n1,2\nx,2\n", "row 2, column 'a': 'x' is not a number"),
        ("a,b\n,2\n", "row 1, column 'a': '' is not a number"),
        ("a,b\nnan,2\n", "contains NaN"),
        ("a,b\n1,2\n1,\n", "the target of row 2 is empty"),
        ("a,b\n1,nan\n", "targets contain NaN"),
        ("a,b\n1,2\n", "too few rows"),
        ("a,b\n1,\0\xff\n", "data.csv"),
    ],
)
def test_bad_csv_files_are_explained(text, message, table):
    path = table(text, "latin-1")
    with pytest.raises(ValueError, match=message) as caught:
        load_file(path)
    assert path.name in str(caught.value)


def test_the_target_column_must_exist_once(table):
    path = table(rows("a,b,b", "1,2,3"))
    with pytest.raises(ValueError, match="has no column 'c'; its columns are a, b, b"):
        load_file(path, target="c")
    with pytest.raises(ValueError, match="has more than one column 'b'"):
        load_file(path, target="b")


# ---- what the targets ask for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "task", "kind"),
    [
        (np.arange(64) % 3, "classification", "i"),
        (np.arange(64) % 2 * 2.0 - 1.0, "classification", "f"),
        (np.arange(64) % 2 == 0, "classification", "b"),
        (np.array(["a", "b"])[np.arange(64) % 2], "classification", "U"),
        (np.array([b"a", b"b"])[np.arange(64) % 2], "classification", "U"),
        (np.arange(64), "regression", "f"),
        (np.arange(64) % 2 + 0.5, "regression", "f"),
    ],
)
def test_task_from_the_targets(y, task, kind, npz):
    data = load_file(npz(X=np.zeros((64, 1)), y=y))
    assert (data.task, data.y_train.dtype.kind) == (task, kind)
    assert data.y_test.dtype == data.y_train.dtype


def test_task_as_asked_for(npz):
    path = npz(X=np.zeros((64, 1)), y=np.arange(64) % 3)
    assert load_file(path, task="regression").y_train.dtype == np.float64
    path = npz(X=np.zeros((64, 1)), y=np.arange(64) % 8 / 2)
    assert set(load_file(path, task="classification").y_train) == set(np.arange(8) / 2)
    path = npz(X=np.zeros((64, 1)), y=np.full(64, "a"))
    with pytest.raises(ValueError, match="regression needs numbers"):
        load_file(path, task="regression")


def test_classes_of_fewer_than_four_stay_in_the_training_part(npz):
    y = np.repeat([0, 1, 2], [16, 12, 3])
    data = load_file(npz(X=np.arange(31.0)[:, None], y=y))
    np.testing.assert_array_equal(np.bincount(data.y_test, minlength=3), [4, 3, 0])
    np.testing.assert_array_equal(np.bincount(data.y_train), [12, 9, 3])


# ---- points for prediction ------------------------------------------------------------------------


def test_points_of_a_table_with_and_without_target(table):
    expected = np.tile([[1.0, 2.0]], (4, 1))
    np.testing.assert_array_equal(load_points(table(rows("a,b", "1,2")), 2), expected)
    np.testing.assert_array_equal(load_points(table(rows("a,b,y", "1,2,cat")), 2), expected)
    path = table(rows("y,a,b", "cat,1,2"))
    np.testing.assert_array_equal(load_points(path, 2, "y"), expected)


def test_points_must_have_the_models_columns(table, npz):
    with pytest.raises(ValueError, match="2 feature columns, where the model has 4"):
        load_points(table(rows("a,b", "1,2")), 4)
    with pytest.raises(ValueError, match="X must have 4 columns"):
        load_points(npz(X=np.zeros((3, 2))), 4)
    np.testing.assert_array_equal(load_points(npz(X=np.ones((3, 2))), 2), np.ones((3, 2)))


def test_points_are_found_by_name(table, npz):
    names = ("a", "b")
    expected = np.tile([[1.0, 2.0]], (4, 1))
    for text in ("a,b\n1,2", "b,a\n2,1", "kind,b,id,a,id\ncat,2,x,1,y"):
        path = table(rows(*text.split("\n")))
        np.testing.assert_array_equal(load_points(path, 2, feature_names=names), expected)
        np.testing.assert_array_equal(load_points(path, 2, "kind", names), expected)
    path = npz(X=expected)  # which has no names
    np.testing.assert_array_equal(load_points(path, 2, feature_names=names), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2", "has no column 'b'; its columns are a, c"),
        ("a,b,b\n1,2,3", "has more than one column 'b'"),
        ("c,b,a\n1,2,x", "row 1, column 'a': 'x' is not a number"),
    ],
)
def test_points_that_cannot_be_found_by_name_are_explained(text, message, table):
    with pytest.raises(ValueError, match=message):
        load_points(table(rows(*text.split("\n"))), 2, feature_names=("a", "b"))


def test_a_first_line_of_values_is_a_row(table):
    path = table("5.1,3.5,a\n" + "4.9,3.0,b\n5.0,3.1,a\n" * 6)
    with pytest.warns(UserWarning, match="the first line holds values"):
        data = load_file(path)
    assert len(data.y_train) + len(data.y_test) == 13
    assert data.feature_names == ("column_1", "column_2")


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (60000, 2**16, 2**16), (3, 28, 28)])
@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_header_that_lies(tmp_path, sizes, packed):
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", *sizes) + b"1234"
    path = tmp_path / ("train-images-idx3-ubyte" + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=rf"{path} is damaged.*but it has only 4"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_header_that_lies(tmp_path, compressed):
    content = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 8)}
    np.lib.format.write_array_header_1_0(content, header)
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "data.npz", "w", kind) as archive:
        for name in ("X", "y"):
            archive.writestr(f"{name}.npy", content.getvalue() + bytes(80))
    with pytest.raises(ValueError, match=r"data\.npz is damaged.*less data: 80 bytes"):
        load_file(tmp_path / "data.npz")


def test_a_long_label_takes_no_more_memory_than_it_has_characters(tmp_path):
    path = tmp_path / "data.csv"
    lines = [f"{number},{'ab'[number % 2]}" for number in range(2000)]
    path.write_text("\n".join(["x,y", *lines, f"1,{'c' * 100_000}"]))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"data\.csv: a target has 100000 characters"):
            load_file(path)
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()
