"""Pure, batched, differentiable functions on tensors, from which blocks are made."""
