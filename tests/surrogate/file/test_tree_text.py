from __future__ import annotations

import math
import re

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.errors import SurrogateFileError
from surrogate_nas.surrogate.file.tree_text import (
    Tree,
    make_booster,
    reach,
    read_trees,
    write_trees,
)
from surrogate_nas.surrogate.model.boosting import fit_trees, predict_trees

FloatArray = npt.NDArray[np.float64]
COLUMNS = 5


def rows(n: int, rng: np.random.Generator) -> FloatArray:
    """Rows like an encoding's: numbers of any size, categories, missing values."""
    x = rng.random((n, COLUMNS)) * 10.0 ** rng.uniform(-4, 4, COLUMNS)
    x[:, 1] = rng.integers(0, 2, n)
    x[:, 2] = 1.0
    x[rng.random((n, COLUMNS)) < 0.25] = np.nan
    return x


def fitted(n: int = 60, seed: int = 0) -> tuple[lightgbm.Booster, FloatArray]:
    rng = np.random.default_rng(seed)
    x = rows(n, rng)
    return fit_trees(x, rng.normal(size=n), seed), x


@pytest.fixture(scope="module")
def text() -> str:
    """The first trees of a booster as LightGBM writes them."""
    booster, _ = fitted()
    return str(booster.model_to_string(num_iteration=3))


@pytest.fixture
def tree() -> Tree:
    """Three splits: 0 -> (1, 2), 1 -> leaves 0 and 1, 2 -> leaves 2 and 3."""
    return Tree(
        feature=(0, 1, 2),
        threshold=(0.5, 0.25, math.inf),
        decision=(8, 10, 2),
        left=(1, -1, -3),
        right=(2, -2, -4),
        leaf=(0.1, -0.2, 0.3, 4e-310),
    )


@pytest.mark.parametrize(("n", "seed"), [(3, 0), (12, 1), (60, 2), (300, 3)])
def test_predictions_are_the_same_bit_for_bit(n: int, seed: int) -> None:
    booster, x = fitted(n, seed)
    rng = np.random.default_rng(seed + 100)
    new = np.concatenate(
        [x, rows(500, rng), np.zeros((1, COLUMNS)), np.full((1, COLUMNS), np.nan)]
    )
    new[-3] = np.inf
    again = make_booster(read_trees(booster.model_to_string(), COLUMNS), COLUMNS)
    np.testing.assert_array_equal(predict_trees(again, new), predict_trees(booster, new))


def test_what_is_written_reads_back_and_is_what_lightgbm_writes(text: str) -> None:
    trees = read_trees(text, COLUMNS)
    assert read_trees(write_trees(trees, COLUMNS), COLUMNS) == trees
    assert read_trees(make_booster(trees, COLUMNS).model_to_string(), COLUMNS) == trees


def test_infinite_thresholds_and_tiny_leaves_survive(tree: Tree) -> None:
    assert read_trees(write_trees([tree], 3), 3) == (tree,)
    x = np.array([[1.0, 0.0, 5.0], [1.0, 0.0, np.nan], [0.0, 1.0, 0.0]])
    # Decision 2 takes NaN for zero, so the last leaf is never reached.
    np.testing.assert_array_equal(predict_trees(make_booster([tree], 3), x), [0.3, 0.3, -0.2])


def test_reach_bounds_predictions() -> None:
    booster, x = fitted()
    bound = reach(read_trees(booster.model_to_string(), COLUMNS))
    assert np.abs(predict_trees(booster, x)).max() <= bound < 40.0


def test_nothing_of_the_parameters_block_is_kept(text: str) -> None:
    marked = text.replace("[data: ]", "[data: /etc/passwd]")
    assert marked != text
    assert "passwd" not in write_trees(read_trees(marked, COLUMNS), COLUMNS)


def sized(text: str) -> str:
    """Make tree_sizes right again, so that what lies behind it is looked at."""
    head, *blocks = re.split("(?=Tree=)", text[: text.index("end of trees")])
    sizes = " ".join(str(len(block)) for block in blocks)
    head = re.sub("tree_sizes=.*", f"tree_sizes={sizes}", head)
    return "".join([head, *blocks, text[text.index("end of trees") :]])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tree\n", "forest\n", "LightGBM's model text"),
        ("version=v4", "version=v3", "version=v4"),
        ("num_class=1", "num_class=3", "num_class=1"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=2", "num_tree_per_iteration=1"),
        ("objective=regression", "objective=binary sigmoid:1", "objective=regression"),
        ("label_index=0\n", "", "label_index in the header"),
        ("label_index=0", "label_index=0\nlabel_index=0", "the fields of"),
        ("label_index=0", "average_output", "the fields of"),
        ("max_feature_idx=4", "max_feature_idx=5", "a booster of 5 columns"),
        ("feature_names=", "feature_names=é", "ASCII"),
        ("tree_sizes=", "tree_sizes=1 ", "the end of trees"),
        ("tree_sizes=", "tree_sizes=-1 ", "positive sizes"),
        ("tree_sizes=", "tree_sizes=1e3 ", "whole numbers"),
        ("tree_sizes=", "tree_sizes=99999999999 ", "whole numbers"),
        ("end of trees", "end of tree", "the end of trees"),
        ("Tree=1", "Tree=7", "tree 1 where"),
    ],
)
def test_a_wrong_header_is_refused(text: str, old: str, new: str, expected: str) -> None:
    changed = text.replace(old, new, 1)
    assert changed != text
    with pytest.raises(SurrogateFileError, match=expected) as caught:
        read_trees(changed, COLUMNS)
    assert "save the surrogate again" in caught.value.fix


def test_no_trees_and_too_many_are_refused(text: str) -> None:
    with pytest.raises(SurrogateFileError, match="got 0 trees"):
        read_trees(re.sub("tree_sizes=.*", "tree_sizes=", text), COLUMNS)
    many = "tree_sizes=" + " ".join(["1"] * 20_001)
    with pytest.raises(SurrogateFileError, match="got 20001 trees"):
        read_trees(re.sub("tree_sizes=.*", many, text), COLUMNS)


FIELDS = {
    "num_leaves": "4",
    "num_cat": "0",
    "split_feature": "0 1 2",
    "threshold": "0.5 0.25 inf",
    "decision_type": "8 10 2",
    "left_child": "1 -1 -3",
    "right_child": "2 -2 -4",
    "leaf_value": "0.1 -0.2 0.3 4e-310",
}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("num_leaves", "5", "as many leaf values as leaves"),
        ("num_leaves", "x", "as many leaf values as leaves"),
        ("num_cat", "1", "num_cat=0"),
        ("is_linear", "1", "is_linear=0"),
        ("cat_threshold", "1", "the fields of"),
        ("split_feature", "0 1", "3 splits"),
        ("split_feature", "0 1 3", "columns 0 to 2"),
        ("split_feature", "0 -1 2", "columns 0 to 2"),
        ("split_feature", "0 1 2147483648", "whole numbers"),
        ("threshold", "0.5 0.25", "3 splits"),
        ("threshold", "0.5 nan 0.25", "numbers with single spaces"),
        ("threshold", "0.5  0.25 1", "numbers with single spaces"),
        ("threshold", "0.5 0x1p3 1", "numbers with single spaces"),
        ("threshold", "0.5 1_0 1", "numbers with single spaces"),
        ("decision_type", "8 11 2", "numeric splits"),
        ("decision_type", "8 12 2", "numeric splits"),
        ("decision_type", "", "3 splits"),
        ("left_child", "1 -1", "3 splits"),
        ("left_child", "0 -1 -3", "one binary tree"),
        ("left_child", "1 1 -3", "one binary tree"),
        ("left_child", "1 -1 -5", "one binary tree"),
        ("left_child", "1 -1 -1", "one binary tree"),
        ("left_child", "3 -1 -3", "one binary tree"),
        ("leaf_value", "0.1 inf 0.3 0.4", "numbers with single spaces"),
        ("leaf_value", "0.1 1e9999 0.3 0.4", "leaf values within"),
        ("leaf_value", "0.1 -2e9 0.3 0.4", "leaf values within"),
        ("leaf_value", "", "as many leaf values"),
    ],
)
def test_a_wrong_tree_is_refused(tree: Tree, field: str, value: str, expected: str) -> None:
    lines = "\n".join(f"{key}={one}" for key, one in {**FIELDS, field: value}.items())
    text = write_trees([tree], 3)
    start, end = text.index("Tree=0\n") + len("Tree=0\n"), text.index("\n\n\nend of trees")
    with pytest.raises(SurrogateFileError, match=expected):
        read_trees(sized(text[:start] + lines + text[end:]), 3)


def test_the_fields_of_the_test_above_make_the_tree(tree: Tree) -> None:
    lines = "\n".join(f"{key}={one}" for key, one in FIELDS.items())
    assert lines in write_trees([tree], 3)


def test_a_cycle_apart_from_the_root_is_refused() -> None:
    # Each child occurs once, but splits 1 and 2 are each other's parents.
    cycle = Tree((0,) * 3, (0.0,) * 3, (2,) * 3, (-1, 2, 1), (-2, -3, -4), (0.0,) * 4)
    with pytest.raises(SurrogateFileError, match="one binary tree"):
        read_trees(write_trees([cycle], 1), 1)


def test_a_tree_of_too_many_leaves_is_refused() -> None:
    def chain(splits: int) -> str:
        left = tuple(range(-1, -splits - 1, -1))
        right = (*range(1, splits), -splits - 1)
        zeros = (0,) * splits
        return write_trees(
            [Tree(zeros, (0.0,) * splits, zeros, left, right, (0.0,) * (splits + 1))], 1
        )

    assert len(read_trees(chain(4095), 1)[0].leaf) == 4096
    with pytest.raises(SurrogateFileError, match="1 to 4096 leaves"):
        read_trees(chain(4096), 1)


def test_a_missing_field_of_a_tree_is_refused(text: str) -> None:
    changed = re.sub("threshold=.*\n", "", text, count=1)
    with pytest.raises(SurrogateFileError, match="threshold in tree 0"):
        read_trees(sized(changed), COLUMNS)


@st.composite
def random_trees(draw: st.DrawFn) -> Tree:
    """A random binary tree: leaf after leaf becomes a split."""
    splits = draw(st.integers(0, 12))
    places: list[tuple[int, int]] = []
    children: list[list[int]] = []
    for split in range(splits):
        if places:
            parent, side = places.pop(draw(st.integers(0, len(places) - 1)))
            children[parent][side] = split
        children.append([0, 0])
        places += [(split, 0), (split, 1)]
    for leaf, (parent, side) in enumerate(places):
        children[parent][side] = ~leaf
    number = st.floats(-1e6, 1e6)

    def column(of: st.SearchStrategy[float]) -> tuple[float, ...]:
        return tuple(draw(st.lists(of, min_size=splits, max_size=splits)))

    return Tree(
        feature=tuple(map(int, column(st.integers(0, COLUMNS - 1)))),
        threshold=column(number),
        decision=tuple(map(int, column(st.sampled_from([0, 2, 4, 6, 8, 10])))),
        left=tuple(child[0] for child in children),
        right=tuple(child[1] for child in children),
        leaf=tuple(draw(st.lists(number, min_size=splits + 1, max_size=splits + 1))),
    )


def walk(tree: Tree, row: FloatArray) -> float:
    """Predict as LightGBM's documentation says: the check on what it makes of our text."""
    node = 0 if tree.feature else -1
    while node >= 0:
        value, missing = row[tree.feature[node]], tree.decision[node] >> 2
        if missing != 2 and math.isnan(value):
            value = 0.0
        is_missing = (missing == 1 and abs(value) <= 1e-35) or (missing == 2 and math.isnan(value))
        goes_left = tree.decision[node] & 2 if is_missing else value <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return tree.leaf[~node]


@settings(max_examples=40, deadline=None)
@given(random_trees(), st.integers(0, 10_000))
def test_lightgbm_predicts_what_the_trees_say(tree: Tree, seed: int) -> None:
    x = rows(20, np.random.default_rng(seed))
    assert read_trees(write_trees([tree], COLUMNS), COLUMNS) == (tree,)
    predicted = predict_trees(make_booster([tree], COLUMNS), x)
    np.testing.assert_array_equal(predicted, [walk(tree, row) for row in x])
