"""Errors of an emulator at rows that had no part in its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.data.chunks import row_chunks
from kflow.emulator.outputs import OutputReduction
from kflow.emulator.posterior import HeldOut
from kflow.errors import damaged
from kflow.storage.model_file import ModelReader

__all__ = ["HeldOutErrors", "measured"]

# The nominal coverages at which intervals are counted.
LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])


@dataclass(frozen=True, eq=False, repr=False)
class HeldOutErrors(ShortRepr):
    """Errors of each output at rows that had no part in its predictions.

    They are rows that were held out, and afterwards taken in; or, where the posterior is that given
    all rows, all rows, each predicted from the others. The kernels have seen these rows, and so have
    the components of outputs, whose residuals are enlarged for that.

    Attributes
    ----------
    n_rows : int
        Number of these rows.
    rmse : ndarray, shape (m,)
        Root mean square errors, in the units of the outputs.
    deviations : ndarray, shape (m,)
        Standard deviations of the outputs at all rows; 0 for constant outputs.
    truncation : ndarray, shape (m,)
        The part of `rmse` that is due to the components left out, in the units of the outputs.
    coverage : ndarray, shape (m,)
        The part of the rows within the interval of 95 %, for each output.
    component_rmse : ndarray, shape (q,)
        Root mean square errors of the scores, which have variance 1.
    reliability : ndarray, shape (11,)
        The part of rows and outputs within intervals of the nominal coverages `levels`.
    """

    n_rows: int
    rmse: Doubles
    deviations: Doubles
    truncation: Doubles
    coverage: Doubles
    component_rmse: Doubles
    reliability: Doubles
    levels: ClassVar[Doubles] = LEVELS

    ARRAYS: ClassVar[tuple[str, ...]] = (
        "rmse",
        "deviations",
        "truncation",
        "coverage",
        "component_rmse",
        "reliability",
    )

    @property
    def relative(self) -> Doubles:
        """`rmse` over `deviations`, (m,); 0 for constant outputs."""
        safe = np.where(self.deviations > 0.0, self.deviations, 1.0)
        return np.where(self.deviations > 0.0, self.rmse / safe, 0.0)

    def summary(self) -> str:
        """Return the errors as a few lines of text."""
        relative = self.relative
        low, middle, high = np.percentile(relative, [25, 50, 75])
        worst = int(relative.argmax())
        safe = np.where(self.deviations > 0.0, self.deviations, 1.0)
        return "\n".join(
            [
                f"{len(self.rmse)} outputs by {len(self.component_rmse)} components, "
                f"{self.n_rows} rows held out",
                f"rmse / std      {middle:.2e} (median), {low:.2e} to {high:.2e} (quartiles), "
                f"{relative[worst]:.2e} at worst (output {worst})",
                f"truncation      {np.median(self.truncation / safe):.2e} of that (median)",
                f"95 % intervals  {self.coverage.mean():.1%} (mean), "
                f"{self.coverage.min():.1%} to {self.coverage.max():.1%}",
            ]
        )

    # ---- files --------------------------------------------------------------------------------

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name; `read` is the inverse."""
        for name in self.ARRAYS:
            yield f"held_out_{name}", getattr(self, name)

    @classmethod
    def read(cls, reader: ModelReader, n_rows: int, m: int, q: int) -> HeldOutErrors:
        """Return the errors that a model file holds.

        Raises
        ------
        ModelFileError
            If the arrays are damaged or do not fit each other.
        """
        lengths = {"component_rmse": q, "reliability": len(LEVELS)}
        with damaged("held-out errors"):
            arrays = {name: reader.array(f"held_out_{name}", ndim=1) for name in cls.ARRAYS}
            for name, array in arrays.items():
                if len(array) != lengths.get(name, m) or array.dtype != np.float64:
                    raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}")
        return cls(n_rows, **arrays)


def measured(
    outputs: OutputReduction, Y: FloatArray, predictions: Sequence[HeldOut], n_train: int
) -> HeldOutErrors:
    """Return the errors at some rows.

    Parameters
    ----------
    outputs : OutputReduction
        The reduction.
    Y : ndarray, shape (n, m)
        Outputs at the rows.
    predictions : sequence of HeldOut
        The predictions of their scores, one for each component.
    n_train : int
        Number of all rows.
    """
    from scipy.special import ndtri

    scores = outputs.reduced(Y)
    errors, variances = np.empty_like(scores), np.empty_like(scores)
    for number, predicted in enumerate(predictions):
        errors[:, number], variances[:, number] = predicted.errors, predicted.variances
    widths = ndtri(0.5 + 0.5 * LEVELS)
    squares, inside = np.zeros(Y.shape[1]), np.zeros((len(LEVELS), Y.shape[1]))
    for rows in row_chunks(len(Y)):
        error = outputs.standardised(errors[rows])
        error += outputs.left_out(Y[rows], scores[rows], n_train)
        error *= outputs.scale
        deviation = np.sqrt(outputs.output_variances(variances[rows]))
        squares += np.square(error).sum(axis=0)
        for number, width in enumerate(widths):
            inside[number] += (np.abs(error) <= width * deviation).sum(axis=0)
    inside /= len(Y)
    varies = outputs.spread > 0.0
    return HeldOutErrors(
        n_rows=len(Y),
        rmse=np.sqrt(squares / len(Y)),
        deviations=outputs.spread,
        truncation=outputs.truncation * outputs.scale,
        coverage=inside[int(np.flatnonzero(LEVELS == 0.95)[0])],
        component_rmse=np.sqrt(np.square(errors).mean(axis=0)),
        reliability=inside[:, varies].mean(axis=1) if varies.any() else inside.mean(axis=1),
    )
