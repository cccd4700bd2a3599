"""One tensor and named tensors, by the same helpers."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.tensors import Shape, Tensors

ONE = torch.arange(12.0).reshape(4, 3)
NAMED = {"tokens": torch.arange(8).reshape(4, 2), "weights": torch.arange(4.0)}
BOTH: list[Tensors] = [ONE, NAMED]


@pytest.mark.parametrize("given", BOTH)
def test_parts_put_together_are_the_whole(given: Tensors) -> None:
    for sizes in (3, [1, 3]):
        parts = tensors.split(given, sizes)
        assert [tensors.n_rows(part) for part in parts] == ([3, 1] if sizes == 3 else sizes)
        assert same(tensors.cat(parts), given)


@pytest.mark.parametrize("given", BOTH)
def test_rows_are_taken_in_the_order_asked_for(given: Tensors) -> None:
    rows = torch.tensor([3, 2, 1, 0])
    assert same(tensors.take(given, rows), tensors.backwards(given))
    assert same(tensors.first(given, 2), tensors.take(given, rows[2:].flip(0)))


@pytest.mark.parametrize("given", BOTH)
def test_a_copy_is_one(given: Tensors) -> None:
    buffer = tensors.zeros_like(given)
    assert tensors.facts(buffer) == tensors.facts(given)
    assert not same(buffer, given)
    tensors.copy_into(buffer, given)
    copied = tensors.clone(given)
    assert same(buffer, given)
    tensors.leaves(copied)[0].zero_()
    assert same(buffer, given)


def test_sizes_and_words() -> None:
    assert (tensors.n_bytes(ONE), tensors.n_bytes(NAMED)) == (48, 8 * 8 + 4 * 4)
    assert tensors.words(ONE) == "(n, 3) as float32"
    assert tensors.words(NAMED) == "tokens (n, 2) as int64, weights (n,) as float32"
    assert tensors.row_counts({"a": torch.zeros(2), "b": torch.zeros(3, 1)}) == {2, 3}
    assert tensors.row_counts(torch.tensor(1.0)) == {0}


def test_whole_numbers_are_finite_and_stay_whole() -> None:
    assert tensors.are_finite(NAMED)
    broken = {**NAMED, "weights": torch.tensor([1.0, float("inf")])}
    assert not tensors.are_finite(broken)
    narrow = tensors.in_float32({**NAMED, "weights": NAMED["weights"].bfloat16()})
    assert [t.dtype for t in narrow.values()] == [torch.int64, torch.float32]
    assert tensors.discrete(NAMED) == ["tokens"]
    assert tensors.discrete(torch.zeros(1, dtype=torch.uint8)) == ["the inputs"]


@pytest.mark.parametrize("value", [None, 1.0, {}, {"a": 1.0}, {1: ONE}, [ONE]])
def test_what_is_no_tensors(value: object) -> None:
    assert not tensors.is_tensors(value)


def test_only_images_change_their_layout() -> None:
    image = torch.zeros(2, 3, 4, 4)
    found = tensors.channels_last({"image": image, "tokens": NAMED["tokens"]})
    assert found["image"].is_contiguous(memory_format=torch.channels_last)
    assert found["tokens"] is NAMED["tokens"]


def test_named_tensors_are_keyword_arguments() -> None:
    class Sum(nn.Module):
        def forward(self, *, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return tokens.sum(1) + weights

    assert tensors.call(Sum(), NAMED).tolist() == [1.0, 6.0, 11.0, 16.0]
    assert tensors.call(nn.Identity(), ONE) is ONE


def test_a_shape_is_a_value() -> None:
    shape = Shape(image=[3, 96, 96], classes=5)
    assert shape == Shape({"image": (3, 96, 96)}, classes=5)
    assert hash(shape) == hash(Shape(classes=5, image=(3, 96, 96)))
    assert (shape["image"], len(shape)) == ((3, 96, 96), 2)
    assert Shape(shape.to_json()) == shape == pickle.loads(pickle.dumps(shape))
    assert repr(shape) == "Shape(image=(3, 96, 96), classes=5)"


def same(one: Tensors, two: Tensors) -> bool:
    first, second = tensors.named(one), tensors.named(two)
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)
