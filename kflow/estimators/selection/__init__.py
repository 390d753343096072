"""How the estimators choose what is "auto": by errors on rows that were left out."""
