"""ERNIE, whose layers are named as BERT's."""

from innerdistill import Family

ERNIE = Family(layers="encoder.layer", attention="attention.self")
