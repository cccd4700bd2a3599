"""What a network is trained for: data, splits, metric and direction, loss, meta-features."""

from surrogate_nas.task.splits import DatasetSplit, Split, SplitLike
from surrogate_nas.task.task import Collecting, Direction, Task

__all__ = ["Collecting", "DatasetSplit", "Direction", "Split", "SplitLike", "Task"]
