"""Fine-tuning of pretrained backbones, a folder that domains share."""
