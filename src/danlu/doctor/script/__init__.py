"""Watch a whole program without a change to it: find its models, optimizers and losses, and watch each training."""
