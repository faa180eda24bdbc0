"""Cohen's kappa."""

from sklearn.metrics import cohen_kappa_score

from innerdistill import Metric

KAPPA = Metric(cohen_kappa_score, "classes")
