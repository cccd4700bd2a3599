"""What a fine-tuning costs, by arithmetic: no network is built."""

from __future__ import annotations

from surrogate_nas.domains.finetuning.adapters import n_adapter_parameters
from surrogate_nas.domains.finetuning.backbone import Parts
from surrogate_nas.domains.finetuning.choices import Choices
from surrogate_nas.domains.finetuning.heads import n_head_parameters

_PASSES = {"last": 3.0, "all": 3.0, "lora": 2.0, "norm_bias": 2.0}
"""Adaptation -> cost of a step in passes forward, with gradients of activations and weights."""


def trained_names(parts: Parts, choices: Choices) -> list[str]:
    """Return the names of the body's own parameters that are trained."""
    if choices.adaptation == "all":
        return list(parts.stages.number)
    if choices.adaptation == "last":
        return parts.from_stage(parts.stages.count - last_stages(parts, choices))
    if choices.adaptation == "norm_bias":
        return [name for name in parts.stages.number if name in parts.stages.light]
    return []


def last_stages(parts: Parts, choices: Choices) -> int:
    """Return the number of trained last stages; one stage at least stays frozen, if it can."""
    return min(choices.last_stages, max(parts.stages.count - 1, 1))


def adapter_places(parts: Parts, choices: Choices) -> list[str]:
    """Return the modules that have adapters."""
    if choices.adaptation != "lora":
        return []
    return parts.late_matrices() if choices.lora_places == "late" else list(parts.stages.matrices)


def described(
    parts: Parts, choices: Choices, n_outputs: int, macs: float, depth: float
) -> dict[str, float]:
    """Return what a space describes of an architecture.

    Args:
        parts: The backbone.
        choices: The architecture.
        n_outputs: Number of outputs of the task.
        macs: Multiply-accumulates of the body for one input.
        depth: Layers with weights of the body.
    """
    head = n_head_parameters(choices.head, parts.width, n_outputs)
    adapters = n_adapter_parameters(
        parts.shapes(adapter_places(parts, choices)), choices.lora_rank
    )
    own = parts.parameters(trained_names(parts, choices))
    trains_head = choices.adaptation != "means"
    passes = _PASSES.get(choices.adaptation, 0.0)
    if choices.adaptation == "last":
        # Gradients end at the first trained stage.
        passes = 1 + 2 * last_stages(parts, choices) / parts.stages.count
    return {
        "parameters": float(parts.parameters() + adapters + head),
        "trained_parameters": float(own + adapters + trains_head * head),
        "multiply_accumulates": macs + head,
        "training_multiply_accumulates": macs * max(passes * choices.epochs, 1.0),
        "depth": depth + (2 if choices.head == "mlp" else 1),
    }
