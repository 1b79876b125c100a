"""The loss, read from its module, its function or its autograd graph: kind, options and targets."""
