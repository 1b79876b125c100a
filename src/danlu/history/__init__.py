"""`danlu runs` and `danlu compare`: tables and pages over several runs."""
