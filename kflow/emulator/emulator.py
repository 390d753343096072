"""Emulators of expensive models: a Gaussian process for each of a few combinations of the outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.arrays import as_matrix
from kflow.emulator.components import Learning, fitted_components, split_rows
from kflow.emulator.files import posterior_arrays, read_posteriors
from kflow.emulator.held_out import HeldOutErrors, measured
from kflow.emulator.inputs import InputReduction
from kflow.emulator.outputs import OutputReduction
from kflow.emulator.posterior import given_all_rows, mean_functions
from kflow.errors import damaged
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.input_files import name_arrays, read_names
from kflow.estimators.parameters import (
    keep_parameters,
    parameters_from_json,
    parameters_to_json,
)
from kflow.estimators.validation import seed_of, validated, validated_already
from kflow.kernels import Kernel
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["Emulator"]

# The variance that components may leave out, as a part of the squared errors of the others.
_LEFT_OUT = 0.1

# Rows that the reduction of inputs looks at.
_REDUCTION_ROWS = 1000


class Emulator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""A fast stand-in for an expensive model y = f(x), with uncertainties and Jacobians.

    Inputs and outputs are standardised, and the outputs reduced to their principal components. The
    scores of each component are a Gaussian process of its own, whose kernel

    .. math:: a\, k(|(x - x') / \ell|) + b\, x \cdot x'

    has a length scale for each input. It is learned by `kflow.learn_kernel` on batches of near and far
    points. Mean and variance of the scores are mapped back, and what the components leave out is
    added to the variance of each output.

    Parameters
    ----------
    n_components : int, float or "auto"
        The number of components; or, as a float below 1, the share of the variance of the outputs
        that may be left out. ``"auto"``: components are added until the variance that is left out is a
        tenth of the squared errors of the others at rows held out. The last two take at most 100.
    output_scaling : {"standard"} or None
        ``"standard"``: errors of all outputs count alike, in units of their standard deviations.
        None: in the units of the outputs.
    input_components : int, float or None
        None: all inputs count, each with a length scale. Else they are reduced to the leading
        directions of gradients: to so many, or, as a float below 1, to as many as leave out that
        share of the mean squared gradient. `input_errors_` says what it costs.
    kernel : {"auto", "matern52", "gaussian"}
        The radial part k. ``"auto"`` learns both for each component, and keeps the one of the smaller
        loss.
    loss : str
        The loss that learning lowers, by its name in `kflow.losses`.
    batch_size, n_batches, n_steps : int
        Rows of a batch, half of which are groups of neighbours, number of batches, and steps of
        L-BFGS on these batches.
    n_inducing : int
        Points that predictions are made of, and to whose number their cost is proportional. Up to so
        many rows the posterior is that given all rows; of more rows so many are drawn as inducing
        points of the posterior given all.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of batches, inducing points and rows held out.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Attributes
    ----------
    held_out_ : kflow.emulator.HeldOutErrors
        Errors of each output at rows that had no part in their predictions.
    kernels_ : list of kflow.kernels.Kernel
        The learned kernels of the components, the one of the largest variance first.
    nuggets_ : ndarray, shape (q,)
        Their nuggets: the variance of the noise, or what the matrices need.
    n_components_ : int
        The number q of components; 0 if all outputs are constant.
    components_ : ndarray, shape (q, m)
        The components, directions of scaled outputs.
    truncation_ : ndarray, shape (m,)
        Root mean square of what the components leave out of each output, in its units.
    input_directions_ : ndarray, shape (d, p), or None
        The directions of standardised inputs, if they were reduced.
    input_errors_ : tuple of float, or None
        If inputs were reduced: the leave-one-out errors of the first component from all inputs and
        from the directions, on at most 1000 rows.
    n_inducing_ : int
        Points that predictions are made of.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : ndarray of str
        Names of the inputs, when X has them.

    Notes
    -----
    Fitting costs, for each component, the learning, which hardly depends on N, and N^3 flops, or
    2 N n_inducing^2 with inducing points. A prediction of the mean costs q evaluations of the kernel
    for each inducing point and q m flops; a call with a single row takes some tens of microseconds more.
    Variances take the square of the number of inducing points in flops.

    Variances are multiplied by one number for each component, so that the errors at rows held out
    agree with them.

    References
    ----------
    O. Lamminpaa, J. Susiluoto, J. Hobbs, J. McDuffie, A. Braverman and H. Owhadi, Forward model
    emulator for atmospheric radiative transfer using Gaussian processes and cross validation, Atmos.
    Meas. Tech. 18 (2025), 673-694: components, kernels that are radial plus linear, batches of near
    and far points.

    D. Higdon, J. Gattiker, B. Williams and M. Rightley, Computer model calibration using
    high-dimensional output, J. Am. Stat. Assoc. 103 (2008), 570-583.

    Examples
    --------
    >>> import kflow
    >>> from kflow.simulators import SIMULATORS
    >>> borehole = SIMULATORS["borehole"]
    >>> X = borehole.draw(100, random_state=0)
    >>> emulator = kflow.Emulator(random_state=0).fit(X, borehole(X))
    >>> T = borehole.draw(5, random_state=1)
    >>> mean, std = emulator.predict(T, return_std=True)
    >>> mean.shape, std.shape, emulator.jacobian(T).shape
    ((5, 100), (5, 100), (5, 100, 6))
    >>> bool((abs(mean - borehole(T)) < 5.0 * std).all())
    True
    """

    def __init__(
        self,
        *,
        n_components: int | float | str = "auto",
        output_scaling: str | None = "standard",
        input_components: int | float | None = None,
        kernel: str = "auto",
        loss: str = "nlml",
        batch_size: int = 500,
        n_batches: int = 2,
        n_steps: int = 60,
        n_inducing: int = 2000,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        keep_parameters(self, locals())

    # ---- fit ----------------------------------------------------------------------------------

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Emulator:
        """Learn from runs of the model.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Inputs of at least two runs.
        y : array_like, shape (N,) or (N, m)
            Outputs. float32 stays float32, and takes half the memory.

        Returns
        -------
        Emulator
            Itself.

        Raises
        ------
        DivergenceError
            If the loss is finite nowhere.
        SingularKernelError
            If a kernel matrix is not positive definite, even with a larger nugget.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        A fit that fails leaves an earlier fit as it was.
        """
        with restored_on_failure(self):
            points, values = validated(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
            )
            if len(points) < 2:
                raise ValueError(
                    "X has one row, n_samples = 1: an emulator needs at least two runs"
                )
            values = np.asarray(values)
            dtype = np.float32 if values.dtype == np.float32 else np.float64
            self._one_dimensional = values.ndim == 1
            self._fit(points, as_matrix(values, "y", dtype=dtype, column_if_1d=True))
        return self

    def _fit(self, X: Doubles, Y: FloatArray) -> None:
        n_inducing = as_count(self.n_inducing, "n_inducing", 1)
        seeds = np.random.SeedSequence(seed_of(self.random_state)).spawn(4)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        learning = Learning.of(self, int(rngs[0].integers(2**31)))
        self._outputs = OutputReduction.fit(Y, self.n_components, self.output_scaling, rngs[1])
        Z, weights = self._outputs.reduced(Y), np.square(self._outputs.deviations)
        self._inputs = InputReduction.fit(X)
        self.input_errors_: tuple[float, ...] | None = None
        if self.input_components is not None and Z.shape[1]:
            self._reduce_inputs(X, Z, learning, rngs[2])
        rows = split_rows(len(X), n_inducing, rngs[3])
        least = _LEFT_OUT if self.n_components == "auto" else 0.0
        self._posteriors, predictions = fitted_components(
            self._inputs(X), Z, learning, rows, weights, least
        )
        self._outputs = self._outputs.shortened(len(predictions), Y)
        self._means = mean_functions(self._posteriors, self._inputs, self._outputs)
        self.n_inducing_ = len(rows.points)
        self.held_out_ = measured(self._outputs, Y[rows.held], predictions, len(X))

    def _reduce_inputs(
        self, X: Doubles, Z: Doubles, learning: Learning, rng: np.random.Generator
    ) -> None:
        """Reduce inputs to directions, and measure what it costs."""
        before = self._inputs
        rows = np.sort(rng.choice(len(X), min(len(X), _REDUCTION_ROWS), replace=False))
        X, Z = X[rows], Z[rows]
        self._inputs = before.reduced(
            X, Z * self._outputs.deviations, self.input_components, self.n_threads
        )
        errors = []
        for inputs in (before, self._inputs):
            U, z = inputs(X), np.ascontiguousarray(Z[:, 0])
            learned = learning.learned(U, z)
            held = given_all_rows(learned.kernel, learned.nugget, U, z, self.n_threads)[1]
            errors.append(float(np.sqrt(np.mean(np.square(held.errors)))))
        self.input_errors_ = tuple(errors)

    # ---- predictions --------------------------------------------------------------------------

    def predict(self, X: npt.ArrayLike, return_std: bool = False) -> Any:
        """Return the mean of the outputs, and their standard deviations if wanted.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Inputs.
        return_std : bool
            Whether to return standard deviations as well, noise and truncation included: mean +- 1.96
            std is an interval of 95 %.

        Returns
        -------
        mean : ndarray, shape (n, m) or (n,)
            The mean, in the units and the shape of y, float64.
        std : ndarray, shape of `mean`
            The standard deviations, if `return_std` is true.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.
        """
        U = self._coordinates(X)
        mean = self._in_shape_of_y(self._means.outputs(U, self.n_threads))
        if not return_std:
            return mean
        variances = self._outputs.output_variances(self._score_variances(U))
        return mean, self._in_shape_of_y(np.sqrt(variances))

    def predict_scores(self, X: npt.ArrayLike, return_std: bool = False) -> Any:
        """Return the mean of the components' scores, and their standard deviations if wanted.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Inputs.
        return_std : bool
            Whether to return standard deviations as well.

        Returns
        -------
        mean : ndarray, shape (n, q)
            Scores, which have mean 0 and variance 1 on the training data.
        std : ndarray, shape (n, q)
            Their standard deviations, if `return_std` is true.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.
        """
        U = self._coordinates(X)
        mean = self._means.scores(U, self.n_threads)
        return (mean, np.sqrt(self._score_variances(U))) if return_std else mean

    def reduce(self, y: npt.ArrayLike) -> Doubles:
        """Return the scores of outputs.

        Parameters
        ----------
        y : array_like, shape (n, m) or (n,)
            Outputs of the model.

        Returns
        -------
        ndarray, shape (n, q)
            Their scores.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.
        """
        check_is_fitted(self)
        m = len(self._outputs.mean)
        Y = as_matrix(y, "y", dtype=np.float64, n_columns=m, column_if_1d=self._one_dimensional)
        return self._outputs.reduced(Y)

    def jacobian(self, X: npt.ArrayLike) -> Doubles:
        """Return the derivatives of the mean of the outputs by the inputs.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Inputs.

        Returns
        -------
        ndarray, shape (n, m, d), or (n, d) for y of one dimension
            Derivatives in the units of y and X, exact but for rounding errors.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.

        Notes
        -----
        About d times the cost of a prediction, and 8 n m d bytes.
        """
        U = self._coordinates(X)
        gradients = self._means.jacobian(U, self.n_threads)
        result = self._outputs.output_jacobians(self._inputs.pull_back(gradients))
        return result[:, 0] if self._one_dimensional else result

    def _coordinates(self, X: Any) -> Doubles:
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        if not validated_already(self, X):
            X = validated(self, X, dtype=np.float64, reset=False)
        return self._inputs(X)

    def _score_variances(self, U: Doubles) -> Doubles:
        variances = np.empty((len(U), self.n_components_))
        for number, posterior in enumerate(self._posteriors):
            variances[:, number] = posterior.variances(U, self.n_threads)
        return variances

    def _in_shape_of_y(self, values: Doubles) -> Doubles:
        return np.asarray(values[:, 0] if self._one_dimensional else values)

    # ---- what was learned ---------------------------------------------------------------------

    @property
    def n_components_(self) -> int:
        """The number of components."""
        return self._outputs.n_components

    @property
    def components_(self) -> Doubles:
        """The components, directions of scaled outputs, (q, m)."""
        return self._outputs.components

    @property
    def truncation_(self) -> Doubles:
        """Root mean square of what the components leave out of each output, (m,)."""
        return np.asarray(self._outputs.truncation * self._outputs.scale)

    @property
    def input_directions_(self) -> Doubles | None:
        """The directions of standardised inputs, (d, p); None if inputs were not reduced."""
        return self._inputs.directions

    @property
    def kernels_(self) -> list[Kernel]:
        """The kernels of the components."""
        return [posterior.kernel for posterior in self._posteriors]

    @property
    def nuggets_(self) -> Doubles:
        """The nuggets of the components, (q,)."""
        return np.array([posterior.nugget for posterior in self._posteriors])

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are errors of a fit."""
        return hasattr(self, "held_out_")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted emulator to one file; `kflow.load` reads it.

        A file does not hold a `random_state` that is not an int and `n_threads`: these have their
        defaults after `kflow.load`. With inducing points it takes 4 n_inducing^2 bytes for each
        component, which the variances need.

        Parameters
        ----------
        path : path
            The file; replaced if it exists.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        """
        check_is_fitted(self)
        settings = {
            "parameters": parameters_to_json(self),
            "kernels": [kernel.to_dict() for kernel in self.kernels_],
            "n_features_in": int(self.n_features_in_),
            "one_dimensional": self._one_dimensional,
            "n_held_out": self.held_out_.n_rows,
            "input_errors": self.input_errors_,
        }
        write_model(path, type(self).__name__, settings, self._arrays())

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name."""
        yield from self._inputs.arrays()
        yield from self._outputs.arrays()
        yield from self.held_out_.arrays()
        yield from posterior_arrays(self._posteriors)
        yield from name_arrays(self)

    @classmethod
    def from_model_file(cls, reader: ModelReader) -> Emulator:
        """Return the emulator that a model file holds: `kflow.load` calls this.

        Parameters
        ----------
        reader : kflow.storage.model_file.ModelReader
            The file, open.

        Raises
        ------
        ModelFileError
            If what the file holds is no emulator.
        """
        settings = reader.settings
        with damaged("settings"):
            emulator = cls(**parameters_from_json(settings["parameters"]))
            emulator.n_features_in_ = as_count(settings["n_features_in"], "n_features_in", 1)
            emulator._one_dimensional = as_flag(settings["one_dimensional"], "one_dimensional")
            n_held_out = as_count(settings["n_held_out"], "n_held_out", 1)
            stored = settings["input_errors"]
            emulator.input_errors_ = None if stored is None else tuple(map(float, stored))
            kernels = list(settings["kernels"])
        emulator._inputs = InputReduction.read(reader, emulator.n_features_in_)
        emulator._outputs = OutputReduction.read(reader)
        m, q = len(emulator._outputs.mean), emulator.n_components_
        emulator._posteriors = read_posteriors(reader, kernels, q, emulator._inputs.n_coordinates)
        emulator.n_inducing_ = len(emulator._posteriors[0].points) if q else 0
        with damaged("posteriors"):
            emulator._means = mean_functions(
                emulator._posteriors, emulator._inputs, emulator._outputs
            )
        read_names(reader, emulator)
        emulator.held_out_ = HeldOutErrors.read(reader, n_held_out, m, q)
        return emulator
