"""Which layer of a deep model stands for which layer of a shallow one. Plain Python, layers are 1-based."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def uniform_layers(num_layers: int, of: int) -> tuple[int, ...]:
    """m(k) = ceil(k * of / num_layers): always increasing, last to last (Aguilar et al. 2020).

    Args:
        num_layers: layers of the shallow model.
        of: layers of the deep model.

    Returns:
        One layer of the deep model per layer of the shallow one.

    >>> uniform_layers(6, 12)
    (2, 4, 6, 8, 10, 12)
    >>> uniform_layers(4, 6)
    (2, 3, 5, 6)
    """
    return tuple(-(-k * of // num_layers) for k in range(1, num_layers + 1))


def choose_layers(
    choice: str | Sequence[int] | Mapping[int, int], num_layers: int, of: int, *, key: str
) -> dict[int, int]:
    """Resolve a layer choice of a recipe.

    Args:
        choice: `uniform`, `first`, `last`, a list with one layer of the deep model per layer of the shallow one, or a
            mapping from shallow to deep layers.
        num_layers: layers of the shallow model.
        of: layers of the deep model.
        key: recipe key, for messages.

    Returns:
        Layer of the deep model by layer of the shallow model, ascending.

    Raises:
        ValueError: more layers than there are, wrong number of entries, a layer out of range, a map that goes down.
    """
    if num_layers > of:
        raise ValueError(f"student.num_layers: {num_layers} layers were asked for, but the source has only {of}.")
    if choice == "uniform":
        pairs = dict(enumerate(uniform_layers(num_layers, of), start=1))
    elif choice == "first":
        pairs = {k: k for k in range(1, num_layers + 1)}
    elif choice == "last":
        pairs = {k: of - num_layers + k for k in range(1, num_layers + 1)}
    elif isinstance(choice, Mapping):
        pairs = dict(sorted(choice.items()))
    else:
        assert not isinstance(choice, str)
        if len(choice) != num_layers:
            raise ValueError(f"{key}: expected {num_layers} layers, one per student layer, got {list(choice)}.")
        pairs = dict(enumerate(choice, start=1))
    if not pairs:
        raise ValueError(f"{key}: it names no layer.")
    if list(pairs.values()) != sorted(pairs.values()):
        raise ValueError(f"{key}: the layers must not go down, got {list(pairs.values())}.")
    for shallow, deep in pairs.items():
        if not 1 <= shallow <= num_layers:
            raise ValueError(f"{key}: student layer {shallow} is out of range 1 ... {num_layers}.")
        if not 1 <= deep <= of:
            raise ValueError(f"{key}: layer {deep} is out of range 1 ... {of}.")
    return pairs
