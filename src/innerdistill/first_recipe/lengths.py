"""measure_lengths: tokens of a sample of the texts, and whether a limit on them would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from innerdistill.first_recipe.sample import Column

MOST_TEXTS = 1_000  # that are tokenised
USUAL, STEP = 99, 8  # percentile that a suggested limit holds; such a limit is a multiple of 8 tokens
OUTLIER = 2  # times the suggested limit: only if a text is longer than that, a limit saves memory worth a line


@dataclass(frozen=True)
class Lengths:
    """Tokens of the texts.

    Attributes:
        texts: number of texts, or pairs, that were measured.
        noun: `texts` or `pairs`.
        usual: tokens that 99 % of them do not exceed.
        longest: tokens of the longest.
        limit: tokens that the model reads.
        truncated: number of texts that are longer than the limit.
        suggested: value of `data.max_length`; None where it would not help.
        has_windows: whether longer texts are read in several windows, instead of truncated.
    """

    texts: int
    noun: str
    usual: int
    longest: int
    limit: int
    truncated: int
    suggested: int | None
    has_windows: bool = False

    def describe(self) -> str:
        """Describe the lengths in two sentences."""
        usual = f"{USUAL} % of {self.texts:,} measured {self.noun} have at most {self.usual:,} tokens"
        share = f"{100 * self.truncated / self.texts:.1f} % are" if self.truncated else "none is"
        effect = "read in several windows" if self.has_windows else "truncated"
        return f"{usual}, the longest {self.longest:,}. The model reads {self.limit:,}, so {share} {effect}."


def measure_lengths(
    columns: Sequence[Column], tokenizer: PreTrainedTokenizerBase, *, limit: int, has_windows: bool = False
) -> Lengths | None:
    """Measure the texts of some rows, spread evenly over the sample.

    Args:
        columns: one text column, or two.
        tokenizer: tokenizer of the model.
        limit: tokens that the model reads.
        has_windows: whether longer texts are read in several windows, instead of truncated.

    Returns:
        The lengths; None if no row has a text.
    """
    rows = list(zip(*(column.values for column in columns), strict=True))
    rows = [row for row in rows if all(isinstance(text, str) for text in row)]
    if not rows:
        return None
    chosen = np.linspace(0, len(rows) - 1, min(MOST_TEXTS, len(rows))).astype(int)
    texts = zip(*(rows[index] for index in chosen), strict=True)
    encoded = tokenizer(*map(list, texts), truncation=False, padding=False, verbose=False)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    usual, longest = int(np.percentile(lengths, USUAL, method="higher")), int(lengths.max())
    suggested = -(-max(usual, STEP) // STEP) * STEP
    helps = suggested < limit and longest > OUTLIER * suggested
    return Lengths(
        texts=len(lengths),
        noun="texts" if len(columns) == 1 else "pairs",
        usual=usual,
        longest=longest,
        limit=limit,
        truncated=int((lengths > limit).sum()),
        suggested=suggested if helps else None,
        has_windows=has_windows,
    )
