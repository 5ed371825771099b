"""The training loop with its run folders, optimisers, losses, distillation and warm starts."""
