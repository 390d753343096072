"""A table with numbers, text and missing cells as a matrix of numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from kflow._base.arguments import as_count
from kflow._base.array_types import Doubles
from kflow._base.parameter_names import NamedParameters
from kflow.errors import damaged
from kflow.estimators.column_values import column_values
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.parameters import keep_parameters
from kflow.estimators.table_columns import (
    CategoryColumn,
    Column,
    column_from_json,
    column_to_json,
    learned_column,
    reason_to_refuse,
)

__all__ = ["TableEncoder"]


class TableEncoder(
    NamedParameters,
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """A table with numbers, text and missing cells as a matrix of numbers.

    - Numbers stay as they are. A missing one becomes the median of its column in training. If cells
      of a column were missing in training, a second feature is 1 where a cell is missing, else 0.
    - Text, categories and booleans have a feature for each category, which is 1 in the rows of this
      category, else 0. Missing cells are a category of their own. Rare categories share a feature,
      and those that training has not seen belong to them; where there are no rare ones, all features
      of an unseen category are 0.
    - A column with one value only is dropped, and so is one whose categories are all rare.
    - Columns of dates, and columns of text that differs in nearly every row, are refused with an error
      that names all of them.

    Parameters
    ----------
    min_frequency : int
        A category in fewer rows of the training table is rare.
    max_categories : int
        Number of categories of a column that are not rare, the most frequent ones.

    Attributes
    ----------
    columns_ : tuple
        What becomes of each column, in the order of the table.
    report_ : str
        The same as text, a line for each column.
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Their names; only if the table has names, all of which are text.

    Notes
    -----
    The matrix is not scaled: the estimators of kflow scale it themselves. What the encoder has learned
    is in model files, as JSON: see `make_table_pipeline`.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow import TableEncoder
    >>> table = np.array([[1.5, "red"], [None, "blue"], [2.5, "red"]], dtype=object)
    >>> encoder = TableEncoder(min_frequency=1).fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['x0', 'x0 is missing', 'x1=blue', 'x1=red']
    >>> encoder.transform(table).tolist()
    [[1.5, 0.0, 0.0, 1.0], [2.0, 1.0, 1.0, 0.0], [2.5, 0.0, 0.0, 1.0]]
    """

    def __init__(self, *, min_frequency: int = 3, max_categories: int = 30) -> None:
        keep_parameters(self, locals())

    def fit(self, X: Any, y: Any = None) -> TableEncoder:  # noqa: ARG002
        """Learn what becomes of each column.

        Parameters
        ----------
        X : pandas.DataFrame, Polars frame or array_like, shape (N, d)
            The training table, N >= 2.
        y : object
            Not used.

        Returns
        -------
        TableEncoder
            The encoder itself.

        Raises
        ------
        TypeError, ValueError
            For columns that cannot be used, naming all of them with what to do; for cells of other
            kinds; if no column is left.
        """
        limits = self._checked()
        with restored_on_failure(self):
            columns = self._cells(X, reset=True)
            reasons = {name: reason_to_refuse(cells) for name, cells in columns.items()}
            if any(reasons.values()):
                raise ValueError(_refusal({name: why for name, why in reasons.items() if why}))
            self.columns_: tuple[Column, ...] = tuple(
                learned_column(name, cells, **limits) for name, cells in columns.items()
            )
            if not self.n_features_out_:
                raise ValueError(f"X: no column is left:\n{self.report_}")
        return self

    def transform(self, X: Any) -> Doubles:
        """Return the matrix of a table, (n, n_features_out).

        Parameters
        ----------
        X : pandas.DataFrame, Polars frame or array_like, shape (n, d)
            A table with the columns of training, in their order.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For other columns, and for text in a column of numbers.
        """
        check_is_fitted(self)
        cells = self._cells(X, reset=False).values()
        parts = [column.encode(part) for column, part in zip(self.columns_, cells, strict=True)]
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def surprises(self, X: Any) -> tuple[str, ...]:
        """Return, in sentences, which cells of a table are of a kind that training has not seen.

        Parameters
        ----------
        X : pandas.DataFrame, Polars frame or array_like, shape (n, d)
            A table that `transform` takes.
        """
        check_is_fitted(self)
        cells = self._cells(X, reset=False).values()
        told = [column.surprise(part) for column, part in zip(self.columns_, cells, strict=True)]
        return tuple(text for text in told if text)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the features, such as ``"age"``, ``"age is missing"`` and ``"city=Oslo"``.

        Parameters
        ----------
        input_features : array_like of str, optional
            Names of the columns, if the training table had none.

        Raises
        ------
        ValueError
            If these are others than those of training, or of another number.
        """
        check_is_fitted(self)
        names = [column.name for column in self.columns_]
        if input_features is not None:
            given = [str(name) for name in input_features]
            if len(given) != len(names):
                raise ValueError(
                    f"input_features should have length equal to number of features ({len(names)}), "
                    f"got {len(given)}"
                )
            if hasattr(self, "feature_names_in_") and given != names:
                raise ValueError("input_features is not equal to feature_names_in_")
            names = given
        pairs = zip(self.columns_, names, strict=True)
        features = [feature for column, name in pairs for feature in column.feature_names(name)]
        return np.array(features, dtype=object)

    @property
    def n_features_out_(self) -> int:
        """Number of features."""
        return sum(len(column.feature_names(column.name)) for column in self.columns_)

    @property
    def report_(self) -> str:
        """What becomes of each column, a line for each."""
        check_is_fitted(self, "columns_")
        width = max(len(column.name) for column in self.columns_)
        return "\n".join(f"{column.name:{width}}  {column.report()}" for column in self.columns_)

    @property
    def category_names_(self) -> tuple[str, ...]:
        """The names of the columns whose cells are categories."""
        return tuple(column.name for column in self.columns_ if isinstance(column, CategoryColumn))

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are columns."""
        return hasattr(self, "columns_")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: cells may be missing, and may be text."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _checked(self) -> dict[str, int]:
        """Return the parameters, after checking them."""
        return {name: as_count(value, name, 1) for name, value in self.get_params().items()}

    def _cells(self, X: Any, *, reset: bool) -> dict[str, npt.NDArray[Any]]:
        """Return the cells of each column by its name, with scikit-learn's checks of the names."""
        if hasattr(X, "columns") and hasattr(X, "__getitem__"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            labels = list(X.columns)
            if len(set(labels)) < len(labels):
                raise ValueError(f"X: more than one column has the same name: {labels}")
            if reset and len(X) < 2:
                raise ValueError(f"X has {len(X)} sample(s), and at least 2 are needed")
            return {str(label): column_values(X[label], str(label)) for label in labels}
        if np.ma.isMaskedArray(X):
            hidden, X = np.ma.getmaskarray(X), np.array(X.data, dtype=object)
            X[hidden] = None  # masked cells are missing
        array = validate_data(
            self,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
        )
        names = [f"x{place}" for place in range(array.shape[1])]
        return {name: column_values(array[:, k], name) for k, name in enumerate(names)}

    # ---- files --------------------------------------------------------------------------------

    def to_settings(self) -> dict[str, Any]:
        """Return what the encoder has learned as JSON data; `from_settings` is the inverse."""
        check_is_fitted(self)
        return {
            "parameters": self._checked(),
            "has_names": hasattr(self, "feature_names_in_"),
            "columns": [column_to_json(column) for column in self.columns_],
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> TableEncoder:
        """Return the encoder that a model file holds.

        Raises
        ------
        ModelFileError
            If these are not the settings of one.
        """
        with damaged("table encoder"):
            encoder = cls(**settings["parameters"])
            encoder._checked()
            encoder.columns_ = tuple(column_from_json(column) for column in settings["columns"])
            names = [column.name for column in encoder.columns_]
            if len(set(names)) < len(names) or not encoder.n_features_out_:
                raise ValueError("its columns do not fit each other")
            encoder.n_features_in_ = len(names)
            if settings["has_names"]:
                encoder.feature_names_in_ = np.array(names, dtype=object)
        return encoder


def _refusal(refused: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{name!r} {why}" for name, why in refused.items())
    is_one = len(refused) == 1
    # A comma in the text of --drop stands between names, unless the text is the name of a column.
    is_plain = all("," not in name and name == name.strip() for name in refused)
    texts = [",".join(refused)] if is_plain else list(refused)
    options = " ".join(f"--drop {shlex.quote(text)}" for text in texts)
    return (
        f"X: {'this column' if is_one else 'these columns'} cannot be used: {reasons}. "
        f"X.drop(columns={list(refused)}) drops {'it' if is_one else 'them'}; on the command line "
        f"{options} does, or --id for one that names the rows"
    )
