"""LayoutLM, whose layers are named as BERT's."""

from innerdistill import Family

LAYOUTLM = Family(layers="encoder.layer", attention="attention.self")
