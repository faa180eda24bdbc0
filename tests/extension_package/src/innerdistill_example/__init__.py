"""A loss, a schedule, a metric and a model family for innerdistill."""
