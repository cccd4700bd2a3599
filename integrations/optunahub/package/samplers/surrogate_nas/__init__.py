"""The sampler of the package surrogate-nas, which must be installed, for OptunaHub."""

from surrogate_nas import MetaSurrogate, PastTask, SurrogateSampler, read_history

__all__ = ["MetaSurrogate", "PastTask", "SurrogateSampler", "read_history"]
