"""Groups of examples: a number for each, in place of what the examples of a group have in common."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from innerdistill.support.messages import shorten_value

NO_GROUP = -1  # number of an example without a label, which may lack its group: it is not scored


def number_groups(splits: dict[str, pa.Table], name: str, *, scored: Collection[str] | None = None) -> dict[str, int]:
    """Number the groups of every split that is scored, in the order in which they occur, and forget those of train.

    Args:
        splits: tables with a column `group` of text by name; updated in place. That of train is dropped, since it only
            serves to hold splits out. So is that of a split without any label.
        name: name of the column in the files, for messages.
        scored: splits that are scored without labels too; None means that only examples with a label are scored.

    Returns:
        Number of groups by split.

    Raises:
        ValueError: all examples of a split are in one group.
    """
    counts = {}
    for split, table in splits.items():
        if "group" not in table.column_names:
            continue
        is_scored = table["label"].null_count < table.num_rows or split in (scored or ())
        if split == "train" or not is_scored:
            splits[split] = table.drop_columns("group")
            continue
        values = table["group"]
        names = pc.unique(pc.drop_null(values))
        if len(names) == 1 and table.num_rows > 1:
            raise ValueError(
                f"data.group: all {table.num_rows:,} examples of {split} have the same {shorten_value(name)}, so they "
                "would count as one; name another column, or add examples with other values."
            )
        numbers = pc.fill_null(pc.index_in(values, names).cast(pa.int32()), NO_GROUP)
        splits[split] = table.set_column(table.column_names.index("group"), "group", numbers)
        counts[split] = len(names)
    return counts
