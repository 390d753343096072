# mypy: ignore-errors
# ruff: noqa
from __future__ import annotations
import numpy as np


class Kernel:
    def __init__(self, family, length_scale, alpha=1.0, degree=1):
        self.family, self.l, self.alpha, self.degree = family, length_scale, alpha, degree

    def both(self, t):
        l, a = self.l, self.alpha
        r = np.sqrt(np.maximum(t, 0))
        f = self.family
        if f == "gaussian":
            k = np.exp(-t / (2 * l * l))
            return k, -k / (2 * l * l), 0
        if f == "laplacian":
            k = np.exp(-r / l)
            return k, np.where(r > 0, -k / (2 * l * np.where(r > 0, r, 1)), 0), 0
        if f == "matern32":
            h = np.sqrt(3) * r / l
            e = np.exp(-h)
            return (1 + h) * e, -1.5 / l**2 * e, 0
        if f == "matern52":
            h = np.sqrt(5) * r / l
            e = np.exp(-h)
            return (1 + h + h * h / 3) * e, -5 / 6 / l**2 * (1 + h) * e, 0
        if f == "rational_quadratic":
            x = t / (2 * a * l * l)
            k = np.exp(-a * np.log1p(x))
            return k, -k / (1 + x) / (2 * l * l), k * (x / (1 + x) - np.log1p(x))
        if f == "inverse_multiquadric":
            k = 1 / np.sqrt(1 + t / l**2)
            return k, -(k**3) / (2 * l * l), 0
        if f == "cauchy":
            k = 1 / (1 + t / l**2)
            return k, -k * k / l**2, 0
        if f == "wendland":
            p = self.degree
            h = np.minimum(r / l, 1)
            return (1 - h) ** p * (p * h + 1), -((1 - h) ** (p - 1)) * p * (p + 1) / (2 * l * l), 0
        if f == "polynomial":
            b = t / l**2 + a
            q = self.degree
            return b**q, q * b ** (q - 1) / l**2, q * b ** (q - 1)
        raise ValueError("unknown kernel family")


class Expression:
    def __init__(self):
        self.terms = []

    def append(self, **t):
        self.terms.append(t)


def _t(kernel, u, v):
    if kernel.family == "polynomial":
        return u @ v.T
    return (
        ((u[:, None, :] - v[None, :, :]) ** 2).sum(-1)
        if u.shape[1] < 20
        else np.maximum((u**2).sum(1)[:, None] + (v**2).sum(1) - 2 * u @ v.T, 0)
    )


def _values(e, us, vs, given, n, m):
    vals = []
    for t in e.terms:
        op = t["operation"]
        if op == "leaf":
            b = t["kernel"].both(_t(t["kernel"], us[t["source"]], vs[t["source"]]))[0]
        elif op == "constant":
            b = np.ones((n, m))
        elif op == "given":
            b = given[t["source"]]
        elif op == "sum":
            b = vals[t["left"]] + vals[t["right"]]
        else:
            b = vals[t["left"]] * vals[t["right"]]
        vals.append(t["factor"] * b)
    return vals


def evaluate(e, us, vs, given, out, n_threads):
    out[:] = _values(e, us, vs, given, *out.shape)[-1]


def apply_expression(e, us, vs, given, c, out, n_threads):
    out[:] = _values(e, us, vs, given, len(out), len(c))[-1] @ c


def contract(e, us, given, G, du, dgiven, n_threads):
    n = len(G)
    N = len(e.terms)
    vals = _values(e, us, us, given, n, n)
    adj = [0.0] * N
    adj[-1] = G
    F, L, S = np.zeros(N), np.zeros(N), np.zeros(N)
    for d in du:
        if d is not None:
            d[:] = 0
    for i in reversed(range(N)):
        t = e.terms[i]
        g = np.broadcast_to(adj[i], (n, n))
        F[i] = (g * vals[i]).sum()
        g = g * t["factor"]
        op = t["operation"]
        if op == "sum":
            adj[t["left"]] = adj[t["left"]] + g
            adj[t["right"]] = adj[t["right"]] + g
        elif op == "product":
            adj[t["left"]] = adj[t["left"]] + g * vals[t["right"]]
            adj[t["right"]] = adj[t["right"]] + g * vals[t["left"]]
        elif op == "given":
            dgiven[t["source"]][:] = g
        elif op == "leaf":
            k = t["kernel"]
            u = us[t["source"]]
            tt = _t(k, u, u)
            _, slope, shape = k.both(tt)
            L[i] = -2 * (g * slope * tt).sum()
            S[i] = (g * shape).sum()
            d = du[t["source"]]
            if d is not None:
                w = g * slope
                d += 2 * w @ u if k.family == "polynomial" else 4 * (w.sum(1)[:, None] * u - w @ u)
    return F, L, S
