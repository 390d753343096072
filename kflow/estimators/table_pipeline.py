"""An encoder of tables and an estimator, as one estimator that is saved in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kflow.errors import ModelFileError
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.saved_pipeline import SavedPipeline
from kflow.estimators.table_encoder import TableEncoder
from kflow.storage.model_file import ModelReader

__all__ = ["TablePipeline", "make_table_pipeline"]


class TablePipeline(SavedPipeline):
    """The pipeline that `make_table_pipeline` returns: scikit-learn's, which can be saved.

    Attributes
    ----------
    id_column : str or None
        The column that names the rows of the table and is no feature. `kflow fit --id` sets it.
    """

    id_column: str | None = None

    def __sklearn_clone__(self) -> TablePipeline:
        """Return an unfitted copy for `sklearn.base.clone`, with the same column of names."""
        copy: TablePipeline = super().__sklearn_clone__()
        copy.id_column = self.id_column
        return copy

    def own_settings(self) -> dict[str, Any]:
        """Return the id column for a model file."""
        return {"id_column": self.id_column}

    @classmethod
    def from_model_file(
        cls, reader: ModelReader, read_estimator: Callable[[ModelReader], Any]
    ) -> TablePipeline:
        """Return the pipeline that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader, read_estimator
            As in `SavedPipeline.from_model_file`.

        Raises
        ------
        ModelFileError
            If what the file holds is no pipeline, or its parts do not fit each other.
        """
        pipeline: TablePipeline = super().from_model_file(reader, read_estimator)
        id_column = reader.settings.get("id_column")
        if not isinstance(id_column, (str, type(None))):
            raise ModelFileError("the model's id column is no name")
        pipeline.id_column = id_column
        return pipeline

    @classmethod
    def read_encoder(cls, reader: ModelReader) -> TableEncoder:
        """Return the encoder that a model file holds."""
        return TableEncoder.from_settings(reader.settings.get("encoder", {}))


def make_table_pipeline(
    estimator: Any = None, *, encoder: TableEncoder | None = None
) -> TablePipeline:
    """Return an estimator for tables with text and missing cells.

    Parameters
    ----------
    estimator : estimator, optional
        A classifier or regressor. By default a `KernelFlowClassifier`.
    encoder : TableEncoder, optional
        By default one with its defaults.

    Returns
    -------
    TablePipeline
        A `sklearn.pipeline.Pipeline` with the steps ``"encoder"`` and ``"estimator"``. It also has a
        method `save`, whose file `kflow.load` reads, if the estimator is one of kflow.

    Examples
    --------
    >>> import numpy as np
    >>> import kflow
    >>> numbers = np.random.default_rng(0).normal(size=60)
    >>> table = np.array([[x, "in" if x > 0 else "out"] for x in numbers], dtype=object)
    >>> table[5, 0] = None
    >>> model = kflow.make_table_pipeline().fit(table, numbers > 0.5)
    >>> model.predict(table[:3]).tolist() == (numbers[:3] > 0.5).tolist()
    True
    """
    pipeline: TablePipeline = TablePipeline.of(
        TableEncoder() if encoder is None else encoder,
        KernelFlowClassifier() if estimator is None else estimator,
    )
    return pipeline
