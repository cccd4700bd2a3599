"""LightGBM's model text, read and checked here so that LightGBM never sees what others wrote.

LightGBM's own parser trusts its input: a child index out of range or a cycle crashes or hangs the
process. So a text is read into :class:`Tree` objects, and every field that predictions use is
checked. LightGBM is given a new text, written from these objects alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from surrogate_nas.errors import SurrogateFileError

if TYPE_CHECKING:
    import lightgbm

MAX_TREES = 20_000
"""Number of trees in a booster."""
MAX_LEAVES = 4_096
"""Number of leaves in a tree."""
MAX_LEAF = 1e9
"""Magnitude of a leaf's value. Targets are standard scores, so fitted leaves stay far below."""

# NOTE: numbers of bounded length, because a forged text may have one of a million digits.
_WHOLES = re.compile(r"-?[0-9]{1,9}(?: -?[0-9]{1,9})*")
_NUMBER = r"-?[0-9]{1,25}(?:\.[0-9]{0,25})?(?:e[-+]?[0-9]{1,4})?"
_NUMBERS = re.compile(f"{_NUMBER}(?: {_NUMBER})*")
# NOTE: LightGBM splits "missing or not" at infinity.
_THRESHOLDS = re.compile(f"(?:inf|{_NUMBER})(?: (?:inf|{_NUMBER}))*")

_FIXED_HEADER = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "objective": "regression",
}
_HEADER = frozenset(
    (*_FIXED_HEADER, "max_feature_idx", "feature_names", "feature_infos", "tree_sizes")
)
_FIXED_TREE = {"num_cat": "0", "is_linear": "0"}
_TREE = frozenset(
    (
        "num_leaves",
        "num_cat",
        "split_feature",
        "threshold",
        "decision_type",
        "left_child",
        "right_child",
        "leaf_value",
    )
)
_UNUSED = frozenset(
    (
        "split_gain",
        "leaf_weight",
        "leaf_count",
        "internal_value",
        "internal_weight",
        "internal_count",
        "is_linear",
        "shrinkage",
    )
)
"""Fields that predictions do not need, and that are dropped. Leaf values are already shrunk."""

_NUMERIC_DECISIONS = frozenset((0, 2, 4, 6, 8, 10))
"""Decision types of numeric splits. Bit 0 stands for a categorical split, bit 1 for missing values
that go left. Bits 2 and 3 say whether nothing, zero or NaN is missing."""


@final
@dataclass(frozen=True)
class Tree:
    """A regression tree of k leaves and k - 1 splits; split 0 is the root.

    Args:
        feature: Column of each split, (k - 1,).
        threshold: Largest value that goes left, (k - 1,). It may be infinity, but never NaN.
        decision: LightGBM's bits for missing values, (k - 1,).
        left: Left child of each split, (k - 1,): a split, or ~leaf if negative.
        right: Right child of each split, (k - 1,).
        leaf: Value of each leaf, (k,).
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    decision: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaf: tuple[float, ...]


def read_trees(text: str, n_columns: int) -> tuple[Tree, ...]:
    """Return the checked trees of a booster's text.

    Args:
        text: Text from ``booster.model_to_string()`` or :func:`write_trees`.
        n_columns: Columns of the rows that it was fitted to.

    Raises:
        SurrogateFileError: It is not the text of a single-output regression booster with numeric
            splits of these columns.
    """
    if not text.isascii():
        raise _refused("LightGBM's model text in ASCII", "other characters in it")
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != "tree":
        raise _refused("LightGBM's model text", f"a text that begins with {first[:40]!r}")
    header = _fields(lines, "the header", required=_HEADER - {"objective"}, allowed=_HEADER)
    _check_fixed(header, _FIXED_HEADER, "the header")
    if header["max_feature_idx"] != str(n_columns - 1):
        wanted = f"a booster of {n_columns} columns"
        raise _refused(wanted, f"max_feature_idx={header['max_feature_idx'][:20]}")
    sizes = _wholes(header["tree_sizes"], "tree_sizes")
    if not 1 <= len(sizes) <= MAX_TREES or min(sizes) < 1:
        raise _refused(f"1 to {MAX_TREES} trees with positive sizes", f"{len(sizes)} trees")
    blocks, rest = _cut(body, sizes)
    if not rest.startswith("end of trees"):
        raise _refused("tree_sizes that add up to the end of trees", "other sizes")
    return tuple(_read_tree(block, index, n_columns) for index, block in enumerate(blocks))


def write_trees(trees: Sequence[Tree], n_columns: int) -> str:
    """Return the text that LightGBM needs to predict, and nothing else.

    Args:
        trees: The checked trees.
        n_columns: Columns of the rows that they were fitted to.
    """
    blocks = [_write_tree(tree, index) for index, tree in enumerate(trees)]
    # NOTE: LightGBM finds each tree by the sizes of the ones before it.
    header = {
        **_FIXED_HEADER,
        "max_feature_idx": str(n_columns - 1),
        "feature_names": " ".join(f"Column_{column}" for column in range(n_columns)),
        "feature_infos": " ".join(["none"] * n_columns),
        "tree_sizes": " ".join(str(len(block)) for block in blocks),
    }
    lines = "\n".join(f"{key}={value}" for key, value in header.items())
    return f"tree\n{lines}\n\n{''.join(blocks)}end of trees\n\npandas_categorical:null\n"


def make_booster(trees: Sequence[Tree], n_columns: int) -> lightgbm.Booster:
    """Return a booster whose predictions equal those of the one that the trees come from.

    Raises:
        SurrogateFileError: The installed LightGBM does not read this form of text.
    """
    import lightgbm

    try:
        return lightgbm.Booster(model_str=write_trees(trees, n_columns))
    except lightgbm.basic.LightGBMError as error:
        raise SurrogateFileError(
            expected=f"a LightGBM that reads model text {_FIXED_HEADER['version']}",
            got=f"LightGBM {lightgbm.__version__}, which says: {str(error)[:200]}",
            fix="install a LightGBM that surrogate_nas names in its requirements",
        ) from error


def reach(trees: Sequence[Tree]) -> float:
    """Return a bound on the magnitude of the trees' predictions."""
    return math.fsum(max(map(abs, tree.leaf)) for tree in trees)


def _cut(body: str, sizes: Sequence[int]) -> tuple[list[str], str]:
    """Cut the trees' text into blocks of the given lengths, and what follows them."""
    blocks, start = [], 0
    for size in sizes:
        blocks.append(body[start : start + size])
        start += size
    return blocks, body[start:]


def _read_tree(block: str, index: int, n_columns: int) -> Tree:
    """Return the checked tree of one block of text."""
    where = f"tree {index}"
    first, *lines = block.rstrip("\n").split("\n")
    # NOTE: LightGBM looks for the blank line to know where a tree ends.
    if first != f"Tree={index}" or not block.endswith("\n\n"):
        raise _refused(f"{where} where tree_sizes says", f"{first[:40]!r}")
    fields = _fields(lines, where, required=_TREE, allowed=_TREE | _UNUSED)
    _check_fixed(fields, _FIXED_TREE, where)
    tree = Tree(
        feature=_wholes(fields["split_feature"], where),
        threshold=_numbers(fields["threshold"], where, _THRESHOLDS),
        decision=_wholes(fields["decision_type"], where),
        left=_wholes(fields["left_child"], where),
        right=_wholes(fields["right_child"], where),
        leaf=_numbers(fields["leaf_value"], where),
    )
    if fields["num_leaves"] != str(len(tree.leaf)):
        got = f"num_leaves={fields['num_leaves'][:20]} and {len(tree.leaf)} values"
        raise _refused(f"as many leaf values as leaves in {where}", got)
    _check_tree(tree, where, n_columns)
    return tree


def _check_tree(tree: Tree, where: str, n_columns: int) -> None:
    """Refuse a tree whose numbers do not make one."""
    splits = len(tree.leaf) - 1
    if not 0 <= splits < MAX_LEAVES:
        raise _refused(f"1 to {MAX_LEAVES} leaves in {where}", f"{splits + 1}")
    columns = (tree.feature, tree.threshold, tree.decision, tree.left, tree.right)
    lengths = {len(column) for column in columns}
    if lengths != {splits}:
        raise _refused(f"{splits} splits in {where}", f"arrays of length {sorted(lengths)}")
    if not all(0 <= column < n_columns for column in tree.feature):
        raise _refused(f"splits on columns 0 to {n_columns - 1} in {where}", "another column")
    if not _NUMERIC_DECISIONS.issuperset(tree.decision):
        raise _refused(
            f"numeric splits in {where}", f"decision types {sorted(set(tree.decision))[:5]}"
        )
    if not all(abs(value) <= MAX_LEAF for value in tree.leaf):
        raise _refused(f"leaf values within ±{MAX_LEAF:g} in {where}", "a larger one")
    if not _is_binary_tree(tree.left, tree.right):
        raise _refused(f"children that make {where} one binary tree", "others")


def _is_binary_tree(left: Sequence[int], right: Sequence[int]) -> bool:
    """Whether each split but the root, and each leaf, is reached from the root just once.

    Args:
        left: Left child of each split, as in :class:`Tree`.
        right: Right child of each split.
    """
    splits = len(left)
    if not splits:
        return True
    # Each is the child of one node. NOTE: a cycle apart from the root would pass this first test.
    if sorted((*left, *right)) != [*range(-splits - 1, 0), *range(1, splits)]:
        return False
    # NOTE: a list and no recursion, as a forged tree may be a chain of thousands of splits.
    waiting, reached = [0], 0
    while waiting:
        split = waiting.pop()
        reached += 1
        waiting.extend(child for child in (left[split], right[split]) if child >= 0)
    return reached == splits


def _write_tree(tree: Tree, index: int) -> str:
    """Return the block of text of one tree."""
    fields = {
        "num_leaves": str(len(tree.leaf)),
        "num_cat": "0",
        "split_feature": _joined(tree.feature),
        "threshold": _joined(tree.threshold),
        "decision_type": _joined(tree.decision),
        "left_child": _joined(tree.left),
        "right_child": _joined(tree.right),
        "leaf_value": _joined(tree.leaf),
    }
    lines = "\n".join(f"{key}={value}" for key, value in fields.items())
    return f"Tree={index}\n{lines}\n\n\n"


def _joined(numbers: Sequence[float]) -> str:
    """Return numbers as text with single spaces."""
    # NOTE: repr is the shortest text that reads back as the same float.
    return " ".join(map(repr, numbers))


def _fields(
    lines: Sequence[str], where: str, *, required: frozenset[str], allowed: frozenset[str]
) -> dict[str, str]:
    """Return the fields in lines of ``key=value``: each once, all required, only allowed ones."""
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")
        if key not in allowed or key in fields:
            raise _refused(f"the fields of LightGBM's model text in {where}", f"{line[:40]!r}")
        fields[key] = value
    missing = sorted(required - fields.keys())
    if missing:
        raise _refused(f"{', '.join(missing)} in {where}", "no such field")
    return fields


def _check_fixed(fields: dict[str, str], fixed: dict[str, str], where: str) -> None:
    """Refuse fields that have another than their one allowed value."""
    for key, value in fixed.items():
        if fields.get(key, value) != value:
            raise _refused(f"{key}={value} in {where}", f"{key}={fields[key][:20]}")


def _wholes(text: str, where: str) -> tuple[int, ...]:
    """Return the whole numbers in a field."""
    if not text:
        return ()
    if not _WHOLES.fullmatch(text):
        raise _refused(f"whole numbers with single spaces in {where}", f"{text[:40]!r}")
    return tuple(map(int, text.split(" ")))


def _numbers(text: str, where: str, form: re.Pattern[str] = _NUMBERS) -> tuple[float, ...]:
    """Return the numbers in a field."""
    if not text:
        return ()
    if not form.fullmatch(text):
        raise _refused(f"numbers with single spaces in {where}", f"{text[:40]!r}")
    return tuple(map(float, text.split(" ")))


def _refused(expected: str, got: str) -> SurrogateFileError:
    """Return the error of a booster's text that cannot be used."""
    return SurrogateFileError(
        expected=expected, got=got, fix="save the surrogate again, or get its file again"
    )
