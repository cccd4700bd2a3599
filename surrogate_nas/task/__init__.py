"""What a network is trained for: data, splits, metric and direction, loss, meta-features."""

from surrogate_nas.task.splits import BatchDataset, DatasetSplit, Split, SplitLike
from surrogate_nas.task.task import Collecting, Direction, Task
from surrogate_nas.task.together import together

__all__ = [
    "BatchDataset",
    "Collecting",
    "DatasetSplit",
    "Direction",
    "Split",
    "SplitLike",
    "Task",
    "together",
]
