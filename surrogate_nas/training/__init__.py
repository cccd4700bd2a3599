"""What the Trainer is made of: data on the device, optimizer, steps, checkpoints, limits."""
