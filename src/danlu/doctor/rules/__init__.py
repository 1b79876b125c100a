"""Rules: pure functions from a ledger to findings, one file a family."""
