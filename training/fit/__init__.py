"""The training loop and what it needs: run folders, optimisers, losses, distillation, warm starts."""
