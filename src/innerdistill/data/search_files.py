"""Which splits are queries with documents, and where their files are. Imports neither torch nor `datasets`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import join_names, name_key

SEARCHED = ("validation", "selection", "test")
CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
DEFAULT = "test.tsv"  # among several files of relevances
QUERY_ID, CORPUS_ID = "query-id", "corpus-id"
HEADER = (QUERY_ID, CORPUS_ID, "score")


@dataclass(frozen=True)
class SearchFiles:
    """Files of queries with documents, as BEIR has them.

    Attributes:
        corpus: documents.
        queries: queries.
        relevances: which documents answer which query, and how well.
    """

    corpus: Path
    queries: Path
    relevances: Path

    def list_paths(self) -> list[Path]:
        """List the three files."""
        return [self.corpus, self.queries, self.relevances]


def find_search_files(place: Path) -> SearchFiles | None:
    """Find the files of a search.

    Args:
        place: a folder, whose relevances are `qrels/test.tsv` or the only file there; or a file in its folder `qrels`.

    Returns:
        Paths of the files; None for a file of another kind, or one that is missing.

    Raises:
        ValueError: a folder that lacks a file.
    """
    if place.is_dir():
        folder, relevances = place, _choose_relevances(place / QRELS)
    elif place.parent.name == QRELS and (place.parent.parent / CORPUS).is_file():
        folder, relevances = place.parent.parent, place
    else:
        return None
    files = SearchFiles(folder / CORPUS, folder / QUERIES, relevances or folder / QRELS / DEFAULT)
    for path in files.list_paths():
        if not path.is_file():
            raise ValueError(
                f"{path} is missing; a folder of queries and documents has {CORPUS}, {QUERIES} and {QRELS}/{DEFAULT}."
            )
    return files


def find_searches(places: Mapping[str, Path]) -> dict[str, SearchFiles]:
    """Find the splits that are queries with documents.

    Args:
        places: paths by split.

    Returns:
        Their files by split.

    Raises:
        ValueError: a folder that lacks a file; names its key.
    """
    searches = {}
    for split in filter(places.__contains__, SEARCHED):
        with name_key(f"data.{split}"):
            files = find_search_files(places[split])
        if files is not None:
            searches[split] = files
    return searches


def refuse_other_labels(recipe: DataRecipe) -> None:
    """Refuse keys that say how examples are scored, where queries with documents are.

    Args:
        recipe: the `data` section of a recipe with such a split.

    Raises:
        ValueError: a key that is not read.
    """
    keys = ("task", "pairs", "label", "labels", "group", "drop_overlap")
    given = [f"data.{key}" for key in keys if getattr(recipe, key)]
    if given:
        raise ValueError(
            f"{given[0]}: it is not read where a split is a folder of queries and documents, whose {QRELS} say what is "
            "scored; leave it out."
        )


def choose_search_labels(labelled: Mapping[str, bool | None], searches: Collection[str]) -> Mapping[str, bool | None]:
    """Decide which splits need labels, where some are queries with documents: these have some, and no other split has.

    Args:
        labelled: by split, as LABELLED has it.
        searches: splits that are queries with documents.

    Returns:
        The same where there are none.
    """
    return {split: None if split in searches else False for split in labelled} if searches else labelled


def _choose_relevances(folder: Path) -> Path | None:
    """The file of relevances that is read where none is named; None if there is none."""
    files = sorted(folder.glob("*.tsv"))
    if len(files) <= 1:
        return next(iter(files), None)
    if folder / DEFAULT in files:
        return folder / DEFAULT
    names = join_names([path.name for path in files])
    raise ValueError(f"{folder}: there is no {DEFAULT}, but {names}; name one of them, such as {files[0]}.")
