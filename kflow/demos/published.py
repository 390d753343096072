"""The errors in the talk of Owhadi and Yoo, next to which reports put their own."""

from __future__ import annotations

__all__ = ["PUBLISHED"]

# By data set and range of layers: N_I to average, least, largest, standard deviation.
PUBLISHED: dict[str, dict[str, dict[int, tuple[float, float, float, float]]]] = {
    "mnist": {
        "n = 12000": {
            6000: (0.014, 0.0136, 0.0143, 1.44e-4),
            600: (0.014, 0.0137, 0.0142, 9.79e-5),
            60: (0.0141, 0.0136, 0.0146, 2.03e-4),
            10: (0.015, 0.0136, 0.0177, 7.13e-4),
        }
    },
    "fashion-mnist": {
        "15000 <= n <= 25000": {
            6000: (0.0969, 0.0944, 0.1, 7.56e-4),
            600: (0.0977, 0.0951, 0.101, 8.57e-4),
            60: (0.114, 0.0958, 0.22, 0.0169),
            10: (0.444, 0.15, 0.722, 0.096),
        },
        "49900 <= n <= 50000": {
            6000: (0.10023, 0.0999, 0.1006, 1.6316e-4),
            600: (0.10013, 0.0999, 0.1004, 1.1671e-4),
            60: (0.10018, 0.0999, 0.1005, 1.445e-4),
            10: (0.10018, 0.0996, 0.1009, 2.2941e-4),
        },
    },
}
