"""A task seen through a frozen body: its inputs are features, computed once."""

from __future__ import annotations

import hashlib
import weakref
from typing import final

import numpy as np
import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.arrays import Array
from surrogate_nas.domains.finetuning.store import ArrayStore
from surrogate_nas.metric import Scorer
from surrogate_nas.task import Split, SplitLike, Task
from surrogate_nas.tensors import AnyTensors, Shape, Tensors

_BATCH = 64
"""Number of inputs that go through a body at once."""


@final
class Extractor:
    """Computes the features of splits by a frozen body, each once.

    Args:
        front: Module from prepared inputs to features (n, width): a body with what comes before.
        key: Text that tells the module and its weights from all others.
        store: Store of the features.
        device: Device to compute on.
    """

    def __init__(
        self,
        front: nn.Module,
        key: str,
        store: ArrayStore,
        device: torch.device | None = None,
    ) -> None:
        self._front, self.key, self._store = front, key, store
        self._device = torch.device("cpu") if device is None else device

    def features(
        self, task: Task, split: SplitLike, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the features of a split, (n, width) as float32 on the CPU.

        Args:
            task: Task that prepares the inputs.
            split: One of its splits.
            rows: Numbers of some rows, (n,); by default all rows.
        """
        chosen = torch.arange(len(split)) if rows is None else rows
        some = "all" if rows is None else hashlib.sha256(rows.numpy().tobytes()).hexdigest()
        key = f"{self.key} {_digest(split)} {some}"
        return torch.from_numpy(self._store.get(key, lambda: self._compute(task, split, chosen)))

    def _compute(self, task: Task, split: SplitLike, rows: torch.Tensor) -> Array:
        front = self._front
        was_training = front.training
        home = next((p.device for p in front.parameters()), self._device)
        front.to(self._device)
        front.eval()
        found: Array | None = None
        try:
            with torch.no_grad():
                for batch in torch.split(torch.arange(len(rows)), _BATCH):
                    raw, _ = split.take(rows[batch])
                    prepared = task.prepare(tensors.to_device(raw, self._device))
                    part = front(tensors.channels_last(prepared)).float().cpu().numpy()
                    if found is None:
                        found = np.empty((len(rows), part.shape[1]), dtype=np.float32)
                    found[batch.numpy()] = part
        finally:
            front.to(home).train(was_training)
        return np.zeros((0, 0), dtype=np.float32) if found is None else found


_digests: weakref.WeakKeyDictionary[SplitLike, str] = weakref.WeakKeyDictionary()
"""Hashes of splits, as long as these live. A sample of photos takes a while to decode."""


def _digest(split: SplitLike) -> str:
    """Return a hash of what tells a split from others: shapes, all targets, a sample of inputs."""
    if split not in _digests:
        digest = hashlib.sha256(str(len(split)).encode())
        for fact in split.facts():
            digest.update(fact)
        _digests[split] = digest.hexdigest()
    return _digests[split]


_targets: weakref.WeakKeyDictionary[SplitLike, AnyTensors] = weakref.WeakKeyDictionary()
"""Targets of splits that are decoded on demand, as long as these live."""


def all_targets(split: SplitLike) -> AnyTensors:
    """Return the targets of all rows of a split."""
    if isinstance(split, Split):
        return tensors.on_cpu(split.targets)
    if split not in _targets:
        rows = torch.split(torch.arange(len(split)), _BATCH)
        _targets[split] = tensors.cat([split.take(some)[1] for some in rows])
    return _targets[split]


@final
class FrozenTask(Task):
    """A task whose inputs are the features of a frozen body. Loss and metric are the task's own.

    Args:
        task: The task.
        extractor: What computes the features.
    """

    def __init__(self, task: Task, extractor: Extractor) -> None:
        self._task, self._extractor = task, extractor
        self.name, self.metric, self.classes = task.name, task.metric, task.classes
        self.train = self._split(task.train)
        self.validation = self._split(task.validation)
        self.input_shape = tuple(self.train.inputs.shape[1:])
        self.n_outputs = task.n_outputs
        self.shape = Shape(features=self.input_shape[0], outputs=task.n_outputs)

    def _split(self, split: SplitLike) -> Split:
        return Split(self._extractor.features(self._task, split), all_targets(split))

    def __getattr__(self, name: str) -> Split:
        # NOTE: the test split is not run through the body before somebody asks for it.
        if name == "test":
            self.test = self._split(self._task.test)
            return self.test
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def fingerprint(self) -> str:
        """A short hash of the task's own and of the body."""
        said = f"{self._task.fingerprint} {self._extractor.key}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def prepare(self, inputs: AnyTensors) -> AnyTensors:
        """Return features as they are."""
        return inputs

    def loss(
        self, outputs: AnyTensors, targets: AnyTensors, label_smoothing: float
    ) -> torch.Tensor:
        """Return the task's loss."""
        return self._task.loss(outputs, targets, label_smoothing)

    def predict(self, network: nn.Module, inputs: AnyTensors) -> Tensors:
        """Return the network's outputs as the task's own evaluation takes them."""
        return self._task.predict(network, inputs)

    def check_outputs(self, outputs: AnyTensors, n: int) -> None:
        """Refuse outputs that the task refuses."""
        self._task.check_outputs(outputs, n)

    def score(self, outputs: AnyTensors, targets: AnyTensors) -> float:
        """Return the task's metric."""
        return self._task.score(outputs, targets)

    def scorer(self) -> Scorer:
        """Return what accumulates the task's metric."""
        return self._task.scorer()

    def merged(self) -> FrozenTask:
        """Return the merged task, seen through the same body."""
        return FrozenTask(self._task.merged(), self._extractor)

    @property
    def meta_features(self) -> dict[str, float]:
        """The task's own meta-features."""
        return self._task.meta_features
