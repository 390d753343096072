"""
A table of one's own
====================

From a table with words and empty cells to predictions with probabilities, in Python. For the command line,
see :doc:`/how-to/tables`.
"""

# %%
# The table
# ---------
# Any data frame will do. This one is made here: 400 customers, some cells of which are empty.

import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_score, train_test_split

import kflow

rng = np.random.default_rng(0)
table = pd.DataFrame(
    {
        "age": rng.integers(18, 80, 400).astype(float),
        "city": rng.choice(["Bergen", "Oslo", "Paris", "Rome"], 400),
        "income": rng.lognormal(10.3, 0.4, 400).round(),
    }
)
north = table["city"].isin(["Bergen", "Oslo"])
score = (table["age"] - 45) * np.where(north, 1, -1) / 12 + rng.logistic(size=400)
buys = pd.Series(np.where(score > 0, "yes", "no"), name="buys")
table.loc[rng.random(400) < 0.05, "age"] = np.nan
table.loc[rng.random(400) < 0.05, "city"] = None
print(table.head())

# %%
# Look before you fit
# -------------------
# What would one get right who always says the most frequent class? A model that is no better has learned
# nothing.

print(buys.value_counts(normalize=True).round(3))

# %%
# A pipeline
# ----------
# :func:`kflow.make_table_pipeline` puts an encoder before an estimator: numbers are scaled, empty cells get
# the median and a column that marks them, words get a column each. In cross-validation, the encoder learns
# from the training part of each fold alone.

train, test, y, y_test = train_test_split(table, buys, stratify=buys, random_state=0)
model = kflow.make_table_pipeline(kflow.KernelFlowClassifier(random_state=0))
scores = cross_val_score(model, train, y, cv=3)
print(f"right in cross-validation: {scores.mean():.1%}")

# %%
# The fit, and what it made of the columns:

model.fit(train, y)
print(model.encoder.report_)
print(f"right on test rows: {model.score(test, y_test):.1%}")

# %%
# What it chose:

print(model.estimator.selection_)

# %%
# Predictions
# -----------
# Probabilities are calibrated on rows that were held out, and never exactly 0.

shown = test.head().copy()
shown["P(yes)"] = model.predict_proba(shown)[:, 1].round(3)
shown["truth"] = y_test.head()
print(shown)

# %%
# Save it
# -------
# The file holds the encoder and the model, and no code. ``kflow predict`` reads it as well.

import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "buys.kflow")
    model.save(file)
    again = kflow.load(file)
print((again.predict(test) == model.predict(test)).all())
